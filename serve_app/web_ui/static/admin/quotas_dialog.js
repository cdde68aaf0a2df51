// Gives an account quotas of its own, or those of the service.

import { callApi } from "../api_client.js";
import { checkFields, showFieldError } from "../form_fields.js";
import { SettingsForm } from "../settings/settings_form.js";
import { t } from "../texts.js";

const byId = (id) => document.getElementById(id);
const GIB = 2 ** 30;
const MAX_GIB = 8_000_000;
const MAX_COUNT = 1_000_000_000;

/** What is wrong with the text of a number field; "" for nothing. An empty field is no limit. Pure. */
export function numberError({ text, isBad, isWhole, max }) {
  const number = Number(text);
  const isRight = !isBad && (!text || (number > 0 && number <= max && (!isWhole || Number.isInteger(number))));
  if (isRight) return "";
  return isWhole ? t("admin.whole_number", { max }) : t("admin.number", { max });
}

export class QuotasDialog {
  /** onSaved(account): as it is after the change. */
  constructor({ onSaved, onLoggedOut }) {
    this.onSaved = onSaved;
    this.dialog = byId("quotas-dialog");
    this.waiting = byId("quotas-waiting");
    this.stored = byId("quotas-stored");
    this.minutes = byId("quotas-minutes");
    const form = byId("quotas-form");
    this.form = new SettingsForm(form, {
      check: () => this.check(),
      send: () => this.send(),
      onLoggedOut: () => {
        this.dialog.close();
        onLoggedOut();
      },
    });
    for (const choice of form.querySelectorAll("[name=quotas]")) choice.addEventListener("change", () => this.showChoice());
    byId("quotas-cancel").addEventListener("click", () => this.dialog.close());
  }

  get isOwn() {
    return byId("quotas-own").checked;
  }

  open(account) {
    const { quotas, has_own_quotas: hasOwn } = account;
    this.account = account;
    byId("quotas-account").textContent = account.email;
    byId(hasOwn ? "quotas-own" : "quotas-common").checked = true;
    this.waiting.value = quotas.waiting ?? "";
    this.minutes.value = quotas.minutes_per_day ?? "";
    this.storedText = quotas.stored_bytes === null ? "" : String(Math.round((quotas.stored_bytes / GIB) * 1000) / 1000);
    this.stored.value = this.storedText;
    for (const field of [this.waiting, this.stored, this.minutes]) showFieldError(field, "");
    this.form.show("", "");
    this.showChoice();
    this.dialog.showModal();
  }

  showChoice() {
    byId("quotas-fields").disabled = !this.isOwn;
  }

  /** The bytes of the field. They are kept to the byte while its rounded text is not changed. */
  get storedBytes() {
    if (this.stored.value === this.storedText) return this.account.quotas.stored_bytes;
    return this.stored.value ? Math.max(1, Math.round(Number(this.stored.value) * GIB)) : null;
  }

  check() {
    if (!this.isOwn) return true;
    const errorOf = (field, isWhole, max) => numberError({ text: field.value, isBad: field.validity.badInput, isWhole, max });
    const storedError = this.stored.value === this.storedText && !this.stored.validity.badInput ? "" : errorOf(this.stored, false, MAX_GIB);
    return checkFields([
      [this.waiting, errorOf(this.waiting, true, MAX_COUNT)],
      [this.stored, storedError],
      [this.minutes, errorOf(this.minutes, true, MAX_COUNT)],
    ]);
  }

  async send() {
    const count = (field) => field.value ? Number(field.value) : null;
    const own = { waiting: count(this.waiting), stored_bytes: this.storedBytes, minutes_per_day: count(this.minutes) };
    const account = await callApi("PATCH", `/v1/admin/users/${this.account.id}`, { quotas: this.isOwn ? own : null });
    this.dialog.close();
    this.onSaved(account);
    return "";
  }
}
