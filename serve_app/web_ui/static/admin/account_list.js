// The accounts as an admin sees them: search, use and quotas, disable and enable.

import { callApi } from "../api_client.js";
import { confirmWithUser } from "../confirm_dialog.js";
import { badge, button, element } from "../element_builders.js";
import { formatMoment } from "../formatting.js";
import { usageRows } from "../settings/usage.js";
import { t } from "../texts.js";
import { QuotasDialog } from "./quotas_dialog.js";

const byId = (id) => document.getElementById(id);
const SEARCH_DELAY_MS = 250;

export class AccountList {
  /** attempt(action): does something that calls the API, and gives whether it was done. */
  constructor({ attempt, onLoggedOut }) {
    this.attempt = attempt;
    this.ownId = null;
    this.cursor = null;
    this.version = 0;
    this.quotas = new QuotasDialog({ onSaved: (account) => this.replace(account, "quotas", t("admin.quotas_saved")), onLoggedOut });
    let timer = 0;
    byId("admin-search").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.attempt(() => this.load()), SEARCH_DELAY_MS);
    });
    byId("admin-more").addEventListener("click", () => this.attempt(() => this.loadMore()));
  }

  /** Loads the first accounts that the search finds. Of two loads at the same time the later one counts. */
  async load() {
    const version = ++this.version;
    const { items, next_cursor: cursor } = await this.fetch("");
    if (version !== this.version) return;
    byId("admin-accounts").replaceChildren(...items.map((account) => this.newRow(account)));
    byId("admin-accounts-none").hidden = items.length > 0;
    this.setCursor(cursor);
  }

  async loadMore() {
    const version = this.version;
    const { items, next_cursor: cursor } = await this.fetch(`&cursor=${encodeURIComponent(this.cursor)}`);
    if (version !== this.version) return;
    const rows = items.map((account) => this.newRow(account));
    byId("admin-accounts").append(...rows);
    rows[0]?.querySelector("button").focus();
    this.setCursor(cursor);
  }

  fetch(more) {
    return callApi("GET", `/v1/admin/users?q=${encodeURIComponent(byId("admin-search").value.trim())}${more}`);
  }

  setCursor(cursor) {
    this.cursor = cursor;
    byId("admin-more").hidden = !cursor;
  }

  newRow(account) {
    const name = element("div", { className: "item-name", text: account.email });
    const use = usageRows(account).map(({ label, text }) => `${label}: ${text}`).join(" · ");
    const since = t("admin.since", { date: formatMoment(account.created_at) });
    const text = element("div", { className: "item-text" }, name, element("div", { className: "hint", text: use }), element("div", { className: "hint", text: since }));
    if (account.name) name.after(element("div", { text: account.name }));
    const line = element("div", { className: "item-line" }, text, ...badgesOf(account));
    const quotas = button(t("admin.quotas"), t("admin.quotas_of", { email: account.email }), () => this.quotas.open(account));
    quotas.dataset.verb = "quotas";
    line.append(quotas);
    if (account.id !== this.ownId) line.append(this.newSwitch(account));
    const row = element("li", {}, line);
    row.dataset.account = account.id;
    return row;
  }

  newSwitch(account) {
    const { email, disabled_at: disabledAt } = account;
    const made = disabledAt
      ? button(t("admin.enable"), t("admin.enable_name", { email }), () => this.setDisabled(account, false))
      : button(t("admin.disable"), t("admin.disable_name", { email }), () => this.setDisabled(account, true));
    made.dataset.verb = "switch";
    return made;
  }

  async setDisabled(account, disabled) {
    const { email } = account;
    if (disabled && !(await confirmWithUser(t("admin.disable_question", { email }), t("admin.disable"), t("admin.disable_no")))) return;
    await this.attempt(async () => {
      const changed = await callApi("PATCH", `/v1/admin/users/${account.id}`, { disabled });
      this.replace(changed, "switch", disabled ? t("admin.disabled", { email }) : t("admin.enabled", { email }));
    });
  }

  /** Shows an account as it is after a change. The focus stays at the button of the change. */
  replace(account, verb, done) {
    const row = this.newRow(account);
    byId("admin-accounts").querySelector(`[data-account="${account.id}"]`)?.replaceWith(row);
    row.querySelector(`[data-verb="${verb}"]`)?.focus();
    byId("admin-accounts-done").textContent = done;
  }
}

function badgesOf({ role, disabled_at: disabledAt, has_own_quotas: hasOwn }) {
  return [
    ...(role === "admin" ? [badge("running", t("admin.role_admin"))] : []),
    ...(hasOwn ? [badge("", t("admin.own_quotas"))] : []),
    ...(disabledAt ? [badge("failed", t("admin.badge_disabled"))] : []),
  ];
}
