// The administrator's view: the queue, the workers, the ledger and the accounts.

import { Problem, callApi } from "../api_client.js";
import { showProblem } from "../problem_toast.js";
import { t } from "../texts.js";
import { showLedger } from "./acceptance_ledger.js";
import { AccountList } from "./account_list.js";
import { showQueue, showWorkers } from "./queue.js";

const byId = (id) => document.getElementById(id);
const REFRESH_MS = 5000;

export class AdminView {
  /** onLoggedOut(): the session has ended. onForbidden(): the account is no admin. onConnection(isUp). */
  constructor({ onLoggedOut, onForbidden, onConnection }) {
    Object.assign(this, { onLoggedOut, onForbidden, onConnection });
    this.accounts = new AccountList({ attempt: (action) => this.attempt(action), onLoggedOut });
    this.timer = 0;
    byId("admin-compare").addEventListener("click", () => this.attempt(() => this.loadLedger()));
  }

  get isOpen() {
    return !byId("admin").hidden;
  }

  async open(account) {
    if (this.isOpen) return this.refresh();
    byId("admin").hidden = false;
    document.title = t("page.title", { name: t("admin.title") });
    byId("admin-title").focus();
    this.accounts.ownId = account.id;
    this.refresh();
    await this.attempt(() => this.accounts.load());
    await this.attempt(() => this.loadLedger());
  }

  close() {
    byId("admin").hidden = true;
    clearTimeout(this.timer);
  }

  /** Shows the queue and the workers now, and again and again while the view is open. */
  async refresh() {
    clearTimeout(this.timer);
    const isDone = document.hidden || (await this.attempt(() => this.loadQueue()));
    if (this.isOpen && isDone !== null) this.timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  async loadQueue() {
    const [queue, { items }] = await Promise.all([callApi("GET", "/v1/admin/queue"), callApi("GET", "/v1/admin/workers")]);
    showQueue(queue);
    showWorkers(items);
  }

  async loadLedger() {
    byId("admin-compare").disabled = true;
    try {
      showLedger(await callApi("GET", "/v1/admin/ledger"));
    } finally {
      byId("admin-compare").disabled = false;
    }
  }

  /** Does something that calls the API. Gives whether it was done; null when this account may not, or is logged out. */
  async attempt(action) {
    try {
      await action();
      this.onConnection(true);
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401 || error.status === 404) {
        (error.status === 401 ? this.onLoggedOut : this.onForbidden)();
        return null;
      }
      const isUp = error.status !== 0 && error.status < 500;
      this.onConnection(isUp);
      if (isUp) showProblem(error);
      return false;
    }
  }
}
