// One piece of speech: what was asked for, and the samples that have come.

export const RATE = 24000; // samples in a second
const SAMPLES_PER_PEAK = 240;

const LETTERS_PER_SECOND = 15;
const SECONDS_PER_MARK = 1;

export class Take {
  /**
   * asked: the fields of the request. Its text, voice, seed and temperatures say how to make the same speech again.
   */
  constructor(asked) {
    this.asked = asked;
    this.chunks = []; // Int16Array
    this.cues = []; // {start, end, text}: what is said when, in seconds
    this.subtitles = null; // them as a file, when the take is complete
    this.length = 0; // samples
    this.peaks = []; // the loudest of every 240 samples, 0 to 1
    this.state = "waiting"; // then speaking, then complete, stopped or broken
    this.began = performance.now();
    this.firstAudio = null; // seconds
    this.worked = null; // seconds until the last byte
    this.expected = estimate(asked.input) / (asked.speed ?? 1);
  }

  get seconds() {
    return this.length / RATE;
  }

  get ended() {
    return this.state !== "waiting" && this.state !== "speaking";
  }

  /** Seconds since the request. */
  get elapsed() {
    return this.worked ?? (performance.now() - this.began) / 1000;
  }

  get realTimeFactor() {
    return this.length ? this.elapsed / this.seconds : null;
  }

  /** How many samples it will have, by estimate, or has. */
  get expectedLength() {
    return this.ended ? this.length : Math.max(this.expected * RATE, this.length * 1.08);
  }

  begin(seed) {
    this.asked = { ...this.asked, seed };
    this.state = "speaking";
  }

  add(samples) {
    this.firstAudio ??= this.elapsed;
    this.#addPeaks(samples);
    this.chunks.push(samples);
    this.length += samples.length;
  }

  end(state) {
    this.worked = this.elapsed;
    this.state = state;
  }

  /** The samples from a position to the end, for WebAudio. */
  from(position) {
    const samples = new Float32Array(this.length - position);
    let start = 0;
    for (const chunk of this.chunks) {
      for (let i = Math.max(position - start, 0); i < chunk.length; i++) {
        samples[start + i - position] = chunk[i] / 32768;
      }
      start += chunk.length;
    }
    return samples;
  }

  #addPeaks(samples) {
    for (let i = 0; i < samples.length; i++) {
      const place = Math.floor((this.length + i) / SAMPLES_PER_PEAK);
      const level = Math.abs(samples[i]) / 32768;
      if (!(this.peaks[place] >= level)) this.peaks[place] = level;
    }
  }
}

/** Seconds that a text takes to speak, by estimate. The server's is finer. */
export function estimate(text) {
  const marks = text.match(/\[[^\]]*\]/g)?.length ?? 0;
  const letters = text.replace(/\[[^\]]*\]/g, "").replace(/\s+/g, " ").trim().length;
  return letters / LETTERS_PER_SECOND + marks * SECONDS_PER_MARK;
}

/** The samples of an event with audio: base64 of 16-bit samples. */
export function samplesOf({ audio }) {
  return new Int16Array(Uint8Array.from(atob(audio), (letter) => letter.charCodeAt(0)).buffer);
}
