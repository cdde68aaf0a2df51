// Does the same with several videos, one after the other, and tells what became of each.

import { Problem } from "../api_client.js";
import { t } from "../texts.js";
import { wait } from "../uploads/tus_requests.js";

const MAX_TRIES = 3;
const MAX_WAIT_MS = 30_000;
const MAX_REASONS = 3;

/** A request that is not possible just now is repeated a few times. */
async function tryAgain(act) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await act();
    } catch (error) {
      const waitMs = Math.max(1000 * tries, error.retryAfterSeconds * 1000);
      if (!(error instanceof Problem) || !error.isRetryable || tries === MAX_TRIES || waitMs > MAX_WAIT_MS) throw error;
      await wait(waitMs, null);
    }
  }
}

/**
 * act(video): gives a promise of the outcome's name. Gives [{video, outcome, problem}]: of a problem the outcome is "refused",
 * and "left" of the videos that were not tried because the session ended.
 */
export async function actOnEach(videos, act) {
  const outcomes = [];
  let hasEnded = false;
  for (const video of videos) {
    if (hasEnded) {
      outcomes.push({ video, outcome: "left" });
      continue;
    }
    try {
      outcomes.push({ video, outcome: await tryAgain(() => act(video)) });
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      hasEnded = problem.status === 401;
      outcomes.push(hasEnded ? { video, outcome: "left" } : { video, outcome: "refused", problem });
    }
  }
  return outcomes;
}

const COUNTS = {
  deleted: (count) => t("batch.deleted", { count }),
  cancelled: (count) => t("batch.cancelled", { count }),
  queued: (count) => t("batch.queued", { count }),
  reused: (count) => t("batch.reused", { count }),
  downloaded: (count) => t("batch.downloaded", { count }),
  refused: (count) => t("batch.refused", { count }),
  left: (count) => t("batch.left", { count }),
};

/** What became of how many, and why some were refused. The counts add up to the number of videos. Pure. */
export function batchSummary(outcomes) {
  const counts = Object.entries(COUNTS).map(([name, text]) => [outcomes.filter(({ outcome }) => outcome === name).length, text]);
  const parts = counts.filter(([count]) => count).map(([count, text]) => text(count));
  const refused = outcomes.filter(({ problem }) => problem);
  const reasons = refused.slice(0, MAX_REASONS).map(({ video, problem }) => t("batch.reason", { name: video.filename, reason: problem.message }));
  return [t("batch.summary", { count: outcomes.length, parts: parts.join(", ") }), ...reasons].join(" ");
}
