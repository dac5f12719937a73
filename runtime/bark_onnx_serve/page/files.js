// Takes as files.

import { speech } from "./api.js";
import { RATE } from "./take.js";

const MEDIA_TYPES = { wav: "audio/wav", mp3: "audio/mpeg", opus: "audio/ogg", flac: "audio/flac", aac: "audio/aac", vtt: "text/vtt" };

/**
 * A take as a file in a format. WAV is made here, from the samples that were heard, and subtitles have come with them.
 * For the others the server speaks the take again, with its seed.
 */
export async function fileOf(take, format, key, signal) {
  const type = MEDIA_TYPES[format];
  if (format === "wav") return new Blob([wavHeader(take.length), ...take.chunks], { type });
  if (format === "vtt") return new Blob([take.subtitles], { type });
  // As a stream, the same samples come again. But FLAC as a stream lacks its length, which some programs refuse.
  const { pieces } = await speech({ ...take.asked, response_format: format, stream: format !== "flac" }, key, signal);
  const parts = [];
  for await (const piece of pieces) parts.push(piece);
  return new Blob(parts, { type });
}

/** Let the browser save a file. */
export function save(file, take, format) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `${nameOf(take)}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Such as hello-there-123: the first words and the seed. */
function nameOf(take) {
  const words = take.asked.input.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return [...words.slice(0, 5), take.asked.seed].join("-").slice(0, 80);
}

function wavHeader(samples) {
  const header = new DataView(new ArrayBuffer(44));
  const write = (place, text) => [...text].forEach((letter, i) => header.setUint8(place + i, letter.charCodeAt(0)));
  write(0, "RIFF");
  header.setUint32(4, 36 + 2 * samples, true);
  write(8, "WAVEfmt ");
  header.setUint32(16, 16, true); // bytes of the format
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // one channel
  header.setUint32(24, RATE, true);
  header.setUint32(28, 2 * RATE, true); // bytes in a second
  header.setUint16(32, 2, true); // bytes of a sample
  header.setUint16(34, 16, true); // bits of a sample
  write(36, "data");
  header.setUint32(40, 2 * samples, true);
  return header.buffer;
}
