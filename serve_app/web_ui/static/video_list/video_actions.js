// What can be done with stored videos, with one or with several: download, extract again, cancel, retry, delete.

import { Problem, callApi, newIdempotencyKey } from "../api_client.js";
import { confirmWithUser } from "../confirm_dialog.js";
import { ExtractAgain } from "../frame_spec/extract_again.js";
import { hideProblem, showProblem } from "../problem_toast.js";
import { t } from "../texts.js";
import { wait } from "../uploads/tus_requests.js";
import { actOnEach, batchSummary } from "./act_on_each.js";
import { isActive } from "./video_status.js";

// A browser drops downloads that begin at the same moment.
const DOWNLOAD_PAUSE_MS = 400;
const byId = (id) => document.getElementById(id);

/** Which of the videos an action applies to. Pure. */
export const APPLIES = {
  download: ({ status }) => status === "succeeded",
  again: () => true,
  cancel: isActive,
  delete: () => true,
};

function startDownload({ extraction }) {
  const link = Object.assign(document.createElement("a"), { href: `/v1/extractions/${extraction.id}/frames.zip`, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
  return wait(DOWNLOAD_PAUSE_MS, null);
}

/** What is told of new extractions. One that was queued is seen in the list. Pure. */
function againText(videos, outcomes) {
  if (videos.length > 1) return batchSummary(outcomes);
  return outcomes[0].outcome === "reused" ? t("again.reused", { name: videos[0].filename }) : "";
}

export class VideoActions {
  /** onDone(): the list may have changed. onDeleted(video). onLoggedOut(). */
  constructor({ onDone, onDeleted, onLoggedOut }) {
    Object.assign(this, { onDone, onDeleted, onLoggedOut });
    this.dialog = new ExtractAgain({ onLoggedOut });
    byId("batch-close").addEventListener("click", () => this.showSummary(""));
  }

  /** Does one thing with one video. Gives a promise that is fulfilled when it was done. */
  async run(verb, video) {
    hideProblem();
    this.showSummary("");
    if (verb === "again") return this.extractAgain([video]);
    try {
      if (verb === "delete") {
        const question = t("video.delete_question", { name: video.filename });
        if (!(await confirmWithUser(question, t("video.delete"), t("video.keep")))) return;
        await this.delete(video);
      } else {
        await callApi("POST", `/v1/extractions/${video.extraction.id}/${verb}`);
      }
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) return this.onLoggedOut();
      // The next refresh of the list shows the current state.
      showProblem(error);
    }
    this.onDone();
  }

  async delete(video) {
    await callApi("DELETE", `/v1/videos/${video.id}`);
    this.onDeleted(video);
    return "deleted";
  }

  /** The same, where a video that is gone already is deleted as well: the answer to the first try may have been lost. */
  async deleteOnce(video) {
    try {
      return await this.delete(video);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 404) throw error;
      this.onDeleted(video);
      return "deleted";
    }
  }

  /** Asks for a choice of frames, then queues the extractions. Fulfilled when the dialog has closed. */
  extractAgain(videos) {
    const keys = new Map(videos.map(({ id }) => [id, newIdempotencyKey()]));
    let left = videos;
    this.dialog.open(videos, async (spec) => {
      const outcomes = await actOnEach(left, (video) => this.queue(video, spec, keys.get(video.id)));
      this.onDone();
      if (outcomes.some(({ outcome }) => outcome === "left")) this.onLoggedOut();
      this.showSummary(againText(videos, outcomes));
      const refused = outcomes.filter(({ outcome }) => outcome !== "queued" && outcome !== "reused");
      left = refused.map(({ video }) => video);
      // Another choice is another request.
      for (const { id } of left) keys.set(id, newIdempotencyKey());
      const { problem } = videos.length === 1 ? outcomes[0] : {};
      return problem ? `${problem.message} ${problem.remedy}` : "";
    });
    return new Promise((resolve) => byId("again").addEventListener("close", resolve, { once: true }));
  }

  async queue(video, spec, key) {
    const { reused } = await callApi("POST", `/v1/videos/${video.id}/extractions`, { spec }, { "Idempotency-Key": key });
    return reused ? "reused" : "queued";
  }

  /** Does one thing with all of the videos to which it applies. */
  async runAll(verb, chosen) {
    hideProblem();
    const videos = chosen.filter(APPLIES[verb]);
    if (verb === "again") return this.extractAgain(videos);
    const question = t("selection.delete_question", { count: videos.length });
    if (verb === "delete" && !(await confirmWithUser(question, t("video.delete"), t("selection.keep")))) return;
    const outcomes = await actOnEach(videos, (video) => this.act(verb, video));
    this.onDone();
    this.showSummary(batchSummary(outcomes));
    if (outcomes.some(({ outcome }) => outcome === "left")) this.onLoggedOut();
  }

  async act(verb, video) {
    if (verb === "delete") return this.deleteOnce(video);
    if (verb === "download") {
      await startDownload(video);
      return "downloaded";
    }
    await callApi("POST", `/v1/extractions/${video.extraction.id}/cancel`);
    return "cancelled";
  }

  showSummary(text) {
    byId("batch").hidden = !text;
    byId("batch-summary").textContent = text;
  }
}
