// The settings of an account: profile, use, password, API keys, webhooks, export and deletion.

import { Problem, callApi } from "../api_client.js";
import { t } from "../texts.js";
import { AccountDeletion } from "./account_deletion.js";
import { ApiKeyList } from "./api_key_list.js";
import { PasswordForm } from "./password_form.js";
import { ProfileForm } from "./profile_form.js";
import { showUsage } from "./usage.js";
import { WebhookList } from "./webhook_list.js";

const byId = (id) => document.getElementById(id);

export class SettingsView {
  /**
   * settings: of the page. onLoggedOut(): the session has ended. onDeleted(): the account has. onLanguage(): the account
   * has another language; gives whether the page is loaded again. onConnection(isUp).
   */
  constructor({ settings, onLoggedOut, onDeleted, onLanguage, onConnection }) {
    Object.assign(this, { onLoggedOut, onConnection });
    this.profile = new ProfileForm({ onLanguage, onLoggedOut });
    this.password = new PasswordForm({ minLength: settings.password_min_length, onLoggedOut });
    this.apiKeys = new ApiKeyList({ onLoggedOut });
    this.webhooks = new WebhookList({ onLoggedOut, onConnection });
    this.deletion = new AccountDeletion({ onDeleted, onLoggedOut });
    this.accountId = null;
  }

  get isOpen() {
    return !byId("settings").hidden;
  }

  /** Shows the settings. What was typed in them stays when they are shown again for the same account. */
  async open(account) {
    const wasOpen = this.isOpen;
    byId("settings").hidden = false;
    document.title = t("settings.page_title");
    if (this.accountId !== account.id) this.fill(account);
    if (!wasOpen) byId("settings-title").focus();
    await this.load();
  }

  close() {
    byId("settings").hidden = true;
    this.webhooks.stop();
  }

  fill(account) {
    this.accountId = account.id;
    this.profile.fill(account);
    this.password.fill(account);
    this.apiKeys.clear();
    this.webhooks.clear();
    this.deletion.clear();
  }

  /** Loads what the server alone knows: the use of the account, its API keys and its webhooks. */
  async load() {
    try {
      showUsage(await callApi("GET", "/v1/me"));
      await Promise.all([this.apiKeys.load(), this.webhooks.load()]);
      this.onConnection(true);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) return this.onLoggedOut();
      this.onConnection(error.status !== 0 && error.status < 500);
    }
  }
}
