// The frames of a result, read from its CSV manifest. A row is taken apart only when it is shown.

import { fetchText } from "../api_client.js";

/** The fields of one line of CSV (RFC 4180) without line breaks in its fields. Pure. */
export function splitLine(line) {
  if (!line.includes('"')) return line.split(",");
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)]
    .map(([, quoted, plain]) => quoted === undefined ? plain : quoted.replaceAll('""', '"'));
}

export class Manifest {
  constructor(csv) {
    const lines = csv.split(/\r?\n/);
    if (lines.at(-1) === "") lines.pop();
    this.columns = splitLine(lines.shift() ?? "");
    this.lines = lines;
  }

  get count() {
    return this.lines.length;
  }

  /** The frame at an index from 0: {n, name, index, pts, time, key, width, height, bytes, sha256}. */
  frame(at) {
    const fields = splitLine(this.lines[at]);
    const text = Object.fromEntries(this.columns.map((column, place) => [column, fields[place]]));
    const numbers = ["n", "index", "time", "width", "height", "bytes"].map((name) => [name, Number(text[name])]);
    return { ...text, ...Object.fromEntries(numbers), key: text.key === "true" };
  }

  /** The index of the frame that is nearest to a time. Frames are in the order of their times. */
  nearest(seconds) {
    let [low, high] = [0, this.count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.frame(middle).time < seconds) low = middle + 1;
      else high = middle;
    }
    const isEarlierNearer = low > 0 && seconds - this.frame(low - 1).time < this.frame(low).time - seconds;
    return isEarlierNearer ? low - 1 : low;
  }
}

export async function loadManifest(extractionId) {
  return new Manifest(await fetchText(`/v1/extractions/${extractionId}/manifest.csv`));
}
