// Formats sizes, durations, statuses and progress for display. Pure functions.

import { language, t } from "./texts.js";

export const STATUS_LABELS = {
  queued: t("status.queued"),
  running: t("status.running"),
  succeeded: t("status.succeeded"),
  failed: t("status.failed"),
  cancelled: t("status.cancelled"),
  waiting: t("status.waiting"),
  sending: t("status.sending"),
  paused: t("status.paused"),
  checking: t("status.checking"),
  accepted: t("status.accepted"),
  refused: t("status.refused"),
};

const UNITS = ["", "KiB", "MiB", "GiB", "TiB"];
const numberFormat = new Intl.NumberFormat(language);
const tenthsFormat = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percentFormat = new Intl.NumberFormat(language, { style: "percent" });

export function formatBytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  if (!unit) return t("unit.bytes", { count });
  return `${value < 10 ? tenthsFormat.format(value) : numberFormat.format(Math.round(value))} ${UNITS[unit]}`;
}

export function formatDuration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const padded = (value) => String(value).padStart(2, "0");
  return h ? `${h}:${padded(m)}:${padded(s)}` : `${m}:${padded(s)}`;
}

const secondsFormat = new Intl.NumberFormat(language, { minimumFractionDigits: 3, maximumFractionDigits: 6 });
const partOfMinuteFormat = new Intl.NumberFormat(language, { minimumIntegerDigits: 2, minimumFractionDigits: 3 });
const momentFormat = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });

/** A place in a video with milliseconds, as in 1:05.040. */
export function formatTime(seconds) {
  const milliseconds = Math.round(seconds * 1000);
  const [h, m] = [Math.floor(milliseconds / 3_600_000), Math.floor(milliseconds / 60_000) % 60];
  const rest = partOfMinuteFormat.format((milliseconds % 60_000) / 1000);
  return h ? `${h}:${String(m).padStart(2, "0")}:${rest}` : `${m}:${rest}`;
}

export const formatSeconds = (seconds) => t("unit.seconds", { seconds: secondsFormat.format(seconds) });

/** A date with its time of day, of an RFC 3339 text. */
export const formatMoment = (text) => momentFormat.format(new Date(text));

export const formatCount = (value) => numberFormat.format(value);

/** A share as a percentage. It is rounded down, so that only the whole is 100 %. */
export const formatPercent = (fraction) => percentFormat.format(Math.floor(fraction * 100) / 100);

/** The line under the progress bar of an upload. */
export function uploadText(upload) {
  const { file, resumedAt, transfer } = upload;
  const rate = upload.status === "sending" ? transfer.rate.bytesPerSecond : null;
  const parts = [];
  if (resumedAt !== null) parts.push(t("upload.resumed", { percent: formatPercent(resumedAt) }));
  if (upload.status !== "waiting") {
    parts.push(t("upload.part", { part: formatBytes(transfer.confirmedBytes), size: formatBytes(file.size) }));
  }
  if (rate !== null) {
    const secondsLeft = (file.size - transfer.confirmedBytes) / rate;
    parts.push(t("upload.rate", { size: formatBytes(rate) }), t("upload.left", { duration: formatDuration(secondsLeft) }));
  }
  return parts.join(" · ");
}

/** The line under a file name: size, dimensions, duration and codec. */
export function mediaSummary(video) {
  const parts = [formatBytes(video.size)];
  if (video.media) {
    const { width, height, duration, codec } = video.media;
    parts.push(`${width} × ${height}`, formatDuration(duration), codec);
  }
  return parts.join(" · ");
}

/** The line under the progress bar of an extraction; "" when it has ended. */
export function progressText(extraction) {
  const { frames_done: done, frames_total: total, queue_position: position, eta_seconds: eta } = extraction.progress;
  if (extraction.status === "queued") return position ? t("video.position", { position }) : t("video.in_line");
  if (extraction.status !== "running") return "";
  if (total === null) return t("video.reading");
  if (eta === null) return t("video.frames_done", { done, total });
  return t("video.frames_done_left", { done, total, duration: formatDuration(eta) });
}
