// The deliveries of one webhook, the newest first, each with its last attempt and a button that sends it again.

import { callApi } from "../api_client.js";
import { button, element } from "../element_builders.js";
import { formatMoment } from "../formatting.js";
import { t } from "../texts.js";

const PAGE_ITEMS = 20;
const PENDING_MS = 2000;
const EVENT_LABELS = {
  "extraction.succeeded": t("status.succeeded"),
  "extraction.failed": t("status.failed"),
  "extraction.cancelled": t("status.cancelled"),
};
const STATUS_LABELS = {
  pending: t("delivery.pending"),
  delivered: t("delivery.delivered"),
  given_up: t("delivery.given_up"),
};
const BADGES = { pending: "waiting", delivered: "succeeded", given_up: "failed" };

export const eventLabel = (type) => EVENT_LABELS[type] ?? type;

/** What came of the last attempt; "" before the first one. Pure. */
export function attemptText({ tries }) {
  const last = tries.at(-1);
  if (!last) return "";
  const values = { count: tries.length, status: String(last.status ?? ""), date: formatMoment(last.at), milliseconds: last.milliseconds };
  return last.status === null ? t("delivery.no_answer", values) : t("delivery.answer", values);
}

export class DeliveryList {
  /** form: of the webhooks, which shows what came of an action. */
  constructor(webhook, form) {
    Object.assign(this, { webhook, form });
    this.panel = element("div", { className: "deliveries" });
    this.panel.id = `deliveries-${webhook.id}`;
    this.panel.hidden = true;
    this.toggle = button(t("delivery.show"), t("delivery.show_name", { url: webhook.url }), () => this.setOpen(this.panel.hidden));
    this.toggle.setAttribute("aria-expanded", "false");
    this.toggle.setAttribute("aria-controls", this.panel.id);
    this.limit = PAGE_ITEMS;
    this.timer = 0;
  }

  setOpen(isOpen) {
    this.panel.hidden = !isOpen;
    this.toggle.setAttribute("aria-expanded", String(isOpen));
    clearTimeout(this.timer);
    if (isOpen) this.form.attempt(() => this.load());
  }

  close() {
    this.setOpen(false);
  }

  async load() {
    clearTimeout(this.timer);
    const { items, next_cursor: cursor } = await callApi("GET", `/v1/webhooks/${this.webhook.id}/deliveries?limit=${this.limit}`);
    this.render(items, cursor && this.limit < 200);
    const isPending = items.some(({ status }) => status === "pending");
    if (isPending && !this.panel.hidden) this.timer = setTimeout(() => this.form.attempt(() => this.load()), PENDING_MS);
    return "";
  }

  render(items, hasMore) {
    const state = JSON.stringify([items, hasMore]);
    if (state === this.rendered) return;
    this.rendered = state;
    const focused = document.activeElement.dataset?.delivery;
    const rows = items.map((delivery) => this.newRow(delivery));
    this.panel.replaceChildren(rows.length ? element("ul", { className: "items" }, ...rows) : element("p", { className: "hint", text: t("delivery.none") }));
    if (hasMore) this.panel.append(button(t("videos.show_more"), "", () => this.showMore()));
    if (focused) this.panel.querySelector(`[data-delivery="${focused}"]`)?.focus();
  }

  newRow(delivery) {
    const badge = element("span", { className: `badge ${BADGES[delivery.status] ?? ""}`, text: STATUS_LABELS[delivery.status] ?? delivery.status });
    const what = t("delivery.about", { event: eventLabel(delivery.type), date: formatMoment(delivery.created_at) });
    const text = element("div", { className: "item-text" }, element("div", { text: what }), element("div", { className: "hint", text: attemptText(delivery) }));
    const resend = button(t("delivery.resend"), t("delivery.resend_name", { event: what }), () => this.resend(delivery));
    resend.dataset.delivery = delivery.id;
    resend.hidden = Boolean(this.webhook.disabled_at);
    return element("li", {}, element("div", { className: "item-line" }, text, badge, resend));
  }

  showMore() {
    this.limit = 200;
    this.form.attempt(() => this.load());
  }

  async resend(delivery) {
    await this.form.attempt(async () => {
      await callApi("POST", `/v1/webhooks/${this.webhook.id}/deliveries/${delivery.id}/redeliver`);
      await this.load();
      return t("delivery.resent");
    });
  }
}
