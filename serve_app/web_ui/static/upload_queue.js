// Uploads files, one request each, a few at a time. Repeats each upload until the server has accepted or refused it.

import { PAGE_HEADERS, Problem, newIdempotencyKey, readResponse } from "./api_client.js";

const MAX_CONCURRENT_UPLOADS = 3;
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;

/** One file. state: waiting, uploading or refused; an accepted upload leaves the queue. */
class Upload {
  constructor(file, spec) {
    this.file = file;
    this.spec = spec;
    // Every retry sends the same key. When a response was lost, the server repeats it and stores no second video.
    this.key = newIdempotencyKey();
    this.state = "waiting";
    this.sentBytes = 0;
    this.retryMessage = "";
    this.refusal = null;
    this.tries = 0;
    this.request = null;
    this.timer = 0;
  }
}

export class UploadQueue {
  /** onChange(): the queue is to be rendered. onAccepted(videos). onLoggedOut(): the session has ended. */
  constructor({ maxBytes, maxBytesText, onChange, onAccepted, onLoggedOut }) {
    Object.assign(this, { maxBytes, maxBytesText, onChange, onAccepted, onLoggedOut });
    this.uploads = [];
    this.paused = false;
  }

  get isActive() {
    return this.uploads.some((upload) => upload.state !== "refused");
  }

  add(files, spec) {
    for (const file of files) {
      const upload = new Upload(file, spec);
      if (file.size > this.maxBytes) this.refuse(upload, `The file is larger than ${this.maxBytesText}.`, "Send a shorter or smaller video.");
      if (file.size === 0) this.refuse(upload, "The file is empty.", "Check that it was copied completely.");
      this.uploads.push(upload);
    }
    this.sendNext();
  }

  remove(upload) {
    clearTimeout(upload.timer);
    this.uploads = this.uploads.filter((other) => other !== upload);
    upload.request?.abort();
    this.sendNext();
  }

  removeAll() {
    for (const upload of [...this.uploads]) this.remove(upload);
  }

  /** Continues after the user has logged in again. */
  resume() {
    this.paused = false;
    this.sendNext();
  }

  sendNext() {
    const ready = this.uploads.filter((upload) => upload.state === "waiting" && !upload.timer);
    const sending = this.uploads.filter((upload) => upload.state === "uploading").length;
    if (!this.paused) for (const upload of ready.slice(0, Math.max(0, MAX_CONCURRENT_UPLOADS - sending))) this.send(upload);
    this.onChange();
  }

  refuse(upload, reason, remedy) {
    upload.state = "refused";
    upload.refusal = { reason, remedy };
  }

  send(upload) {
    upload.state = "uploading";
    upload.sentBytes = 0;
    upload.retryMessage = "";
    const form = new FormData();
    form.append("spec", JSON.stringify(upload.spec));
    form.append("file", upload.file, upload.file.name);
    const request = new XMLHttpRequest();
    upload.request = request;
    request.open("POST", "/v1/videos");
    request.setRequestHeader("Idempotency-Key", upload.key);
    for (const [name, value] of Object.entries(PAGE_HEADERS)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      upload.sentBytes = Math.min(upload.file.size, event.loaded);
      this.onChange();
    };
    request.onloadend = () => this.handleResponse(upload, request);
    request.send(form);
  }

  handleResponse(upload, request) {
    upload.request = null;
    if (!this.uploads.includes(upload)) return;
    try {
      const page = readResponse(request.status, request.responseText, request.getResponseHeader("Retry-After"));
      this.uploads = this.uploads.filter((other) => other !== upload);
      this.onAccepted(page.items);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.handleProblem(upload, error);
    }
    this.sendNext();
  }

  handleProblem(upload, problem) {
    if (problem.status === 401) {
      upload.state = "waiting";
      this.paused = true;
      this.onLoggedOut();
    } else if (problem.isRetryable) {
      this.retryLater(upload, problem);
    } else {
      const cause = problem.errors[0] ?? { detail: problem.message, remedy: problem.remedy };
      this.refuse(upload, cause.detail, cause.remedy);
    }
  }

  retryLater(upload, problem) {
    upload.tries += 1;
    const backoff = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(upload.tries - 1, 10));
    const delay = Math.max(problem.retryAfterSeconds * 1000, backoff * (0.5 + Math.random() / 2));
    const reason = problem.status === 0 ? "The connection was lost." : problem.message;
    upload.state = "waiting";
    upload.retryMessage = `${reason} The upload will be repeated.`;
    upload.timer = setTimeout(() => {
      upload.timer = 0;
      this.sendNext();
    }, delay);
  }
}
