// The queue and its workers as an admin sees them.

import { badge, describe, element } from "../element_builders.js";
import { formatCount, formatDuration, formatMoment } from "../formatting.js";
import { errorText, t } from "../texts.js";

const byId = (id) => document.getElementById(id);
const TASK_KINDS = { extract: t("admin.task_extract"), segment: t("admin.task_segment"), assemble: t("admin.task_assemble") };
const WORKER_STATES = { running: t("status.running"), idle: t("admin.worker_idle"), lost: t("admin.worker_lost") };
const WORKER_BADGES = { running: "running", idle: "", lost: "failed" };

/** [label, value] of the queue. Pure. */
export function queueRows(queue) {
  const pauses = [[t("admin.accepting_paused"), queue.accepting_paused_at], [t("admin.claiming_paused"), queue.claiming_paused_at]];
  return [
    ...pauses.filter(([, since]) => since).map(([label, since]) => [label, t("admin.paused_since", { date: formatMoment(since) })]),
    [t("admin.waiting"), formatCount(queue.waiting)],
    [t("admin.throttled"), formatCount(queue.throttled)],
    [t("admin.delayed"), formatCount(queue.delayed)],
    [t("admin.oldest"), queue.oldest_seconds === null ? t("admin.nothing_waits") : formatDuration(queue.oldest_seconds)],
    [t("status.running"), formatCount(queue.running)],
    [t("admin.lost"), formatCount(queue.lost)],
    [t("admin.given_up"), formatCount(queue.given_up_count)],
  ];
}

export function showQueue(queue) {
  describe(byId("admin-queue"), queueRows(queue));
  byId("admin-given-up-title").hidden = !queue.given_up.length;
  byId("admin-given-up").replaceChildren(...queue.given_up.map((extraction) => {
    const values = { email: extraction.email ?? "", date: formatMoment(extraction.failed_at) };
    const about = element("div", { className: "hint", text: t("admin.given_up_about", values) });
    const { reason } = errorText({ code: extraction.code, detail: extraction.detail });
    const id = element("code", { text: extraction.extraction_id });
    return element("li", {}, element("div", { text: reason }), about, id);
  }));
}

/** What a worker does, or when it last had something to do. Pure. */
export function workerText({ tasks, last_claimed_at: claimedAt }) {
  if (!tasks.length) return claimedAt ? t("admin.worker_claimed", { date: formatMoment(claimedAt) }) : t("admin.worker_unused");
  return tasks.map(({ kind, attempt, frames_done: frames }) =>
    t("admin.worker_task", { task: TASK_KINDS[kind], attempt, frames })).join(" · ");
}

export function showWorkers(workers) {
  byId("admin-workers-none").hidden = workers.length > 0;
  byId("admin-workers").replaceChildren(...workers.map((worker) => {
    const name = element("div", { className: "item-name", text: worker.name });
    const hints = [workerText(worker), ...(worker.gpu ? [worker.gpu] : [])];
    const text = element("div", { className: "item-text" }, name, ...hints.map((hint) => element("div", { className: "hint", text: hint })));
    const state = badge(WORKER_BADGES[worker.state], WORKER_STATES[worker.state]);
    return element("li", {}, element("div", { className: "item-line" }, text, state));
  }));
}
