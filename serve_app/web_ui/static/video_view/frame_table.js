// The manifest of a result as a table. Only the rows in sight exist.

import { formatBytes, formatCount, formatSeconds } from "../formatting.js";
import { t } from "../texts.js";
import { VirtualGrid } from "./virtual_grid.js";

const ROW_HEIGHT = 44;
const byId = (id) => document.getElementById(id);

export class FrameTable {
  /** hrefOf(n), onOpen(n): of frame n, from 1. */
  constructor({ hrefOf, onOpen }) {
    Object.assign(this, { hrefOf, onOpen });
    this.grid = new VirtualGrid({
      container: byId("frame-rows"),
      scroller: byId("frame-table-scroller"),
      layout: () => ({ columns: 1, rowHeight: ROW_HEIGHT }),
      newCell: () => byId("frame-row").content.firstElementChild.cloneNode(true),
      showCell: (row, index) => this.showRow(row, index),
    });
    byId("frame-rows").addEventListener("click", (event) => this.handleClick(event));
  }

  show(manifest) {
    this.manifest = manifest;
    byId("frame-table").setAttribute("aria-rowcount", manifest.count + 1);
    this.grid.reset(manifest.count);
  }

  showRow(row, index) {
    const frame = this.manifest.frame(index);
    const texts = {
      n: formatCount(frame.n), time: formatSeconds(frame.time), key: frame.key ? t("table.yes") : "", index: formatCount(frame.index),
      pts: frame.pts, size: `${frame.width} × ${frame.height}`, bytes: formatBytes(frame.bytes), name: frame.name, sha256: frame.sha256,
    };
    row.setAttribute("aria-rowindex", index + 2);
    row.dataset.n = frame.n;
    for (const cell of row.children) (cell.querySelector("a") ?? cell).textContent = texts[cell.dataset.column];
    row.querySelector("a").href = this.hrefOf(frame.n);
  }

  handleClick(event) {
    const link = event.target.closest("a");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.onOpen(Number(link.closest("[data-n]").dataset.n));
  }
}
