// The list of videos. It takes live events, and asks again: seldom beside live events, often without them while an
// extraction runs, slower when the page is hidden or calls fail.

import { Problem, callApi } from "../api_client.js";

const SOON_MS = 300;
const ACTIVE_MS = 1000;
// The place in the queue has no events.
const ACTIVE_LIVE_MS = 5000;
const IDLE_MS = 10_000;
const HIDDEN_MS = 30_000;
const MAX_ERROR_MS = 15_000;
const PAGE_ITEMS = 50;
const MAX_PAGE_ITEMS = 200;

/** How long to wait before the next request. Pure. */
export function pollDelayMs({ failures, hidden, active, live }) {
  if (failures) return Math.min(MAX_ERROR_MS, ACTIVE_MS * 2 ** Math.min(failures - 1, 10));
  if (hidden) return HIDDEN_MS;
  if (!active) return IDLE_MS;
  return live ? ACTIVE_LIVE_MS : ACTIVE_MS;
}

/** Whether a state of an extraction, or a later extraction of the same video, is newer than another state. Pure. */
export function isNewer(extraction, known) {
  return extraction.id === known.id ? extraction.version > known.version : extraction.created_at > known.created_at;
}

/** A video with the newer one of its state and of a state that is known. Pure. */
function withNewest(video, known) {
  return known && isNewer(known.extraction, video.extraction) ? { ...video, extraction: known.extraction, status: known.status } : video;
}

export class VideoList {
  /**
   * onChange(): the list is to be rendered. onLoaded(atMs): it was loaded by a request of this time. onConnection(isUp).
   * isLive(): whether there are live events. onLoggedOut(): the session has ended.
   */
  constructor({ onChange, onLoaded, onConnection, isLive, onLoggedOut }) {
    Object.assign(this, { onChange, onLoaded, onConnection, isLive, onLoggedOut });
    this.filter = { status: "", q: "" };
    this.reset();
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.refreshSoon(); });
    addEventListener("online", () => this.refreshSoon());
  }

  reset() {
    clearTimeout(this.timer);
    this.running = false;
    this.isLoading = false;
    this.mustRefresh = false;
    this.startedAtMs = -Infinity;
    // The response to an older request is dropped.
    this.requestNumber = (this.requestNumber ?? 0) + 1;
    this.newest = [];
    this.older = [];
    this.nextCursor = null;
    this.loaded = false;
    this.failures = 0;
  }

  start() {
    this.running = true;
    this.refreshSoon();
  }

  setFilter(filter) {
    this.filter = { ...this.filter, ...filter };
    const { running } = this;
    this.reset();
    this.onChange();
    if (running) this.start();
  }

  get videos() {
    return [...this.newest, ...this.older];
  }

  /** Requests the list now instead of after the delay. Many calls, of uploads that are accepted, make few requests. */
  refreshSoon() {
    if (!this.running) return;
    if (this.isLoading) {
      this.mustRefresh = true;
      return;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), Math.max(0, this.startedAtMs + SOON_MS - performance.now()));
  }

  async refresh() {
    const number = ++this.requestNumber;
    const startedAtMs = performance.now();
    this.startedAtMs = startedAtMs;
    this.isLoading = true;
    this.mustRefresh = false;
    try {
      const page = await callApi("GET", this.url(null, this.older.length ? MAX_PAGE_ITEMS : PAGE_ITEMS));
      if (number !== this.requestNumber) return;
      this.replaceNewest(page);
      this.onLoaded(startedAtMs);
      this.failures = 0;
      this.onConnection(true);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (number !== this.requestNumber) return;
      if (error.status === 401) return this.onLoggedOut();
      this.failures += 1;
      this.onConnection(error.status !== 0 && error.status < 500);
    }
    this.isLoading = false;
    const active = this.videos.some(({ status }) => status === "queued" || status === "running");
    const delay = pollDelayMs({ failures: this.failures, hidden: document.hidden, active, live: this.isLive() });
    this.timer = setTimeout(() => this.refresh(), delay);
    if (this.mustRefresh && !this.failures) this.refreshSoon();
  }

  /** Takes the state of an extraction that an event tells, which may be older than what is known. */
  take(extraction) {
    if (!this.running) return;
    const video = this.videos.find(({ id }) => id === extraction.video_id);
    if (!video) {
      const isFurtherDown = this.nextCursor && extraction.video_id < this.videos.at(-1)?.id;
      if (this.isFiltered || !isFurtherDown) this.refreshSoon();
      return;
    }
    if (!isNewer(extraction, video.extraction)) return;
    const isOtherStatus = extraction.status !== video.status;
    const replace = (one) => one === video ? { ...video, extraction, status: extraction.status } : one;
    this.newest = this.newest.map(replace);
    this.older = this.older.map(replace);
    this.onChange();
    // The event does not tell the media, and the video may leave the filter.
    if (!video.media || (isOtherStatus && this.isFiltered)) this.refreshSoon();
  }

  get isFiltered() {
    return Boolean(this.filter.status || this.filter.q);
  }

  /** Replaces what the newest page covers. Older pages that were loaded stay below it. */
  replaceNewest({ items, next_cursor: cursor }) {
    const last = items.at(-1)?.id ?? "";
    const known = new Map(this.videos.map((video) => [video.id, video]));
    this.newest = items.map((video) => withNewest(video, known.get(video.id)));
    this.older = cursor ? this.older.filter((video) => video.id < last) : [];
    if (!this.older.length) this.nextCursor = cursor;
    this.loaded = true;
    this.onChange();
  }

  async loadMore() {
    const page = await callApi("GET", this.url(this.nextCursor, PAGE_ITEMS));
    this.older = [...this.older, ...page.items];
    this.nextCursor = page.next_cursor;
    this.onChange();
  }

  url(cursor, limit) {
    const query = new URLSearchParams({ limit });
    if (this.filter.status === "warned") query.set("warned", "true");
    else if (this.filter.status) query.set("status", this.filter.status);
    if (this.filter.q) query.set("q", this.filter.q);
    if (cursor) query.set("cursor", cursor);
    return `/v1/videos?${query}`;
  }
}
