// Remembers unfinished uploads in the browser's storage, so that a file that is chosen again goes on where it was.

const PREFIX = "fotograma.upload ";

/** What tells one upload of an account from others. */
export function recordKey(accountId, file, spec) {
  return PREFIX + JSON.stringify([accountId, file.name, file.size, file.lastModified, spec]);
}

/** A storage that is full or forbidden remembers nothing; uploads then work without it. */
function attempt(action) {
  try {
    return action();
  } catch {
    return null;
  }
}

/**
 * The record under a key: {location, confirmedBytes, expiresAt, content}, or null when there is none or it has expired.
 * content: digest of the bytes that may have been sent.
 */
export function findRecord(key) {
  const record = attempt(() => JSON.parse(localStorage.getItem(key)));
  return record && record.expiresAt > Date.now() ? record : null;
}

export function storeRecord(key, { location, confirmedBytes, expiresAt, contentHash }) {
  attempt(() => localStorage.setItem(key, JSON.stringify({ location, confirmedBytes, expiresAt, content: contentHash.value })));
}

export function deleteRecord(key) {
  attempt(() => localStorage.removeItem(key));
}

/** The unfinished uploads of an account: [{key, filename, location}]. Deletes the records of any account that have expired. */
export function unfinishedUploads(accountId) {
  const found = [];
  for (const key of attempt(() => Object.keys(localStorage)) ?? []) {
    if (!key.startsWith(PREFIX)) continue;
    const record = findRecord(key);
    const [owner, filename] = attempt(() => JSON.parse(key.slice(PREFIX.length))) ?? [];
    if (!record) deleteRecord(key);
    else if (owner === accountId) found.push({ key, filename, location: record.location });
  }
  return found;
}
