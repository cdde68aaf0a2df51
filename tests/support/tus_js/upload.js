// Uploads a file with tus-js-client: node upload.js ENDPOINT TOKEN FILE CHUNK_BYTES STOP_AT
// With STOP_AT > 0 the first upload is aborted there, and another one goes on from what was found by its URL.
import { createReadStream, statSync } from "node:fs";
import * as tus from "tus-js-client";

const [endpoint, token, file, chunkBytes, stopAt] = process.argv.slice(2);
const chunkSize = Number(chunkBytes);

function options(more) {
  return {
    endpoint,
    headers: { Authorization: `Bearer ${token}` },
    metadata: { filename: "holiday.mp4" },
    uploadSize: statSync(file).size,
    chunkSize,
    retryDelays: [0, 100, 500],
    ...more,
  };
}

function finish(uploadUrl) {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(
      createReadStream(file),
      options({ uploadUrl, onError: reject, onSuccess: () => resolve(upload.url) }),
    );
    upload.start();
  });
}

function begin() {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(
      createReadStream(file),
      options({
        onError: reject,
        onChunkComplete: (_size, accepted) => {
          if (accepted >= Number(stopAt)) upload.abort().then(() => resolve(upload.url));
        },
      }),
    );
    upload.start();
  });
}

console.log(await finish(Number(stopAt) > 0 ? await begin() : null));
