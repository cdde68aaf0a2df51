// The dialog that extracts from stored videos again, with another choice of frames and without an upload.

import { t } from "../texts.js";
import { Estimates, MAX_ESTIMATED, estimateText, sumEstimates } from "./estimates.js";
import { isSameSpec, readSpec } from "./spec_validation.js";
import { SpecForm } from "./spec_form.js";

const byId = (id) => document.getElementById(id);

/** The specification that all of these videos had last; null when they had several. Pure. */
export function commonSpec(videos) {
  const [first, ...others] = videos.map(({ extraction }) => readSpec(extraction.spec).spec);
  return first && others.every((spec) => spec && isSameSpec(spec, first)) ? first : null;
}

/** How many of the videos have this result already. Pure. */
export function countReused(videos, spec) {
  const hasResult = ({ extraction }) => extraction.status === "succeeded" && isSameSpec(readSpec(extraction.spec).spec, spec);
  return spec ? videos.filter(hasResult).length : 0;
}

export class ExtractAgain {
  /** onLoggedOut(). */
  constructor({ onLoggedOut }) {
    this.onLoggedOut = onLoggedOut;
    this.estimates = new Estimates({ onChange: () => this.renderEstimate(), onLoggedOut });
    this.videos = [];
    byId("again-close").addEventListener("click", () => byId("again").close());
    byId("again").addEventListener("close", () => this.handleClose());
    byId("again-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  /** Asks for the choice. onSubmit(spec): gives a promise of an error's text; of "" when the dialog is to close. */
  open(videos, onSubmit) {
    Object.assign(this, { videos, onSubmit });
    const names = { name: videos[0].filename, count: videos.length };
    byId("again-about").textContent = videos.length === 1 ? t("again.about_one", names) : t("again.about", names);
    this.showError("");
    this.form = null;
    byId("again-choice").replaceChildren();
    this.form = new SpecForm(byId("again-choice"), "again", { onChange: () => this.handleChange(), onLoggedOut: this.onLoggedOut });
    this.form.presets.start();
    const spec = commonSpec(videos);
    if (spec) this.form.set(spec);
    else this.handleChange();
    byId("again").showModal();
    this.form.fields.mode.focus();
  }

  handleClose() {
    this.estimates.ask([], null);
    this.form = null;
    byId("again-choice").replaceChildren();
  }

  get sources() {
    return this.videos.map(({ id }) => ({ video_id: id }));
  }

  handleChange() {
    // The form reads itself while it is made.
    if (!this.form) return;
    this.showError("");
    this.estimates.ask(this.sources, this.form.spec);
    this.renderEstimate();
  }

  renderEstimate() {
    if (!this.form) return;
    const { estimates, form, videos } = this;
    byId("again-estimate").textContent = form.spec ? this.estimateSentences(estimates, form.spec, videos).join(" ") : t("estimate.wrong_choice");
  }

  estimateSentences(estimates, spec, videos) {
    const reused = countReused(videos, spec);
    return [
      estimateText(sumEstimates(this.sources.slice(0, MAX_ESTIMATED).map((source) => estimates.of(source)))),
      videos.length > MAX_ESTIMATED && t("estimate.first_ones", { count: MAX_ESTIMATED, total: videos.length }),
      estimates.problem && t("estimate.problem", { reason: estimates.problem.message }),
      estimates.left > 0 && !estimates.problem && t("estimate.running"),
      reused > 0 && (videos.length === 1 ? t("again.same_result") : t("again.same_results", { count: reused })),
    ].filter(Boolean);
  }

  async submit() {
    const spec = this.form.check();
    if (!spec) return;
    byId("again-submit").disabled = true;
    const error = await this.onSubmit(spec);
    byId("again-submit").disabled = false;
    if (error) this.showError(error);
    else byId("again").close();
  }

  showError(message) {
    byId("again-error").textContent = message;
    byId("again-error").hidden = !message;
  }
}
