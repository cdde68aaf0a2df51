// What the page shows is in its address: the filter and the search of the list, the open video, its part and its frame, the settings, and the administrator's view.

const VIEWS = ["settings", "admin"];
const FILTERS = ["queued", "running", "succeeded", "warned", "failed", "cancelled"];
export const PARTS = ["frames", "table", "report", "timeline"];
const VIDEO_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const FRAME_NUMBER = /^[1-9][0-9]{0,8}$/;

/** {view, status, q, video, part, frame}: view is one of VIEWS, or "" for the videos. What can't be understood is left out. Pure. */
export function parseAddress(search) {
  const query = new URLSearchParams(search);
  const known = (name, isKnown, otherwise) => isKnown(query.get(name) ?? "") ? query.get(name) : otherwise;
  return {
    view: known("view", (text) => VIEWS.includes(text), ""),
    status: known("status", (text) => FILTERS.includes(text), ""),
    q: (query.get("q") ?? "").slice(0, 200),
    video: known("video", (text) => VIDEO_ID.test(text), null),
    part: known("part", (text) => PARTS.includes(text), PARTS[0]),
    frame: Number(known("frame", (text) => FRAME_NUMBER.test(text), 0)) || null,
  };
}

/** The address of a state. A part and a frame are those of a video. Pure. */
export function formatAddress({ view, status, q, video, part, frame }) {
  const query = new URLSearchParams();
  if (view && !video) query.set("view", view);
  if (status) query.set("status", status);
  if (q) query.set("q", q);
  if (video) query.set("video", video);
  if (video && part !== PARTS[0]) query.set("part", part);
  if (video && frame) query.set("frame", frame);
  return `${location.pathname}${query.size ? `?${query}` : ""}`;
}

export class PageAddress {
  /** onChange(state): the page is to show this state. */
  constructor(onChange) {
    this.onChange = onChange;
    this.state = parseAddress(location.search);
    addEventListener("popstate", () => this.show(parseAddress(location.search)));
  }

  show(state) {
    this.state = state;
    this.onChange(state);
  }

  /** The address that `changes` lead to. */
  hrefOf(changes) {
    return formatAddress({ ...this.state, ...changes });
  }

  /** Goes on to another state. The browser's back button leads to this one. */
  push(changes) {
    history.pushState({ isWithinPage: true }, "", this.hrefOf(changes));
    this.show(parseAddress(location.search));
  }

  /** Changes the state in its place. */
  replace(changes) {
    history.replaceState(history.state, "", this.hrefOf(changes));
    this.show(parseAddress(location.search));
  }

  /** Goes back when this state was reached from within the page; otherwise changes it in its place. */
  leave(changes) {
    if (history.state?.isWithinPage) history.back();
    else this.replace(changes);
  }

  /** Lets a link change the state without loading the page again. changes(): of its address. */
  followLink(link, changes) {
    link.addEventListener("click", (event) => {
      if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      this.push(changes());
    });
  }
}
