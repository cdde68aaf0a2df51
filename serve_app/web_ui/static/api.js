// Calls of the HTTP API with the page's cookie session.

/** An answer that is no success: its problem object, or what stands for a lost connection (status 0). */
export class Problem extends Error {
  constructor(status, problem, retryAfterSeconds) {
    super(problem.detail || problem.title || "The request failed.");
    this.status = status;
    this.code = problem.code || "";
    this.remedy = problem.remedy || "";
    this.errors = problem.errors || [];
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Whether the same request may succeed later. */
  get passes() {
    return this.status === 0 || this.status >= 500 || this.status === 429 || this.code === "idempotency_in_progress";
  }
}

export const PAGE_HEADERS = { "X-Fotograma-Page": "1" };

/** Reads an answer's text into what it means; throws a Problem unless it is a success. */
export function understand(status, text, retryAfter) {
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = null;
  }
  if (status >= 200 && status < 300) return value;
  throw new Problem(status, value ?? {}, Number(retryAfter) || 0);
}

export async function call(method, path, body) {
  const headers = { ...PAGE_HEADERS };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      signal: AbortSignal.timeout(30_000),
    });
    text = await response.text();
  } catch {
    throw new Problem(0, { detail: "The server can't be reached." }, 0);
  }
  return understand(response.status, text, response.headers.get("Retry-After"));
}

/** A random key; `crypto.randomUUID` is missing on plain http addresses. */
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
