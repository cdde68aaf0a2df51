// Wires the page: log-in, adding files, the filters and the table of videos.

import { forgetLanguage, rememberLanguage } from "./account/account_language.js";
import { LoginForm } from "./account/login_form.js";
import { SessionDialog } from "./account/session_dialog.js";
import { PageAddress } from "./address.js";
import { AdminView } from "./admin/admin_view.js";
import { Announcer } from "./announcer.js";
import { Problem, callApi } from "./api_client.js";
import { confirmWithUser } from "./confirm_dialog.js";
import { STATUS_LABELS, formatBytes, formatPercent } from "./formatting.js";
import { AddVideos } from "./frame_spec/add_videos.js";
import { LiveEvents } from "./live_events.js";
import { SettingsView } from "./settings/settings_view.js";
import { t } from "./texts.js";
import { acceptFiles } from "./uploads/file_drop.js";
import { discoverMaxBytes } from "./uploads/resumable_upload.js";
import { UploadPanel } from "./uploads/upload_panel.js";
import { UploadQueue } from "./uploads/upload_queue.js";
import { ListFilter } from "./video_list/list_filter.js";
import { SelectedVideos } from "./video_list/selected_videos.js";
import { videoTable } from "./video_list/table_rows.js";
import { VideoActions } from "./video_list/video_actions.js";
import { VideoList } from "./video_list/video_list.js";
import { badgeOf, isActive } from "./video_list/video_status.js";
import { VideoView } from "./video_view/video_view.js";

const settings = JSON.parse(document.body.dataset.settings);
const byId = (id) => document.getElementById(id);

const announcer = new Announcer(byId("announcer"));
const address = new PageAddress(showAddress);
const addVideos = new AddVideos({ onSend: sendFiles, onLoggedOut: showLogin });
const videoList = new VideoList({
  onChange: renderListSoon,
  onLoaded: (atMs) => uploadQueue.removeAcceptedBefore(atMs),
  onConnection: showConnection,
  isLive: () => liveEvents.isOpen,
  onLoggedOut: showLogin,
});
const listFilter = new ListFilter(address, videoList);
const videoActions = new VideoActions({
  onDone: () => videoList.refreshSoon(),
  onDeleted: ({ id }) => {
    lastStatus.delete(id);
    if (address.state.video === id) address.leave({ video: null, frame: null });
  },
  onLoggedOut: showLogin,
});
const runAction = (verb, video) => videoActions.run(verb, video);
const selected = new SelectedVideos({
  listed: () => videoList.videos,
  onChange: renderListSoon,
  onAction: (verb, videos) => videoActions.runAll(verb, videos),
});
const videoView = new VideoView({
  address,
  onAction: runAction,
  onConnection: showConnection,
  isLive: () => liveEvents.isOpen,
  onLoggedOut: showLogin,
});
const liveEvents = new LiveEvents({
  onExtraction: (extraction) => {
    videoList.take(extraction);
    videoView.take(extraction);
  },
  onChange: () => {
    videoList.refreshSoon();
    if (videoView.video) videoView.refresh();
  },
});
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
const videoRows = videoTable(byId("videos"), { onAction: runAction, address, selected });
const loginForm = new LoginForm(settings, enter);
const sessionDialog = new SessionDialog({ onLoggedIn: loadAccount, onLeave: () => leave() });
const settingsView = new SettingsView({
  settings,
  onLoggedOut: showLogin,
  onDeleted: () => leave(t("deletion.done")),
  onLanguage: reloadForLanguage,
  onConnection: showConnection,
});
const adminView = new AdminView({ onLoggedOut: showLogin, onForbidden: loadAccount, onConnection: showConnection });
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

function renderListSoon() {
  mustRenderVideos = true;
  renderSoon();
}

function render() {
  uploadQueue.removeListed(new Set(videoList.videos.map(({ id }) => id)));
  uploadPanel.render();
  if (mustRenderVideos) renderVideos();
  const isEmpty = videoList.loaded && !videoList.videos.length && !uploadQueue.uploads.length;
  const filtered = videoList.filter.status || videoList.filter.q;
  byId("empty").textContent = filtered ? t("videos.none_matches") : t("videos.none");
  byId("empty").hidden = !isEmpty;
  addVideos.setHasVideos(!isEmpty || Boolean(filtered));
}

function renderVideos() {
  selected.render();
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

// Log-in.

function setLoggedIn(isIn) {
  isLoggedIn = isIn;
  byId("login").hidden = isIn;
  byId("account").hidden = byId("account-menu").hidden = !isIn;
  showAddress(address.state);
}

/** After a log-in by the form. */
async function enter() {
  await loadAccount();
  if (isLoggedIn && !settingsView.isOpen && !adminView.isOpen) (videoView.videoId ? byId("video-title") : byId("videos-title")).focus({ preventScroll: true });
}

/** Without a session: a visitor gets the form, and who uses the page is asked for the password. */
function showLogin() {
  if (!account) return leave();
  videoList.reset();
  liveEvents.stop();
  byId("connection").hidden = true;
  sessionDialog.ask(account.email, uploadQueue.isActive);
}

/** Goes back to the form of visitors. done: what has just become of the account. */
function leave(done = "") {
  // A late answer to a request of the account that has left.
  if (!account && !done && !byId("login").hidden) return;
  account = null;
  // The session of a deleted account ends at once, often before the answer to the deletion.
  sessionDialog.close();
  uploadQueue.drop();
  forgetLanguage();
  videoList.reset();
  liveEvents.stop();
  byId("connection").hidden = true;
  setLoggedIn(false);
  loginForm.focus(done);
}

/** Loads the page again when the account has another language, unless uploads would stop. Gives whether it does. */
function reloadForLanguage({ locale }) {
  const mustReload = rememberLanguage(locale, settings.languages) && !uploadQueue.isActive;
  if (mustReload) location.reload();
  return mustReload;
}

function showConnection(isUp) {
  byId("connection").hidden = isUp;
}

// The address.

/** Shows what the address says: the list with its filter and search, a video, the settings, or the administrator's view. */
function showAddress(state) {
  const wasOpen = videoView.videoId;
  const wasOtherView = settingsView.isOpen || adminView.isOpen;
  const isSettings = isLoggedIn && state.view === "settings" && !state.video;
  const isAdmin = isLoggedIn && state.view === "admin" && !state.video && account.role === "admin";
  const isList = isLoggedIn && !state.video && !isSettings && !isAdmin;
  if (!byId("workspace").hidden) listScrollY = scrollY;
  byId("workspace").hidden = !isList;
  listFilter.show(state);
  if (!isSettings) settingsView.close();
  if (!isAdmin) adminView.close();
  if (isLoggedIn && state.video) return videoView.show(state);
  videoView.close();
  document.title = "Fotograma";
  if (isSettings) return settingsView.open(account);
  if (isAdmin) return adminView.open(account);
  if (!isList || !(wasOpen || wasOtherView)) return;
  scrollTo(0, listScrollY);
  (document.querySelector(`[data-video="${wasOpen}"] .open`) ?? byId("videos-title")).focus({ preventScroll: true });
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
  if (reloadForLanguage(me)) return;
  byId("connection").hidden = true;
  if (me.id !== account?.id) lastStatus.clear();
  account = me;
  byId("account-email").textContent = me.email;
  byId("open-admin").hidden = me.role !== "admin";
  const wasLoggedIn = isLoggedIn;
  setLoggedIn(true);
  // Its requests ended with the session.
  if (wasLoggedIn && videoView.videoId) videoView.refresh();
  videoList.reset();
  videoList.start();
  liveEvents.start();
  addVideos.setAccount(me.id);
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

// A thousand files in one task would keep the page from answering.
const FILES_AT_ONCE = 100;

function sendFiles(files, spec) {
  const { accountId } = uploadQueue;
  const goingOn = uploadQueue.add(files.slice(0, FILES_AT_ONCE), spec).filter(({ resumedAt }) => resumedAt !== null);
  for (const { file, resumedAt } of goingOn) announcer.say(t("upload.goes_on", { name: file.name, percent: formatPercent(resumedAt) }));
  if (files.length <= FILES_AT_ONCE) return;
  setTimeout(() => {
    // Another account must not get the rest of the files.
    if (uploadQueue.accountId === accountId) sendFiles(files.slice(FILES_AT_ONCE), spec);
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
// On a phone the account is a menu, which what it offers closes.
byId("account").addEventListener("click", ({ target }) => {
  if (target.closest("a, button") && byId("account").matches(":popover-open")) byId("account").hidePopover();
});
byId("more").addEventListener("click", showMore);
acceptFiles({ input: byId("files"), zone: byId("drop"), isOpen: () => !byId("workspace").hidden, onFiles: (files) => addVideos.add(files) });
addEventListener("beforeunload", (event) => { if (uploadQueue.isActive) event.preventDefault(); });
address.followLink(byId("video-back"), () => ({ video: null, frame: null, part: "frames" }));
address.followLink(byId("open-settings"), () => ({ view: "settings", video: null, frame: null }));
address.followLink(byId("open-admin"), () => ({ view: "admin", video: null, frame: null }));
for (const back of ["settings-back", "admin-back"]) address.followLink(byId(back), () => ({ view: "" }));
history.scrollRestoration = "manual";
loadAccount();
