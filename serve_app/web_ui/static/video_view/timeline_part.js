// The time line of an extraction on the page: what happened to it, and when.

import { Problem, callApi } from "../api_client.js";
import { formatMoment } from "../formatting.js";
import { eventText } from "./timeline_text.js";

const PAGE_ITEMS = 200;
const byId = (id) => document.getElementById(id);

export class TimelinePart {
  constructor() {
    byId("timeline-more").addEventListener("click", () => this.load(this.nextCursor));
  }

  /** Loads the first page again. */
  async refresh(extractionId) {
    if (this.extractionId !== extractionId) byId("timeline-events").replaceChildren();
    this.extractionId = extractionId;
    await this.load(null);
  }

  async load(cursor) {
    const { extractionId } = this;
    const query = new URLSearchParams({ limit: PAGE_ITEMS, ...(cursor ? { cursor } : {}) });
    try {
      const { items, next_cursor: next } = await callApi("GET", `/v1/extractions/${extractionId}/timeline?${query}`);
      if (extractionId !== this.extractionId) return;
      const rows = items.map((event) => this.row(event));
      if (cursor) byId("timeline-events").append(...rows);
      else if (byId("timeline-events").childElementCount < rows.length) byId("timeline-events").replaceChildren(...rows);
      this.nextCursor = next;
      byId("timeline-more").hidden = !next;
    } catch (error) {
      // The view of the video shows that the connection is lost, and asks again.
      if (!(error instanceof Problem)) throw error;
    }
  }

  row(event) {
    const row = byId("timeline-event").content.firstElementChild.cloneNode(true);
    const { title, detail } = eventText(event);
    row.classList.add(event.kind);
    row.querySelector("time").dateTime = event.at;
    row.querySelector("time").textContent = formatMoment(event.at);
    row.querySelector(".event-title").textContent = title;
    row.querySelector(".event-detail").textContent = detail;
    return row;
  }
}
