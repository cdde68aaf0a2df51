// A digest that tells two contents of one file apart. Browsers have SHA-256 only on HTTPS and on localhost, and not in parts.

const SEEDS = [0x9747b28c, 0x3c6ef372];

const rotate = (word, bits) => (word << bits) | (word >>> (32 - bits));

/** 64 bits, each half by the mixing steps of MurmurHash3 (A. Appleby, 2011). Not against somebody who makes collisions. */
export class ContentHash {
  #high = SEEDS[0];
  #low = SEEDS[1];
  #bytes = 0;

  /** How many bytes it has taken. */
  get bytes() {
    return this.#bytes;
  }

  /** Takes the next bytes, an ArrayBuffer. All but the last come in a number that four divides. */
  update(buffer) {
    const whole = new Int32Array(buffer, 0, buffer.byteLength >> 2);
    let high = this.#high;
    let low = this.#low;
    for (let at = 0; at < whole.length; at += 1) {
      const word = whole[at];
      high = (Math.imul(rotate(high ^ Math.imul(rotate(Math.imul(word, 0xcc9e2d51), 15), 0x1b873593), 13), 5) + 0xe6546b64) | 0;
      low = (Math.imul(rotate(low ^ Math.imul(rotate(Math.imul(word, 0x85ebca6b), 16), 0xc2b2ae35), 13), 5) + 0x561ccd1b) | 0;
    }
    for (const byte of new Uint8Array(buffer, whole.length * 4)) {
      high = Math.imul(high ^ byte, 0x01000193);
      low = Math.imul(low ^ byte, 0x85ebca6b);
    }
    this.#high = high;
    this.#low = low;
    this.#bytes += buffer.byteLength;
  }

  /** What can be stored and compared: {bytes, digest}. */
  get value() {
    const hex = (half) => (half >>> 0).toString(16).padStart(8, "0");
    return { bytes: this.#bytes, digest: hex(this.#high) + hex(this.#low) };
  }
}
