// Between the texts of the form's fields and the values of a specification. Pure functions.

import { language, t } from "../texts.js";
import { CHECKS, DEFAULT_SPEC, canonicalSpec, rangeError } from "./spec_validation.js";

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?$/i;
const CLOCK = /^(?:(\d+):)?(\d+):(\d{1,2}(?:\.\d*)?)$/;
// A number keeps so many digits.
const MAX_DIGITS = 15;
const DECIMAL_MARK = new Intl.NumberFormat(language).formatToParts(0.5).find(({ type }) => type === "decimal").value;

/** The text of a number as the reader of a language writes it. */
export function numberText(value, mark = DECIMAL_MARK) {
  return value === null || value === undefined ? "" : String(value).replace(".", mark);
}

/** The number that a text means; NaN for none. */
export function parseNumber(text, mark = DECIMAL_MARK) {
  const plain = text.trim().replace(mark, ".");
  return NUMBER.test(plain) && plain.replace(/e.*|\D/gi, "").replace(/^0+/, "").length <= MAX_DIGITS ? Number(plain) : NaN;
}

/** The seconds that a text means, such as 65.2, 1:05.2 or 0:01:05.2; NaN for none. */
export function parseTime(text, mark = DECIMAL_MARK) {
  const [, hours = "0", minutes, seconds] = CLOCK.exec(text.trim().replace(mark, ".")) ?? [];
  if (minutes === undefined) return parseNumber(text, mark);
  if (Number(seconds) >= 60 || (hours !== "0" && Number(minutes) >= 60)) return NaN;
  // Whole milliseconds and less are exact: seconds are added as decimals, not as binary fractions.
  const [whole, fraction = ""] = seconds.split(".");
  return Number(`${Number(hours) * 3600 + Number(minutes) * 60 + Number(whole)}.${fraction}`);
}

/** The texts of a list of times: separated by blanks, lines, semicolons, and commas that are no decimal marks. */
export function splitTimes(text, mark = DECIMAL_MARK) {
  return text.split(mark === "," ? /,?[\s;]+/ : /[\s;,]+/).filter(Boolean);
}

const readNumber = (text) => text.trim() ? parseNumber(text) : undefined;
const readOptional = (text) => text.trim() ? parseNumber(text) : null;
const readOptionalTime = (text) => text.trim() ? parseTime(text) : null;

/** Each field that holds text: the path of its value, and how the text is read. undefined: it must not be empty. */
const TEXT_FIELDS = {
  fps: { path: "sample.fps", read: readNumber },
  seconds: { path: "sample.seconds", read: readNumber },
  count: { path: "sample.count", read: readNumber },
  n: { path: "sample.n", read: readNumber },
  threshold: { path: "sample.threshold", read: readNumber },
  start: { path: "range.start", read: (text) => readOptionalTime(text) ?? DEFAULT_SPEC.range.start },
  end: { path: "range.end", read: readOptionalTime },
  quality: { path: "image.quality", read: readNumber },
  max_side: { path: "image.max_side", read: readOptional },
  max_frames: { path: "max_frames", read: readOptional },
};

/** The field of each mode. The texts of the others stay in the form. */
export const FIELD_OF_MODE = {
  fps: "fps", interval: "seconds", uniform: "count", timestamps: "at", every_nth: "n", scenes: "threshold",
};

function readText(name, text, errors) {
  const { path, read } = TEXT_FIELDS[name];
  const value = read(text);
  const error = value === undefined ? t("spec.no_number") : CHECKS[path](value);
  if (error) errors[name] = error;
  return value;
}

function readTimes(text, errors) {
  const texts = splitTimes(text);
  const at = texts.map((one) => parseTime(one));
  const wrong = at.findIndex(Number.isNaN);
  const error = wrong === -1 ? CHECKS["sample.at"](at) : t("spec.not_time", { text: texts[wrong].slice(0, 40) });
  if (error) errors.at = error;
  return at;
}

function readSampleOf(texts, errors) {
  const { mode } = texts;
  const name = FIELD_OF_MODE[mode];
  if (!name) return { mode };
  return { mode, [name]: name === "at" ? readTimes(texts.at, errors) : readText(name, texts[name], errors) };
}

/**
 * Reads the texts of the form. Gives {spec, errors}: the specification, null when a text is wrong; and what is wrong by the
 * field's name.
 */
export function readTexts(texts) {
  const errors = {};
  const range = { start: readText("start", texts.start, errors), end: readText("end", texts.end, errors) };
  if (!errors.start && !errors.end && rangeError(range)) errors.end = rangeError(range);
  const hasQuality = texts.format !== "png";
  const spec = {
    sample: readSampleOf(texts, errors),
    range,
    image: {
      format: texts.format,
      quality: hasQuality ? readText("quality", texts.quality, errors) : DEFAULT_SPEC.image.quality,
      max_side: readText("max_side", texts.max_side, errors),
      names: texts.names,
    },
    snap: texts.snap,
    max_frames: readText("max_frames", texts.max_frames, errors),
  };
  return { spec: Object.keys(errors).length ? null : canonicalSpec(spec), errors };
}

/** The texts of a specification. Those of other modes are missing. */
export function textsOf({ sample, range, image, snap, max_frames: maxFrames }) {
  const { mode } = sample;
  const name = FIELD_OF_MODE[mode];
  const own = name && { [name]: name === "at" ? sample.at.map((time) => numberText(time)).join("\n") : numberText(sample[name]) };
  return {
    mode,
    ...own,
    start: range.start ? numberText(range.start) : "",
    end: numberText(range.end),
    format: image.format,
    quality: numberText(image.quality),
    max_side: numberText(image.max_side),
    names: image.names,
    snap,
    max_frames: numberText(maxFrames),
  };
}
