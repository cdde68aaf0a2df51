// One frame, large, with its number, time and key flag. The keyboard and swipes go on to other frames.

import { formatBytes, formatCount, formatTime } from "../formatting.js";
import { t } from "../texts.js";

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
const SLOW_MS = 250;
const SWIPE_PX = 48;
const byId = (id) => document.getElementById(id);

export class FrameViewer {
  /** onStep(n): frame n, from 1, is to be shown. onClose(): the reader has closed the viewer. */
  constructor({ onStep, onClose }) {
    Object.assign(this, { onStep, onClose });
    this.dialog = byId("frame-viewer");
    this.picture = byId("frame-picture");
    this.n = null;
    byId("frame-previous").addEventListener("click", () => this.step(-1));
    byId("frame-next").addEventListener("click", () => this.step(1));
    byId("frame-close").addEventListener("click", () => this.onClose());
    this.dialog.addEventListener("keydown", (event) => this.handleKey(event));
    // Escape changes the address, and the address closes the dialog.
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.onClose();
    });
    this.dialog.addEventListener("click", ({ target }) => { if (target === this.dialog) this.onClose(); });
    this.wireSwipes();
  }

  get isOpen() {
    return this.dialog.open;
  }

  /** n: from 1; one past the last is the last. */
  show(extractionId, video, manifest, n) {
    Object.assign(this, { extractionId, video, manifest, n: Math.min(n, manifest.count) });
    if (!this.dialog.open) {
      this.clear();
      this.dialog.showModal();
      byId("frame-next").focus();
    }
    this.load();
  }

  close() {
    if (this.dialog.open) this.dialog.close();
    this.clear();
    this.n = null;
  }

  clear() {
    this.picture.removeAttribute("src");
    byId("frame-title").textContent = "";
    byId("frame-facts").textContent = "";
  }

  addressOf(n) {
    return `/v1/extractions/${this.extractionId}/frames/${n}`;
  }

  /** The caption changes together with the picture, so that they always belong together. */
  async load() {
    const { n } = this;
    const slow = setTimeout(() => this.setLoading(true), SLOW_MS);
    // A picture that was stepped over is not loaded to its end.
    this.loading?.removeAttribute("src");
    const image = this.loading = new Image();
    image.src = this.addressOf(n);
    const isLoaded = await image.decode().then(() => true, () => false);
    clearTimeout(slow);
    if (n !== this.n) return;
    this.loading = null;
    this.setLoading(false);
    this.picture.hidden = !isLoaded;
    byId("frame-error").hidden = isLoaded;
    this.describe(n);
    if (!isLoaded) return;
    this.picture.src = image.src;
    for (const next of [n + 1, n - 1]) if (next >= 1 && next <= this.manifest.count) new Image().src = this.addressOf(next);
  }

  setLoading(isLoading) {
    this.dialog.classList.toggle("loading", isLoading);
    this.dialog.setAttribute("aria-busy", String(isLoading));
  }

  describe(n) {
    const frame = this.manifest.frame(n - 1);
    const time = formatTime(frame.time);
    byId("frame-title").textContent = t("frame.of", { n, total: this.manifest.count });
    byId("frame-facts").textContent = [
      time, ...(frame.key ? [t("frame.key")] : []), `${frame.width} × ${frame.height}`, formatBytes(frame.bytes),
      t("frame.index", { index: formatCount(frame.index) }),
    ].join(" · ");
    this.picture.alt = t("frame.alt", { n, name: this.video.filename, time });
    const download = byId("frame-download");
    download.href = this.addressOf(n);
    download.download = frame.name;
    byId("frame-previous").setAttribute("aria-disabled", String(n === 1));
    byId("frame-next").setAttribute("aria-disabled", String(n === this.manifest.count));
  }

  step(steps) {
    const n = Math.min(this.manifest.count, Math.max(1, this.n + steps));
    if (n !== this.n) this.onStep(n);
  }

  handleKey(event) {
    if (!(event.key in STEPS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.step(STEPS[event.key]);
  }

  wireSwipes() {
    let start = null;
    const stage = byId("frame-stage");
    stage.addEventListener("touchstart", ({ touches }) => {
      start = touches.length === 1 && !(visualViewport?.scale > 1) ? touches[0] : null;
    }, { passive: true });
    stage.addEventListener("touchend", ({ changedTouches: [end] }) => {
      if (!start) return;
      const [x, y] = [end.clientX - start.clientX, end.clientY - start.clientY];
      if (Math.abs(x) > SWIPE_PX && Math.abs(x) > 2 * Math.abs(y)) this.step(x < 0 ? 1 : -1);
    }, { passive: true });
  }
}
