// Formats sizes, durations, statuses and progress for display. Pure functions.

export const STATUS_LABELS = {
  queued: "Waiting",
  running: "Running",
  succeeded: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
  waiting: "To upload",
  sending: "Uploading",
  paused: "Paused",
  checking: "Checking",
  accepted: "Accepted",
  refused: "Not accepted",
};

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

export function formatBytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

export function formatDuration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const padded = (value) => String(value).padStart(2, "0");
  return h ? `${h}:${padded(m)}:${padded(s)}` : `${m}:${padded(s)}`;
}

export const formatCount = (value) => value.toLocaleString("en");

/** A share as a percentage. It is rounded down, so that only the whole is 100 %. */
export const formatPercent = (fraction) => `${Math.floor(fraction * 100)} %`;

/** The line under the progress bar of an upload. */
export function uploadText(upload) {
  const { file, resumedAt, transfer } = upload;
  const rate = upload.status === "sending" ? transfer.rate.bytesPerSecond : null;
  const parts = [];
  if (resumedAt !== null) parts.push(`Goes on at ${formatPercent(resumedAt)}`);
  if (upload.status !== "waiting") parts.push(`${formatBytes(transfer.confirmedBytes)} of ${formatBytes(file.size)}`);
  if (rate !== null) {
    const secondsLeft = (file.size - transfer.confirmedBytes) / rate;
    parts.push(`${formatBytes(rate)}/s`, `about ${formatDuration(secondsLeft)} left`);
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
  if (extraction.status === "queued") return position ? `Number ${formatCount(position)} in line` : "In line";
  if (extraction.status !== "running") return "";
  if (total === null) return "Reading the video…";
  const left = eta === null ? "" : ` · about ${formatDuration(eta)} left`;
  return `${formatCount(done)} of ${formatCount(total)}${left}`;
}
