// Sends one file by tus 1.0.0 (https://tus.io/protocols/resumable-upload), slice by slice, until the service has all of it.

import { Problem, newIdempotencyKey } from "../api_client.js";
import { formatBytes, formatPercent } from "../formatting.js";
import { t } from "../texts.js";
import { ContentHash } from "./content_hash.js";
import { TransferRate } from "./transfer_rate.js";
import { send, wait } from "./tus_requests.js";

const UPLOADS_PATH = "/v1/uploads";
const BYTES_TYPE = { "Content-Type": "application/offset+octet-stream" };
const MAX_SLICE_BYTES = 8 << 20;
// The first slice is small, because what is no video is refused by it.
const MIN_SLICE_BYTES = 256 << 10;
const SLICE_GROWTH = 4;
// A file of this size or less goes with the request that creates its upload.
const MAX_CREATION_BYTES = 1 << 20;
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;
const MAX_INTERNAL_ERRORS = 5;
const MAX_TERMINATE_TRIES = 5;

/** How long to wait after `failures` failures in a row. random: from 0 to 1. Pure. */
export function retryDelayMs(failures, retryAfterSeconds, random) {
  const backoff = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 10));
  return Math.max(retryAfterSeconds * 1000 + (retryAfterSeconds && random * 1000), backoff * (0.5 + random / 2));
}

/** The size of the next slice. A lost slice is sent again, so a connection that breaks often gets smaller ones. Pure. */
export function nextSliceBytes(sliceBytes, hasArrived, maxBytes) {
  const next = hasArrived ? sliceBytes * SLICE_GROWTH : sliceBytes / SLICE_GROWTH;
  return Math.min(maxBytes, Math.max(MIN_SLICE_BYTES, next));
}

/** The header Upload-Metadata. Pure. */
export function uploadMetadata(values) {
  const encode = (text) => btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));
  return Object.entries(values).map(([key, text]) => `${key} ${encode(text)}`).join(",");
}

/** The size of the largest file that the service takes. Throws a Problem. */
export async function discoverMaxBytes() {
  return Number((await send("OPTIONS", UPLOADS_PATH)).getResponseHeader("Tus-Max-Size"));
}

/** The problem of a file that is larger than the service takes. */
export const tooLarge = (maxBytes) =>
  new Problem(413, { detail: t("local.too_large", { size: formatBytes(maxBytes) }), remedy: t("local.too_large_remedy") }, 0);

// Only the user, or a long time, changes these: they are not repeated by themselves.
const QUOTA_CODES = ["quota_exceeded", "minutes_exceeded"];

/** Whether the same upload may be accepted later, although it is not repeated any more. */
export const isTransient = (problem) => problem.code === "internal" || QUOTA_CODES.includes(problem.code);

const isRetryable = (problem) =>
  !QUOTA_CODES.includes(problem.code) && (problem.isRetryable || [408, 409, 423].includes(problem.status));

/** Ends an unfinished upload: the service forgets its bytes. One that can't be ended expires. */
export async function terminateUpload(location) {
  for (let tries = 1; tries <= MAX_TERMINATE_TRIES; tries += 1) {
    try {
      await send("DELETE", location);
      return;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      // 409: it is complete, and its video is in the list.
      if (!isRetryable(error) || error.status === 409) return;
      await wait(retryDelayMs(tries, error.retryAfterSeconds, Math.random()), null);
    }
  }
}

/**
 * One file on its way. Fields for display: `confirmedBytes` have been stored by the service, `sentBytes` have left;
 * `waitMessage` says why it waits at present.
 */
export class ResumableUpload {
  /**
   * record: of the upload that an earlier page had begun, or null. maxRequestBytes: of one request, null for any.
   * maxBytes(): of a new upload. onChange(): a field has changed. onPosition(): what is to be recorded has changed;
   * `location` is null when the upload is gone.
   */
  constructor({ file, spec, record, maxRequestBytes, maxBytes, onChange, onPosition }) {
    Object.assign(this, { file, spec, maxBytes, onChange, onPosition });
    this.location = record?.location ?? null;
    // What the earlier page may have sent, until it is compared.
    this.recordedContent = record && (record.content ?? { bytes: 0 });
    this.contentHash = new ContentHash();
    this.rate = new TransferRate();
    this.maxSliceBytes = Math.min(MAX_SLICE_BYTES, maxRequestBytes ?? Infinity);
    this.sliceBytes = Math.min(MIN_SLICE_BYTES, this.maxSliceBytes);
    this.confirmedBytes = 0;
    this.sentBytes = 0;
    this.expiresAt = null;
    this.videoPath = null;
    this.waitMessage = "";
    this.isOffsetKnown = false;
    this.failures = 0;
    // Every retry of a creation sends the same key. When a response was lost, the service repeats it.
    this.idempotencyKey = newIdempotencyKey();
  }

  /** Of the upload and of its video. */
  get id() {
    return this.location?.split("/").at(-1);
  }

  /**
   * Sends what the service does not have, and repeats what fails. Gives the path of the video. Can be called again
   * after an error. Throws a Problem when the upload is refused or the session has ended, or the signal's reason.
   */
  async run(signal) {
    this.isOffsetKnown = false;
    this.failures = 0;
    this.waitMessage = "";
    this.rate.reset();
    for (;;) {
      try {
        if (this.recordedContent) await this.compareContent(signal);
        if (this.location === null) await this.create();
        while (this.videoPath === null) {
          signal.throwIfAborted();
          await (this.isOffsetKnown ? this.sendSlice(signal) : this.askOffset(signal));
        }
        return this.videoPath;
      } catch (error) {
        this.setSent(this.confirmedBytes);
        if (!(error instanceof Problem)) throw error;
        await this.recover(error, signal);
      }
    }
  }

  /** Ends the upload on the service. */
  async terminate() {
    if (this.location !== null) await terminateUpload(this.location);
  }

  /**
   * Reads again what an earlier page may have sent. A file of the same name, size and time that has another content is sent
   * from its beginning: a mixture of two contents would be a video that nobody has.
   */
  async compareContent(signal) {
    const { bytes, digest } = this.recordedContent;
    while (this.contentHash.bytes < bytes) {
      signal.throwIfAborted();
      this.waitMessage = t("upload.comparing", { percent: formatPercent(this.contentHash.bytes / bytes) });
      this.onChange();
      await this.extendContentHash(Math.min(bytes, this.contentHash.bytes + MAX_SLICE_BYTES));
    }
    this.waitMessage = "";
    this.recordedContent = null;
    if (bytes && this.contentHash.value.digest === digest) return;
    terminateUpload(this.location);
    this.beginAnew();
  }

  async extendContentHash(end) {
    while (this.contentHash.bytes < end) {
      const start = this.contentHash.bytes;
      this.contentHash.update(await this.read(start, Math.min(end, start + MAX_SLICE_BYTES)));
    }
  }

  /** Bytes of the file. Throws a Problem when it was moved, deleted or changed. */
  async read(start, end) {
    const buffer = await this.file.slice(start, end).arrayBuffer().catch(() => null);
    if (buffer?.byteLength === end - start) return buffer;
    throw new Problem(422, { detail: t("local.unreadable"), remedy: t("local.unreadable_remedy") }, 0);
  }

  /** Where the slice from `start` on ends: at the file's end, or at a multiple of four, as the digest needs it. */
  sliceEnd(start) {
    const end = start + this.sliceBytes;
    return end >= this.file.size ? this.file.size : Math.max(start + 1, end - (end % 4));
  }

  /** Is not aborted by a pause, because only the response tells the upload's address. */
  async create() {
    const { file } = this;
    if (file.size > this.maxBytes()) throw tooLarge(this.maxBytes());
    // Whatever is recorded covers at least the first slice.
    await this.extendContentHash(this.sliceEnd(0));
    const headers = {
      "Upload-Length": String(file.size),
      "Upload-Metadata": uploadMetadata({ filename: file.name, spec: JSON.stringify(this.spec) }),
      "Idempotency-Key": this.idempotencyKey,
    };
    const withBytes = file.size <= Math.min(MAX_CREATION_BYTES, this.maxSliceBytes);
    if (withBytes) await this.extendContentHash(file.size);
    const response = await send("POST", UPLOADS_PATH, {
      headers: withBytes ? { ...headers, ...BYTES_TYPE } : headers,
      body: withBytes ? await this.read(0, file.size) : null,
      onSent: (bytes) => this.setSent(Math.min(file.size, bytes)),
    });
    this.location = response.getResponseHeader("Location");
    this.readPosition(response);
  }

  async askOffset(signal) {
    this.readPosition(await send("HEAD", this.location, { signal }));
  }

  async sendSlice(signal) {
    const start = this.confirmedBytes;
    const end = this.sliceEnd(start);
    const slice = await this.read(start, end);
    if (start === this.contentHash.bytes) this.contentHash.update(slice);
    await this.extendContentHash(end);
    // Recorded before it is sent: whatever arrives of it can be compared later.
    this.onPosition();
    this.isOffsetKnown = false;
    const response = await send("PATCH", this.location, {
      headers: { ...BYTES_TYPE, "Upload-Offset": String(start) },
      // A Blob leaves the browser in small pieces, so progress is shown within a slice; an ArrayBuffer does not.
      body: new Blob([slice]),
      signal,
      onSent: (bytes) => this.setSent(start + Math.min(slice.byteLength, bytes)),
    });
    this.readPosition(response);
    if (this.confirmedBytes <= start) throw new Problem(0, { detail: t("local.not_taken") }, 0);
    this.sliceBytes = nextSliceBytes(this.sliceBytes, true, this.maxSliceBytes);
    this.failures = 0;
  }

  readPosition(response) {
    this.confirmedBytes = Number(response.getResponseHeader("Upload-Offset")) || 0;
    this.expiresAt = Date.parse(response.getResponseHeader("Upload-Expires") ?? "") || null;
    this.videoPath = response.getResponseHeader("Video-Location");
    this.isOffsetKnown = true;
    this.waitMessage = "";
    this.rate.add(this.confirmedBytes, performance.now());
    this.onPosition();
    this.setSent(this.confirmedBytes);
  }

  setSent(bytes) {
    this.sentBytes = bytes;
    this.onChange();
  }

  /** Waits until a next try may succeed. Throws the problem when none will. */
  async recover(problem, signal) {
    const isGone = this.location !== null && [404, 410].includes(problem.status);
    // The answer that the upload is gone can also be that of its repeated creation.
    if (isGone || problem.status === 410) this.beginAnew();
    else if (!isRetryable(problem)) throw problem;
    this.failures += 1;
    if (problem.code === "internal" && this.failures >= MAX_INTERNAL_ERRORS) throw problem;
    if (problem.status === 0) this.sliceBytes = nextSliceBytes(this.sliceBytes, false, this.maxSliceBytes);
    // What only needs another request is tried at once, but not again and again.
    if (this.failures === 1 && (isGone || problem.status === 409)) return;
    this.rate.reset();
    this.waitMessage = t("upload.goes_on_by_itself", { problem: problem.message });
    this.onChange();
    await wait(retryDelayMs(this.failures, problem.retryAfterSeconds, Math.random()), signal);
  }

  beginAnew() {
    this.location = null;
    this.confirmedBytes = 0;
    this.idempotencyKey = newIdempotencyKey();
    this.onPosition();
    this.setSent(0);
  }
}
