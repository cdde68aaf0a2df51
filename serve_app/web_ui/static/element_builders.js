// Elements of the lists in the settings and in the administrator's view.

export function element(name, { className = "", text = "" } = {}, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  made.append(...children);
  return made;
}

/** state: the word of its color. */
export function badge(state, text) {
  return element("span", { className: state ? `badge ${state}` : "badge", text });
}

/** Fills a list of terms. rows: [term, text]. */
export function describe(list, rows) {
  list.replaceChildren(...rows.flatMap(([term, text]) => [element("dt", { text: term }), element("dd", { text })]));
}

/** name: what a screen reader says of the button, when its text alone does not tell what it is about. */
export function button(text, name, onClick, className = "button secondary") {
  const made = element("button", { className, text });
  made.type = "button";
  if (name) made.setAttribute("aria-label", name);
  made.addEventListener("click", onClick);
  return made;
}

/** Shows a secret that is told once, with a button that copies it. */
export function showSecret(prefix, secret) {
  const byId = (id) => document.getElementById(`${prefix}-${id}`);
  byId("secret").hidden = !secret;
  byId("secret-value").textContent = secret;
}

/** The clipboard exists only on HTTPS and on localhost: elsewhere the button selects the secret. */
export function wireSecret(prefix, onCopied) {
  const value = document.getElementById(`${prefix}-secret-value`);
  document.getElementById(`${prefix}-secret-copy`).addEventListener("click", async () => {
    getSelection().selectAllChildren(value);
    await navigator.clipboard?.writeText(value.textContent).then(onCopied, () => {});
  });
}
