// Changes the password of an account.

import { callApi } from "../api_client.js";
import { checkFields, newPasswordError, passwordError } from "../form_fields.js";
import { t } from "../texts.js";
import { SettingsForm } from "./settings_form.js";

const byId = (id) => document.getElementById(id);

export class PasswordForm {
  constructor({ minLength, onLoggedOut }) {
    this.minLength = minLength;
    this.current = byId("password-current");
    this.new = byId("password-new");
    new SettingsForm(byId("password-form"), {
      check: () => this.check(),
      send: () => this.send(),
      onProblem: (problem) => this.showProblem(problem),
      onLoggedOut,
    });
  }

  fill({ email }) {
    byId("password-email").value = email;
    this.current.value = "";
    this.new.value = "";
  }

  check() {
    return checkFields([[this.current, passwordError(this.current)], [this.new, newPasswordError(this.new, this.minLength)]]);
  }

  async send() {
    await callApi("POST", "/v1/me/password", { current: this.current.value, new: this.new.value });
    this.current.value = "";
    this.new.value = "";
    return t("password.changed");
  }

  showProblem({ code }) {
    if (code !== "bad_credentials") return false;
    checkFields([[this.current, t("field.password_wrong")]]);
    this.current.select();
    return true;
  }
}
