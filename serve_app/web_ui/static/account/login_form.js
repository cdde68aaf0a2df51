// The form of a visitor: log in, or create an account.

import { Problem, callApi } from "../api_client.js";
import { checkFields, emailError, newPasswordError, passwordError, problemText, showFieldError } from "../form_fields.js";
import { language, t } from "../texts.js";

const byId = (id) => document.getElementById(id);

export class LoginForm {
  /** settings: of the page. onLoggedIn(): gives a promise. */
  constructor(settings, onLoggedIn) {
    Object.assign(this, { settings, onLoggedIn });
    this.email = byId("email");
    this.password = byId("password");
    byId("credentials").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    byId("choose-login").addEventListener("click", () => this.setRegistering(false));
    byId("choose-register").addEventListener("click", () => this.setRegistering(true));
    this.setRegistering(!settings.has_accounts && settings.registration_open);
  }

  /** done: what has just become of the account, for a visitor to know. */
  focus(done = "") {
    if (done) this.email.value = "";
    byId("credentials-done").textContent = done;
    (this.email.value ? this.password : this.email).focus();
  }

  setRegistering(isRegistering) {
    this.isRegistering = isRegistering;
    byId("choose-login").setAttribute("aria-pressed", String(!isRegistering));
    byId("choose-register").setAttribute("aria-pressed", String(isRegistering));
    byId("credentials-submit").textContent = isRegistering ? t("login.create_account") : t("login.log_in");
    this.password.autocomplete = isRegistering ? "new-password" : "current-password";
    byId("password-hint").hidden = !isRegistering;
    showFieldError(this.email, "");
    showFieldError(this.password, "");
    this.showError("");
  }

  showError(message) {
    byId("credentials-error").textContent = message;
    byId("credentials-error").hidden = !message;
  }

  async submit() {
    const { email, password, isRegistering } = this;
    this.showError("");
    byId("credentials-done").textContent = "";
    const wrongPassword = isRegistering ? newPasswordError(password, this.settings.password_min_length) : passwordError(password);
    if (!checkFields([[email, emailError(email)], [password, wrongPassword]])) return;
    const body = { email: email.value.trim(), password: password.value };
    byId("credentials-submit").disabled = true;
    try {
      if (isRegistering) {
        await callApi("POST", "/v1/users", { ...body, locale: language });
        this.setRegistering(false);
      }
      await callApi("POST", "/session", body);
      password.value = "";
      await this.onLoggedIn();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.showProblem(error);
    } finally {
      byId("credentials-submit").disabled = false;
    }
  }

  showProblem(problem) {
    if (problem.code === "email_taken") return checkFields([[this.email, problemText(problem)]]);
    if (problem.code === "invalid_field") return checkFields([[this.email, t("field.email_invalid")]]);
    this.showError(problemText(problem));
    if (problem.code === "bad_credentials") this.password.select();
    return undefined;
  }
}
