// Wires the page: log-in, adding files, the filters and the table of videos.

import { forgetLanguage, rememberLanguage } from "./account_language.js";
import { PageAddress } from "./address.js";
import { Announcer } from "./announcer.js";
import { Problem, callApi } from "./api_client.js";
import { confirmWithUser } from "./confirm_dialog.js";
import { acceptFiles } from "./file_drop.js";
import { STATUS_LABELS, formatBytes, formatPercent } from "./formatting.js";
import { FrameOptions } from "./frame_options.js";
import { LoginForm } from "./login_form.js";
import { hideProblem, showProblem } from "./problem_toast.js";
import { discoverMaxBytes } from "./resumable_upload.js";
import { SessionDialog } from "./session_dialog.js";
import { videoTable } from "./table_rows.js";
import { t } from "./texts.js";
import { UploadPanel } from "./upload_panel.js";
import { UploadQueue } from "./upload_queue.js";
import { VideoList } from "./video_list.js";
import { badgeOf, isActive } from "./video_status.js";
import { VideoView } from "./video_view/video_view.js";

const settings = JSON.parse(document.body.dataset.settings);
const byId = (id) => document.getElementById(id);
const SEARCH_DELAY_MS = 250;

const announcer = new Announcer(byId("announcer"));
const address = new PageAddress(showAddress);
const frameOptions = new FrameOptions();
const videoList = new VideoList({
  onChange: () => {
    mustRenderVideos = true;
    renderSoon();
  },
  onLoaded: (atMs) => uploadQueue.removeAcceptedBefore(atMs),
  onConnection: showConnection,
  onLoggedOut: showLogin,
});
const videoView = new VideoView({ address, onAction: runAction, onConnection: showConnection, onLoggedOut: showLogin });
const uploadQueue = new UploadQueue({
  maxRequestBytes: settings.upload_request_max_bytes,
  onChange: renderSoon,
  onAccepted: ({ file }) => {
    announcer.say(t("status.of_file", { name: file.name, status: STATUS_LABELS.accepted }));
    videoList.refreshSoon();
  },
  onBegunAnew: ({ file }) => announcer.say(t("upload.begun_anew", { name: file.name })),
  onRefused: ({ file, refusal }) => {
    announcer.say(t("status.of_file", { name: file.name, status: STATUS_LABELS.refused }));
    announcer.say(refusal.reason);
  },
  onLoggedOut: showLogin,
});
const uploadPanel = new UploadPanel(uploadQueue, (count) =>
  confirmWithUser(t("upload.cancel_question", { count }), t("upload.cancel_yes"), t("upload.cancel_no")));
const videoRows = videoTable(byId("videos"), { onAction: runAction, address });
const loginForm = new LoginForm(settings, enter);
const sessionDialog = new SessionDialog({ onLoggedIn: loadAccount, onLeave: leave });
const lastStatus = new Map();
let account = null;
let isLoggedIn = false;
let listScrollY = 0;
let isRenderPending = false;
let mustRenderVideos = false;

/** Renders once before the next frame, however often it is called. */
function renderSoon() {
  if (isRenderPending) return;
  isRenderPending = true;
  requestAnimationFrame(() => {
    isRenderPending = false;
    render();
  });
}

function render() {
  uploadQueue.removeListed(new Set(videoList.videos.map(({ id }) => id)));
  uploadPanel.render();
  if (mustRenderVideos) renderVideos();
  const isEmpty = videoList.loaded && !videoList.videos.length && !uploadQueue.uploads.length;
  const filtered = videoList.filter.status || videoList.filter.q;
  byId("empty").textContent = filtered ? t("videos.none_matches") : t("videos.none");
  byId("empty").hidden = !isEmpty;
}

function renderVideos() {
  mustRenderVideos = !videoRows.render(videoList.videos);
  if (mustRenderVideos) renderSoon();
  byId("more").hidden = !videoList.nextCursor;
  announceEnded();
}

/** Announces ended extractions to screen readers. Progress is not announced. */
function announceEnded() {
  for (const video of videoList.videos) {
    const { id, filename, status } = video;
    const before = lastStatus.get(id);
    if (before && before !== status && !isActive(video)) announcer.say(t("status.of_file", { name: filename, status: badgeOf(video).label }));
    lastStatus.set(id, status);
  }
}

async function runAction(verb, video) {
  hideProblem();
  try {
    if (verb === "delete") {
      const question = t("video.delete_question", { name: video.filename });
      if (!(await confirmWithUser(question, t("video.delete"), t("video.keep")))) return;
      await callApi("DELETE", `/v1/videos/${video.id}`);
      lastStatus.delete(video.id);
      if (address.state.video === video.id) address.leave({ video: null, frame: null });
    } else {
      await callApi("POST", `/v1/extractions/${video.extraction.id}/${verb}`);
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return showLogin();
    // The next refresh of the list shows the current state.
    showProblem(error);
  }
  videoList.refreshSoon();
}

// Log-in.

function setLoggedIn(isIn) {
  isLoggedIn = isIn;
  byId("login").hidden = isIn;
  byId("account").hidden = !isIn;
  showAddress(address.state);
}

/** After a log-in by the form. */
async function enter() {
  await loadAccount();
  if (isLoggedIn) (videoView.videoId ? byId("video-title") : byId("videos-title")).focus({ preventScroll: true });
}

/** Without a session: a visitor gets the form, and who uses the page is asked for the password. */
function showLogin() {
  videoList.reset();
  byId("connection").hidden = true;
  if (account) return sessionDialog.ask(account.email, uploadQueue.isActive);
  setLoggedIn(false);
  loginForm.focus();
}

/** Goes back to the form of visitors. */
function leave() {
  account = null;
  uploadQueue.drop();
  forgetLanguage();
  showLogin();
}

function showConnection(isUp) {
  byId("connection").hidden = isUp;
}

// The address.

/** Shows what the address says: the list with its filter and search, or a video. */
function showAddress(state) {
  const wasOpen = videoView.videoId;
  const isList = isLoggedIn && !state.video;
  if (!byId("workspace").hidden) listScrollY = scrollY;
  byId("workspace").hidden = !isList;
  showFilter(state);
  if (isLoggedIn && state.video) return videoView.show(state);
  videoView.close();
  document.title = "Fotograma";
  if (!isList || !wasOpen) return;
  scrollTo(0, listScrollY);
  (document.querySelector(`[data-video="${wasOpen}"] .open`) ?? byId("videos-title")).focus({ preventScroll: true });
}

function showFilter({ status, q }) {
  for (const filter of document.querySelectorAll(".filter")) filter.setAttribute("aria-pressed", String(filter.dataset.status === status));
  if (byId("search").value.trim() !== q) byId("search").value = q;
  if (videoList.filter.status !== status || videoList.filter.q !== q) videoList.setFilter({ status, q });
}

/** A proxy may answer OPTIONS itself. Then only the service refuses a file that is too large. */
async function loadLimit() {
  try {
    uploadQueue.maxBytes = await discoverMaxBytes();
    byId("limit").textContent = t("add.limit", { size: formatBytes(uploadQueue.maxBytes) });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

async function loadAccount() {
  let me;
  try {
    me = await callApi("GET", "/v1/me");
    await loadLimit();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return showLogin();
    byId("connection").hidden = false;
    setTimeout(loadAccount, 2000);
    return;
  }
  if (rememberLanguage(me.locale, settings.languages) && !uploadQueue.isActive) return location.reload();
  byId("connection").hidden = true;
  if (me.id !== account?.id) lastStatus.clear();
  account = me;
  byId("account-email").textContent = me.email;
  const wasLoggedIn = isLoggedIn;
  setLoggedIn(true);
  // Its requests ended with the session.
  if (wasLoggedIn && videoView.videoId) videoView.refresh();
  videoList.reset();
  videoList.start();
  uploadQueue.start(me.id);
}

async function logOut() {
  try {
    await callApi("DELETE", "/session");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status !== 401) {
      byId("connection").hidden = false;
      return;
    }
  }
  leave();
}

function addFiles(files) {
  const { spec } = frameOptions;
  if (!spec || !files.length) return;
  const goingOn = uploadQueue.add(files, spec).filter(({ resumedAt }) => resumedAt !== null);
  for (const { file, resumedAt } of goingOn) announcer.say(t("upload.goes_on", { name: file.name, percent: formatPercent(resumedAt) }));
}

function wireFilters() {
  for (const filter of document.querySelectorAll(".filter")) {
    filter.addEventListener("click", () => address.push({ status: filter.dataset.status }));
  }
  let timer = 0;
  byId("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => address.replace({ q: byId("search").value.trim() }), SEARCH_DELAY_MS);
  });
}

async function showMore() {
  byId("more").disabled = true;
  try {
    await videoList.loadMore();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) showLogin();
  } finally {
    byId("more").disabled = false;
  }
}

byId("logout").addEventListener("click", logOut);
byId("more").addEventListener("click", showMore);
acceptFiles({ input: byId("files"), zone: byId("drop"), isOpen: () => !byId("workspace").hidden, onFiles: addFiles });
addEventListener("beforeunload", (event) => { if (uploadQueue.isActive) event.preventDefault(); });
address.followLink(byId("video-back"), () => ({ video: null, frame: null, part: "frames" }));
history.scrollRestoration = "manual";
wireFilters();
loadAccount();
