// Wires the page: log-in, adding files, the filters and the table of videos.

import { Problem, callApi } from "./api_client.js";
import { STATUS_LABELS, formatBytes } from "./formatting.js";
import { uploadTable, videoTable } from "./table_rows.js";
import { UploadQueue } from "./upload_queue.js";
import { VideoList } from "./video_list.js";

const settings = JSON.parse(document.body.dataset.settings);
const byId = (id) => document.getElementById(id);
const SEARCH_DELAY_MS = 250;

const videoList = new VideoList({
  onChange: render,
  onConnection: (isUp) => { byId("connection").hidden = isUp; },
  onLoggedOut: showLogin,
});
const uploadQueue = new UploadQueue({
  maxBytes: settings.request_max_bytes,
  maxBytesText: formatBytes(settings.request_max_bytes),
  onChange: render,
  onAccepted: (videos) => {
    if (!videoList.filter.status || videoList.filter.status === "queued") videoList.newest.unshift(...videos);
    videoList.refreshSoon();
  },
  onLoggedOut: showLogin,
});
const uploadRows = uploadTable(byId("uploads"), (_verb, upload) => uploadQueue.remove(upload));
const videoRows = videoTable(byId("videos"), runAction);
const lastStatus = new Map();
let userId = null;
let registering = false;

function render() {
  uploadRows.render(uploadQueue.uploads);
  videoRows.render(videoList.videos);
  byId("more").hidden = !videoList.nextCursor;
  const isEmpty = videoList.loaded && !videoList.videos.length && !uploadQueue.uploads.length;
  const filtered = videoList.filter.status || videoList.filter.q;
  byId("empty").textContent = filtered ? "No video matches." : "Nothing here yet. Drop a video above to begin.";
  byId("empty").hidden = !isEmpty;
  announceEnded();
}

/** Announces ended extractions to screen readers. Progress is not announced. */
function announceEnded() {
  const ended = [];
  for (const { id, filename, status } of videoList.videos) {
    const before = lastStatus.get(id);
    const hasEnded = !["queued", "running"].includes(status);
    if (before && before !== status && hasEnded) ended.push(`${filename}: ${STATUS_LABELS[status]}`);
    lastStatus.set(id, status);
  }
  if (ended.length) byId("announcer").textContent = ended.join(". ");
}

async function runAction(verb, video) {
  try {
    if (verb === "delete") {
      if (!(await confirmWithUser(`Delete ${video.filename} and its frames? This can't be undone.`))) return;
      await callApi("DELETE", `/v1/videos/${video.id}`);
      lastStatus.delete(video.id);
    } else {
      await callApi("POST", `/v1/extractions/${video.extraction.id}/${verb}`);
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return showLogin();
    // The next refresh of the list shows the current state.
    byId("announcer").textContent = `${error.message} ${error.remedy}`;
  }
  videoList.refreshSoon();
}

function confirmWithUser(question) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// Log-in.

function setLoggedIn(isLoggedIn) {
  byId("login").hidden = isLoggedIn;
  byId("workspace").hidden = !isLoggedIn;
  byId("account").hidden = !isLoggedIn;
}

function showLogin() {
  videoList.reset();
  setLoggedIn(false);
  byId("connection").hidden = true;
  byId("email").focus();
}

async function loadAccount() {
  let me;
  try {
    me = await callApi("GET", "/v1/me");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return showLogin();
    byId("connection").hidden = false;
    setTimeout(loadAccount, 2000);
    return;
  }
  byId("connection").hidden = true;
  if (userId !== null && userId !== me.id) uploadQueue.removeAll();
  userId = me.id;
  byId("account-email").textContent = me.email;
  lastStatus.clear();
  setLoggedIn(true);
  videoList.reset();
  videoList.start();
  uploadQueue.resume();
}

function setRegistering(isRegistering) {
  registering = isRegistering;
  byId("choose-login").setAttribute("aria-pressed", String(!isRegistering));
  byId("choose-register").setAttribute("aria-pressed", String(isRegistering));
  byId("credentials-submit").textContent = isRegistering ? "Create account" : "Log in";
  byId("password").autocomplete = isRegistering ? "new-password" : "current-password";
  byId("password-hint").hidden = !isRegistering;
  byId("credentials-error").hidden = true;
}

async function submitCredentials(event) {
  event.preventDefault();
  const body = { email: byId("email").value, password: byId("password").value };
  byId("credentials-submit").disabled = true;
  byId("credentials-error").hidden = true;
  try {
    if (registering) {
      await callApi("POST", "/v1/users", { ...body, locale: navigator.language.split("-")[0] });
      setRegistering(false);
    }
    await callApi("POST", "/session", body);
    byId("password").value = "";
    await loadAccount();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    byId("credentials-error").textContent = `${error.message} ${error.remedy}`;
    byId("credentials-error").hidden = false;
  } finally {
    byId("credentials-submit").disabled = false;
  }
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
  uploadQueue.removeAll();
  showLogin();
}

// Adding files.

function chosenSpec() {
  const mode = byId("mode").value;
  const side = byId("max-side").value;
  const sample = mode === "fps" ? { mode, fps: byId("fps").valueAsNumber } : { mode };
  return { sample, image: { max_side: side ? Number(side) : null } };
}

function addFiles(files) {
  if (byId("mode").value === "fps" && !byId("fps").reportValidity()) return;
  if (byId("mode").value === "fps" && Number.isNaN(byId("fps").valueAsNumber)) return byId("fps").focus();
  if (files.length) uploadQueue.add(files, chosenSpec());
}

function wireDragAndDrop() {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files") && !byId("workspace").hidden;
  // Each element that the pointer crosses fires dragenter and dragleave.
  let depth = 0;
  const setDepth = (value) => {
    depth = Math.max(0, value);
    byId("drop").classList.toggle("over", depth > 0);
  };
  addEventListener("dragenter", (event) => { if (hasFiles(event)) setDepth(depth + 1); });
  addEventListener("dragleave", (event) => { if (hasFiles(event)) setDepth(depth - 1); });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    setDepth(0);
    addFiles([...event.dataTransfer.files]);
  });
}

function wireFilters() {
  const filters = [...document.querySelectorAll(".filter")];
  for (const filter of filters) {
    filter.addEventListener("click", () => {
      for (const other of filters) other.setAttribute("aria-pressed", String(other === filter));
      videoList.setFilter({ status: filter.dataset.status });
    });
  }
  let timer = 0;
  byId("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => videoList.setFilter({ q: byId("search").value.trim() }), SEARCH_DELAY_MS);
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

byId("limit").textContent = formatBytes(settings.request_max_bytes);
byId("credentials").addEventListener("submit", submitCredentials);
byId("choose-login").addEventListener("click", () => setRegistering(false));
byId("choose-register").addEventListener("click", () => setRegistering(true));
byId("logout").addEventListener("click", logOut);
byId("more").addEventListener("click", showMore);
byId("mode").addEventListener("change", () => { byId("fps-field").hidden = byId("mode").value !== "fps"; });
byId("files").addEventListener("change", () => {
  addFiles([...byId("files").files]);
  byId("files").value = "";
});
addEventListener("beforeunload", (event) => { if (uploadQueue.isActive) event.preventDefault(); });
wireDragAndDrop();
wireFilters();
loadAccount();
