// The contact sheet of a result: one image with up to a hundred frames. A click opens the frame at that place.

import { fetchText } from "../api_client.js";
import { t } from "../texts.js";

const MAX_CELLS = 100;
const MAX_COLUMNS = 10;
const CELL_WIDTH = 160;
const CUE = /(\d+):(\d+):(\d+\.\d+) -->[^\n]*\n[^\n#]*#xywh=(\d+),(\d+),(\d+),(\d+)/g;

/** The places on a sheet by its WebVTT index: [{seconds, x, y, width, height}], in pixels. Pure. */
export function parseSheetIndex(text) {
  return [...text.matchAll(CUE)].map(([, ...values]) => {
    const [hours, minutes, seconds, x, y, width, height] = values.map(Number);
    return { seconds: hours * 3600 + minutes * 60 + seconds, x, y, width, height };
  });
}

/** The size of the sheet of so many frames, in pixels, before it is loaded. frame: {width, height} of one. Pure. */
export function sheetSize(count, frame) {
  const shown = Math.min(count, MAX_CELLS);
  const columns = Math.min(shown, MAX_COLUMNS);
  return { width: CELL_WIDTH * columns, height: Math.round(CELL_WIDTH * frame.height / frame.width) * Math.ceil(shown / columns) };
}

/** Gives the image of a sheet its place before it is loaded. */
export function reservePlace(image, { width, height }) {
  image.style.setProperty("--sheet-width", width);
  image.style.setProperty("--sheet-ratio", width / height);
}

export class ContactSheet {
  /** onOpen(seconds): the frame that is shown from this time on. */
  constructor(figure, onOpen) {
    this.figure = figure;
    this.image = figure.querySelector("img");
    this.image.addEventListener("error", () => { figure.hidden = true; });
    this.image.addEventListener("click", (event) => this.handleClick(event, onOpen));
  }

  /** frame: {width, height} of one, so that the place of the sheet is known before it is loaded. */
  show(extractionId, count, frame) {
    const src = `/v1/extractions/${extractionId}/sheet.jpg`;
    this.figure.hidden = count < 2;
    if (count < 2 || this.image.getAttribute("src") === src) return;
    reservePlace(this.image, sheetSize(count, frame));
    this.image.alt = t("sheet.alt", { count: Math.min(count, MAX_CELLS), total: count });
    this.image.src = src;
    this.index = fetchText(`/v1/extractions/${extractionId}/sheet.vtt`).then(parseSheetIndex, () => []);
  }

  async handleClick({ offsetX, offsetY }, onOpen) {
    // Until the image is there, nobody knows what they click at.
    if (!this.image.naturalWidth) return;
    const x = offsetX * this.image.naturalWidth / this.image.clientWidth;
    const y = offsetY * this.image.naturalHeight / this.image.clientHeight;
    const place = (await this.index).find((one) => x >= one.x && y >= one.y && x < one.x + one.width && y < one.y + one.height);
    if (place) onOpen(place.seconds);
  }
}
