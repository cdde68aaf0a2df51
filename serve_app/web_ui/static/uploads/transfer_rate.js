// How fast the service confirms bytes, over the last while. Pure.

const WINDOW_MS = 20_000;
// A shorter time says more about the network's buffers than about its rate.
const MIN_MS = 1000;

export class TransferRate {
  constructor() {
    this.samples = [];
  }

  /** Forgets what was, because the transfer has stopped. */
  reset() {
    this.samples = [];
  }

  /** bytes: all that are confirmed at this time. */
  add(bytes, atMs) {
    if (bytes < this.samples.at(-1)?.bytes) this.reset();
    this.samples.push({ bytes, atMs });
    while (this.samples.length > 2 && this.samples[1].atMs <= atMs - WINDOW_MS) this.samples.shift();
  }

  /** Null while too little is known. */
  get bytesPerSecond() {
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    const milliseconds = last ? last.atMs - first.atMs : 0;
    return milliseconds < MIN_MS || last.bytes === first.bytes ? null : ((last.bytes - first.bytes) * 1000) / milliseconds;
  }
}
