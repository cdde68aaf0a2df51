// What is known of a file that was not sent: its duration and its size in pixels by the browser, and the frame rate of an MP4.

import { readMp4FrameRate } from "./mp4_frame_rate.js";

const TIMEOUT_MS = 10_000;

/** What an estimate needs, of the element's metadata; null when a fact is missing. Pure. */
export function mediaOf({ videoWidth: width, videoHeight: height, duration }) {
  return width && height && duration > 0 && Number.isFinite(duration) ? { width, height, duration } : null;
}

/**
 * Gives a promise of the facts; of null when this browser can't read the file. Of a rate or a codec that is not known, the service
 * assumes that of the account's latest videos.
 */
export async function readMediaFacts(file) {
  const [media, rate] = await Promise.all([readMetadata(file), readMp4FrameRate(file)]);
  return media && rate ? { ...media, fps_average: rate } : media;
}

function readMetadata(file) {
  const video = document.createElement("video");
  const address = URL.createObjectURL(file);
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      const media = mediaOf(video);
      video.removeAttribute("src");
      video.load();
      URL.revokeObjectURL(address);
      resolve(media);
    };
    const timer = setTimeout(end, TIMEOUT_MS);
    video.addEventListener("loadedmetadata", end, { once: true });
    video.addEventListener("error", end, { once: true });
    video.preload = "metadata";
    video.muted = true;
    video.src = address;
  });
}
