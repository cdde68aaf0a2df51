// What an extraction of several videos is going to give, as the service estimates it before anything is queued.

import { Problem, callApi } from "../api_client.js";
import { formatBytes, formatDuration } from "../formatting.js";
import { t } from "../texts.js";

const DELAY_MS = 250;
const MAX_CONCURRENT = 4;
/** Of more videos than these, the first ones are estimated. */
export const MAX_ESTIMATED = 100;
const MAX_KEPT = 1000;

/** The sum of estimates; those that are null are left out. Pure. */
export function sumEstimates(estimates) {
  const known = estimates.filter(Boolean);
  const sum = (name) => known.reduce((total, estimate) => total + estimate[name], 0);
  return { count: known.length, frames: sum("frames"), bytes: sum("bytes"), seconds: sum("seconds") };
}

/** The sentence about a sum; "" for none. Pure. */
export function estimateText({ count, frames, bytes, seconds }) {
  if (!count) return "";
  return t("estimate.sum", { count: frames, size: formatBytes(bytes), duration: formatDuration(Math.max(1, seconds)) });
}

export class Estimates {
  /** onChange(): an estimate has come. onLoggedOut(). */
  constructor({ onChange, onLoggedOut }) {
    Object.assign(this, { onChange, onLoggedOut });
    this.known = new Map();
    this.problem = null;
    this.run = 0;
    this.left = 0;
  }

  /** The estimate of a source: an object, null when there is none, undefined when it is not known yet. */
  of(source) {
    return this.known.get(keyOf(source, this.spec));
  }

  /** sources: the bodies of the requests without the specification: {media} or {video_id}. spec: null for a wrong one. */
  ask(sources, spec) {
    const run = ++this.run;
    Object.assign(this, { spec, problem: null });
    clearTimeout(this.timer);
    const wanted = spec ? sources.slice(0, MAX_ESTIMATED).filter((source) => this.of(source) === undefined) : [];
    this.left = wanted.length;
    if (wanted.length) this.timer = setTimeout(() => this.askAll(run, wanted, spec), DELAY_MS);
  }

  async askAll(run, wanted, spec) {
    const waiting = [...new Map(wanted.map((source) => [keyOf(source, spec), source])).values()];
    this.left = waiting.length;
    const work = async () => {
      for (let source = waiting.shift(); source && run === this.run; source = waiting.shift()) {
        await this.askOne(source, spec, run);
      }
    };
    await Promise.all(Array.from({ length: MAX_CONCURRENT }, work));
  }

  async askOne(source, spec, run) {
    let estimate = null;
    try {
      estimate = await callApi("POST", "/v1/estimates", { ...source, spec });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (run !== this.run) return;
      if (error.status === 401) return this.onLoggedOut();
      this.problem = error;
    }
    if (this.known.size > MAX_KEPT) this.known.clear();
    // A problem may be over at the next time.
    if (estimate || !this.problem?.isRetryable) this.known.set(keyOf(source, spec), estimate);
    if (run !== this.run) return;
    this.left -= 1;
    this.onChange();
  }
}

const keyOf = (source, spec) => JSON.stringify([source, spec]);
