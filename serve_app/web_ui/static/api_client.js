// Calls the HTTP API with the page's cookie session.

import { errorText, t } from "./texts.js";

/** An error response: its problem object (RFC 9457), with its texts in the page's language. status: the HTTP status, or 0 when the server can't be reached. */
export class Problem extends Error {
  constructor(status, problem, retryAfterSeconds) {
    const { reason, remedy } = errorText(problem);
    super(reason);
    this.status = status;
    this.code = problem.code || "";
    this.remedy = remedy;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Whether the same request may succeed later. */
  get isRetryable() {
    return this.status === 0 || this.status >= 500 || this.status === 429 || this.code === "idempotency_in_progress";
  }
}

export const PAGE_HEADERS = { "X-Fotograma-Page": "1" };

/** Returns the JSON value of a successful response. Throws a Problem for any other. */
export function readResponse(status, text, retryAfter) {
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = null;
  }
  if (status >= 200 && status < 300) return value;
  throw new Problem(status, value ?? {}, Number(retryAfter) || 0);
}

const CALL_TIMEOUT_MS = 30_000;
const DOWNLOAD_TIMEOUT_MS = 300_000;

async function request(path, options, timeoutMs) {
  try {
    const response = await fetch(path, { credentials: "same-origin", signal: AbortSignal.timeout(timeoutMs), ...options });
    return { response, text: await response.text() };
  } catch {
    throw new Problem(0, { detail: t("local.unreachable") }, 0);
  }
}

export async function callApi(method, path, body, moreHeaders = {}) {
  const headers = { ...PAGE_HEADERS, ...moreHeaders };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  const { response, text } = await request(path, options, CALL_TIMEOUT_MS);
  return readResponse(response.status, text, response.headers.get("Retry-After"));
}

/** All items of a list, page by page. */
export async function fetchItems(path) {
  const items = [];
  let cursor = null;
  do {
    const page = await callApi("GET", `${path}?limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return items;
}

/** The text of a file. Throws a Problem for any other response. */
export async function fetchText(path) {
  const { response, text } = await request(path, { headers: PAGE_HEADERS }, DOWNLOAD_TIMEOUT_MS);
  return response.ok ? text : readResponse(response.status, text, response.headers.get("Retry-After"));
}

/** A random idempotency key. `crypto.randomUUID` does not exist on plain HTTP addresses. */
export function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
