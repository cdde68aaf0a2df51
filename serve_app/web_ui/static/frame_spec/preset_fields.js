// The saved choices above the form of a specification: choose one, save the present choice under a name, delete one.

import { Problem } from "../api_client.js";
import { problemText, showFieldError } from "../form_fields.js";
import { t } from "../texts.js";
import { deletePreset, fetchPresets, presetChanges, presetNameError, presetOf, savePreset } from "./presets.js";

export class PresetFields {
  /**
   * root: of the form. fields: by their names. specOf(): the specification of the form; null when something is wrong with
   * it, which the form then says. onChosen(spec). onLoggedOut().
   */
  constructor(root, fields, { specOf, onChosen, onLoggedOut }) {
    Object.assign(this, { root, fields, specOf, onLoggedOut });
    this.presets = [];
    this.spec = null;
    this.run = 0;
    this.listenForChanges();
    fields.preset.addEventListener("change", () => {
      const chosen = this.presets.find(({ name }) => name === fields.preset.value);
      if (chosen) onChosen(chosen.spec);
    });
    const press = { save: () => this.askName(), delete: () => this.delete(), keep: () => this.keep(), dismiss: () => this.hideName() };
    for (const [name, action] of Object.entries(press)) this.button(name).addEventListener("click", action);
    fields.name.addEventListener("input", () => this.showName());
    fields.name.addEventListener("keydown", (event) => this.handleKey(event));
  }

  button(name) {
    return this.root.querySelector(`[data-press="${name}"]`);
  }

  get nameRow() {
    return this.root.querySelector('[data-part="name"]');
  }

  /** Another form of the page, another tab or the command line may change the list. Ends with the form. */
  listenForChanges() {
    const end = new AbortController();
    const reload = () => this.root.isConnected ? this.load() : end.abort();
    presetChanges.addEventListener("change", reload, { signal: end.signal });
    // Without a session the form is not visible.
    document.addEventListener("visibilitychange", () => { if (this.root.checkVisibility() && !document.hidden) reload(); }, { signal: end.signal });
  }

  /** Shows the choices of another account. */
  start() {
    this.hideName(false);
    this.showPresets([]);
    return this.load();
  }

  async load() {
    const run = ++this.run;
    await this.attempt(this.fields.preset, async () => {
      const presets = await fetchPresets();
      if (run === this.run) this.showPresets(presets);
    });
  }

  showPresets(presets) {
    this.presets = presets;
    const none = new Option(presets.length ? t("preset.none_chosen") : t("preset.none"), "");
    this.fields.preset.replaceChildren(none, ...presets.map(({ name }) => new Option(name, name)));
    this.show(this.spec);
  }

  /** Gives whether an action succeeded. Beside the field it says why not. */
  async attempt(field, action) {
    showFieldError(field, "");
    try {
      await action();
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) this.onLoggedOut();
      else showFieldError(field, problemText(error));
      return false;
    }
  }

  /** Shows which saved choice a specification is. */
  show(spec) {
    this.spec = spec;
    const { preset } = this.fields;
    preset.value = presetOf(this.presets, spec)?.name ?? "";
    preset.disabled = !this.presets.length;
    this.button("delete").hidden = !preset.value;
  }

  askName() {
    if (!this.specOf()) return;
    this.nameRow.hidden = false;
    this.fields.name.value = this.fields.preset.value;
    this.showName();
    this.fields.name.focus();
  }

  get isKnownName() {
    const name = this.fields.name.value.trim();
    return this.presets.some((preset) => preset.name === name);
  }

  showName() {
    showFieldError(this.fields.name, "");
    this.button("keep").textContent = this.isKnownName ? t("preset.replace") : t("preset.keep");
  }

  handleKey(event) {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    // Escape would close the dialog that the form may be in, and Enter would send it.
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Enter") this.keep();
    else this.hideName();
  }

  async keep() {
    const name = this.fields.name.value.trim().normalize("NFC");
    const wrong = presetNameError(name);
    const spec = wrong ? null : this.specOf();
    if (wrong) {
      showFieldError(this.fields.name, wrong);
      this.fields.name.focus();
    }
    if (!spec) return;
    if (await this.attempt(this.fields.name, () => savePreset(name, spec))) this.hideName();
    else this.fields.name.focus();
  }

  hideName(mustFocus = true) {
    this.nameRow.hidden = true;
    if (mustFocus) this.button("save").focus();
  }

  async delete() {
    const { value } = this.fields.preset;
    if (await this.attempt(this.fields.preset, () => deletePreset(value))) this.button("save").focus();
  }
}
