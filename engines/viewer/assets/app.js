// The service's page: a form, the decode while it runs, and those before it.

const KEY_STORE = "mulo-sd.key", RIGHT_KEY = "The service asks for a key: enter it and press Use.";
const LOADING_MS = 1000; // until the service is asked again whether it has loaded its models

class App {
  constructor() {
    const names = ["form", "prompt", "examples", "model", "quality", "promise", "settings", "changed", "seed", "random", "key", "use-key"];
    this.parts = {};
    for (const name of [...names, "key-part", "draw", "stop", "status", "outcome", "save", "download"]) {
      this.parts[name] = document.getElementById(name);
    }
    this.models = [];
    this.running = null; // what stops the decode that runs
    this.shown = null; // the drawing that is whole and in the viewer
    this.viewer = new Viewer(document.getElementById("viewer"));
    const list = document.getElementById("history");
    this.history = new History(list, document.getElementById("history-part"), (drawing) => this.choose(drawing));
    this._listen();
    this.parts.key.value = this._storedKey();
    this.loadModels();
  }

  _listen() {
    const { form, prompt, model, quality, random, stop, save } = this.parts;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.draw();
    });
    prompt.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    model.addEventListener("change", () => this._modelChanged());
    quality.addEventListener("change", () => this._qualityChanged());
    random.addEventListener("click", () => {
      this.parts.seed.value = String(crypto.getRandomValues(new BigUint64Array(1))[0]);
    });
    stop.addEventListener("click", () => this.running?.abort());
    save.addEventListener("click", () => {
      if (this.shown) saveFile(replayPage(this.shown), fileName(this.shown.request, "html"));
    });
    this.parts["use-key"].addEventListener("click", () => this._useKey());
    this.parts.key.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this._useKey();
    });
  }

  _storedKey() {
    try {
      return sessionStorage.getItem(KEY_STORE) || "";
    } catch {
      return "";
    }
  }

  get key() {
    return this.parts.key.value.trim();
  }

  _useKey() {
    try {
      sessionStorage.setItem(KEY_STORE, this.key);
    } catch {
      // Kept in the field alone.
    }
    this.say("");
    this.loadModels();
  }

  say(text, isError = false) {
    this.parts.status.textContent = text;
    this.parts.status.classList.toggle("is-error", isError);
  }

  _fail(error) {
    if (error.name === "AbortError") return this.say("Stopped.");
    if (error.status === 503 && !this.models.length) return this.say("The service is loading its models. One moment…");
    if (error.status !== 401) return this.say(error.message, true);
    const asked = !this.parts["key-part"].hidden;
    this.parts["key-part"].hidden = false;
    this.parts.key.focus();
    return this.say(asked && this.key ? error.message : RIGHT_KEY, true);
  }

  async loadModels() {
    try {
      const answer = await (await ask("/v1/models", this.key)).json();
      this.models = (answer.data || []).filter((model) => model.mulo_sd);
    } catch (error) {
      this._fail(error instanceof ServiceError ? error : new ServiceError("The service sent no list of models."));
      this.waits = error.status === 503;
      if (this.waits) setTimeout(() => this.loadModels(), LOADING_MS);
      return;
    }
    if (this.waits) this.say("");
    this.waits = false;
    this.parts.model.replaceChildren(...this.models.map(({ id }) => make("option", { value: id }, id)));
    this._modelChanged();
  }

  _card() {
    const chosen = this.models.find((model) => model.id === this.parts.model.value);
    return chosen ? chosen.mulo_sd : { qualities: {}, example_prompts: [] };
  }

  _modelChanged() {
    const { quality, examples, prompt } = this.parts;
    const card = this._card(), before = quality.value, names = Object.keys(card.qualities || {});
    quality.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    quality.value = names.includes(before) ? before : names.includes("balanced") ? "balanced" : names[0] || "";
    const prompts = (card.example_prompts || []).slice(0, 4);
    const use = (text) => () => {
      prompt.value = text;
      prompt.focus();
    };
    examples.replaceChildren(...prompts.map((text) => make("button", { type: "button", click: use(text) }, text)));
    examples.hidden = prompts.length === 0;
    if (!prompt.value && prompts.length) [prompt.value] = prompts;
    this._qualityChanged();
  }

  _qualityChanged() {
    const card = this._card(), quality = (card.qualities || {})[this.parts.quality.value] || {};
    const promise = (quality.promise || "").replace(/^./u, (first) => first.toUpperCase()).replace(/[^.!?]$/, "$&.");
    const passes = Number.isFinite(quality.passes) ? `About ${Math.round(quality.passes)} passes an image.` : "";
    const size = card.size ? `${card.size.replace("x", " x ")} pixels.` : "";
    this.parts.promise.textContent = [promise, passes, size].filter(Boolean).join(" ");
    const settings = Object.entries(quality.settings || {});
    this.parts.settings.hidden = settings.length === 0;
    this.parts.changed.textContent = settings.map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join(", ");
  }

  // The request that the form says, or null where something in it is wrong.
  _request() {
    const { prompt, model, quality, seed } = this.parts;
    const text = prompt.value.trim(), number = seed.value.trim();
    const wrong = !text
      ? [prompt, "Say what to draw."]
      : !isSeed(number)
        ? [seed, "The seed is a whole number from 0 to 18446744073709551615."]
        : null;
    for (const field of [prompt, seed]) field.setAttribute("aria-invalid", String(wrong?.[0] === field));
    if (!wrong) return { prompt: text, model: model.value, quality: quality.value, seed: String(BigInt(number)) };
    wrong[0].focus();
    this.say(wrong[1], true);
    return null;
  }

  async draw() {
    if (this.running) return;
    if (!this.models.length) await this.loadModels();
    if (!this.models.length || this.running) return;
    const request = this._request();
    if (!request) return;
    this.running = new AbortController();
    this._setRunning(true);
    this.say("Waiting for the first step…");
    const frames = [];
    this.viewer.begin();
    try {
      const completed = await drawStreamed(request, this.key, this.running.signal, (frame) => {
        if (!frames.length) this.say("Drawing…");
        frames.push(frame);
        this.viewer.add(frame);
      });
      this._finish(request, frames, completed);
    } catch (error) {
      this._fail(error);
    } finally {
      this.running = null;
      this.viewer.end();
      this._setRunning(false);
    }
  }

  _finish(request, frames, completed) {
    const more = completed.mulo_sd || {};
    const image = `data:image/${completed.output_format || "png"};base64,${completed.b64_json}`;
    const passes = more.passes || {}, seconds = Number(more.seconds) || 0;
    if (!frames.length) {
      const only = { title: "The result", detail: "", kind: "decided", model: 0, rows: 0, columns: 0, cells: "", image };
      frames.push(only);
      this.viewer.add(only);
    }
    const settings = more.settings || this._card().qualities?.[request.quality]?.settings;
    const facts = { size: completed.size, mode: more.mode, bundle: more.bundle, settings };
    const drawing = { request, frames, image, passes, seconds, more: facts };
    this.history.add(drawing);
    this._showOutcome(drawing);
    const waited = more.waited_seconds >= 0.1 ? `, after waiting ${more.waited_seconds.toFixed(2)} s` : "";
    this.say(`Drawn in ${passesOf(passes)} passes and ${seconds.toFixed(2)} s${waited}.`);
  }

  _showOutcome(drawing) {
    this.shown = drawing;
    this.parts.outcome.hidden = false;
    this.parts.download.href = drawing.image;
    this.parts.download.download = fileName(drawing.request, "png");
  }

  // Replay a drawing of the history; one from before a reload is drawn again.
  choose(drawing) {
    if (this.running) return this.say("Stop the decode that runs, or wait for it.");
    const { request } = drawing;
    this.parts.prompt.value = request.prompt;
    this.parts.seed.value = request.seed;
    if (this.models.some((model) => model.id === request.model)) {
      this.parts.model.value = request.model;
      this._modelChanged();
      if (request.quality in (this._card().qualities || {})) this.parts.quality.value = request.quality;
      this._qualityChanged();
    }
    if (!drawing.frames) return this.draw();
    this.viewer.show(drawing.frames);
    this._showOutcome(drawing);
    this.history.mark(drawing);
    return this.say("Replaying it from its first step.");
  }

  _setRunning(runs) {
    this.parts.draw.disabled = runs;
    this.parts.stop.disabled = !runs;
    this.parts.form.setAttribute("aria-busy", String(runs));
    if (runs) {
      this.parts.outcome.hidden = true;
      this.shown = null;
    }
  }
}

new App();
