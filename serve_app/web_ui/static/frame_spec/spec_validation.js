// The frame specification as the API takes it: its defaults, its bounds, and what is wrong with one. Pure functions.

import { t } from "../texts.js";

export const DEFAULT_SPEC = {
  sample: { mode: "fps", fps: 1 },
  range: { start: 0, end: null },
  image: { format: "jpeg", quality: 90, max_side: null, names: "time" },
  snap: "exact",
  max_frames: null,
};
export const MAX_TIMES = 100_000;
const MAX_SECONDS = 1e9;
const MAX_COUNT = 1e9;
const MIN_STEP = 1e-9;

/** The fields of each mode, with the value of one that may be left out. */
const MODE_FIELDS = {
  fps: { fps: 1 },
  interval: { seconds: undefined },
  uniform: { count: undefined },
  timestamps: { at: undefined },
  every_nth: { n: undefined },
  keyframes: {},
  scenes: { threshold: 27 },
  all: {},
};

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** What is wrong with a number; "" for nothing. */
function numberError(value, { least, most, isWhole = false }) {
  if (typeof value !== "number" || Number.isNaN(value)) return t("spec.not_number");
  if (least === MIN_STEP && value <= 0) return t("spec.not_positive");
  if (value < least || value > most) return t("spec.out_of_bounds", { least, most });
  return isWhole && !Number.isInteger(value) ? t("spec.not_whole") : "";
}

const number = (least, most) => (value) => numberError(value, { least, most });
const whole = (least, most) => (value) => numberError(value, { least, most, isWhole: true });
const optional = (check) => (value) => value === null ? "" : check(value);
const choice = (...choices) => (value) => choices.includes(value) ? "" : t("spec.no_choice", { choices: choices.join(", ") });

function timesError(value) {
  if (!Array.isArray(value) || !value.length) return t("spec.no_times");
  if (value.length > MAX_TIMES) return t("spec.too_many_times", { count: MAX_TIMES, found: value.length });
  const at = value.findIndex((time) => numberError(time, { least: -MAX_SECONDS, most: MAX_SECONDS }));
  if (at === -1) return "";
  return t("spec.wrong_time", { at: at + 1, error: numberError(value[at], { least: -MAX_SECONDS, most: MAX_SECONDS }) });
}

/** What is wrong with the value of a field, by the field's path; "" for nothing. */
export const CHECKS = {
  "sample.mode": choice(...Object.keys(MODE_FIELDS)),
  "sample.fps": number(MIN_STEP, MAX_SECONDS),
  "sample.seconds": number(MIN_STEP, MAX_SECONDS),
  "sample.count": whole(1, MAX_COUNT),
  "sample.at": timesError,
  "sample.n": whole(1, MAX_COUNT),
  "sample.threshold": number(0, 100),
  "range.start": number(0, MAX_SECONDS),
  "range.end": optional(number(0, MAX_SECONDS)),
  "image.format": choice("jpeg", "png", "webp"),
  "image.quality": whole(1, 100),
  "image.max_side": optional(whole(16, 65_535)),
  "image.names": choice("time", "number", "index"),
  snap: choice("exact", "keyframe"),
  max_frames: optional(whole(1, MAX_COUNT)),
};

/** What is wrong with a range whose two ends are right by themselves; "" for nothing. */
export const rangeError = ({ start, end }) => end !== null && end <= start ? t("spec.empty_range") : "";

/** Reads one object of a specification: its fields, with those that were left out. Adds {path, message} to `errors`. */
function readFields(value, prefix, defaults, errors) {
  if (!isObject(value)) {
    errors.push({ path: prefix, message: t("spec.not_object") });
    return {};
  }
  const path = (name) => prefix ? `${prefix}.${name}` : name;
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(defaults, name)) errors.push({ path: path(name), message: t("spec.unknown_field") });
  }
  const fields = Object.fromEntries(Object.keys(defaults).map((name) => [name, Object.hasOwn(value, name) ? value[name] : defaults[name]]));
  for (const [name, field] of Object.entries(fields)) {
    const message = field === undefined ? t("spec.required") : CHECKS[path(name)]?.(field);
    if (message) errors.push({ path: path(name), message });
  }
  return fields;
}

function readSample(value, errors) {
  const mode = isObject(value) && Object.hasOwn(value, "mode") ? value.mode : DEFAULT_SPEC.sample.mode;
  if (!isObject(value) || Object.hasOwn(MODE_FIELDS, String(mode))) {
    return readFields(value, "sample", { mode, ...MODE_FIELDS[String(mode)] }, errors);
  }
  // The other fields of an unknown mode are not judged.
  errors.push({ path: "sample.mode", message: CHECKS["sample.mode"](mode) });
  return value;
}

/**
 * Reads the JSON value of a specification. Gives {spec, errors}: the specification with its defaults, null when something
 * is wrong with it; and [{path, message}].
 */
export function readSpec(value) {
  const errors = [];
  const top = readFields(value, "", DEFAULT_SPEC, errors);
  if (!isObject(value)) return { spec: null, errors };
  const spec = {
    sample: readSample(top.sample, errors),
    range: readFields(top.range, "range", DEFAULT_SPEC.range, errors),
    image: readFields(top.image, "image", DEFAULT_SPEC.image, errors),
    snap: top.snap,
    max_frames: top.max_frames,
  };
  if (!errors.length && rangeError(spec.range)) errors.push({ path: "range.end", message: rangeError(spec.range) });
  return { spec: errors.length ? null : canonicalSpec(spec), errors };
}

/** The same specification with its times in order, each once. */
export function canonicalSpec(spec) {
  if (spec.sample.mode !== "timestamps") return spec;
  return { ...spec, sample: { ...spec.sample, at: [...new Set(spec.sample.at)].sort((one, other) => one - other) } };
}

/** Whether two complete specifications mean the same. */
export const isSameSpec = (one, other) => JSON.stringify(canonicalSpec(one)) === JSON.stringify(canonicalSpec(other));

/** The text that people read and edit. */
export const specText = (spec) => JSON.stringify(spec, null, 2);

/** Where a browser's message says that JSON ends to be well-formed: [line, column], or null. */
function placeOf(message, text) {
  const named = /line (\d+) column (\d+)/.exec(message);
  if (named) return [Number(named[1]), Number(named[2])];
  const position = /position (\d+)/.exec(message);
  if (!position) return null;
  const lines = text.slice(0, Number(position[1])).split("\n");
  return [lines.length, lines.at(-1).length + 1];
}

/** Reads the text of a specification as `readSpec` does. An error of the JSON itself has no path. */
export function parseSpec(text) {
  try {
    return readSpec(JSON.parse(text));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const place = placeOf(error.message, text);
    const message = place ? t("spec.malformed_at", { line: place[0], column: place[1] }) : t("spec.malformed");
    return { spec: null, errors: [{ path: "", message }] };
  }
}
