// Asks the user to confirm what can't be undone.

const byId = (id) => document.getElementById(id);

/** Gives a promise of whether the user says yes. Afterwards the focus is where it was. */
export function confirmWithUser(question, yes, no) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = question;
  byId("confirm-yes").textContent = yes;
  byId("confirm-no").textContent = no;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
