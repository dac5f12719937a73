// Plays a take through WebAudio, also while it still comes.
//
// Buffers are scheduled one behind the other on the clock of the context, which has the rate of the speech, so that
// nothing is resampled at the joins. An AudioWorklet would need a secure context, which a server at home has not.

import { RATE } from "./take.js";

const LEAD = 0.05; // seconds from the scheduling to the sound
const FIRST_WAIT = 0.5;

export class Player {
  #context = null;
  #sources = new Set();
  #scheduled = 0; // samples of the take that were given to the context
  #starts = []; // after each gap: {when, position}
  #ends = 0; // the time of the context when everything scheduled has sounded
  #wait = 0; // seconds that must be there before the sound begins, or begins again
  #changed;

  /** changed: is called when the player has come to the end by itself. */
  constructor(changed) {
    this.take = null;
    this.paused = false;
    this.#changed = changed;
  }

  /** Play a take from its beginning. A browser allows sound only in an event of a key or of the mouse. */
  play(take) {
    this.stop();
    this.#context ??= new AudioContext({ sampleRate: RATE });
    this.resume();
    this.take = take;
    this.feed();
  }

  stop() {
    for (const source of this.#sources) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.#sources.clear();
    this.#starts = [];
    this.#scheduled = this.#ends = this.#wait = 0;
    this.take = null;
    this.paused = false;
  }

  pause() {
    this.paused = true;
    this.#context.suspend();
  }

  resume() {
    this.paused = false;
    this.#context.resume();
  }

  /** Samples that were given to the context. */
  get scheduled() {
    return this.#scheduled;
  }

  /** The sample that sounds now. */
  get position() {
    const now = this.#context?.currentTime ?? 0;
    const start = this.#starts.findLast(({ when }) => when <= now);
    return start ? Math.min(start.position + (now - start.when) * RATE, this.#scheduled) : 0;
  }

  /** Schedule what has come since the last call. Call it after each piece and at the end. */
  feed() {
    if (!this.take) return;
    const pending = this.take.length - this.#scheduled;
    if (pending) this.#schedule(pending);
    else this.#finish();
  }

  #schedule(pending) {
    const now = this.#context.currentTime;
    if (this.#ends <= now) {
      // Where speech is made more slowly than it sounds, each gap is waited out longer, so that there are few of them.
      if (!this.take.ended && pending < this.#wait * RATE) return;
      this.#wait = Math.max(FIRST_WAIT, 2 * this.#wait);
      this.#ends = Math.ceil((now + LEAD) * RATE) / RATE;
      this.#starts.push({ when: this.#ends, position: this.#scheduled });
    }
    const buffer = this.#context.createBuffer(1, pending, RATE);
    buffer.copyToChannel(this.take.from(this.#scheduled), 0);
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#context.destination);
    source.onended = () => {
      this.#sources.delete(source);
      this.feed();
    };
    source.start(this.#ends);
    this.#sources.add(source);
    this.#scheduled += pending;
    const { when, position } = this.#starts.at(-1);
    this.#ends = when + (this.#scheduled - position) / RATE;
  }

  #finish() {
    if (!this.take.ended || this.#sources.size) return;
    this.stop();
    this.#changed();
  }
}
