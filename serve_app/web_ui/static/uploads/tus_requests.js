// Requests of tus 1.0.0 whose bodies report how much of them has left, and the wait before the next one.

import { PAGE_HEADERS, Problem, readResponse } from "../api_client.js";
import { t } from "../texts.js";

const TUS_HEADERS = { ...PAGE_HEADERS, "Tus-Resumable": "1.0.0" };
// A request on which nothing moves for so long is given up.
const STALL_MS = 120_000;

/**
 * Sends one request. Gives the XMLHttpRequest of a successful response; throws a Problem, or the signal's reason.
 * XMLHttpRequest is used because fetch does not tell how much of a body has left. onSent(bytes): so much has.
 */
export function send(method, url, { headers = {}, body = null, signal = null, onSent = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    let timer = 0;
    const restartTimer = () => {
      clearTimeout(timer);
      timer = setTimeout(abort, STALL_MS);
    };
    request.open(method, url);
    for (const [name, value] of Object.entries({ ...TUS_HEADERS, ...headers })) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      restartTimer();
      onSent(event.loaded);
    };
    request.onloadend = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      if (request.status === 0 && signal?.aborted) return reject(signal.reason);
      try {
        readTusResponse(request);
        resolve(request);
      } catch (error) {
        reject(error);
      }
    };
    signal?.addEventListener("abort", abort);
    restartTimer();
    request.send(body);
  });
}

/** Throws a Problem unless the response is the service's own and successful. */
function readTusResponse(request) {
  // A proxy's own error, such as 404 while the service starts, says nothing about the upload.
  if (request.status === 0 || !request.getResponseHeader("Tus-Resumable")) {
    throw new Problem(0, { detail: t("local.connection_lost") }, Number(request.getResponseHeader("Retry-After")) || 0);
  }
  readResponse(request.status, request.responseText, request.getResponseHeader("Retry-After"));
}

/** Waits. Ends earlier when the browser is online again. Throws the signal's reason when it is aborted. */
export function wait(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", end);
      signal?.removeEventListener("abort", end);
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, milliseconds);
    addEventListener("online", end);
    signal?.addEventListener("abort", end);
  });
}
