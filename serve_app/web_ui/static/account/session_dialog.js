// Asks for the password when the session ends while the page is used. The page behind it stays as it is.

import { Problem, callApi } from "../api_client.js";
import { checkFields, passwordError, problemText, showFieldError } from "../form_fields.js";
import { t } from "../texts.js";

const byId = (id) => document.getElementById(id);

export class SessionDialog {
  /** onLoggedIn(): gives a promise. onLeave(): the user does not want to go on with this account; it closes the dialog. */
  constructor({ onLoggedIn, onLeave }) {
    Object.assign(this, { onLoggedIn, onLeave });
    this.dialog = byId("session-ended");
    this.password = byId("session-password");
    byId("session-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    byId("session-leave").addEventListener("click", () => this.onLeave());
    // Without a session nothing on the page works, so Escape does not close it.
    this.dialog.addEventListener("cancel", (event) => event.preventDefault());
  }

  /** hasUploads: whether uploads wait for the log-in. */
  ask(email, hasUploads) {
    if (this.dialog.open) return;
    byId("session-email").value = email;
    byId("session-text").textContent = hasUploads ? t("session.uploads_wait", { email }) : t("session.text", { email });
    this.password.value = "";
    showFieldError(this.password, "");
    this.showError("");
    this.dialog.showModal();
  }

  showError(message) {
    byId("session-error").textContent = message;
    byId("session-error").hidden = !message;
  }

  async submit() {
    this.showError("");
    if (!checkFields([[this.password, passwordError(this.password)]])) return;
    try {
      await callApi("POST", "/session", { email: byId("session-email").value, password: this.password.value });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.code === "bad_credentials") checkFields([[this.password, t("field.password_wrong")]]);
      else this.showError(problemText(error));
      this.password.select();
      return;
    }
    this.password.value = "";
    this.dialog.close();
    await this.onLoggedIn();
  }

  close() {
    this.dialog.close();
  }
}
