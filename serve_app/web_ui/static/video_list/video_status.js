// How a video's state is told: its badge, the sentences about it, and what can be done. Pure functions.

import { STATUS_LABELS } from "../formatting.js";
import { errorText, t, warningText } from "../texts.js";

export const isActive = ({ status }) => status === "queued" || status === "running";

/** Another try can help when the service failed or somebody cancelled. The same file fails again in the same way. */
export const canRetry = ({ status, extraction }) => status === "cancelled" || (status === "failed" && extraction.error?.fault === "service");

/** How many frames a result lacks, by the first number of that warning's sentence. */
function missingFrames(warnings) {
  const warning = warnings.find(({ code }) => code === "frames_missing");
  return Number(/^\d+/.exec(warning?.detail ?? "")?.[0] ?? 0);
}

/** {name, label}: of the badge. */
export function badgeOf({ status, extraction }) {
  const warnings = extraction.result?.warnings ?? [];
  if (!warnings.length) return { name: status, label: STATUS_LABELS[status] ?? status };
  const missing = missingFrames(warnings);
  const label = missing ? t("status.frames_missing", { count: missing }) : t("status.warned", { count: warnings.length });
  return { name: "warned", label };
}

/** {warning, reason, remedy}: sentences, "" for none. */
export function explanationOf({ extraction }) {
  const { reason, remedy } = extraction.error ? errorText(extraction.error) : { reason: "", remedy: "" };
  return { warning: (extraction.result?.warnings ?? []).map(warningText).join(" "), reason, remedy };
}
