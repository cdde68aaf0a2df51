// Says to screen readers what has happened. Several messages within a moment are said together.

import { t } from "./texts.js";

const DELAY_MS = 500;
const MAX_MESSAGES = 3;

export class Announcer {
  constructor(element) {
    this.element = element;
    this.messages = [];
    this.timer = 0;
  }

  say(message) {
    this.messages.push(message);
    this.timer ||= setTimeout(() => this.flush(), DELAY_MS);
  }

  flush() {
    const others = this.messages.length - MAX_MESSAGES;
    const said = this.messages.slice(0, MAX_MESSAGES);
    this.element.textContent = [...said, ...(others > 0 ? [t("page.more_messages", { count: others })] : [])].join(". ");
    this.messages = [];
    this.timer = 0;
  }
}
