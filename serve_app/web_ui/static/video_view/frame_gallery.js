// The frames of a result as a gallery of small images with their times. The arrow keys go from frame to frame.

import { formatTime } from "../formatting.js";
import { t } from "../texts.js";
import { VirtualGrid } from "./virtual_grid.js";

const RENDITION_WIDTH = 320;
const MIN_CELL_WIDTH = 172;
const MIN_CELL_WIDTH_ON_A_PHONE = 116;
const PHONE_WIDTH = 600;
const CELL_PADDING = 12;
const CAPTION_HEIGHT = 34;
// The image of a cell that is scrolled past at once is never asked for.
const LOAD_AFTER_MS = 100;

/** The height of a picture in a cell. Very high and very wide pictures get bars. Pure. */
export function pictureHeight(width, { width: frameWidth, height: frameHeight }) {
  return Math.round(width * Math.min(1.4, Math.max(0.4, frameHeight / frameWidth)));
}

/** Where a key leads from a cell; null for other keys. Pure. */
export function targetOfKey(key, index, { columns, count, rowsPerPage }) {
  const steps = {
    ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
    PageUp: -columns * rowsPerPage, PageDown: columns * rowsPerPage, Home: -index, End: count - 1 - index,
  };
  if (!(key in steps)) return null;
  const target = index + steps[key];
  const isVertical = Math.abs(steps[key]) !== 1 && key !== "Home" && key !== "End";
  if (isVertical && (target < 0 || target >= count)) return key.startsWith("Page") ? Math.min(count - 1, Math.max(0, target)) : index;
  return Math.min(count - 1, Math.max(0, target));
}

export class FrameGallery {
  /** hrefOf(n), onOpen(n): of frame n, from 1. */
  constructor(container, { hrefOf, onOpen }) {
    Object.assign(this, { container, hrefOf, onOpen });
    this.grid = new VirtualGrid({
      container,
      layout: (width) => this.layout(width),
      newCell: () => this.newCell(),
      showCell: (cell, index) => this.showCell(cell, index),
    });
    container.addEventListener("keydown", (event) => this.handleKey(event));
    container.addEventListener("focusin", ({ target }) => this.setActive(Number(target.closest(".frame-cell")?.dataset.index)));
    container.addEventListener("click", (event) => this.handleClick(event));
  }

  show(extractionId, manifest) {
    Object.assign(this, { extractionId, manifest, active: 0, loadDelayMs: 0 });
    this.first = manifest.frame(0);
    this.grid.reset(manifest.count);
    this.loadDelayMs = LOAD_AFTER_MS;
  }

  layout(width) {
    const least = width < PHONE_WIDTH ? MIN_CELL_WIDTH_ON_A_PHONE : MIN_CELL_WIDTH;
    const columns = Math.max(1, Math.floor(width / least));
    this.pictureHeight = pictureHeight(width / columns - CELL_PADDING, this.first);
    return { columns, rowHeight: this.pictureHeight + CAPTION_HEIGHT + CELL_PADDING };
  }

  newCell() {
    const cell = document.getElementById("frame-cell").content.firstElementChild.cloneNode(true);
    const image = cell.querySelector("img");
    image.addEventListener("load", () => image.classList.add("loaded"));
    return cell;
  }

  showCell(cell, index) {
    const frame = this.manifest.frame(index);
    const [link, image] = [cell.firstElementChild, cell.querySelector("img")];
    cell.dataset.index = index;
    cell.setAttribute("aria-setsize", this.manifest.count);
    cell.setAttribute("aria-posinset", index + 1);
    link.href = this.hrefOf(frame.n);
    link.tabIndex = index === this.active ? 0 : -1;
    const values = { n: frame.n, time: formatTime(frame.time) };
    link.setAttribute("aria-label", frame.key ? t("frame.key_name", values) : t("frame.name", values));
    image.parentElement.style.height = `${this.pictureHeight}px`;
    cell.querySelector(".frame-number").textContent = frame.n;
    cell.querySelector(".frame-key").hidden = !frame.key;
    cell.querySelector(".frame-time").textContent = formatTime(frame.time);
    this.loadSoon(image, index, `/v1/extractions/${this.extractionId}/frames/${frame.n}?width=${RENDITION_WIDTH}`);
  }

  loadSoon(image, index, address) {
    if (image.getAttribute("src") === address) return;
    image.classList.remove("loaded");
    image.removeAttribute("src");
    image.dataset.wanted = address;
    setTimeout(() => {
      const isShown = this.grid.cells.get(index)?.contains(image) && image.dataset.wanted === address;
      if (isShown) image.src = address;
    }, this.loadDelayMs);
  }

  setActive(index) {
    if (Number.isNaN(index) || index === this.active) return;
    const before = this.grid.cells.get(this.active);
    if (before) before.firstElementChild.tabIndex = -1;
    this.active = index;
    this.grid.pinned = index;
    const cell = this.grid.cells.get(index);
    if (cell) cell.firstElementChild.tabIndex = 0;
  }

  /** Shows frame n, from 1, and gives it the focus. */
  focusFrame(n) {
    this.setActive(n - 1);
    this.grid.reveal(n - 1).firstElementChild.focus({ preventScroll: true });
  }

  handleKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { columns, rowHeight } = this.grid.size;
    const rowsPerPage = Math.max(1, Math.floor(innerHeight / rowHeight) - 1);
    const target = targetOfKey(event.key, this.active, { columns, count: this.manifest.count, rowsPerPage });
    if (target === null) return;
    event.preventDefault();
    this.focusFrame(target + 1);
  }

  handleClick(event) {
    const cell = event.target.closest(".frame-cell");
    if (!cell || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.setActive(Number(cell.dataset.index));
    this.onOpen(Number(cell.dataset.index) + 1);
  }
}
