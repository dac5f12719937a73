// The page: what happens when somebody speaks, stops, plays or saves.

import { Fault, model, speechEvents, voices } from "./api.js";
import { fileOf, save } from "./files.js";
import {
  askForKey, key, offerLanguages, offerMarks, offerSpeeds, offerVoices, prepareForm, readForm, setSeed,
} from "./form.js";
import { History } from "./history.js";
import { Player } from "./player.js";
import { Subtitles } from "./subtitles.js";
import { Take, samplesOf } from "./take.js";
import { Waveform } from "./waveform.js";

const element = (id) => document.getElementById(id);
const player = new Player(() => show());
const waveform = new Waveform(element("waveform"));
const subtitles = new Subtitles(element("subtitles"));
const history = new History(element("history"), (take) => {
  current = take;
  player.play(take);
  animate();
});
let current = null; // the take that is shown
let loading = null; // the AbortController of the lists that are asked for
let work = null; // the AbortController of the request that runs

async function start() {
  prepareForm();
  element("form").addEventListener("submit", (event) => {
    event.preventDefault();
    speak();
  });
  element("stop").addEventListener("click", stop);
  element("play").addEventListener("click", play);
  element("download").addEventListener("click", download);
  element("format").addEventListener("change", show);
  element("keep-seed").addEventListener("click", () => {
    setSeed(current.asked.seed);
    say(`The seed is ${current.asked.seed}.`);
  });
  element("key").addEventListener("change", load);
  document.addEventListener("keydown", (event) => event.key === "Escape" && stop());
  addEventListener("resize", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  await load();
}

/** Ask the server what it has. Of two keys that are tried, the later one counts. */
async function load() {
  loading?.abort();
  loading = new AbortController();
  await attempt(async (signal) => {
    offerVoices(await voices(signal));
    const { id, marks, normalize_languages, response_formats, speeds } = await model(key(), signal);
    element("model").textContent = id;
    offerMarks(marks);
    offerLanguages(normalize_languages);
    offerSpeeds(speeds);
    element("aac").hidden = element("aac").disabled = !response_formats.includes("aac");
  }, loading.signal);
}

async function speak() {
  if (work) return;
  const { fields, problem, at } = readForm();
  if (problem) {
    complain(problem);
    at.focus();
    return;
  }
  const take = new Take(fields);
  current = take;
  player.play(take);
  say("Waiting for the first audio.");
  await whileWorking(async (signal) => {
    try {
      const asked = { ...fields, response_format: "pcm", subtitles: "vtt" };
      const { seed, events } = await speechEvents(asked, key(), signal);
      take.begin(seed);
      say("Speaking.");
      for await (const event of events) {
        if (event.type === "speech.subtitles.cue") take.cues[event.index] = event;
        if (event.type === "speech.subtitles.done") take.subtitles = event.document;
        if (event.type !== "speech.audio.delta") continue;
        take.add(samplesOf(event));
        if (take.chunks.length === 1) history.add(take);
        player.feed();
      }
      take.end("complete");
      say(`Complete: ${take.seconds.toFixed(1)} seconds.`);
    } catch (error) {
      take.end(signal.aborted ? "stopped" : "broken");
      throw error;
    } finally {
      player.feed();
    }
  });
  if (!take.length && current === take) current = history.newest;
  show();
}

function stop() {
  if (!work && !player.take) return;
  const { activeElement } = document;
  work?.abort();
  player.stop();
  say("Stopped.");
  show();
  if (activeElement === element("stop")) element("speak").focus();
}

/** The button of the take that is shown: play, pause, go on. */
function play() {
  if (player.take !== current) player.play(current);
  else if (player.paused) player.resume();
  else player.pause();
  animate();
}

async function download() {
  const take = current;
  const format = element("format").value;
  const label = element("format").selectedOptions[0].text;
  await whileWorking(async (signal) => {
    if (format !== "wav") say(`The server makes the file as ${label}.`);
    save(await fileOf(take, format, key(), signal), take, format);
    say(`${label}: ready.`);
  });
  if (document.activeElement === document.body) element("download").focus(); // it was disabled meanwhile
}

/** Do something that the button Stop can abort. */
async function whileWorking(something) {
  work = new AbortController();
  animate();
  await attempt(something, work.signal);
  work = null;
  show();
}

/** Do something, and say in words what goes wrong, unless it was aborted. */
async function attempt(something, signal) {
  complain("");
  try {
    await something(signal);
  } catch (error) {
    if (signal.aborted) return;
    complain(error instanceof Fault ? error.message : `This page has an error: ${error.message}`);
    if (error.needsKey) askForKey();
  }
}

function complain(words) {
  element("error").textContent = words;
  if (words) say("");
}

/** Tell those who use a screen reader. */
function say(words) {
  element("status").textContent = words;
}

let frame = 0;

/** Show, and go on to show while something changes by itself. */
function animate() {
  cancelAnimationFrame(frame);
  show();
  if (work || (player.take && !player.paused)) frame = requestAnimationFrame(animate);
}

function show() {
  const busy = Boolean(work);
  element("speak").setAttribute("aria-disabled", busy);
  element("stop").disabled = !busy && !player.take;
  element("take").hidden = !current;
  history.show(current);
  if (!current) return;
  const take = current;
  const playing = player.take === take;
  const position = playing ? player.position : 0;
  waveform.draw(take, position);
  subtitles.show(take, playing ? position / 24000 : null);
  Object.assign(element("take").dataset, {
    state: take.state,
    samples: playing ? player.scheduled : element("take").dataset.samples,
  });
  const progress = element("progress");
  progress.hidden = take.ended;
  progress.value = take.length / (take.expectedLength || 1);
  write("time", `${clock(position / 24000)} / ${take.ended ? "" : "about "}${clock(take.expectedLength / 24000)}`);
  write("figures", figures(take).join(" · "));
  write("play", !playing ? "Play" : player.paused ? "Go on" : "Pause");
  write("shown-seed", take.asked.seed ? `seed ${take.asked.seed}` : "");
  element("keep-seed").hidden = !take.asked.seed;
  element("play").disabled = !take.length;
  element("vtt").disabled = !take.subtitles;
  element("download").disabled = busy || !take.ended || element("format").selectedOptions[0].disabled;
}

function figures(take) {
  const words = { stopped: "stopped", broken: "broken off" };
  const first = take.firstAudio === null ? `waiting ${take.elapsed.toFixed(1)} s` : `first audio ${take.firstAudio.toFixed(2)} s`;
  const factor = take.realTimeFactor === null ? [] : [`real-time factor ${take.realTimeFactor.toFixed(2)}`];
  return [first, ...factor, ...(take.state in words ? [words[take.state]] : [])];
}

function write(id, words) {
  if (element(id).textContent !== words) element(id).textContent = words;
}

function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

start();
