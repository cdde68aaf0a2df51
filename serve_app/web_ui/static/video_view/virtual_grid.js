// A long grid of which only the cells in sight exist. Cells are reused while it is scrolled.

// Rows above and below the visible ones that exist as well.
const EXTRA_ROWS = 2;
const SORT_AFTER_MS = 200;

/**
 * Which cells are in sight: [first, end). top: of the grid against the top of what shows it, negative when scrolled.
 * Pure.
 */
export function visibleRange({ count, columns, rowHeight, top, viewHeight }) {
  const first = Math.max(0, Math.floor(-top / rowHeight) - EXTRA_ROWS);
  const end = Math.ceil((viewHeight - top) / rowHeight) + EXTRA_ROWS;
  return [Math.min(count, first * columns), Math.max(0, Math.min(count, end * columns))];
}

export class VirtualGrid {
  /**
   * container: an element that holds the cells. scroller: the element that scrolls it, null for the window.
   * layout(width): {columns, rowHeight}. newCell(): an element. showCell(cell, index, isFirst): fills it.
   */
  constructor({ container, scroller = null, layout, newCell, showCell }) {
    Object.assign(this, { container, scroller, layout, newCell, showCell });
    this.count = 0;
    this.cells = new Map();
    this.spare = [];
    // The cell that has the focus stays, wherever the grid is scrolled.
    this.pinned = 0;
    this.isPending = false;
    this.size = { columns: 1, rowHeight: 1, width: 0 };
    (scroller ?? window).addEventListener("scroll", () => this.updateSoon(), { passive: true });
    new ResizeObserver(() => this.resize()).observe(container);
    addEventListener("resize", () => this.updateSoon());
  }

  /** Shows `count` cells from the start. */
  reset(count) {
    for (const cell of this.cells.values()) this.recycle(cell);
    this.cells.clear();
    this.count = count;
    this.pinned = 0;
    this.size.width = 0;
    this.resize();
  }

  resize() {
    const width = this.container.clientWidth;
    if (!this.count || !width || width === this.size.width) return;
    this.size = { ...this.layout(width), width };
    const { columns, rowHeight } = this.size;
    this.container.style.height = `${Math.ceil(this.count / columns) * rowHeight}px`;
    for (const [index, cell] of this.cells) this.place(cell, index);
    this.update();
  }

  updateSoon() {
    if (this.isPending) return;
    this.isPending = true;
    requestAnimationFrame(() => {
      this.isPending = false;
      this.update();
    });
  }

  update() {
    if (!this.size.width || !this.container.clientWidth) return;
    const [first, end] = this.visible;
    const isWanted = (index) => (index >= first && index < end) || index === this.pinned;
    for (const [index, cell] of this.cells) {
      if (isWanted(index)) continue;
      this.cells.delete(index);
      this.recycle(cell);
    }
    if (this.pinned < this.count) this.ensure(this.pinned);
    for (let index = first; index < end; index += 1) this.ensure(index);
    clearTimeout(this.sortTimer);
    this.sortTimer = setTimeout(() => this.sort(), SORT_AFTER_MS);
  }

  /** Screen readers read the cells in the order of the document. */
  sort() {
    const focused = this.container.contains(document.activeElement) ? document.activeElement : null;
    const ordered = [...this.cells].sort(([one], [other]) => one - other).map(([, cell]) => cell);
    const present = [...this.container.children].filter((cell) => !cell.hidden);
    if (ordered.every((cell, at) => cell === present[at])) return;
    this.container.prepend(...ordered);
    focused?.focus({ preventScroll: true });
  }

  get visible() {
    const { top } = this.container.getBoundingClientRect();
    const frame = this.scroller?.getBoundingClientRect();
    const [viewTop, viewHeight] = frame ? [frame.top, frame.height] : [0, innerHeight];
    return visibleRange({ count: this.count, ...this.size, top: top - viewTop, viewHeight });
  }

  ensure(index) {
    if (this.cells.has(index)) return;
    const cell = this.spare.pop() ?? this.container.appendChild(this.newCell());
    cell.hidden = false;
    this.cells.set(index, cell);
    this.place(cell, index);
    this.showCell(cell, index);
  }

  recycle(cell) {
    cell.hidden = true;
    this.spare.push(cell);
  }

  place(cell, index) {
    const { columns, rowHeight, width } = this.size;
    const cellWidth = width / columns;
    cell.style.width = `${cellWidth}px`;
    cell.style.height = `${rowHeight}px`;
    const corner = [(index % columns) * cellWidth, Math.floor(index / columns) * rowHeight];
    cell.style.translate = corner.map((length) => `${length}px`).join(" ");
  }

  /** Scrolls as little as needed to show a cell, and gives its element. */
  reveal(index) {
    this.pinned = index;
    const cellTop = Math.floor(index / this.size.columns) * this.size.rowHeight;
    const frame = this.scroller?.getBoundingClientRect();
    const [viewTop, viewHeight] = frame ? [frame.top, frame.height] : [0, innerHeight];
    const top = this.container.getBoundingClientRect().top - viewTop + cellTop;
    const below = top + this.size.rowHeight - viewHeight;
    if (top < 0 || below > 0) (this.scroller ?? window).scrollBy({ top: top < 0 ? top : below, behavior: "instant" });
    this.update();
    return this.cells.get(index);
  }
}
