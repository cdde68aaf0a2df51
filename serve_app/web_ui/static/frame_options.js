// The form that chooses which frames are extracted. The browser remembers the choices, because an upload goes on after a
// reload only when the same frames are asked for.

const STORAGE_KEY = "fotograma.frame-options";
const byId = (id) => document.getElementById(id);

export class FrameOptions {
  constructor() {
    this.fields = { mode: byId("mode"), fps: byId("fps"), maxSide: byId("max-side") };
    this.restore();
    this.showFields();
    for (const field of Object.values(this.fields)) field.addEventListener("change", () => this.handleChange());
  }

  /** The specification as the API takes it. Null when a field is invalid; then the browser says so at the field. */
  get spec() {
    const { mode: { value: mode }, fps, maxSide: { value: side } } = this.fields;
    if (mode === "fps" && (!fps.reportValidity() || Number.isNaN(fps.valueAsNumber))) {
      fps.focus();
      return null;
    }
    const sample = mode === "fps" ? { mode, fps: fps.valueAsNumber } : { mode };
    return { sample, image: { max_side: side ? Number(side) : null } };
  }

  handleChange() {
    this.showFields();
    const values = Object.entries(this.fields).map(([name, field]) => [name, field.value]);
    try {
      localStorage.setItem(STORAGE_KEY, JSON.stringify(Object.fromEntries(values)));
    } catch {
      // A storage that is full or forbidden remembers nothing.
    }
  }

  restore() {
    let values;
    try {
      values = JSON.parse(localStorage.getItem(STORAGE_KEY)) ?? {};
    } catch {
      return;
    }
    for (const [name, field] of Object.entries(this.fields)) {
      const before = field.value;
      if (typeof values[name] === "string") field.value = values[name];
      // A choice that this page does not have leaves a list without a value.
      if (field.selectedIndex === -1 || field.value === "" && name === "fps") field.value = before;
    }
  }

  showFields() {
    byId("fps-field").hidden = this.fields.mode.value !== "fps";
  }
}
