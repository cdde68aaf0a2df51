// The webhooks of an account: add, delete, and see what was delivered.

import { callApi, fetchItems } from "../api_client.js";
import { confirmWithUser } from "../confirm_dialog.js";
import { button, element, showSecret, wireSecret } from "../element_builders.js";
import { checkFields } from "../form_fields.js";
import { formatMoment } from "../formatting.js";
import { t } from "../texts.js";
import { DeliveryList, eventLabel } from "./delivery_list.js";
import { SettingsForm } from "./settings_form.js";

const byId = (id) => document.getElementById(id);

export class WebhookList {
  constructor({ onLoggedOut, onConnection }) {
    Object.assign(this, { onLoggedOut, onConnection });
    this.url = byId("webhook-url");
    this.rows = new Map();
    this.form = new SettingsForm(byId("webhook-form"), {
      check: () => this.check(),
      send: () => this.send(),
      onProblem: (problem) => this.showProblem(problem),
      onLoggedOut,
    });
    wireSecret("webhook", () => this.form.show(t("secret.copied"), ""));
  }

  clear() {
    this.url.value = "";
    showSecret("webhook", "");
  }

  stop() {
    for (const { deliveries } of this.rows.values()) deliveries.close();
  }

  async load() {
    this.render(await fetchItems("/v1/webhooks"));
  }

  render(items) {
    const ids = new Set(items.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      row.deliveries.close();
      row.item.remove();
      this.rows.delete(id);
    }
    for (const webhook of items) if (!this.rows.has(webhook.id)) this.rows.set(webhook.id, this.newRow(webhook));
    byId("webhooks").replaceChildren(...items.map(({ id }) => this.rows.get(id).item));
    byId("webhooks-none").hidden = items.length > 0;
  }

  newRow(webhook) {
    const deliveries = new DeliveryList(webhook, this.form);
    const name = element("div", { className: "item-name", text: webhook.url });
    const about = t("webhooks.about", { events: webhook.events.map(eventLabel).join(", "), date: formatMoment(webhook.created_at) });
    const text = element("div", { className: "item-text" }, name, element("div", { className: "hint", text: about }));
    if (webhook.disabled_at) text.append(element("div", { className: "field-error", text: t("webhooks.off", { date: formatMoment(webhook.disabled_at) }) }));
    const remove = button(t("webhooks.delete"), t("webhooks.delete_name", { url: webhook.url }), () => this.remove(webhook));
    const line = element("div", { className: "item-line" }, text, deliveries.toggle, remove);
    return { item: element("li", {}, line, deliveries.panel), deliveries };
  }

  async remove(webhook) {
    if (!(await confirmWithUser(t("webhooks.question", { url: webhook.url }), t("webhooks.delete"), t("video.keep")))) return;
    const isDone = await this.form.attempt(async () => {
      await callApi("DELETE", `/v1/webhooks/${webhook.id}`);
      await this.load();
      return t("webhooks.deleted");
    });
    if (isDone) byId("webhooks-title").focus();
  }

  get chosenEvents() {
    return [...byId("webhook-form").querySelectorAll("[name=event]:checked")].map(({ value }) => value);
  }

  check() {
    const isUrl = /^https?:\/\/[^/]/i.test(this.url.value.trim()) && !this.url.validity.typeMismatch;
    return checkFields([
      [this.url, isUrl ? "" : t("webhooks.url_invalid")],
      [byId("webhook-events"), this.chosenEvents.length ? "" : t("webhooks.no_event")],
    ]);
  }

  async send() {
    const created = await callApi("POST", "/v1/webhooks", { url: this.url.value.trim(), events: this.chosenEvents });
    this.url.value = "";
    showSecret("webhook", created.secret);
    await this.load();
    return t("webhooks.added");
  }

  showProblem({ code }) {
    if (code !== "invalid_field") return false;
    checkFields([[this.url, t("webhooks.url_refused")]]);
    return true;
  }
}
