// Keeps the list of videos fresh: often while something goes on, seldom when not, slower when nobody looks or it fails.

import { Problem, call } from "./api.js";

const ACTIVE_MS = 1000;
const IDLE_MS = 10_000;
const HIDDEN_MS = 30_000;
const MOST_ERROR_MS = 15_000;
const PAGE = 50;
const MOST = 200;

/** How long to wait before asking again. Pure. */
export function delayMs({ failures, hidden, active }) {
  if (failures) return Math.min(MOST_ERROR_MS, ACTIVE_MS * 2 ** Math.min(failures - 1, 10));
  if (hidden) return HIDDEN_MS;
  return active ? ACTIVE_MS : IDLE_MS;
}

export class Listing {
  /** changed(): draw. connection(isThere). loggedOut(): the session is over. */
  constructor({ changed, connection, loggedOut }) {
    Object.assign(this, { changed, connection, loggedOut });
    this.filter = { status: "", q: "" };
    this.reset();
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.soon(); });
    addEventListener("online", () => this.soon());
  }

  reset() {
    clearTimeout(this.timer);
    this.running = false;
    this.turn = (this.turn ?? 0) + 1;
    this.items = [];
    this.older = [];
    this.cursor = null;
    this.loaded = false;
    this.failures = 0;
  }

  start() {
    this.running = true;
    this.soon();
  }

  setFilter(filter) {
    this.filter = { ...this.filter, ...filter };
    const { running } = this;
    this.reset();
    this.changed();
    if (running) this.start();
  }

  get all() {
    return [...this.items, ...this.older];
  }

  /** Asks now instead of later. */
  soon() {
    if (!this.running) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), 0);
  }

  async refresh() {
    const turn = ++this.turn;
    try {
      const answer = await call("GET", this.path(null, this.older.length ? MOST : PAGE));
      if (turn !== this.turn) return;
      this.take(answer);
      this.failures = 0;
      this.connection(true);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (turn !== this.turn) return;
      if (error.status === 401) return this.loggedOut();
      this.failures += 1;
      this.connection(error.status !== 0 && error.status < 500);
    }
    const active = this.all.some(({ status }) => status === "queued" || status === "running");
    this.timer = setTimeout(() => this.refresh(), delayMs({ failures: this.failures, hidden: document.hidden, active }));
  }

  /** The newest page replaces what it covers; older pages that were asked for stay below it. */
  take({ items, next_cursor: cursor }) {
    const last = items.at(-1)?.id ?? "";
    this.items = items;
    this.older = cursor ? this.older.filter((video) => video.id < last) : [];
    if (!this.older.length) this.cursor = cursor;
    this.loaded = true;
    this.changed();
  }

  async more() {
    const answer = await call("GET", this.path(this.cursor, PAGE));
    this.older = [...this.older, ...answer.items];
    this.cursor = answer.next_cursor;
    this.changed();
  }

  path(cursor, limit) {
    const query = new URLSearchParams({ limit });
    if (this.filter.status) query.set("status", this.filter.status);
    if (this.filter.q) query.set("q", this.filter.q);
    if (cursor) query.set("cursor", cursor);
    return `/v1/videos?${query}`;
  }
}
