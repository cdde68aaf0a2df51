// Numbers and statuses as people read them. Pure.

export const STATUS_WORDS = {
  queued: "Waiting",
  running: "Running",
  succeeded: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
  waiting: "Waiting to upload",
  uploading: "Uploading",
  refused: "Not taken",
};

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const padded = (value) => String(value).padStart(2, "0");
  return h ? `${h}:${padded(m)}:${padded(s)}` : `${m}:${padded(s)}`;
}

export const count = (value) => value.toLocaleString("en");

/** The line under a file name: what is known of the video. */
export function facts(video) {
  const parts = [bytes(video.size)];
  if (video.media) {
    parts.push(`${video.media.width} × ${video.media.height}`, duration(video.media.duration), video.media.codec);
  }
  return parts.join(" · ");
}

/** The line under the bar of an extraction that goes on, "" when there is nothing to say. */
export function progressDetail(extraction) {
  const { frames_done: done, frames_total: total, queue_position: position, eta_seconds: eta } = extraction.progress;
  if (extraction.status === "queued") return position ? `Number ${count(position)} in line` : "In line";
  if (extraction.status !== "running") return "";
  if (total === null) return "Reading the video…";
  const left = eta === null ? "" : ` · about ${duration(eta)} left`;
  return `${count(done)} of ${count(total)}${left}`;
}
