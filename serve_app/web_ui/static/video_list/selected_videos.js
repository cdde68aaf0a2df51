// Several rows at once: which videos are selected, and the buttons for all of them.

import { t } from "../texts.js";
import { APPLIES } from "./video_actions.js";

const byId = (id) => document.getElementById(id);
const LABELS = {
  download: (count) => t("selection.download", { count }),
  again: (count) => t("selection.again", { count }),
  cancel: (count) => t("selection.cancel", { count }),
  delete: (count) => t("selection.delete", { count }),
};

/** The ids from one to another, both included, in the order of the list. Pure. */
export function idsBetween(ids, one, other) {
  const places = [ids.indexOf(one), ids.indexOf(other)].sort((first, second) => first - second);
  return places[0] === -1 ? [other] : ids.slice(places[0], places[1] + 1);
}

export class SelectedVideos {
  /** listed(): the videos of the list. onChange(): other rows are selected. onAction(verb, videos). */
  constructor({ listed, onChange, onAction }) {
    Object.assign(this, { listed, onChange });
    this.ids = new Set();
    this.anchor = null;
    byId("select-all").addEventListener("change", ({ target }) => this.selectAll(target.checked));
    byId("select-none").addEventListener("click", () => {
      this.selectAll(false);
      byId("select-all").focus();
    });
    for (const verb of Object.keys(LABELS)) {
      byId(`selected-${verb}`).addEventListener("click", () => onAction(verb, this.videos));
    }
  }

  get videos() {
    return this.listed().filter(({ id }) => this.ids.has(id));
  }

  has(id) {
    return this.ids.has(id);
  }

  selectAll(isSelected) {
    this.ids = new Set(isSelected ? this.listed().map(({ id }) => id) : []);
    this.onChange();
  }

  /** isRange: all rows from the one that was changed last. */
  select(id, isSelected, isRange) {
    const ids = isRange && this.anchor ? idsBetween(this.listed().map((video) => video.id), this.anchor, id) : [id];
    for (const one of ids) {
      if (isSelected) this.ids.add(one);
      else this.ids.delete(one);
    }
    this.anchor = id;
    this.onChange();
  }

  /** Shows what is selected of the list. What is no longer listed is no longer selected. */
  render() {
    const listed = this.listed();
    const { videos } = this;
    this.ids = new Set(videos.map(({ id }) => id));
    const hadFocus = byId("selection").contains(document.activeElement);
    byId("selection").hidden = !listed.length;
    byId("select-all").checked = videos.length > 0 && videos.length === listed.length;
    byId("select-all").indeterminate = videos.length > 0 && videos.length < listed.length;
    byId("selection-text").textContent = videos.length ? t("selection.count", { count: videos.length, total: listed.length }) : t("selection.all");
    byId("select-none").hidden = !videos.length;
    for (const [verb, label] of Object.entries(LABELS)) {
      const count = videos.filter(APPLIES[verb]).length;
      byId(`selected-${verb}`).hidden = !count;
      byId(`selected-${verb}`).textContent = label(count);
    }
    // The button that had the focus may be gone, and with the last video the whole line.
    if (hadFocus && !byId("selection").contains(document.querySelector(":focus:not([hidden])"))) byId("select-all").focus();
    if (hadFocus && !listed.length) byId("videos-title").focus();
  }
}
