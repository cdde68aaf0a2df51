// What an account uses, beside its quotas.

import { formatBytes, formatCount } from "../formatting.js";
import { t } from "../texts.js";

/** [{label, used, quota, text}] of an account; quota is null for no limit. Pure. */
export function usageRows({ use, quotas }) {
  const row = (label, used, quota, format) => ({
    label, used, quota,
    text: quota === null ? t("usage.no_limit", { used: format(used) }) : t("usage.of", { used: format(used), quota: format(quota) }),
  });
  return [
    { label: t("usage.videos"), used: use.videos, quota: null, text: formatCount(use.videos) },
    row(t("usage.stored"), use.stored_bytes, quotas.stored_bytes, formatBytes),
    row(t("usage.waiting"), use.waiting, quotas.waiting, formatCount),
    row(t("usage.minutes"), Math.round(use.minutes_per_day), quotas.minutes_per_day, formatCount),
  ];
}

export function showUsage(account) {
  document.getElementById("usage").replaceChildren(...usageRows(account).flatMap(({ label, used, quota, text }) => {
    const term = document.createElement("dt");
    term.textContent = label;
    const description = document.createElement("dd");
    description.textContent = text;
    if (quota) {
      const meter = document.createElement("meter");
      Object.assign(meter, { min: 0, max: quota, value: used, high: quota * 0.9, optimum: 0 });
      meter.setAttribute("aria-label", label);
      description.append(meter);
    }
    return [term, description];
  }));
}
