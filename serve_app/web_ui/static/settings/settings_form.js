// A form of the settings: checks its fields, sends it, and says beside the button what came of it.

import { Problem } from "../api_client.js";
import { problemText } from "../form_fields.js";

export class SettingsForm {
  /**
   * check(): whether the fields are right; it has shown what is wrong. send(): gives a promise of the sentence to show.
   * onProblem(problem): whether it has shown the problem beside a field. onLoggedOut(): the session has ended.
   */
  constructor(form, { check, send, onProblem = () => false, onLoggedOut }) {
    Object.assign(this, { form, check, send, onProblem, onLoggedOut });
    this.button = form.querySelector("button[type=submit]");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    form.addEventListener("input", () => this.show("", ""));
  }

  show(done, error) {
    const place = this.form.querySelector(".done");
    if (place) place.textContent = done;
    const alert = this.form.querySelector(".error");
    alert.textContent = error;
    alert.hidden = !error;
  }

  /** Does something that is not sent by the form, and shows the sentence that it gives. Gives whether it was done. */
  async attempt(action) {
    try {
      const done = await action();
      if (done) this.show(done, "");
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) this.onLoggedOut();
      else this.show("", problemText(error));
      return false;
    }
  }

  async submit() {
    this.show("", "");
    if (this.button.disabled || !this.check()) return;
    this.button.disabled = true;
    try {
      this.show(await this.send(), "");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.code === "unauthenticated") this.onLoggedOut();
      else if (!this.onProblem(error)) this.show("", problemText(error));
    } finally {
      this.button.disabled = false;
    }
  }
}
