// Renders the table's rows. Text of files and of the server is set as text, never as markup.

import { STATUS_LABELS, formatBytes, formatCount, formatPercent, mediaSummary, progressText, uploadText } from "../formatting.js";
import { t } from "../texts.js";
import { TableBody } from "./table_body.js";
import { badgeOf, canRetry, explanationOf, isActive } from "./video_status.js";

function appendElement(parent, name, className) {
  const node = document.createElement(name);
  if (className) node.className = className;
  parent.append(node);
  return node;
}

// Roles are told, because a browser takes them from the table layout, which these rows do not have.
function appendCell(row, className) {
  const cell = appendElement(row, "td", className);
  cell.setAttribute("role", "cell");
  return cell;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = text === "";
}

function appendButton(parent, label, onclick) {
  const button = appendElement(parent, "button", "button secondary");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", onclick);
  return button;
}

/** The cells that rows of uploads and of videos share. */
class Row {
  /** nameElement: the name of the element that has the name of the file. */
  constructor(nameElement = "span") {
    this.tr = document.createElement("tr");
    this.tr.setAttribute("role", "row");
    this.select = appendCell(this.tr, "select-cell");
    const line = appendElement(appendCell(this.tr, "file"), "div", "file-line");
    this.thumb = appendElement(appendElement(line, "span", "thumb"), "img", "");
    this.thumb.alt = "";
    this.thumb.loading = "lazy";
    this.thumb.decoding = "async";
    this.thumb.hidden = true;
    this.thumb.addEventListener("error", () => { this.thumb.hidden = true; });
    const text = appendElement(line, "div", "file-text");
    this.name = appendElement(appendElement(text, "div", "name"), nameElement, nameElement === "a" ? "open" : "");
    this.name.dir = "auto";
    this.summary = appendElement(text, "div", "summary");
    this.explanation = appendElement(text, "div", "explanation");
    this.warning = appendElement(this.explanation, "div", "warning");
    this.reason = appendElement(this.explanation, "div", "reason");
    this.remedy = appendElement(this.explanation, "div", "remedy");
    this.badge = appendElement(appendCell(this.tr, ""), "span", "badge");
    const cell = appendCell(this.tr, "progress-cell");
    this.bars = appendElement(cell, "div", "bars");
    this.bar = appendElement(this.bars, "progress", "");
    this.bar.max = 1;
    this.detail = appendElement(cell, "div", "detail");
    this.frames = appendCell(this.tr, "number");
    this.frames.dataset.label = t("videos.frames");
    this.actions = appendCell(this.tr, "actions");
  }

  /** {name, label}: of the badge. */
  setBadge({ name, label }) {
    this.badge.className = `badge ${name}`;
    setText(this.badge, label);
  }

  /** fraction: 0 to 1, null for an indeterminate bar, undefined to hide the bar. */
  setProgress(fraction, label) {
    this.bars.hidden = fraction === undefined;
    this.bar.setAttribute("aria-label", label);
    if (fraction === null) this.bar.removeAttribute("value");
    else if (fraction !== undefined) this.bar.value = fraction;
  }

  setExplanation({ warning = "", reason = "", remedy = "" }) {
    this.explanation.hidden = !warning && !reason && !remedy;
    setText(this.warning, warning);
    setText(this.reason, reason);
    setText(this.remedy, remedy);
  }
}

class UploadRow extends Row {
  constructor(upload, onAction) {
    super();
    setText(this.name, upload.file.name);
    setText(this.summary, formatBytes(upload.file.size));
    this.sentBar = document.createElement("progress");
    this.sentBar.className = "sent";
    this.sentBar.setAttribute("aria-hidden", "true");
    this.bars.prepend(this.sentBar);
    this.toggle = appendButton(this.actions, "", () => onAction(this.toggle.dataset.verb, upload));
    this.remove = appendButton(this.actions, "", () => onAction("remove", upload));
    this.remove.classList.add("last");
  }

  update(upload) {
    const { status, refusal, transfer } = upload;
    const { confirmedBytes, sentBytes, waitMessage } = transfer;
    const rendered = [status, confirmedBytes, sentBytes, waitMessage, upload.resumedAt, refusal?.reason].join();
    if (rendered === this.rendered) return;
    this.rendered = rendered;
    this.setBadge({ name: status, label: STATUS_LABELS[status] });
    this.showProgress(upload);
    this.setExplanation(refusal ?? {});
    const isMoving = status === "waiting" || status === "sending";
    const verb = isMoving ? "pause" : "resume";
    this.toggle.dataset.verb = verb;
    const { name } = upload.file;
    const labels = refusal ? [t("upload.try_again"), t("upload.try_again_name", { name })]
      : isMoving ? [t("upload.pause"), t("upload.pause_name", { name })]
        : [t("upload.resume"), t("upload.resume_name", { name })];
    this.setButton(this.toggle, labels, isMoving || status === "paused" || Boolean(refusal?.isTransient));
    const removeLabels = refusal ? [t("upload.dismiss"), t("upload.dismiss_name", { name })]
      : [t("upload.cancel"), t("upload.cancel_name", { name })];
    this.setButton(this.remove, removeLabels, status !== "accepted");
  }

  /** The bar ends where the service has confirmed the bytes. The pale bar behind it has what is on its way. */
  showProgress(upload) {
    const { file, status, transfer } = upload;
    const confirmed = file.size ? transfer.confirmedBytes / file.size : 0;
    const hasEnded = status === "refused" || status === "accepted";
    const isUntouched = status === "waiting" && !confirmed;
    this.setProgress(hasEnded || isUntouched ? undefined : status === "checking" ? null : confirmed, t("upload.progress", { name: file.name }));
    this.bar.setAttribute("aria-valuetext", status === "checking" ? STATUS_LABELS.checking : formatPercent(confirmed));
    this.sentBar.hidden = transfer.sentBytes <= transfer.confirmedBytes;
    this.sentBar.value = file.size ? transfer.sentBytes / file.size : 0;
    const waitMessage = status === "paused" ? "" : transfer.waitMessage;
    setText(this.detail, hasEnded ? "" : waitMessage || uploadText(upload));
  }

  setButton(button, [label, name], visible) {
    button.textContent = label;
    button.hidden = !visible;
    button.setAttribute("aria-label", name);
  }
}

const THUMBNAIL_WIDTH = 160;

class VideoRow extends Row {
  /** onAction(verb, video): again, cancel, retry or delete. address: of the page. selected: which rows are selected. */
  constructor(video, { onAction, address, selected }) {
    super("a");
    this.selected = selected;
    this.tr.dataset.video = video.id;
    this.checkbox = appendElement(appendElement(this.select, "label", "select-box"), "input", "");
    this.checkbox.type = "checkbox";
    this.checkbox.addEventListener("click", ({ shiftKey }) => selected.select(video.id, this.checkbox.checked, shiftKey));
    const changes = () => ({ video: this.video.id, part: "frames", frame: null });
    this.hrefOf = () => address.hrefOf(changes());
    address.followLink(this.name, changes);
    this.tr.addEventListener("click", ({ target }) => {
      if (!target.closest(".select-box, a, button") && getSelection().isCollapsed) address.push(changes());
    });
    this.download = appendElement(this.actions, "a", "button primary");
    this.download.textContent = t("video.download");
    this.download.setAttribute("download", "");
    this.buttons = {};
    for (const [verb, label] of [["cancel", t("video.cancel")], ["retry", t("video.retry")], ["again", ""], ["delete", t("video.delete")]]) {
      this.buttons[verb] = appendButton(this.actions, label, () => onAction(verb, this.video));
    }
    this.buttons.again.append(document.getElementById("again-icon").content.cloneNode(true));
    this.buttons.again.title = t("again.title");
    this.buttons.again.classList.add("again-button");
    this.buttons.delete.classList.add("last");
  }

  update(video) {
    this.video = video;
    this.checkbox.checked = this.selected.has(video.id);
    this.tr.classList.toggle("selected", this.checkbox.checked);
    this.name.href = this.hrefOf();
    const rendered = JSON.stringify(video);
    if (rendered === this.rendered) return;
    this.rendered = rendered;
    const { extraction, filename: name, status } = video;
    setText(this.name, name);
    this.checkbox.setAttribute("aria-label", t("selection.one", { name }));
    setText(this.summary, mediaSummary(video));
    this.setBadge(badgeOf(video));
    this.setProgress(status === "running" ? extraction.progress.fraction : undefined, t("video.progress", { name }));
    const archive = status === "succeeded" ? t("video.archive", { size: formatBytes(extraction.result.bytes) }) : "";
    setText(this.detail, archive || progressText(extraction));
    setText(this.frames, extraction.result ? formatCount(extraction.result.frames) : "");
    this.frames.hidden = false;
    this.setExplanation(explanationOf(video));
    this.showActions(video);
    this.showThumbnail(extraction);
  }

  showActions(video) {
    const { extraction, filename: name, status } = video;
    const focused = [...this.actions.children].find((button) => button === document.activeElement);
    this.download.href = `/v1/extractions/${extraction.id}/frames.zip`;
    this.setVisible(this.download, status === "succeeded", t("video.download_name", { name }));
    this.setVisible(this.buttons.cancel, isActive(video), t("video.cancel_name", { name }));
    this.setVisible(this.buttons.retry, canRetry(video), t("video.retry_name", { name }));
    this.setVisible(this.buttons.again, true, t("video.again_name", { name }));
    this.setVisible(this.buttons.delete, true, t("video.delete_name", { name }));
    if (focused?.hidden) this.actions.querySelector(":not([hidden])").focus();
  }

  /** The frame in the middle tells more than the first one, which is often black. */
  showThumbnail({ id, result }) {
    if (!result?.frames) {
      this.thumb.hidden = true;
      return;
    }
    const src = `/v1/extractions/${id}/frames/${Math.ceil(result.frames / 2)}?width=${THUMBNAIL_WIDTH}`;
    if (this.thumb.getAttribute("src") === src) return;
    this.thumb.hidden = false;
    this.thumb.src = src;
  }

  setVisible(node, visible, label) {
    node.hidden = !visible;
    node.setAttribute("aria-label", label);
  }
}

export function uploadTable(body, onAction) {
  return new TableBody(body, (upload) => new UploadRow(upload, onAction), (upload) => upload.key);
}

export function videoTable(body, options) {
  return new TableBody(body, (video) => new VideoRow(video, options), (video) => video.id);
}
