// The texts of the page in its language. The server chooses the language and names the catalogue at the html element.

const { messages, errors, warnings } = await import(document.documentElement.dataset.texts);

export const language = document.documentElement.lang;
const numberFormat = new Intl.NumberFormat(language);
const pluralRules = new Intl.PluralRules(language);

/** The text of a key. Numbers among its values are written as the language does; `count` chooses the plural. */
export function t(key, values = {}) {
  const message = messages[key];
  return fill(typeof message === "string" ? message : message[pluralRules.select(values.count)] ?? message.other, values);
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => typeof values[name] === "number" ? numberFormat.format(values[name]) : values[name]);
}

/** What is wrong and what to do, for an error of the API: {code, detail, remedy}. Gives {reason, remedy}. */
export function errorText({ code, detail, remedy }) {
  const [title, ownRemedy] = errors[code] ?? [];
  // The API's details are English.
  const reason = language === "en" ? detail || title : title || detail;
  return { reason: reason || t("local.failed"), remedy: ownRemedy ?? remedy ?? "" };
}

/** The sentence of a result's warning: {code, detail}. Its numbers are those of the detail. */
export function warningText({ code, detail }) {
  const message = warnings[code];
  const numbers = (detail.match(/\d+(\.\d+)?/g) ?? []).map(Number);
  const hasAll = message && numbers.length >= (message.match(/\{n\d\}/g) ?? []).length;
  return hasAll ? fill(message, Object.fromEntries(numbers.map((number, at) => [`n${at + 1}`, number]))) : detail;
}
