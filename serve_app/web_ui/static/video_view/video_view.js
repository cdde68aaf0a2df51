// The view of one video: its state, and the parts of its result. What it shows follows the address.

import { Problem, callApi } from "../api_client.js";
import { formatCount } from "../formatting.js";
import { t } from "../texts.js";
import { isNewer, pollDelayMs } from "../video_list/video_list.js";
import { isActive } from "../video_list/video_status.js";
import { ContactSheet } from "./contact_sheet.js";
import { FrameGallery } from "./frame_gallery.js";
import { FrameTable } from "./frame_table.js";
import { FrameViewer } from "./frame_viewer.js";
import { loadManifest } from "./manifest.js";
import { PreviewPart } from "./preview_part.js";
import { ReportPart } from "./report_part.js";
import { TimelinePart } from "./timeline_part.js";
import { VideoHeader } from "./video_header.js";

const byId = (id) => document.getElementById(id);

export class VideoView {
  /**
   * address: of the page. onAction(verb, video): gives a promise that is fulfilled when it was done. onConnection(isUp).
   * isLive(): whether there are live events. onLoggedOut().
   */
  constructor({ address, onAction, onConnection, isLive, onLoggedOut }) {
    Object.assign(this, { address, onConnection, isLive, onLoggedOut });
    const onOpen = (n) => address.push({ frame: n });
    const hrefOf = (n) => address.hrefOf({ frame: n });
    this.preview = new PreviewPart();
    this.header = new VideoHeader((verb, video) => this.act(onAction, verb, video));
    this.sheet = new ContactSheet(byId("sheet"), (seconds) => this.manifest && onOpen(this.manifest.nearest(seconds) + 1));
    this.gallery = new FrameGallery(byId("gallery"), { hrefOf, onOpen });
    this.table = new FrameTable({ hrefOf, onOpen });
    this.viewer = new FrameViewer({
      onStep: (n) => address.replace({ frame: n }),
      onClose: () => address.leave({ frame: null }),
    });
    this.report = new ReportPart();
    this.timeline = new TimelinePart();
    this.parts = [...document.querySelectorAll("#video-parts [data-part]")];
    for (const link of this.parts) address.followLink(link, () => ({ part: link.dataset.part, frame: null }));
    this.clear();
  }

  /** state: of the address, with a video. */
  show(state) {
    const isOther = state.video !== this.videoId;
    if (isOther) {
      this.close();
      this.videoId = state.video;
      byId("video-view").hidden = false;
      byId("video-title").focus({ preventScroll: true });
      scrollTo(0, 0);
      this.refresh();
    }
    this.showPart();
    this.showFrame();
  }

  close() {
    this.viewer.close();
    this.clear();
    byId("video-view").hidden = true;
  }

  clear() {
    clearTimeout(this.timer);
    Object.assign(this, { videoId: null, video: null, manifest: null, resultId: null, failures: 0 });
    this.header.clear();
    this.preview.clear();
    this.setMessage("");
    for (const id of ["video-parts", "part-frames", "part-table", "part-report", "part-timeline"]) byId(id).hidden = true;
  }

  async act(onAction, verb, video) {
    await onAction(verb, video);
    if (this.videoId === video.id) this.refresh();
  }

  async refresh() {
    clearTimeout(this.timer);
    const { videoId } = this;
    try {
      const video = await callApi("GET", `/v1/videos/${videoId}`);
      if (videoId !== this.videoId) return;
      this.failures = 0;
      this.onConnection(true);
      this.render(video);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (videoId !== this.videoId) return;
      if (error.status === 401) return this.onLoggedOut();
      if (error.status === 404) return this.showMissing(error);
      this.failures += 1;
      this.onConnection(error.status !== 0 && error.status < 500);
    }
    const mustPoll = this.failures || !this.video || isActive(this.video);
    if (!mustPoll) return;
    const delay = pollDelayMs({ failures: this.failures, hidden: document.hidden, active: true, live: this.isLive() });
    this.timer = setTimeout(() => this.refresh(), delay);
  }

  /** Takes the state of an extraction that an event tells. */
  take(extraction) {
    if (extraction.video_id !== this.videoId) return;
    if (!this.video || isNewer(extraction, this.video.extraction)) this.refresh();
  }

  showMissing({ message, remedy }) {
    this.clear();
    byId("video-title").textContent = t("view.missing");
    this.setMessage(`${message} ${remedy}`);
  }

  setMessage(text) {
    byId("video-message").textContent = text;
    byId("video-message").hidden = !text;
  }

  render(video) {
    const { version: before } = this.video?.extraction ?? {};
    this.video = video;
    document.title = t("page.title", { name: video.filename });
    this.header.render(video);
    this.preview.render(video);
    const hasResult = video.status === "succeeded";
    if (hasResult && this.resultId !== video.extraction.id) this.loadResult(video);
    if (!hasResult) this.resultId = null;
    if (before !== video.extraction.version) this.timeline.refresh(video.extraction.id);
    this.showPart();
  }

  async loadResult({ id, extraction, media }) {
    this.resultId = extraction.id;
    this.manifest = null;
    byId("manifest-csv").href = `/v1/extractions/${extraction.id}/manifest.csv`;
    byId("manifest-json").href = `/v1/extractions/${extraction.id}/manifest.json`;
    this.report.load(extraction.id);
    this.sheet.show(extraction.id, extraction.result.frames, media);
    byId("gallery-state").textContent = t("view.loading");
    byId("gallery-state").hidden = false;
    try {
      const manifest = await loadManifest(extraction.id);
      if (this.resultId !== extraction.id || this.videoId !== id) return;
      this.manifest = manifest;
      byId("gallery-state").hidden = true;
      this.gallery.show(extraction.id, manifest);
      this.table.show(manifest);
      this.showFrame();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) return this.onLoggedOut();
      byId("gallery-state").textContent = `${error.message} ${error.remedy}`;
    }
  }

  /** Without a result there is the time line alone. */
  showPart() {
    if (!this.video) return;
    const hasResult = this.video.status === "succeeded";
    const part = hasResult ? this.address.state.part : "timeline";
    byId("video-parts").hidden = !hasResult;
    for (const link of this.parts) {
      link.href = this.address.hrefOf({ part: link.dataset.part, frame: null });
      if (link.dataset.part === part) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      byId(`part-${link.dataset.part}`).hidden = link.dataset.part !== part;
    }
    if (hasResult) byId("video-frame-count").textContent = formatCount(this.video.extraction.result.frames);
  }

  showFrame() {
    const { frame } = this.address.state;
    if (!this.manifest) return;
    if (frame) {
      this.viewer.show(this.resultId, this.video, this.manifest, frame);
      return;
    }
    if (!this.viewer.isOpen) return;
    const { n } = this.viewer;
    this.viewer.close();
    if (this.address.state.part === "frames") this.gallery.focusFrame(n);
  }
}
