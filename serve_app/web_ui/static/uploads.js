// Sends files, one request each, a few at a time, again and again until the server has said yes or no.

import { PAGE_HEADERS, Problem, randomKey, understand } from "./api.js";

const AT_ONCE = 3;
const FIRST_DELAY_MS = 1000;
const MOST_DELAY_MS = 30_000;

/** One file on its way. state: waiting, uploading or refused; it is gone from the list when it was accepted. */
class Upload {
  constructor(file, spec) {
    this.file = file;
    this.spec = spec;
    // The same key at every resend: an answer that was lost on the way is given again, and no video is there twice.
    this.key = randomKey();
    this.state = "waiting";
    this.sentBytes = 0;
    this.note = "";
    this.problem = null;
    this.tries = 0;
    this.request = null;
    this.timer = 0;
  }
}

export class Uploads {
  /** changed(): something is to be drawn. accepted(videos): the server has them. loggedOut(): the session is over. */
  constructor({ limitBytes, limitText, changed, accepted, loggedOut }) {
    Object.assign(this, { limitBytes, limitText, changed, accepted, loggedOut });
    this.list = [];
    this.paused = false;
  }

  get active() {
    return this.list.some((upload) => upload.state !== "refused");
  }

  add(files, spec) {
    for (const file of files) {
      const upload = new Upload(file, spec);
      if (file.size > this.limitBytes) this.refuse(upload, `The file is larger than ${this.limitText}.`, "Send a shorter or smaller video.");
      if (file.size === 0) this.refuse(upload, "The file is empty.", "Check that it was copied completely.");
      this.list.push(upload);
    }
    this.next();
  }

  remove(upload) {
    clearTimeout(upload.timer);
    this.list = this.list.filter((other) => other !== upload);
    upload.request?.abort();
    this.next();
  }

  removeAll() {
    for (const upload of [...this.list]) this.remove(upload);
  }

  /** Sends on after logging in again. */
  resume() {
    this.paused = false;
    this.next();
  }

  next() {
    const ready = this.list.filter((upload) => upload.state === "waiting" && !upload.timer);
    const busy = this.list.filter((upload) => upload.state === "uploading").length;
    if (!this.paused) for (const upload of ready.slice(0, Math.max(0, AT_ONCE - busy))) this.send(upload);
    this.changed();
  }

  refuse(upload, reason, remedy) {
    upload.state = "refused";
    upload.problem = { reason, remedy };
  }

  send(upload) {
    upload.state = "uploading";
    upload.sentBytes = 0;
    upload.note = "";
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
      this.changed();
    };
    request.onloadend = () => this.settle(upload, request);
    request.send(form);
  }

  settle(upload, request) {
    upload.request = null;
    if (!this.list.includes(upload)) return;
    try {
      const answer = understand(request.status, request.responseText, request.getResponseHeader("Retry-After"));
      this.list = this.list.filter((other) => other !== upload);
      this.accepted(answer.items);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.failed(upload, error);
    }
    this.next();
  }

  failed(upload, problem) {
    if (problem.status === 401) {
      upload.state = "waiting";
      this.paused = true;
      this.loggedOut();
    } else if (problem.passes) {
      this.later(upload, problem);
    } else {
      const cause = problem.errors[0] ?? { detail: problem.message, remedy: problem.remedy };
      this.refuse(upload, cause.detail, cause.remedy);
    }
  }

  later(upload, problem) {
    upload.tries += 1;
    const backoff = Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(upload.tries - 1, 10));
    const delay = Math.max(problem.retryAfterSeconds * 1000, backoff * (0.5 + Math.random() / 2));
    upload.state = "waiting";
    upload.note = problem.status === 0 ? "Connection lost; it will be sent again." : `${problem.message} It will be sent again.`;
    upload.timer = setTimeout(() => {
      upload.timer = 0;
      this.next();
    }, delay);
  }
}
