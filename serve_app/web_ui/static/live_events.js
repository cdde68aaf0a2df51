// The stream of the account's extractions: GET /v1/events. Without it the page asks for its lists more often.

const PATH = "/v1/events";
const FIRST_RETRY_MS = 2000;
const MAX_RETRY_MS = 30_000;

/** How long to wait after `failures` refusals in a row. random: from 0 to 1. Pure. */
export function reopenDelayMs(failures, random) {
  return Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 10)) * (0.5 + random / 2);
}

export class LiveEvents {
  /**
   * onExtraction(extraction): its whole state, which may be older than what is known. onChange(): the stream was opened
   * or has ended, or does not know what was missed, so what it tells about must be read again.
   */
  constructor({ onExtraction, onChange }) {
    Object.assign(this, { onExtraction, onChange });
    this.source = null;
    this.isRunning = false;
    this.isOpen = false;
    this.failures = 0;
    document.addEventListener("visibilitychange", () => this.follow());
  }

  start() {
    this.stop();
    this.isRunning = true;
    this.follow();
  }

  stop() {
    this.isRunning = false;
    this.close();
  }

  /** A browser has six connections to a server in all, so a page that nobody sees leaves them to others. */
  follow() {
    if (!this.isRunning || document.hidden) return this.close();
    if (!this.source) this.open();
  }

  open() {
    clearTimeout(this.timer);
    const source = this.source = new EventSource(PATH);
    source.addEventListener("open", () => {
      this.failures = 0;
      this.setOpen(true);
    });
    source.addEventListener("extraction", ({ data }) => this.onExtraction(JSON.parse(data)));
    source.addEventListener("reset", () => this.onChange());
    source.addEventListener("error", () => this.handleError(source));
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    this.setOpen(false);
  }

  setOpen(isOpen) {
    if (isOpen === this.isOpen) return;
    this.isOpen = isOpen;
    this.onChange();
  }

  /** The browser connects again by itself, but not after a response that is no stream. */
  handleError(source) {
    if (source !== this.source) return;
    this.setOpen(false);
    if (source.readyState !== EventSource.CLOSED) return;
    this.close();
    this.failures += 1;
    this.timer = setTimeout(() => this.follow(), reopenDelayMs(this.failures, Math.random()));
  }
}
