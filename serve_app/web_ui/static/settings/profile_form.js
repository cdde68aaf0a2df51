// Name, language and notifications of an account.

import { languageOf } from "../account/account_language.js";
import { callApi } from "../api_client.js";
import { checkFields } from "../form_fields.js";
import { language, t } from "../texts.js";
import { SettingsForm } from "./settings_form.js";

const byId = (id) => document.getElementById(id);
const CONTROL_CHARACTER = /\p{Cc}/u;

export class ProfileForm {
  constructor({ onLanguage, onLoggedOut }) {
    this.onLanguage = onLanguage;
    this.name = byId("profile-name");
    this.language = byId("profile-language");
    new SettingsForm(byId("profile-form"), { check: () => this.check(), send: () => this.send(), onLoggedOut });
  }

  fill({ email, name, locale, notify }) {
    byId("profile-email").textContent = email;
    this.name.value = name;
    this.language.value = languageOf(locale, [...this.language.options].map(({ value }) => value)) ?? language;
    byId("profile-form").querySelector(`[name=notify][value=${notify}]`).checked = true;
  }

  check() {
    return checkFields([[this.name, CONTROL_CHARACTER.test(this.name.value) ? t("profile.name_invalid") : ""]]);
  }

  async send() {
    const account = await callApi("PATCH", "/v1/me", {
      name: this.name.value.trim(),
      locale: this.language.value,
      notify: byId("profile-form").querySelector("[name=notify]:checked").value,
    });
    if (this.language.value === language || this.onLanguage(account)) return t("settings.saved");
    return t("profile.language_later");
  }
}
