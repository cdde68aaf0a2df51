// The buttons and the search above the list of videos. What they choose is in the address.

const SEARCH_DELAY_MS = 250;
const byId = (id) => document.getElementById(id);

export class ListFilter {
  /** address: of the page. list: of the videos. */
  constructor(address, list) {
    this.list = list;
    this.buttons = [...document.querySelectorAll(".filter")];
    for (const button of this.buttons) button.addEventListener("click", () => address.push({ status: button.dataset.status }));
    let timer = 0;
    byId("search").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => address.replace({ q: byId("search").value.trim() }), SEARCH_DELAY_MS);
    });
  }

  /** Shows what the address says. */
  show({ status, q }) {
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.status === status));
    if (byId("search").value.trim() !== q) byId("search").value = q;
    if (this.list.filter.status !== status || this.list.filter.q !== q) this.list.setFilter({ status, q });
  }
}
