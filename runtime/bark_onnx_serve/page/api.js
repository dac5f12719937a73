// The server's API. Addresses are relative, so that the page works below any path.

/** Something went wrong; the message is for the person at the page. */
export class Fault extends Error {
  constructor(message, { needsKey = false } = {}) {
    super(message);
    this.needsKey = needsKey;
  }
}

/** The voices, as [{id, name}]. */
export async function voices(signal) {
  return (await (await request("v1/audio/voices", { signal })).json()).voices;
}

/** The loaded model: {id, marks, normalize_languages, response_formats, speeds: [slowest, fastest]}. */
export async function model(key, signal) {
  return (await (await request("v1/models", { headers: authorization(key), signal })).json()).data[0];
}

/**
 * Ask for speech. Returns the seed, as text, and the stream of bytes.
 *
 * A seed may have 64 bits, which a JavaScript number cannot hold, so it is text here and is written into the JSON as
 * digits.
 */
export async function speech({ seed, ...fields }, key, signal) {
  const json = JSON.stringify({ model: "tts-1", ...fields });
  const response = await request("v1/audio/speech", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...authorization(key) },
    body: seed ? `${json.slice(0, -1)},"seed":${seed}}` : json,
    signal,
  });
  return { seed: response.headers.get("x-bark-onnx-seed"), pieces: pieces(response.body) };
}

/**
 * Ask for speech as events. Returns the seed, as text, and the events, of which the last is speech.audio.done.
 */
export async function speechEvents(fields, key, signal) {
  const { seed, pieces } = await speech({ ...fields, stream_format: "sse" }, key, signal);
  return { seed, events: events(pieces) };
}

async function* events(pieces) {
  const decoder = new TextDecoder();
  let rest = "";
  let type = null;
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n\n");
    rest = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line.replace(/^data: /, ""));
      ({ type } = event);
      if (event.error) throw new Fault(`The speech broke off. ${faultOf(event.error).message}`);
      yield event;
    }
  }
  if (type !== "speech.audio.done") throw new Fault(CUT);
}

async function* pieces(body) {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault(CUT);
  } finally {
    reader.releaseLock();
  }
}

async function request(address, options = {}) {
  let response;
  try {
    response = await fetch(address, { cache: "no-store", credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault("The server does not answer. Check that it is running and that you are connected.");
  }
  if (!response.ok) throw await fault(response);
  return response;
}

const FIELDS = {
  speed: "Speed",
  response_format: "Format",
  input: "Text",
  voice: "Voice",
  normalize: "Numbers, dates and symbols",
  seed: "Seed",
  text_temperature: "Text temperature",
  coarse_temperature: "Coarse temperature",
  fine_temperature: "Fine temperature",
};

const CUT = "The speech broke off: the connection to the server was cut.";
const UNKNOWN_KEY = "The server does not know this API key.";

/** What an error of the server means, in plain words. */
async function fault(response) {
  const error = (await response.json().catch(() => ({})))?.error ?? {};
  const { message = "", code = null } = error;
  if (response.status === 401) {
    const words = code === "invalid_api_key" ? UNKNOWN_KEY : "The server asks for an API key.";
    return new Fault(words, { needsKey: true });
  }
  if (response.status === 429) {
    const seconds = Number(response.headers.get("retry-after"));
    return new Fault(`The server is busy. Try again ${seconds ? `in ${duration(seconds)}` : "a little later"}.`);
  }
  if (!message) return new Fault(`The server answered with an error (status ${response.status}).`);
  return faultOf(error);
}

/** What the fields of an error mean, in plain words. */
function faultOf({ message, param, code }) {
  if (code === "engine_stopped") return new Fault("The speech engine of the server has stopped. It must be started again.");
  if (code === "deadline_exceeded") return new Fault(`It took too long: ${message}.`);
  if (code === "string_above_max_length") {
    return new Fault(`The text is too long: ${message.replace(/^Invalid '\w+': /, "")}`);
  }
  const words = message.replace(/^Invalid '\w+': /, "");
  return new Fault(param in FIELDS ? `${FIELDS[param]}: ${words}` : words.charAt(0).toUpperCase() + words.slice(1));
}

function duration(seconds) {
  if (seconds < 90) return `${seconds} ${seconds === 1 ? "second" : "seconds"}`;
  return `${Math.ceil(seconds / 60)} minutes`;
}

function authorization(key) {
  // A header cannot hold other characters, and no key has them.
  if (/[^!-~]/.test(key)) throw new Fault(UNKNOWN_KEY, { needsKey: true });
  return key ? { Authorization: `Bearer ${key}` } : {};
}
