// Remembers the files that were not accepted, until they are dismissed. A reload of the page does not lose them.

const PREFIX = "fotograma.refused ";
const MAX_FILES = 100;

/** A file that an earlier page could not upload. It is shown like an upload, and can only be dismissed. */
class EarlierRefusal {
  constructor({ key, name, size, lastModified, refusal }) {
    Object.assign(this, { key, file: { name, size, lastModified }, refusal: { ...refusal, isTransient: false } });
    this.state = this.status = "refused";
    this.transfer = { confirmedBytes: 0, sentBytes: 0, waitMessage: "", terminate() {} };
    this.resumedAt = this.recordKey = null;
    this.isRunning = this.isUnfinished = false;
    this.isEarlier = true;
  }
}

function read(accountId) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + accountId)) ?? [];
  } catch {
    return [];
  }
}

/** A storage that is full or forbidden remembers nothing. */
function write(accountId, records) {
  try {
    if (records.length) localStorage.setItem(PREFIX + accountId, JSON.stringify(records.slice(-MAX_FILES)));
    else localStorage.removeItem(PREFIX + accountId);
  } catch {
    // The files are shown until the page is left.
  }
}

export function earlierRefusals(accountId) {
  return read(accountId).map((record) => new EarlierRefusal(record));
}

export function rememberRefusal(accountId, { key, file: { name, size, lastModified }, refusal }) {
  write(accountId, [...read(accountId).filter((record) => record.key !== key), { key, name, size, lastModified, refusal }]);
}

export function forgetRefusal(accountId, key) {
  write(accountId, read(accountId).filter((record) => record.key !== key));
}

/** Whether two files are probably the same one. */
export const isSameFile = (one, other) =>
  one.name === other.name && one.size === other.size && one.lastModified === other.lastModified;
