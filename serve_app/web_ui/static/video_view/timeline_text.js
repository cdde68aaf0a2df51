// The events of an extraction in words. Pure functions.

import { errorText, t } from "../texts.js";

const BLAMES = {
  crash: () => t("event.blame_crash"),
  service: () => t("event.blame_service"),
  loss: () => t("event.blame_loss"),
};

const TITLES = {
  accepted: () => t("event.accepted"),
  claimed: ({ segment, attempt }) => segment ? t("event.claimed_segment", { segment, attempt }) : t("event.claimed", { attempt }),
  split: ({ segments }) => t("event.split", { count: segments }),
  segment_published: ({ segment }) => t("event.segment_published", { segment }),
  retried: ({ segment }) => segment ? t("event.retried_segment", { segment }) : t("event.retried"),
  released: ({ segment }) => segment ? t("event.released_segment", { segment }) : t("event.released"),
  replanned: () => t("event.replanned"),
  requeued: () => t("event.requeued"),
  reused: () => t("event.reused"),
  published: () => t("event.published"),
  failed: () => t("event.failed"),
  cancelled: () => t("event.cancelled"),
  notified: ({ channel }) => channel === "email" ? t("event.notified_email") : t("event.notified_webhook"),
};

/** {title, detail} of an event. An unknown kind is shown by its name. */
export function eventText(event) {
  const title = TITLES[event.kind]?.(event) ?? event.kind;
  if (event.kind === "failed") return { title, detail: errorText(event).reason };
  return { title, detail: BLAMES[event.blame]?.() ?? "" };
}
