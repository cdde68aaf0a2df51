// The table's rows. What comes from files or the server is set as text, never as markup.

import { STATUS_WORDS, bytes, count, facts, progressDetail } from "./words.js";

function element(name, className, parent) {
  const made = document.createElement(name);
  if (className) made.className = className;
  parent?.append(made);
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = text === "";
}

function button(label, parent, onclick) {
  const made = element("button", "button quiet", parent);
  made.type = "button";
  made.textContent = label;
  made.addEventListener("click", onclick);
  return made;
}

/** The cells that uploads and videos have in common. */
class Row {
  constructor() {
    this.tr = document.createElement("tr");
    const line = element("div", "file-line", element("td", "file", this.tr));
    this.thumb = element("img", "thumb", line);
    this.thumb.alt = "";
    this.thumb.loading = "lazy";
    this.thumb.decoding = "async";
    this.thumb.hidden = true;
    this.thumb.addEventListener("error", () => { this.thumb.hidden = true; });
    const words = element("div", "file-text", line);
    this.name = element("div", "name", words);
    this.name.dir = "auto";
    this.facts = element("div", "facts", words);
    this.why = element("div", "why", words);
    this.reason = element("div", "reason", this.why);
    this.remedy = element("div", "remedy", this.why);
    this.badge = element("span", "badge", element("td", "", this.tr));
    const cell = element("td", "progress-cell", this.tr);
    this.bar = element("progress", "", cell);
    this.bar.max = 1;
    this.detail = element("div", "detail", cell);
    this.frames = element("td", "number", this.tr);
    this.actions = element("td", "actions", this.tr);
  }

  setStatus(status) {
    this.badge.className = `badge ${status}`;
    setText(this.badge, STATUS_WORDS[status] ?? status);
  }

  /** fraction: 0 to 1, null for a bar without an end, undefined for none. */
  setBar(fraction, label) {
    this.bar.hidden = fraction === undefined;
    this.bar.setAttribute("aria-label", label);
    if (fraction === null) this.bar.removeAttribute("value");
    else if (fraction !== undefined) this.bar.value = fraction;
  }

  setWhy(reason, remedy) {
    this.why.hidden = !reason && !remedy;
    setText(this.reason, reason);
    setText(this.remedy, remedy);
  }
}

class UploadRow extends Row {
  constructor(upload, act) {
    super();
    setText(this.name, upload.file.name);
    setText(this.facts, bytes(upload.file.size));
    this.remove = button("Cancel", this.actions, () => act("remove", upload));
  }

  update(upload) {
    const { state } = upload;
    this.setStatus(state);
    const fraction = upload.file.size ? upload.sentBytes / upload.file.size : 0;
    this.setBar(state === "refused" ? undefined : fraction === 1 ? null : fraction, `Upload of ${upload.file.name}`);
    const sent = state === "uploading" ? `${bytes(upload.sentBytes)} of ${bytes(upload.file.size)}` : "";
    setText(this.detail, upload.note || sent);
    this.setWhy(upload.problem?.reason ?? "", upload.problem?.remedy ?? "");
    setText(this.remove, state === "refused" ? "Dismiss" : "Cancel");
    this.remove.setAttribute("aria-label", `${this.remove.textContent} ${upload.file.name}`);
  }
}

class VideoRow extends Row {
  constructor(video, act) {
    super();
    this.tr.dataset.video = video.id;
    this.download = element("a", "button primary", this.actions);
    this.download.textContent = "Download";
    this.download.setAttribute("download", "");
    this.buttons = {};
    for (const [verb, label] of [["cancel", "Cancel"], ["retry", "Retry"], ["delete", "Delete"]]) {
      this.buttons[verb] = button(label, this.actions, () => act(verb, this.video));
    }
  }

  update(video) {
    const seen = JSON.stringify(video);
    if (seen === this.seen) return;
    this.seen = seen;
    this.video = video;
    const { extraction, status } = video;
    const going = status === "queued" || status === "running";
    setText(this.name, video.filename);
    setText(this.facts, facts(video));
    this.setStatus(status);
    const fraction = extraction.progress.fraction;
    this.setBar(status === "running" ? fraction : undefined, `Progress of ${video.filename}`);
    setText(this.detail, status === "succeeded" ? `Archive of ${bytes(extraction.result.bytes)}` : progressDetail(extraction));
    setText(this.frames, extraction.result ? count(extraction.result.frames) : "");
    this.frames.hidden = false;
    this.explain(extraction);
    this.show(this.download, status === "succeeded", `Download the frames of ${video.filename}`);
    this.show(this.buttons.cancel, going, `Cancel ${video.filename}`);
    this.show(this.buttons.retry, status === "failed" || status === "cancelled", `Retry ${video.filename}`);
    this.show(this.buttons.delete, !going, `Delete ${video.filename}`);
    if (status === "succeeded") this.open(extraction);
  }

  explain(extraction) {
    const warnings = extraction.result?.warnings ?? [];
    const { error } = extraction;
    this.setWhy(error?.detail ?? "", error?.remedy ?? warnings.map((warning) => warning.detail).join(" "));
  }

  open(extraction) {
    this.download.href = `/v1/extractions/${extraction.id}/frames.zip`;
    const first = `/v1/extractions/${extraction.id}/frames/1`;
    if (extraction.result.frames && this.thumb.getAttribute("src") !== first) {
      this.thumb.hidden = false;
      this.thumb.src = first;
    }
  }

  show(node, visible, label) {
    node.hidden = !visible;
    node.setAttribute("aria-label", label);
  }
}

/** Keeps a table body equal to a list, reusing rows so that focus and selection stay. */
export class Rows {
  constructor(body, make, keyOf) {
    Object.assign(this, { body, make, keyOf });
    this.rows = new Map();
  }

  draw(items) {
    const kept = new Map();
    for (const item of items) {
      const key = this.keyOf(item);
      const row = this.rows.get(key) ?? this.make(item);
      row.update(item);
      kept.set(key, row);
    }
    for (const [key, row] of this.rows) if (!kept.has(key)) row.tr.remove();
    let place = this.body.firstElementChild;
    for (const row of kept.values()) {
      if (row.tr === place) place = place.nextElementSibling;
      else this.body.insertBefore(row.tr, place);
    }
    this.rows = kept;
  }
}

export const uploadRows = (body, act) => new Rows(body, (upload) => new UploadRow(upload, act), (upload) => upload.key);
export const videoRows = (body, act) => new Rows(body, (video) => new VideoRow(video, act), (video) => video.id);
