// The ledger as an admin sees it: everything that was accepted, and what became of it.

import { describe, element } from "../element_builders.js";
import { formatCount } from "../formatting.js";
import { t } from "../texts.js";

const byId = (id) => document.getElementById(id);

/** [label, value] of the ledger. Pure. */
export function ledgerRows(ledger) {
  return [
    [t("admin.accepted"), formatCount(ledger.accepted)],
    [t("status.succeeded"), formatCount(ledger.succeeded)],
    [t("status.failed"), formatCount(ledger.failed)],
    [t("status.cancelled"), formatCount(ledger.cancelled)],
    [t("status.queued"), formatCount(ledger.queued)],
    [t("status.running"), formatCount(ledger.running)],
    [t("admin.deleted"), formatCount(ledger.deleted)],
  ];
}

export function showLedger(ledger) {
  describe(byId("admin-ledger"), ledgerRows(ledger));
  byId("admin-balance").className = `badge ${ledger.balanced ? "succeeded" : "failed"}`;
  byId("admin-balance").textContent = ledger.balanced ? t("admin.balanced") : t("admin.differences", { count: ledger.difference_count });
  byId("admin-differences").replaceChildren(...ledger.differences.map((id) => element("li", {}, element("code", { text: `${id} ${ledger.reasons[id]}` }))));
}
