// The uploads of this page: a few are sent at a time, each can be paused, resumed and cancelled.

import { Problem, newIdempotencyKey } from "../api_client.js";
import { t } from "../texts.js";
import { earlierRefusals, forgetRefusal, isSameFile, rememberRefusal } from "./refusal_records.js";
import { ResumableUpload, isTransient, terminateUpload, tooLarge } from "./resumable_upload.js";
import { deleteRecord, findRecord, recordKey, storeRecord, unfinishedUploads } from "./upload_records.js";

const MAX_CONCURRENT_UPLOADS = 3;

/** One file. state: waiting, sending, paused, accepted or refused. */
class Upload {
  constructor(file, spec) {
    Object.assign(this, { file, spec });
    this.key = newIdempotencyKey();
    this.state = "waiting";
    this.refusal = null;
    // How much the service had when this page went on with it, from 0 to 1; null for a new upload.
    this.resumedAt = null;
    this.acceptedAtMs = 0;
    this.transfer = null;
    // Under which key the browser remembers it; null for none.
    this.recordKey = null;
    this.isPositionKnown = false;
    this.abortController = null;
    this.isRunning = false;
    this.isCancelled = false;
  }

  /** The state for display. Between its last byte and its acceptance an upload is "checking". */
  get status() {
    return this.state === "sending" && this.transfer.sentBytes === this.file.size ? "checking" : this.state;
  }

  get isUnfinished() {
    return this.state !== "accepted" && this.state !== "refused";
  }
}

/** At most `limit` of the uploads, in their order: those that are being sent, then the first others. Pure. */
export function firstUploads(uploads, limit) {
  let room = limit - uploads.filter((upload) => upload.isRunning).length;
  return uploads.filter((upload) => upload.isRunning || room-- > 0);
}

export class UploadQueue {
  /**
   * maxRequestBytes: of one request, null for any. onChange(): the queue is to be rendered. onAccepted(upload).
   * onRefused(upload). onBegunAnew(upload): what an earlier page had sent is of no use. onLoggedOut(): the session has
   * ended.
   */
  constructor({ maxRequestBytes, onChange, onAccepted, onRefused, onBegunAnew, onLoggedOut }) {
    Object.assign(this, { maxRequestBytes, onChange, onAccepted, onRefused, onBegunAnew, onLoggedOut });
    this.uploads = [];
    this.maxBytes = Infinity;
    this.accountId = null;
    this.isSuspended = true;
    this.recordKeys = new Set();
    // Uploads that an earlier page had begun, and whose files were not chosen again.
    this.interrupted = [];
    this.channel = new BroadcastChannel("fotograma.uploads");
    this.channel.addEventListener("message", ({ data }) => this.handleMessage(data));
  }

  /** Pages in other tabs ask which uploads are under way here, and tell theirs: those are not interrupted. */
  handleMessage({ recordKeys }) {
    if (!recordKeys) this.channel.postMessage({ recordKeys: [...this.recordKeys] });
    else this.setInterrupted(this.interrupted.filter(({ key }) => !recordKeys.includes(key)));
  }

  setInterrupted(interrupted) {
    this.interrupted = interrupted;
    this.onChange();
  }

  /** Whether leaving the page would stop an upload. */
  get isActive() {
    return this.uploads.some(({ state }) => state === "sending" || state === "waiting");
  }

  /** Begins to send, after a log-in. The uploads of another account are dropped. */
  start(accountId) {
    if (this.accountId !== accountId) this.drop();
    this.accountId = accountId;
    const shown = new Set(this.uploads.map(({ key }) => key));
    this.uploads = [...earlierRefusals(accountId).filter(({ key }) => !shown.has(key)), ...this.uploads];
    this.setInterrupted(unfinishedUploads(accountId).filter(({ key }) => !this.recordKeys.has(key)));
    this.channel.postMessage({});
    this.isSuspended = false;
    this.sendNext();
  }

  /** Takes all uploads off the page. The service keeps what has arrived, and their records stay. */
  drop() {
    const { uploads } = this;
    this.uploads = [];
    this.recordKeys.clear();
    for (const upload of uploads) upload.abortController?.abort();
    this.setInterrupted([]);
  }

  /** Gives the new uploads. */
  add(files, spec) {
    this.remove(...this.uploads.filter((upload) => upload.isEarlier && files.some((file) => isSameFile(file, upload.file))));
    const added = files.map((file) => this.newUpload(file, spec));
    this.uploads = [...this.uploads, ...added];
    this.sendNext();
    return added;
  }

  newUpload(file, spec) {
    const upload = new Upload(file, spec);
    const key = recordKey(this.accountId, file, spec);
    // Of two equal files at the same time, the second is an upload of its own, without a record.
    const hasRecord = !this.recordKeys.has(key);
    const record = hasRecord ? findRecord(key) : null;
    upload.transfer = new ResumableUpload({
      file,
      spec,
      record,
      maxRequestBytes: this.maxRequestBytes,
      maxBytes: () => this.maxBytes,
      onChange: this.onChange,
      onPosition: () => this.handlePosition(upload),
    });
    // What has arrived of a begun upload is not in the room that is left.
    if (file.size - (record?.confirmedBytes ?? 0) > this.maxBytes) {
      const { message, remedy } = tooLarge(this.maxBytes);
      this.refuse(upload, message, remedy);
    } else if (file.size === 0) {
      this.refuse(upload, t("local.empty"), t("local.empty_remedy"));
    } else if (hasRecord) {
      upload.recordKey = key;
      this.recordKeys.add(key);
      this.interrupted = this.interrupted.filter((other) => other.key !== key);
    }
    if (record) upload.resumedAt = record.confirmedBytes / file.size;
    return upload;
  }

  /** Starts waiting uploads while fewer than the most are being sent. */
  sendNext() {
    let room = MAX_CONCURRENT_UPLOADS - this.uploads.filter((upload) => upload.isRunning).length;
    for (const upload of this.uploads) {
      if (this.isSuspended || room <= 0) break;
      if (upload.state !== "waiting" || upload.isRunning) continue;
      this.send(upload);
      room -= 1;
    }
    this.onChange();
  }

  async send(upload) {
    upload.state = "sending";
    upload.isRunning = true;
    upload.abortController = new AbortController();
    try {
      await upload.transfer.run(upload.abortController.signal);
      this.accept(upload);
    } catch (error) {
      if (error instanceof Problem) this.handleProblem(upload, error);
      else if (!upload.abortController.signal.aborted) throw error;
    } finally {
      upload.isRunning = false;
      if (!this.uploads.includes(upload) && upload.isCancelled) upload.transfer.terminate();
      this.sendNext();
    }
  }

  accept(upload) {
    upload.state = "accepted";
    upload.acceptedAtMs = performance.now();
    this.forget(upload);
    this.onAccepted(upload);
  }

  handleProblem(upload, problem) {
    if (!this.uploads.includes(upload)) return;
    if (problem.status === 401) {
      if (upload.state === "sending") upload.state = "waiting";
      this.isSuspended = true;
      this.onLoggedOut();
    } else {
      this.refuse(upload, problem.message, problem.remedy, isTransient(problem));
      if (!upload.refusal.isTransient) this.forget(upload);
    }
  }

  refuse(upload, reason, remedy, isTransient = false) {
    upload.state = "refused";
    upload.refusal = { reason, remedy, isTransient };
    rememberRefusal(this.accountId, upload);
    this.onRefused(upload);
  }

  /** The service has said where an upload is: its record follows. */
  handlePosition(upload) {
    const { transfer, recordKey: key } = upload;
    if (transfer.location === null && upload.resumedAt !== null) {
      upload.resumedAt = null;
      this.onBegunAnew(upload);
    }
    if (upload.resumedAt !== null && !upload.isPositionKnown) upload.resumedAt = transfer.confirmedBytes / upload.file.size;
    upload.isPositionKnown = true;
    if (!key || !this.recordKeys.has(key)) return;
    if (transfer.location && transfer.expiresAt) storeRecord(key, transfer);
    else deleteRecord(key);
  }

  forget(upload) {
    if (!upload.recordKey) return;
    deleteRecord(upload.recordKey);
    this.recordKeys.delete(upload.recordKey);
    upload.recordKey = null;
  }

  pause(...uploads) {
    for (const upload of uploads) {
      if (upload.state !== "sending" && upload.state !== "waiting") continue;
      upload.state = "paused";
      upload.abortController?.abort();
    }
    this.sendNext();
  }

  /** Goes on with a paused upload, or tries a refused one again. */
  resume(upload) {
    upload.state = "waiting";
    upload.refusal = null;
    forgetRefusal(this.accountId, upload.key);
    this.sendNext();
  }

  /** Takes uploads off the list. The service forgets what has arrived of an unfinished one. */
  remove(...uploads) {
    const removed = new Set(uploads);
    this.uploads = this.uploads.filter((upload) => !removed.has(upload));
    for (const upload of uploads) {
      if (upload.state === "accepted") continue;
      if (upload.refusal) forgetRefusal(this.accountId, upload.key);
      this.forget(upload);
      upload.isCancelled = true;
      upload.abortController?.abort();
      if (!upload.isRunning) upload.transfer.terminate();
    }
    this.sendNext();
  }

  pauseAll() {
    this.pause(...this.uploads);
  }

  resumeAll() {
    for (const upload of this.uploads) if (upload.state === "paused") upload.state = "waiting";
    this.sendNext();
  }

  cancelAll() {
    this.remove(...this.uploads.filter((upload) => upload.isUnfinished));
  }

  dismissRefused() {
    this.remove(...this.uploads.filter((upload) => upload.state === "refused"));
  }

  /** Gives up the uploads that an earlier page had begun. */
  discardInterrupted() {
    for (const { key, location } of this.interrupted) {
      deleteRecord(key);
      terminateUpload(location);
    }
    this.setInterrupted([]);
  }

  /** Takes uploads off the list that are among these videos: an upload and its video have one id. */
  removeListed(videoIds) {
    this.uploads = this.uploads.filter(({ state, transfer }) => state !== "accepted" || !videoIds.has(transfer.id));
  }

  /** Takes accepted uploads off the list that a list of videos of this time would have, but for its filter and length. */
  removeAcceptedBefore(milliseconds) {
    this.uploads = this.uploads.filter(({ state, acceptedAtMs }) => state !== "accepted" || acceptedAtMs >= milliseconds);
  }
}
