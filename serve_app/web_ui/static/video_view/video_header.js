// The head of a video's view: its name, its state, what can be done with it, and its progress.

import { formatBytes, formatPercent, mediaSummary, progressText } from "../formatting.js";
import { t } from "../texts.js";
import { badgeOf, canRetry, explanationOf, isActive } from "../video_list/video_status.js";

const byId = (id) => document.getElementById(id);

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = text === "";
}

export class VideoHeader {
  /** onAction(verb, video): again, cancel, retry or delete. */
  constructor(onAction) {
    for (const verb of ["again", "cancel", "retry", "delete"]) {
      byId(`video-${verb}`).addEventListener("click", () => onAction(verb, this.video));
    }
  }

  clear() {
    byId("video-title").textContent = "";
    byId("video-state").hidden = true;
    byId("video-actions").hidden = true;
    byId("video-progress").hidden = true;
    for (const id of ["video-warning", "video-error", "video-summary"]) byId(id).hidden = true;
  }

  render(video) {
    this.video = video;
    const { extraction, filename, status } = video;
    const { name, label } = badgeOf(video);
    byId("video-title").textContent = filename;
    byId("video-state").hidden = false;
    byId("video-badge").className = `badge ${name}`;
    byId("video-badge").textContent = label;
    const archive = extraction.result ? [t("video.archive", { size: formatBytes(extraction.result.bytes) })] : [];
    const reused = extraction.reused ? [t("video.reused")] : [];
    setText(byId("video-summary"), [mediaSummary(video), ...archive, ...reused].join(" · "));
    this.renderExplanation(video);
    this.renderProgress(video);
    byId("video-actions").hidden = false;
    const download = byId("video-download");
    download.hidden = status !== "succeeded";
    download.href = `/v1/extractions/${extraction.id}/frames.zip`;
    byId("video-cancel").hidden = !isActive(video);
    byId("video-retry").hidden = !canRetry(video);
  }

  renderExplanation(video) {
    const { warning, reason, remedy } = explanationOf(video);
    setText(byId("video-warning"), warning);
    byId("video-error").hidden = !reason;
    setText(byId("video-reason"), reason);
    setText(byId("video-remedy"), remedy);
  }

  renderProgress(video) {
    const { extraction, filename, status } = video;
    const { fraction } = extraction.progress;
    byId("video-progress").hidden = !isActive(video);
    const bar = byId("video-bar");
    bar.hidden = status !== "running";
    bar.setAttribute("aria-label", t("video.progress", { name: filename }));
    if (fraction === null) bar.removeAttribute("value");
    else bar.value = fraction;
    const percent = status === "running" && fraction !== null ? [formatPercent(fraction)] : [];
    byId("video-progress-text").textContent = [...percent, progressText(extraction)].join(" · ");
  }
}
