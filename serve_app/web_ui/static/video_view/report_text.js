// The report of a result in words. Pure functions.

import { formatSeconds } from "../formatting.js";
import { t } from "../texts.js";

const READERS = { pyav: "PyAV", decord: "decord", gpu: "decord (GPU)" };
const STAGES = {
  probe: () => t("stage.probe"),
  scan: () => t("stage.scan"),
  plan: () => t("stage.plan"),
  open: () => t("stage.open"),
  read: () => t("stage.read"),
  encode: () => t("stage.encode"),
  archive: () => t("stage.archive"),
  assemble: () => t("stage.assemble"),
};

/** Sentences about how a result was made. */
export function reportSentences(report) {
  const { table, planned, decoded, given, missing, repeated } = report.frames ?? {};
  const sentences = [];
  if (table !== undefined) sentences.push(t("report.frames", { table, planned, given }));
  if (missing) sentences.push(t("report.missing", { count: missing }));
  if (decoded !== undefined) sentences.push(t("report.decoded", { count: decoded }));
  if (repeated) sentences.push(t("report.repeated", { count: repeated }));
  const { reader, engine_version: engine, libraries = {}, segments = [], fallbacks = [] } = report;
  const version = { pyav: libraries.av, decord: libraries.decord2, gpu: libraries.decord2 }[reader] ?? "";
  const name = `${READERS[reader] ?? reader} ${version}`.trim();
  sentences.push(t("report.reader", { reader: name, ffmpeg: libraries.ffmpeg ?? "", engine: engine ?? "" }));
  for (const { reason } of fallbacks) sentences.push(t("report.fallback", { reason }));
  if (segments.length) sentences.push(t("report.segments", { count: segments.length }));
  return sentences;
}

/** The stages with their seconds, the longest first: [{label, text, fraction}]. */
export function reportStages({ seconds = {} }) {
  const known = Object.keys(STAGES).filter((stage) => seconds[stage] !== undefined);
  const longest = Math.max(...known.map((stage) => seconds[stage]), 0.001);
  return known
    .map((stage) => ({ label: STAGES[stage](), text: formatSeconds(seconds[stage]), fraction: seconds[stage] / longest }))
    .sort((one, other) => other.fraction - one.fraction);
}
