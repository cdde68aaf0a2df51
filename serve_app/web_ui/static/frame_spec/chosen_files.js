// The files that were chosen and are not sent yet: what each is, and what the extraction is going to give.

import { formatBytes, formatCount, formatDuration } from "../formatting.js";
import { t } from "../texts.js";
import { Estimates, MAX_ESTIMATED, estimateText, sumEstimates } from "./estimates.js";
import { readMediaFacts } from "./media_facts.js";

const MAX_CONCURRENT = 3;
const MAX_LISTED = 50;
const RATE_MODES = ["every_nth", "all"];
const byId = (id) => document.getElementById(id);

/** The line about one file. item: {file, media}, where media is undefined until it is known. Pure. */
export function fileText({ file, media }) {
  const facts = media ? [`${media.width} × ${media.height}`, formatDuration(media.duration)] : [];
  return [formatBytes(file.size), ...facts, ...(media === null ? [t("chosen.unreadable")] : [])].join(" · ");
}

export class ChosenFiles {
  /** onSend(): the files are to be sent. onChange(): there are more or fewer files. onLoggedOut(). */
  constructor({ onSend, onChange, onLoggedOut }) {
    this.onChange = onChange;
    this.items = [];
    this.spec = null;
    this.isReading = 0;
    this.estimates = new Estimates({ onChange: () => this.renderEstimate(), onLoggedOut });
    byId("send-files").addEventListener("click", onSend);
    byId("drop-files").addEventListener("click", () => {
      this.clear();
      byId("files").focus();
    });
  }

  get count() {
    return this.items.length;
  }

  add(files) {
    this.items = [...this.items, ...files.map((file) => ({ file }))];
    this.render();
    byId("send-files").focus();
    while (this.isReading < MAX_CONCURRENT && this.nextUnread) this.readFacts();
  }

  /** Gives the files, which then are no longer chosen. */
  take() {
    const files = this.items.map(({ file }) => file);
    this.clear();
    return files;
  }

  clear() {
    this.items = [];
    this.render();
  }

  setSpec(spec) {
    this.spec = spec;
    this.ask();
  }

  get nextUnread() {
    return this.items.slice(0, MAX_ESTIMATED).find((item) => item.media === undefined && !item.isReading);
  }

  async readFacts() {
    this.isReading += 1;
    for (let item = this.nextUnread; item; item = this.nextUnread) {
      item.isReading = true;
      item.media = await readMediaFacts(item.file);
      if (item.line) item.line.textContent = fileText(item);
      this.ask();
    }
    this.isReading -= 1;
  }

  get sources() {
    return this.items.filter(({ media }) => media).map(({ media }) => ({ media }));
  }

  ask() {
    this.estimates.ask(this.sources, this.spec);
    this.renderEstimate();
  }

  render() {
    byId("chosen").hidden = !this.items.length;
    const size = this.items.reduce((total, { file }) => total + file.size, 0);
    byId("chosen-title").textContent = t("chosen.title", { count: this.items.length, size: formatBytes(size) });
    byId("send-files").textContent = t("chosen.send", { count: this.items.length });
    byId("chosen-list").replaceChildren(...this.items.slice(0, MAX_LISTED).map((item) => this.newLine(item)));
    const others = this.items.length - MAX_LISTED;
    byId("chosen-others").hidden = others <= 0;
    byId("chosen-others").textContent = t("chosen.others", { count: others });
    this.onChange();
    this.ask();
  }

  newLine(item) {
    const line = byId("chosen-file").content.cloneNode(true).firstElementChild;
    const [name, about, remove] = line.children;
    name.textContent = item.file.name;
    about.textContent = fileText(item);
    item.line = about;
    remove.setAttribute("aria-label", t("chosen.remove_name", { name: item.file.name }));
    remove.addEventListener("click", () => this.remove(item));
    return line;
  }

  remove(item) {
    const at = this.items.indexOf(item);
    this.items = this.items.filter((other) => other !== item);
    this.render();
    const buttons = [...byId("chosen-list").querySelectorAll("button")];
    (buttons[Math.min(at, buttons.length - 1)] ?? byId("files")).focus();
  }

  renderEstimate() {
    byId("chosen-estimate").textContent = this.items.length ? this.estimateSentences().join(" ") : "";
  }

  estimateSentences() {
    const { items, estimates, spec } = this;
    if (!spec) return [t("estimate.wrong_choice")];
    const isReading = items.slice(0, MAX_ESTIMATED).some(({ media }) => media === undefined);
    const sum = sumEstimates(this.sources.slice(0, MAX_ESTIMATED).map((source) => estimates.of(source)));
    const unknown = items.slice(0, MAX_ESTIMATED).filter(({ media }) => media === null).length;
    const assumesRate = RATE_MODES.includes(spec.sample.mode) && this.sources.slice(0, MAX_ESTIMATED).some(({ media }) => !media.fps_average);
    return [
      estimateText(sum),
      sum.count > 0 && assumesRate && t("estimate.assumed_rate"),
      items.length > MAX_ESTIMATED && t("estimate.first_ones", { count: MAX_ESTIMATED, total: formatCount(items.length) }),
      unknown && t("estimate.unreadable", { count: unknown }),
      estimates.problem && t("estimate.problem", { reason: estimates.problem.message }),
      (isReading || (estimates.left > 0 && !estimates.problem)) && t("estimate.running"),
    ].filter(Boolean);
  }
}
