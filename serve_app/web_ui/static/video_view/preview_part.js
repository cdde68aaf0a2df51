// While an extraction runs: the contact sheet of the frames so far, in the place that the whole sheet is going to take.

import { t } from "../texts.js";
import { reservePlace, sheetSize } from "./contact_sheet.js";

export class PreviewPart {
  constructor() {
    this.section = document.getElementById("video-preview");
    this.count = document.getElementById("preview-count");
    this.part = document.getElementById("preview-part");
  }

  get image() {
    return this.section.querySelector("img");
  }

  clear() {
    this.section.hidden = true;
    this.shown = "";
  }

  render({ extraction, media }) {
    const { preview, progress } = extraction;
    if (!preview || !media || !progress.frames_total) return this.clear();
    this.count.textContent = t("preview.count", { done: progress.frames_done, total: progress.frames_total });
    this.part.hidden = preview.segment === null;
    const wanted = `/v1/extractions/${extraction.id}/sheet.jpg?preview=${preview.segment ?? 0}-${preview.frames}`;
    if (wanted === this.shown) return;
    this.shown = wanted;
    this.load(wanted, sheetSize(progress.frames_total, media));
  }

  /** Shows an image once it is decoded: until then the one before stays. */
  async load(src, size) {
    const image = new Image();
    image.alt = t("preview.alt");
    reservePlace(image, size);
    image.src = src;
    try {
      await image.decode();
    } catch {
      // It may have been replaced meanwhile: the next state asks again.
      if (this.shown === src) this.shown = "";
      return;
    }
    if (this.shown !== src) return;
    this.image.replaceWith(image);
    this.section.hidden = false;
  }
}
