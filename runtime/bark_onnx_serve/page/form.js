// The form: its fields, Bark's marks, and what a reload keeps.

import { estimate } from "./take.js";

const KEPT = [
  "text", "voice", "normalize", "seed", "text_temperature", "coarse_temperature", "fine_temperature", "speed", "format",
  "key",
];
const RANGES = ["text_temperature", "coarse_temperature", "fine_temperature", "speed"];
const TEMPERATURES = ["text_temperature", "coarse_temperature", "fine_temperature"];
const MOST_SEED = 2n ** 64n - 1n;

const element = (id) => document.getElementById(id);
const text = element("text");

/** Make the form work. */
export function prepareForm() {
  for (const id of KEPT) if (stored(id) !== null) element(id).value = stored(id);
  element("more").open = Boolean(element("seed").value);
  for (const button of element("marks").children) button.addEventListener("click", () => mark(button.dataset));
  for (const kind of ["input", "change"]) document.addEventListener(kind, ({ target }) => changed(target));
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
  });
  show();
}

/** Offer voices, [{id, name}], by language if their names say it. */
export function offerVoices(voices) {
  const groups = new Map();
  for (const voice of voices) {
    const group = groupOf(voice);
    groups.set(group, [...(groups.get(group) ?? []), voice]);
  }
  const select = element("voice");
  select.replaceChildren(
    ...[...groups].map(([label, members]) => {
      const group = Object.assign(document.createElement("optgroup"), { label });
      group.append(...members.map(({ id, name }) => new Option(name, id)));
      return group;
    }),
  );
  chooseAgain(select);
}

/** Offer the marks that the model knows, of those that the page has. */
export function offerMarks(marks) {
  const group = element("marks");
  for (const button of group.children) button.hidden = !marks.includes(button.textContent);
  group.hidden = !marks.length;
}

/** Offer the languages in which the server reads numbers, by their codes. It may have none. */
export function offerLanguages(languages) {
  const select = element("normalize");
  element("numbers").hidden = select.disabled = !languages.length;
  element("languages").replaceChildren(...languages.map((code) => new Option(nameOf(code), code)));
  chooseAgain(select);
}

/** Choose what a reload has kept, if it is still there. */
function chooseAgain(select) {
  if ([...select.options].some(({ value }) => value === stored(select.id))) select.value = stored(select.id);
}

/** The name of a language. */
function nameOf(code) {
  return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
}

/** Offer the speeds that the server can make, [slowest, fastest]. */
export function offerSpeeds([slowest, fastest]) {
  element("pace").hidden = element("speed").disabled = slowest === fastest;
}

function groupOf({ id, name }) {
  const language = id.match(/(?:^|\/)([a-z]{2})_/)?.[1];
  if (name !== id) return "Other names";
  return language ? nameOf(language) : "Voices";
}

/** The fields of a request, or what is wrong, as {fields} or {problem, at}. */
export function readForm() {
  const seed = element("seed").value.trim();
  if (!text.value.trim()) return { problem: "Write a text first.", at: text };
  if (seed && !(/^\d+$/.test(seed) && BigInt(seed) <= MOST_SEED)) {
    element("more").open = true;
    return { problem: `The seed must be a whole number from 0 to ${MOST_SEED}.`, at: element("seed") };
  }
  const temperatures = TEMPERATURES.map((id) => [id, Number(element(id).value)]);
  return {
    fields: {
      input: text.value,
      voice: element("voice").value,
      seed: seed && String(BigInt(seed)),
      ...Object.fromEntries(temperatures),
      ...(element("normalize").disabled ? {} : { normalize: element("normalize").value }),
      ...(element("speed").disabled ? {} : { speed: Number(element("speed").value) }),
    },
  };
}

/** Put a seed into the form. */
export function setSeed(seed) {
  element("more").open = true;
  element("seed").value = seed;
  changed(element("seed"));
}

/** Show the field of the API key, and go there. */
export function askForKey() {
  element("access").hidden = false;
  element("key").focus();
}

/** The API key, or nothing. */
export function key() {
  return element("key").value.trim();
}

function mark({ insert, around, capitals }) {
  const { selectionStart: start, selectionEnd: end, value } = text;
  const selected = value.slice(start, end);
  if (capitals !== undefined) {
    const [from, to] = selected ? [start, end] : wordAt(value, start);
    replace(from, to, value.slice(from, to).toUpperCase());
  } else if (around) {
    replace(start, end, selected ? `${around} ${selected.trim()} ${around}` : `${around}  ${around}`);
    if (!selected) text.setSelectionRange(text.selectionEnd - 2, text.selectionEnd - 2);
  } else {
    const before = /\S$/.test(value.slice(0, start)) ? " " : "";
    const after = /^\s/.test(value.slice(end)) ? "" : " ";
    replace(start, end, before + insert + after);
  }
}

/** Replace a part of the text so that the browser can undo it, and leave the cursor behind it. */
function replace(from, to, replacement) {
  text.focus();
  text.setSelectionRange(from, to);
  // Deprecated, and the only way that keeps the browser's undo.
  if (!replacement || !document.execCommand("insertText", false, replacement)) {
    text.setRangeText(replacement, from, to, "end");
    changed(text);
  }
}

function wordAt(value, place) {
  const before = value.slice(0, place).match(/[\p{L}\p{N}'’]*$/u)[0].length;
  const after = value.slice(place).match(/^[\p{L}\p{N}'’]*/u)[0].length;
  return [place - before, place + after];
}

function changed(target) {
  if (KEPT.includes(target.id)) store(target.id, target.value);
  show();
}

function show() {
  for (const id of RANGES) {
    element(id).parentElement.querySelector("output").value = Number(element(id).value).toFixed(2);
  }
  const letters = [...text.value].length;
  const speed = element("speed").disabled ? 1 : Number(element("speed").value);
  const seconds = Math.round(estimate(text.value) / speed);
  const length = seconds < 90 ? `${Math.max(1, seconds)} s` : `${Math.round(seconds / 60)} min`;
  element("length").textContent = letters ? `${letters} characters, about ${length}` : "";
}

// A browser may refuse the storage altogether. Then a reload keeps nothing.

function stored(name) {
  try {
    return sessionStorage.getItem(`bark-onnx ${location.pathname} ${name}`);
  } catch {
    return null;
  }
}

function store(name, value) {
  try {
    sessionStorage.setItem(`bark-onnx ${location.pathname} ${name}`, value);
  } catch {
    // nothing is kept
  }
}
