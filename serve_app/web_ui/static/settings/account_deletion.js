// Deletes the account, after its password and a confirmation.

import { callApi } from "../api_client.js";
import { confirmWithUser } from "../confirm_dialog.js";
import { checkFields, passwordError, showFieldError } from "../form_fields.js";
import { t } from "../texts.js";
import { SettingsForm } from "./settings_form.js";

const byId = (id) => document.getElementById(id);

export class AccountDeletion {
  constructor({ onDeleted, onLoggedOut }) {
    this.onDeleted = onDeleted;
    this.password = byId("deletion-password");
    new SettingsForm(byId("deletion-form"), {
      check: () => checkFields([[this.password, passwordError(this.password)]]),
      send: () => this.send(),
      onProblem: (problem) => this.showProblem(problem),
      onLoggedOut,
    });
  }

  clear() {
    this.password.value = "";
    showFieldError(this.password, "");
  }

  async send() {
    if (!(await confirmWithUser(t("deletion.question"), t("deletion.yes"), t("deletion.no")))) return "";
    await callApi("DELETE", "/v1/me", { password: this.password.value });
    this.clear();
    this.onDeleted();
    return "";
  }

  showProblem({ code }) {
    if (code !== "bad_credentials") return false;
    checkFields([[this.password, t("field.password_wrong")]]);
    this.password.select();
    return true;
  }
}
