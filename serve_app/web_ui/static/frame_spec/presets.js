// The saved choices of the account: each a name and a specification. And the last choice, in the browser's storage.

import { callApi } from "../api_client.js";
import { t } from "../texts.js";
import { isSameSpec, readSpec } from "./spec_validation.js";

const LAST_PREFIX = "fotograma.last-spec ";
// As the service has it: a letter or a digit first, no slash, no control character.
const NAME = /^[\p{L}\p{N}](?:[^/\p{C}\p{Z}]| )*$/u;
const presetPath = (name) => `/v1/presets/${encodeURIComponent(name)}`;

/** Tells the forms of the page that the list is another one. */
export const presetChanges = new EventTarget();
const tellChange = () => presetChanges.dispatchEvent(new Event("change"));

/** [{name, spec}] in the order of the names in the page's language. What this version of the page can't read is left out. */
export async function fetchPresets() {
  const { items } = await callApi("GET", "/v1/presets");
  const presets = items.map(({ name, spec }) => ({ name, spec: readSpec(spec).spec })).filter(({ spec }) => spec);
  return presets.sort((one, other) => one.name.localeCompare(other.name));
}

/** Saves a choice under a name; one of the same name is replaced. */
export async function savePreset(name, spec) {
  await callApi("PUT", presetPath(name), { spec });
  tellChange();
}

export async function deletePreset(name) {
  try {
    await callApi("DELETE", presetPath(name));
  } catch (error) {
    // It was deleted in another place.
    if (error.status !== 404) throw error;
  }
  tellChange();
}

/** What is wrong with a name; "" for nothing. Pure. */
export function presetNameError(name) {
  if (!name) return t("preset.name_missing");
  return NAME.test(name) ? "" : t("preset.name_wrong");
}

/** The preset that means this specification; undefined for none. Pure. */
export const presetOf = (presets, spec) => presets.find((preset) => spec && isSameSpec(preset.spec, spec));

/** The specification that the account chose last; null for none. An upload goes on after a reload only with the same one. */
export function lastSpec(accountId) {
  try {
    return readSpec(JSON.parse(localStorage.getItem(LAST_PREFIX + accountId))).spec;
  } catch {
    return null;
  }
}

export function rememberLastSpec(accountId, spec) {
  try {
    localStorage.setItem(LAST_PREFIX + accountId, JSON.stringify(spec));
  } catch {
    // A storage that is full or forbidden remembers nothing.
  }
}
