// Tells the server in which language the page is to be for the account that uses it.

import { language } from "../texts.js";

const COOKIE = "fotograma_language";
const MAX_AGE_SECONDS = 365 * 24 * 3600;

/** The language of a locale such as pt or en-US among those of the page, or null. Pure. */
export function languageOf(locale, languages) {
  const primary = (tag) => tag.toLowerCase().split("-")[0];
  return languages.find((one) => primary(one) === primary(locale)) ?? null;
}

/** Remembers the account's language. Gives whether the page has to be loaded again to be in it. */
export function rememberLanguage(locale, languages) {
  const wanted = languageOf(locale, languages);
  if (wanted === null) return false;
  document.cookie = `${COOKIE}=${wanted}; path=/; max-age=${MAX_AGE_SECONDS}; samesite=lax`;
  // A browser that keeps no cookies would load the page again and again.
  return wanted !== language && document.cookie.includes(`${COOKIE}=${wanted}`);
}

export function forgetLanguage() {
  document.cookie = `${COOKIE}=; path=/; max-age=0; samesite=lax`;
}
