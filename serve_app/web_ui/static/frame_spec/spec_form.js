// The form of a specification: its fields, its JSON, and the saved choices. The page has one of these, a dialog another.

import { showFieldError } from "../form_fields.js";
import { t } from "../texts.js";
import { PresetFields } from "./preset_fields.js";
import { DEFAULT_SPEC, parseSpec, specText } from "./spec_validation.js";
import { FIELD_OF_MODE, readTexts, textsOf } from "./spec_field_values.js";

const MODE_HINTS = {
  fps: t("spec.fps_hint"),
  interval: t("spec.interval_hint"),
  uniform: t("spec.uniform_hint"),
  timestamps: t("spec.timestamps_hint"),
  every_nth: t("spec.every_nth_hint"),
  keyframes: t("spec.keyframes_hint"),
  scenes: t("spec.scenes_hint"),
  all: t("spec.all_hint"),
};
const INITIAL_TEXTS = { seconds: "5", count: "20", n: "10", at: "" };
const MAX_SHOWN_ERRORS = 3;

/** Names the parts of a form for the labels and the screen readers. prefix: makes the ids unique. */
export function nameFields(root, prefix) {
  for (const field of root.querySelectorAll("[data-field]")) {
    const { field: name } = field.dataset;
    field.id = `${prefix}-${name}`;
    root.querySelector(`[data-for="${name}"]`).htmlFor = field.id;
    const described = ["hint", "error"].map((kind) => root.querySelector(`[data-${kind}="${name}"]`)).filter(Boolean);
    for (const node of described) node.id = `${field.id}-${node.dataset.hint ? "hint" : "error"}`;
    if (described.length) field.setAttribute("aria-describedby", described.map(({ id }) => id).join(" "));
  }
}

export class SpecForm {
  /** container: gets the form. prefix: of its ids. onChange(): its specification may be another one. onLoggedOut(). */
  constructor(container, prefix, { onChange, onLoggedOut }) {
    this.onChange = onChange;
    container.append(document.getElementById("spec-form").content.cloneNode(true));
    this.root = container.lastElementChild;
    nameFields(this.root, prefix);
    this.fields = Object.fromEntries([...this.root.querySelectorAll("[data-field]")].map((field) => [field.dataset.field, field]));
    this.presets = new PresetFields(this.root, this.fields, { specOf: () => this.check(), onChosen: (spec) => this.set(spec), onLoggedOut });
    this.part("fields").addEventListener("input", ({ target }) => this.handleInput(target));
    this.fields.json.addEventListener("input", () => this.handleJson());
    this.part("json").querySelector("[data-press]").addEventListener("click", () => this.revertJson());
    this.showTexts({ ...INITIAL_TEXTS, ...textsOf(DEFAULT_SPEC), threshold: "27" });
    this.read();
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  /** Shows a specification. What was typed for other modes stays. */
  set(spec) {
    this.showTexts(textsOf(spec));
    for (const field of Object.values(this.fields)) showFieldErrorOf(field, "");
    this.read();
  }

  showTexts(texts) {
    for (const [name, text] of Object.entries(texts)) this.fields[name].value = text;
    const { side, max_side: maxSide } = this.fields;
    side.value = texts.max_side;
    if (side.selectedIndex === -1) side.value = "other";
    else maxSide.value = texts.max_side || "1024";
  }

  get texts() {
    const texts = Object.fromEntries(Object.entries(this.fields).map(([name, field]) => [name, field.value]));
    return { ...texts, max_side: texts.side === "other" ? texts.max_side : texts.side };
  }

  /** The choice in a few words: which frames, their size and their format. */
  get summary() {
    const { mode, side, format, max_side: maxSide } = this.fields;
    const label = (select) => select.selectedOptions[0]?.textContent ?? "";
    const field = FIELD_OF_MODE[mode.value];
    const value = field && field !== "at" ? `: ${this.fields[field].value}` : "";
    return [label(mode) + value, side.value === "other" ? `${maxSide.value} px` : label(side), label(format)].join(" · ");
  }

  /** Reads the fields. While the JSON is wrong, it decides alone, so that nothing of it is lost. */
  read() {
    const { spec, errors } = readTexts(this.texts);
    Object.assign(this, { spec, errors, jsonErrors: [] });
    if (spec && document.activeElement !== this.fields.json) this.fields.json.value = specText(spec);
    this.showState();
    this.onChange();
  }

  handleInput(field) {
    showFieldErrorOf(field, "");
    this.read();
  }

  handleJson() {
    const { spec, errors } = parseSpec(this.fields.json.value);
    if (spec) return this.set(spec);
    Object.assign(this, { spec: null, jsonErrors: errors });
    this.showState();
    this.onChange();
  }

  /** Gives up what is wrong in the JSON. */
  revertJson() {
    this.fields.json.value = "";
    this.read();
    this.fields.json.focus();
  }

  showState() {
    const { mode, format, side } = this.fields;
    for (const name of Object.values(FIELD_OF_MODE)) this.holder(name).hidden = FIELD_OF_MODE[mode.value] !== name;
    this.root.querySelector('[data-hint="mode"]').textContent = MODE_HINTS[mode.value];
    this.holder("quality").hidden = format.value === "png";
    this.holder("max_side").hidden = side.value !== "other";
    const isWrong = this.jsonErrors.length > 0;
    this.part("fields").disabled = isWrong;
    this.part("json").querySelector("[data-press]").hidden = !isWrong;
    const shown = this.jsonErrors.slice(0, MAX_SHOWN_ERRORS);
    showFieldError(this.fields.json, shown.map(({ path, message }) => path ? t("spec.error_at", { path, message }) : message).join(" "));
    this.presets.show(this.spec);
  }

  holder(name) {
    return this.root.querySelector(`[data-holder="${name}"]`);
  }

  /** Gives the specification. Null when something is wrong: then it is said beside the field, which gets the focus. */
  check() {
    if (this.spec) return this.spec;
    const wrong = this.jsonErrors.length ? [] : Object.entries(this.errors);
    for (const [name, message] of wrong) showFieldError(this.fields[name], message);
    const first = this.jsonErrors.length ? this.fields.json : this.fields[wrong[0][0]];
    for (let details = first.closest("details"); details; details = details.parentElement.closest("details")) details.open = true;
    first.focus();
    return null;
  }
}

function showFieldErrorOf(field, message) {
  if (document.getElementById(`${field.id}-error`)) showFieldError(field, message);
}
