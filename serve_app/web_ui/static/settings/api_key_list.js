// The API keys of an account: create, see the secret once, and delete.

import { callApi, fetchItems } from "../api_client.js";
import { confirmWithUser } from "../confirm_dialog.js";
import { button, element, showSecret, wireSecret } from "../element_builders.js";
import { checkFields, showFieldError } from "../form_fields.js";
import { formatMoment } from "../formatting.js";
import { t } from "../texts.js";
import { SettingsForm } from "./settings_form.js";

const byId = (id) => document.getElementById(id);
const CONTROL_CHARACTER = /\p{Cc}/u;

export class ApiKeyList {
  constructor({ onLoggedOut }) {
    this.name = byId("api-key-name");
    this.form = new SettingsForm(byId("api-key-form"), { check: () => this.check(), send: () => this.send(), onLoggedOut });
    wireSecret("api-key", () => this.form.show(t("secret.copied"), ""));
  }

  clear() {
    this.name.value = "";
    showFieldError(this.name, "");
    showSecret("api-key", "");
  }

  async load() {
    const items = await fetchItems("/v1/api-keys");
    byId("api-keys").replaceChildren(...items.map((key) => this.newRow(key)));
    byId("api-keys-none").hidden = items.length > 0;
  }

  newRow(key) {
    const values = { date: formatMoment(key.created_at), used: key.last_used_at ? formatMoment(key.last_used_at) : "" };
    const about = key.last_used_at ? t("keys.about", values) : t("keys.about_unused", values);
    const text = element("div", { className: "item-text" }, element("div", { className: "item-name", text: key.name }), element("div", { className: "hint", text: about }));
    const remove = button(t("keys.delete"), t("keys.delete_name", { name: key.name }), () => this.remove(key));
    return element("li", {}, element("div", { className: "item-line" }, text, remove));
  }

  async remove(key) {
    if (!(await confirmWithUser(t("keys.question", { name: key.name }), t("keys.delete"), t("video.keep")))) return;
    const isDone = await this.form.attempt(async () => {
      await callApi("DELETE", `/v1/api-keys/${key.id}`);
      showSecret("api-key", "");
      await this.load();
      return t("keys.deleted");
    });
    if (isDone) byId("api-keys-title").focus();
  }

  check() {
    const name = this.name.value.trim();
    const message = !name ? t("keys.name_missing") : CONTROL_CHARACTER.test(name) ? t("profile.name_invalid") : "";
    return checkFields([[this.name, message]]);
  }

  async send() {
    const created = await callApi("POST", "/v1/api-keys", { name: this.name.value.trim() });
    this.name.value = "";
    showSecret("api-key", created.secret);
    await this.load();
    return t("keys.created");
  }
}
