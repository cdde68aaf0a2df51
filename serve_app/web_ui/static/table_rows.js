// Renders the table's rows. Text of files and of the server is set as text, never as markup.

import { STATUS_LABELS, formatBytes, formatCount, formatPercent, mediaSummary, progressText, uploadText } from "./formatting.js";
import { errorText, t, warningText } from "./texts.js";

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
  constructor() {
    this.tr = document.createElement("tr");
    this.tr.setAttribute("role", "row");
    const line = appendElement(appendCell(this.tr, "file"), "div", "file-line");
    this.thumb = appendElement(line, "img", "thumb");
    this.thumb.alt = "";
    this.thumb.loading = "lazy";
    this.thumb.decoding = "async";
    this.thumb.hidden = true;
    this.thumb.addEventListener("error", () => { this.thumb.hidden = true; });
    const text = appendElement(line, "div", "file-text");
    this.name = appendElement(text, "div", "name");
    this.name.dir = "auto";
    this.summary = appendElement(text, "div", "summary");
    this.explanation = appendElement(text, "div", "explanation");
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

  setStatus(status) {
    this.badge.className = `badge ${status}`;
    setText(this.badge, STATUS_LABELS[status] ?? status);
  }

  /** fraction: 0 to 1, null for an indeterminate bar, undefined to hide the bar. */
  setProgress(fraction, label) {
    this.bars.hidden = fraction === undefined;
    this.bar.setAttribute("aria-label", label);
    if (fraction === null) this.bar.removeAttribute("value");
    else if (fraction !== undefined) this.bar.value = fraction;
  }

  setExplanation(reason, remedy) {
    this.explanation.hidden = !reason && !remedy;
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
  }

  update(upload) {
    const { status, refusal, transfer } = upload;
    const { confirmedBytes, sentBytes, waitMessage } = transfer;
    const rendered = [status, confirmedBytes, sentBytes, waitMessage, upload.resumedAt, refusal?.reason].join();
    if (rendered === this.rendered) return;
    this.rendered = rendered;
    this.setStatus(status);
    this.showProgress(upload);
    this.setExplanation(refusal?.reason ?? "", refusal?.remedy ?? "");
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

class VideoRow extends Row {
  constructor(video, onAction) {
    super();
    this.tr.dataset.video = video.id;
    this.download = appendElement(this.actions, "a", "button primary");
    this.download.textContent = t("video.download");
    this.download.setAttribute("download", "");
    this.buttons = {};
    for (const [verb, label] of [["cancel", t("video.cancel")], ["retry", t("video.retry")], ["delete", t("video.delete")]]) {
      this.buttons[verb] = appendButton(this.actions, label, () => onAction(verb, this.video));
    }
  }

  update(video) {
    const rendered = JSON.stringify(video);
    if (rendered === this.rendered) return;
    this.rendered = rendered;
    this.video = video;
    const { extraction, status } = video;
    const isActive = status === "queued" || status === "running";
    const { filename: name } = video;
    setText(this.name, name);
    setText(this.summary, mediaSummary(video));
    this.setStatus(status);
    const fraction = extraction.progress.fraction;
    this.setProgress(status === "running" ? fraction : undefined, t("video.progress", { name }));
    const archive = status === "succeeded" ? t("video.archive", { size: formatBytes(extraction.result.bytes) }) : "";
    setText(this.detail, archive || progressText(extraction));
    setText(this.frames, extraction.result ? formatCount(extraction.result.frames) : "");
    this.frames.hidden = false;
    this.showExplanation(extraction);
    this.setVisible(this.download, status === "succeeded", t("video.download_name", { name }));
    this.setVisible(this.buttons.cancel, isActive, t("video.cancel_name", { name }));
    this.setVisible(this.buttons.retry, status === "failed" || status === "cancelled", t("video.retry_name", { name }));
    this.setVisible(this.buttons.delete, !isActive, t("video.delete_name", { name }));
    if (status === "succeeded") this.showResult(extraction);
  }

  showExplanation(extraction) {
    const warnings = extraction.result?.warnings ?? [];
    const error = extraction.error && errorText(extraction.error);
    this.setExplanation(error?.reason ?? "", error?.remedy ?? warnings.map(warningText).join(" "));
  }

  showResult(extraction) {
    this.download.href = `/v1/extractions/${extraction.id}/frames.zip`;
    const first = `/v1/extractions/${extraction.id}/frames/1`;
    if (extraction.result.frames && this.thumb.getAttribute("src") !== first) {
      this.thumb.hidden = false;
      this.thumb.src = first;
    }
  }

  setVisible(node, visible, label) {
    node.hidden = !visible;
    node.setAttribute("aria-label", label);
  }
}

// The browser lays out only the groups that are in sight, so a change costs the same in a list of any length.
const GROUP_ROWS = 25;
// Making a row takes time. A long list is made in several frames.
const MAX_NEW_ROWS = 40;

/** Renders a list into a table body, in groups of rows. Reuses rows, so that focus and selection stay. */
class TableBody {
  constructor(body, newRow, keyOf) {
    Object.assign(this, { body, newRow, keyOf });
    this.rows = new Map();
  }

  /** Whether all items have rows. Otherwise it has to be called again, in another frame. */
  render(items) {
    const kept = new Map();
    let room = MAX_NEW_ROWS;
    for (const item of items) {
      const key = this.keyOf(item);
      const known = this.rows.get(key);
      if (!known && room-- <= 0) continue;
      const row = known ?? this.newRow(item);
      row.update(item);
      kept.set(key, row);
    }
    for (const [key, row] of this.rows) if (!kept.has(key)) this.removeRow(row);
    this.placeRows([...kept.values()]);
    this.rows = kept;
    return room >= 0;
  }

  placeRows(rows) {
    let group = this.body.firstElementChild;
    let next = group?.firstElementChild ?? null;
    for (const { tr } of rows) {
      if (next === null && group?.nextElementSibling?.firstElementChild === tr) {
        group = group.nextElementSibling;
        next = tr;
      }
      if (tr === next) {
        next = tr.nextElementSibling;
        continue;
      }
      if (next === null && !(group?.childElementCount < GROUP_ROWS)) group = this.addGroupAfter(group);
      group.insertBefore(tr, next);
    }
    for (const one of [...this.body.children]) if (!one.firstElementChild) one.remove();
  }

  addGroupAfter(group) {
    const added = document.createElement("div");
    added.className = "rows";
    added.setAttribute("role", "presentation");
    if (group) group.after(added);
    else this.body.prepend(added);
    return added;
  }

  /** The keyboard's focus moves on with the list instead of going back to the top of the page. */
  removeRow({ tr }) {
    const hadFocus = tr.contains(document.activeElement);
    const group = tr.parentElement;
    const neighbour = tr.nextElementSibling ?? group.nextElementSibling?.firstElementChild
      ?? tr.previousElementSibling ?? group.previousElementSibling?.lastElementChild;
    tr.remove();
    if (!group.firstElementChild) group.remove();
    if (hadFocus) (neighbour?.querySelector("button:not([hidden]), a:not([hidden])") ?? document.getElementById("main")).focus();
  }
}

export function uploadTable(body, onAction) {
  return new TableBody(body, (upload) => new UploadRow(upload, onAction), (upload) => upload.key);
}

export function videoTable(body, onAction) {
  return new TableBody(body, (video) => new VideoRow(video, onAction), (video) => video.id);
}
