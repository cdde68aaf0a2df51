// The page: logging in, adding files, and the table that follows them.

import { Problem, call } from "./api.js";
import { Listing } from "./listing.js";
import { uploadRows, videoRows } from "./table.js";
import { Uploads } from "./uploads.js";
import { STATUS_WORDS, bytes } from "./words.js";

const settings = JSON.parse(document.body.dataset.settings);
const at = (id) => document.getElementById(id);
const SEARCH_DELAY_MS = 250;

const listing = new Listing({
  changed: draw,
  connection: (isThere) => { at("connection").hidden = isThere; },
  loggedOut: welcome,
});
const uploads = new Uploads({
  limitBytes: settings.request_max_bytes,
  limitText: bytes(settings.request_max_bytes),
  changed: draw,
  accepted: (videos) => {
    if (!listing.filter.status || listing.filter.status === "queued") listing.items.unshift(...videos);
    listing.soon();
  },
  loggedOut: welcome,
});
const uploadTable = uploadRows(at("uploads"), (_verb, upload) => uploads.remove(upload));
const videoTable = videoRows(at("videos"), act);
const lastStatus = new Map();
let userId = null;
let registering = false;

function draw() {
  uploadTable.draw(uploads.list);
  videoTable.draw(listing.all);
  at("more").hidden = !listing.cursor;
  const nothing = listing.loaded && !listing.all.length && !uploads.list.length;
  const filtered = listing.filter.status || listing.filter.q;
  at("empty").textContent = filtered ? "No video matches." : "Nothing here yet. Drop a video above to begin.";
  at("empty").hidden = !nothing;
  announce();
}

/** Says aloud what has ended; progress is not read out. */
function announce() {
  const ended = [];
  for (const { id, filename, status } of listing.all) {
    const before = lastStatus.get(id);
    const isEnd = !["queued", "running"].includes(status);
    if (before && before !== status && isEnd) ended.push(`${filename}: ${STATUS_WORDS[status]}`);
    lastStatus.set(id, status);
  }
  if (ended.length) at("announcer").textContent = ended.join(". ");
}

async function act(verb, video) {
  try {
    if (verb === "delete") {
      if (!(await confirmed(`Delete ${video.filename} and its frames? This can't be undone.`))) return;
      await call("DELETE", `/v1/videos/${video.id}`);
      lastStatus.delete(video.id);
    } else {
      await call("POST", `/v1/extractions/${video.extraction.id}/${verb}`);
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return welcome();
    // What has changed meanwhile is seen by the next look at the list.
    at("announcer").textContent = `${error.message} ${error.remedy}`;
  }
  listing.soon();
}

function confirmed(question) {
  const dialog = at("confirm");
  at("confirm-text").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// Logging in.

function show(isIn) {
  at("welcome").hidden = isIn;
  at("desk").hidden = !isIn;
  at("account").hidden = !isIn;
}

function welcome() {
  listing.reset();
  show(false);
  at("connection").hidden = true;
  at("email").focus();
}

async function enter() {
  let me;
  try {
    me = await call("GET", "/v1/me");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return welcome();
    at("connection").hidden = false;
    setTimeout(enter, 2000);
    return;
  }
  at("connection").hidden = true;
  if (userId !== null && userId !== me.id) uploads.removeAll();
  userId = me.id;
  at("account-email").textContent = me.email;
  lastStatus.clear();
  show(true);
  listing.reset();
  listing.start();
  uploads.resume();
}

function chooseRegistering(chosen) {
  registering = chosen;
  at("choose-login").setAttribute("aria-pressed", String(!chosen));
  at("choose-register").setAttribute("aria-pressed", String(chosen));
  at("credentials-submit").textContent = chosen ? "Create account" : "Log in";
  at("password").autocomplete = chosen ? "new-password" : "current-password";
  at("password-hint").hidden = !chosen;
  at("credentials-error").hidden = true;
}

async function submitCredentials(event) {
  event.preventDefault();
  const body = { email: at("email").value, password: at("password").value };
  at("credentials-submit").disabled = true;
  at("credentials-error").hidden = true;
  try {
    if (registering) {
      await call("POST", "/v1/users", { ...body, locale: navigator.language.split("-")[0] });
      chooseRegistering(false);
    }
    await call("POST", "/session", body);
    at("password").value = "";
    await enter();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    at("credentials-error").textContent = `${error.message} ${error.remedy}`;
    at("credentials-error").hidden = false;
  } finally {
    at("credentials-submit").disabled = false;
  }
}

async function logOut() {
  try {
    await call("DELETE", "/session");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status !== 401) {
      at("connection").hidden = false;
      return;
    }
  }
  uploads.removeAll();
  welcome();
}

// Adding files.

function chosenSpec() {
  const mode = at("mode").value;
  const side = at("max-side").value;
  const sample = mode === "fps" ? { mode, fps: at("fps").valueAsNumber } : { mode };
  return { sample, image: { max_side: side ? Number(side) : null } };
}

function addFiles(files) {
  if (at("mode").value === "fps" && !at("fps").reportValidity()) return;
  if (at("mode").value === "fps" && Number.isNaN(at("fps").valueAsNumber)) return at("fps").focus();
  if (files.length) uploads.add(files, chosenSpec());
}

function wireDropping() {
  const isFiles = (event) => event.dataTransfer?.types.includes("Files") && !at("desk").hidden;
  let depth = 0;
  const mark = (change) => {
    depth = Math.max(0, change === 0 ? 0 : depth + change);
    at("drop").classList.toggle("over", depth > 0);
  };
  addEventListener("dragenter", (event) => { if (isFiles(event)) mark(1); });
  addEventListener("dragleave", (event) => { if (isFiles(event)) mark(-1); });
  addEventListener("dragover", (event) => { if (isFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    mark(0);
    addFiles([...event.dataTransfer.files]);
  });
}

function wireFilters() {
  const filters = [...document.querySelectorAll(".filter")];
  for (const filter of filters) {
    filter.addEventListener("click", () => {
      for (const other of filters) other.setAttribute("aria-pressed", String(other === filter));
      listing.setFilter({ status: filter.dataset.status });
    });
  }
  let timer = 0;
  at("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => listing.setFilter({ q: at("search").value.trim() }), SEARCH_DELAY_MS);
  });
}

async function showMore() {
  at("more").disabled = true;
  try {
    await listing.more();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) welcome();
  } finally {
    at("more").disabled = false;
  }
}

at("limit").textContent = bytes(settings.request_max_bytes);
at("credentials").addEventListener("submit", submitCredentials);
at("choose-login").addEventListener("click", () => chooseRegistering(false));
at("choose-register").addEventListener("click", () => chooseRegistering(true));
at("logout").addEventListener("click", logOut);
at("more").addEventListener("click", showMore);
at("mode").addEventListener("change", () => { at("fps-field").hidden = at("mode").value !== "fps"; });
at("files").addEventListener("change", () => {
  addFiles([...at("files").files]);
  at("files").value = "";
});
addEventListener("beforeunload", (event) => { if (uploads.active) event.preventDefault(); });
wireDropping();
wireFilters();
enter();
