// The average frame rate of an MP4 or QuickTime file by its index (ISO/IEC 14496-12), because a browser does not tell it.

const MAX_BOXES = 100;
const MAX_INDEX_BYTES = 2 ** 25;
const MAX_FPS = 1000;

/** Gives a promise of the frames per second; of null when the file does not tell them. */
export async function readMp4FrameRate(file) {
  try {
    const index = await findIndex(file);
    return index && frameRateOf(new DataView(await index.arrayBuffer()));
  } catch {
    // The index is damaged, or the file is gone. The estimate does without the rate.
    return null;
  }
}

/** The content of the box moov, wherever it is in the file; null for none. Only the heads of the other boxes are read. */
async function findIndex(file) {
  for (let at = 0, boxes = 0; at + 8 <= file.size && boxes < MAX_BOXES; boxes += 1) {
    const { type, head, size } = boxAt(new DataView(await file.slice(at, at + 16).arrayBuffer()), 0, file.size - at);
    if (type === "moov") return size > MAX_INDEX_BYTES ? null : file.slice(at + head, at + size);
    at += size;
  }
  return null;
}

const typeAt = (view, at) => String.fromCharCode(...[0, 1, 2, 3].map((place) => view.getUint8(at + place)));

/** left: bytes to the end of what holds the box. Throws a RangeError for a box that does not fit. */
function boxAt(view, at, left) {
  const short = view.getUint32(at);
  const head = short === 1 ? 16 : 8;
  const size = short === 1 ? Number(view.getBigUint64(at + 8)) : short || left;
  if (size < head || size > left) throw new RangeError();
  return { type: typeAt(view, at + 4), head, size };
}

function boxesIn(view) {
  const boxes = [];
  for (let at = 0; at + 8 <= view.byteLength;) {
    const { type, head, size } = boxAt(view, at, view.byteLength - at);
    boxes.push({ type, view: new DataView(view.buffer, view.byteOffset + at + head, size - head) });
    at += size;
  }
  return boxes;
}

/** The content of the box at the end of a path of types; undefined for none. */
const inside = (view, ...path) => path.reduce((outer, name) => outer && boxesIn(outer).find(({ type }) => type === name)?.view, view);

/** frames: those of a video track; 0 of any other. */
function trackFacts(track) {
  const [handler, header, times] = [["hdlr"], ["mdhd"], ["minf", "stbl", "stts"]].map((path) => inside(track, "mdia", ...path));
  if (!handler || !header || !times || typeAt(handler, 8) !== "vide") return { frames: 0 };
  const timescale = header.getUint32(header.getUint8(0) ? 20 : 12);
  let [frames, ticks] = [0, 0];
  for (let entry = 0; entry < times.getUint32(4); entry += 1) {
    const count = times.getUint32(8 + 8 * entry);
    frames += count;
    ticks += count * times.getUint32(12 + 8 * entry);
  }
  return { frames, fps: (frames * timescale) / ticks };
}

/** moov: the content of that box. The rate is that of the longest video track: a cover picture is a track too. Pure. */
function frameRateOf(moov) {
  const tracks = boxesIn(moov).filter(({ type }) => type === "trak").map(({ view }) => trackFacts(view));
  const { frames, fps } = tracks.reduce((longest, track) => track.frames > longest.frames ? track : longest, { frames: 0 });
  return frames && fps > 0 && fps <= MAX_FPS ? fps : null;
}
