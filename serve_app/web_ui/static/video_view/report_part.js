// The report of a result on the page: sentences, and a bar for each stage.

import { Problem, callApi } from "../api_client.js";
import { reportSentences, reportStages } from "./report_text.js";

const byId = (id) => document.getElementById(id);

export class ReportPart {
  async load(extractionId) {
    this.extractionId = extractionId;
    byId("report-download").href = `/v1/extractions/${extractionId}/report.json`;
    byId("report-sentences").replaceChildren();
    byId("report-stages").replaceChildren();
    try {
      const report = await callApi("GET", `/v1/extractions/${extractionId}/report.json`);
      if (this.extractionId === extractionId) this.render(report);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      byId("report-sentences").textContent = `${error.message} ${error.remedy}`;
    }
  }

  render(report) {
    byId("report-sentences").replaceChildren(...reportSentences(report).map((sentence) => {
      const item = document.createElement("li");
      item.textContent = sentence;
      return item;
    }));
    byId("report-stages").replaceChildren(...reportStages(report).map(({ label, text, fraction }) => {
      const row = byId("report-stage").content.firstElementChild.cloneNode(true);
      row.querySelector("dt").textContent = label;
      row.querySelector(".stage-seconds").textContent = text;
      row.querySelector(".stage-bar").style.width = `${Math.max(1, fraction * 100)}%`;
      return row;
    }));
  }
}
