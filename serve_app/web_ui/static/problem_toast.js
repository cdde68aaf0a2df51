// Shows why an action failed, until the user closes it or another action follows.

const byId = (id) => document.getElementById(id);

/** problem: {message, remedy}. */
export function showProblem({ message, remedy }) {
  byId("problem-text").textContent = `${message} ${remedy}`;
  byId("problem").hidden = false;
}

export function hideProblem() {
  byId("problem").hidden = true;
}

byId("problem-close").addEventListener("click", hideProblem);
