// Says beside a field of a form what is wrong with it. What was typed stays.

import { t } from "./texts.js";

const errorOf = (field) => document.getElementById(`${field.id}-error`);

export function showFieldError(field, message) {
  errorOf(field).textContent = message;
  errorOf(field).hidden = !message;
  if (message) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/**
 * Checks fields: [[field, message]], where an empty message means that the field is right. Shows the messages, moves the
 * focus to the first field that is wrong, and gives whether all are right.
 */
export function checkFields(checks) {
  for (const [field, message] of checks) {
    showFieldError(field, message);
    field.addEventListener("input", () => showFieldError(field, ""), { once: true });
  }
  const wrong = checks.find(([, message]) => message);
  wrong?.[0].focus();
  return !wrong;
}

/** What is wrong with an e-mail address; "" for nothing. */
export function emailError(field) {
  if (!field.value.trim()) return t("field.email_missing");
  return field.validity.typeMismatch ? t("field.email_invalid") : "";
}

export function passwordError(field) {
  return field.value ? "" : t("field.password_missing");
}

export function newPasswordError(field, minLength) {
  const { length } = [...field.value];
  if (!length) return t("field.password_missing");
  return length < minLength ? t("field.password_short", { count: minLength, length }) : "";
}

/** What a problem of the service says to people, with the time to wait when there is one. */
export function problemText(problem) {
  const wait = problem.code === "too_many_requests" && problem.retryAfterSeconds;
  return `${problem.message} ${wait ? t("field.wait", { count: problem.retryAfterSeconds }) : problem.remedy}`;
}
