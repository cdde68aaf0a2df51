// Shows the uploads of this page: their rows, their sum with buttons for all, and those that an earlier page had begun.

import { formatBytes, formatPercent } from "../formatting.js";
import { t } from "../texts.js";
import { uploadTable } from "../video_list/table_rows.js";
import { firstUploads } from "./upload_queue.js";

// Making a row takes time, so the rows of a long queue are made on demand.
const FIRST_ROWS = 50;
const MORE_ROWS = 200;
const MAX_NAMES = 3;
const byId = (id) => document.getElementById(id);

/** The sum of the uploads in one line. Pure. */
export function uploadSummary(uploads) {
  const unfinished = uploads.filter((upload) => upload.isUnfinished);
  const count = (state) => uploads.filter((upload) => upload.state === state).length;
  const [size, confirmed] = unfinished.reduce(
    ([bytes, done], { file, transfer }) => [bytes + file.size, done + transfer.confirmedBytes], [0, 0],
  );
  const counts = { sending: count("sending"), waiting: count("waiting"), paused: count("paused"), refused: count("refused") };
  return [
    counts.sending && t("upload.count_sending", { count: counts.sending }),
    counts.waiting && t("upload.count_waiting", { count: counts.waiting }),
    counts.paused && t("upload.count_paused", { count: counts.paused }),
    counts.refused && t("upload.count_refused", { count: counts.refused }),
    size && t("upload.part", { part: formatPercent(confirmed / size), size: formatBytes(size) }),
  ].filter(Boolean).join(" · ");
}

/** The sentence about uploads whose files must be chosen again; "" for none. Pure. */
export function interruptedText(interrupted) {
  if (!interrupted.length) return "";
  const names = interrupted.slice(0, MAX_NAMES).map(({ filename }) => filename).join(", ");
  const others = interrupted.length - MAX_NAMES;
  return t("interrupted.text", { names: others > 0 ? t("interrupted.names_and_more", { names, count: others }) : names });
}

export class UploadPanel {
  /** confirmCancelAll(count): asks the user; gives a promise of true or false. */
  constructor(queue, confirmCancelAll) {
    this.queue = queue;
    this.maxRows = FIRST_ROWS;
    this.table = uploadTable(byId("uploads"), (verb, upload) => queue[verb](upload));
    byId("pause-all").addEventListener("click", () => queue.pauseAll());
    byId("resume-all").addEventListener("click", () => queue.resumeAll());
    byId("dismiss-refused").addEventListener("click", () => queue.dismissRefused());
    byId("discard-interrupted").addEventListener("click", () => queue.discardInterrupted());
    byId("cancel-all").addEventListener("click", async () => {
      const count = queue.uploads.filter((upload) => upload.isUnfinished).length;
      if (await confirmCancelAll(count)) queue.cancelAll();
    });
    byId("more-uploads-button").addEventListener("click", () => {
      this.maxRows += MORE_ROWS;
      this.render();
    });
  }

  render() {
    const { uploads, interrupted } = this.queue;
    const shown = firstUploads(uploads, this.maxRows);
    if (!this.table.render(shown)) this.queue.onChange();
    if (uploads.length <= FIRST_ROWS) this.maxRows = FIRST_ROWS;
    byId("more-uploads").hidden = shown.length === uploads.length;
    byId("more-uploads-button").textContent = t("upload.more", { count: uploads.length - shown.length });
    const has = (state) => uploads.some((upload) => upload.state === state);
    byId("upload-summary").hidden = uploads.length < 2;
    byId("upload-counts").textContent = uploadSummary(uploads);
    byId("pause-all").hidden = !this.queue.isActive;
    byId("resume-all").hidden = !has("paused");
    byId("cancel-all").hidden = !uploads.some((upload) => upload.isUnfinished);
    byId("dismiss-refused").hidden = !has("refused");
    byId("interrupted").hidden = !interrupted.length;
    byId("interrupted-text").textContent = interruptedText(interrupted);
  }
}
