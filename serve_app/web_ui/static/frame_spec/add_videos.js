// Adds videos: the choice of frames, the files that wait for it, and the switch that sends files at once.

import { t } from "../texts.js";
import { ChosenFiles } from "./chosen_files.js";
import { lastSpec, rememberLastSpec } from "./presets.js";
import { SpecForm } from "./spec_form.js";

const SEND_AT_ONCE_KEY = "fotograma.send-at-once";
// The specification goes with an upload in a header of limited size.
const MAX_SPEC_BYTES = 40_000;
const WIDE = "(min-width: 801px)";
const byId = (id) => document.getElementById(id);

export class AddVideos {
  /** onSend(files, spec): sends files. onLoggedOut(). */
  constructor({ onSend, onLoggedOut }) {
    this.onSend = onSend;
    this.accountId = null;
    this.hasVideos = true;
    this.isIdle = true;
    this.wide = matchMedia(WIDE);
    this.files = new ChosenFiles({ onSend: () => this.send(), onChange: () => this.layOut(), onLoggedOut });
    this.form = new SpecForm(byId("frame-choice"), "choice", { onChange: () => this.handleChange(), onLoggedOut });
    this.handleChange();
    byId("choice-fold").addEventListener("toggle", () => this.layOut());
    this.wide.addEventListener("change", () => { if (!this.isIdle && this.wide.matches) byId("choice-fold").open = true; });
    byId("send-at-once").checked = this.isSentAtOnce;
    byId("send-at-once").addEventListener("change", ({ target }) => this.setSentAtOnce(target.checked));
  }

  /** After a log-in. Another account has its own choices, and none of the files. */
  setAccount(accountId) {
    if (accountId === this.accountId) {
      this.form.presets.load();
      return;
    }
    this.form.presets.start();
    const isOther = this.accountId !== null;
    this.accountId = accountId;
    if (isOther) this.files.clear();
    const spec = lastSpec(accountId);
    if (spec) this.form.set(spec);
  }

  setHasVideos(hasVideos) {
    this.hasVideos = hasVideos;
    this.layOut();
  }

  /**
   * Who has videos looks at their list: this is a bar then, until files are chosen or the choice is opened. On a phone there is
   * little room, so the choice is always one line until it is opened.
   */
  layOut() {
    const fold = byId("choice-fold");
    const isIdle = this.hasVideos && !this.files.count;
    // What somebody types in stays open.
    if (isIdle !== this.isIdle && !(isIdle && fold.contains(document.activeElement))) {
      this.isIdle = isIdle;
      if (this.wide.matches) fold.open = !isIdle;
    }
    byId("add-videos").classList.toggle("foldable", this.isIdle);
    byId("add-videos").classList.toggle("compact", this.isIdle && !fold.open);
  }

  get isSentAtOnce() {
    try {
      return localStorage.getItem(SEND_AT_ONCE_KEY) === "yes";
    } catch {
      return false;
    }
  }

  setSentAtOnce(isAtOnce) {
    try {
      localStorage.setItem(SEND_AT_ONCE_KEY, isAtOnce ? "yes" : "no");
    } catch {
      // A storage that is full or forbidden remembers nothing.
    }
  }

  handleChange() {
    // The form reads itself while it is made.
    if (!this.form) return;
    const { spec } = this.form;
    byId("choice-summary").textContent = this.form.summary;
    this.showError("");
    this.files.setSpec(spec);
    if (spec && this.accountId !== null) rememberLastSpec(this.accountId, spec);
  }

  add(files) {
    if (!files.length) return;
    this.files.add(files);
    if (byId("send-at-once").checked) this.send();
  }

  send() {
    const spec = this.form.check();
    if (!spec) return;
    if (new TextEncoder().encode(JSON.stringify(spec)).length > MAX_SPEC_BYTES) {
      this.showError(t("chosen.spec_too_long"));
      return;
    }
    const files = this.files.take();
    // The button that had the focus is gone.
    byId("files").focus({ preventScroll: true });
    this.onSend(files, spec);
  }

  showError(message) {
    byId("chosen-error").textContent = message;
    byId("chosen-error").hidden = !message;
  }
}
