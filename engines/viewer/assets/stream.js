// Requests to the service, and its stream of events.

// Something went wrong, in a line for the user.
class ServiceError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

// Cuts a stream of server-sent events into them, wherever its chunks are cut.
class EventReader {
  constructor() {
    this.rest = "";
    this.type = "";
    this.data = [];
    this.begins = true;
  }

  // Take text, and return the events that are whole: {type, data}.
  take(text) {
    let all = this.rest + text;
    if (this.begins && all) {
      all = all.replace(/^\uFEFF/, "");
      this.begins = false;
    }
    // A CR at the end may be half of CR LF.
    const held = all.endsWith("\r") ? "\r" : "";
    const lines = all.slice(0, all.length - held.length).split(/\r\n|\n|\r/);
    this.rest = lines.pop() + held;
    return lines.map((line) => this._line(line)).filter((event) => event !== null);
  }

  _line(line) {
    if (line === "") return this._end();
    const colon = line.indexOf(":");
    if (colon === 0) return null; // a comment, which keeps the connection alive
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.type = value;
    if (name === "data") this.data.push(value);
    return null;
  }

  _end() {
    const event = this.data.length ? { type: this.type || "message", data: this.data.join("\n") } : null;
    this.type = "";
    this.data = [];
    return event;
  }
}

function errorOf(answer, status) {
  const error = answer && typeof answer === "object" ? answer.error : null;
  if (!error) return null;
  const message = typeof error === "string" ? error : error.message;
  return new ServiceError(String(message || "The service could not draw this."), status);
}

async function failed(response) {
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    // No JSON: from something that stands before the service.
  }
  return errorOf(answer, response.status) || new ServiceError(`The service answered with status ${response.status}.`, response.status);
}

// Ask the service, with the key where there is one.
async function ask(path, key, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TypeError" && /header|ISO-8859-1/i.test(error.message)) throw new ServiceError("The key has characters that no key has.", 401);
    throw new ServiceError("The service cannot be reached.");
  }
  if (!response.ok) throw await failed(response);
  return response;
}

// The body of a request. A seed is a whole number that JavaScript's numbers would round: it is put in as it is written.
function bodyOf(request) {
  const { seed, ...others } = request;
  const text = JSON.stringify({ ...others, stream: true, decode_steps: true });
  return `${text.slice(0, -1)},"seed":${BigInt(seed)}}`;
}

// Draw, and call `onFrame` with each frame; returns what the last event says of the image.
async function drawStreamed(request, key, signal, onFrame) {
  const headers = { "Content-Type": "application/json", Accept: "text/event-stream" };
  const response = await ask("/v1/images/generations", key, { method: "POST", headers, body: bodyOf(request), signal });
  const chunks = response.body.getReader(), decoder = new TextDecoder(), events = new EventReader();
  try {
    for (;;) {
      const { done, value } = await chunks.read();
      for (const event of events.take(done ? decoder.decode() : decoder.decode(value, { stream: true }))) {
        const completed = take(event, onFrame);
        if (completed) return completed;
      }
      if (done) break;
    }
  } catch (error) {
    if (error instanceof ServiceError || error.name === "AbortError") throw error;
    throw new ServiceError("The connection to the service broke.");
  } finally {
    chunks.cancel().catch(() => {});
  }
  throw new ServiceError("The service ended its answer before the image was there.");
}

function take(event, onFrame) {
  if (event.data === "[DONE]") return null;
  let data;
  try {
    data = JSON.parse(event.data);
  } catch {
    throw new ServiceError("The service sent what this page does not understand.");
  }
  const error = errorOf(data);
  if (error) throw error;
  const type = data.type || event.type;
  if (type === "mulo_sd.decode_step" && data.frame) onFrame(data.frame);
  return type === "image_generation.completed" ? data : null;
}
