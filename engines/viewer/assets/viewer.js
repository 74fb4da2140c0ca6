// The viewer of a decode: an image a step, a map of its cells over it, and controls to go through the steps.

const ICONS = {
  first: "M5 4h3v16H5zM20 4v16L9 12z",
  previous: "M17 4v16L6 12z",
  play: "M7 4v16l12-8z",
  pause: "M6 4h4v16H6zM14 4h4v16h-4z",
  next: "M7 4v16l11-8z",
  last: "M16 4h3v16h-3zM4 4v16l11-8z",
};
// Milliseconds of a step while it plays: of all, of those where something else begins, and where motion is unwelcome.
const PLAY_ALL = 9000, SHORTEST = 70, LONGEST = 500, AT_CHANGES = 1100, LITTLE_MOTION = 1500;

// Make an element with attributes, properties that are functions as listeners, and children.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Parsed as HTML, for the parser knows what an SVG is.
function icon(name) {
  const template = document.createElement("template");
  template.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
  return template.content.firstChild;
}

class Viewer {
  constructor(place) {
    this.frames = [];
    this.index = 0;
    this.isLive = false; // frames come while it is shown
    this.follows = false; // goes on to each new frame, until somebody goes elsewhere
    this.timer = null;
    // The map is remembered apart for the result, which is first shown without it.
    this.shows = { steps: true, result: false };
    this._makeParts();
    place.replaceChildren(this.root);
    this.show([]);
  }

  _makeParts() {
    this.image = make("img", { alt: "", draggable: "false" });
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.empty = make("p", { class: "viewer-empty" }, "The image appears here, step by step.");
    this.stage = make("div", { class: "viewer-stage" }, this.image, this.canvas, this.empty);
    this.phases = make("div", { class: "viewer-phases", "aria-hidden": "true" });
    this.title = make("p", { class: "viewer-title" });
    this.detail = make("p", { class: "viewer-detail" });
    this.caption = make("div", { class: "viewer-caption", "aria-live": "polite" }, this.title, this.detail);
    const input = () => this.goTo(Number(this.slider.value));
    this.slider = make("input", { type: "range", min: 0, step: 1, class: "viewer-slider", "aria-label": "Step", input });
    this.buttons = {};
    const controls = make("div", { class: "viewer-controls" });
    const moves = [
      ["first", "First step", () => this.goTo(0)],
      ["previous", "Previous step", () => this.goTo(this.index - 1)],
      ["play", "Play", () => this.toggle()],
      ["next", "Next step", () => this.goTo(this.index + 1)],
      ["last", "Last step", () => this.goTo(this.frames.length - 1)],
    ];
    for (const [name, label, click] of moves) {
      const look = name === "play" ? "viewer-play" : null;
      this.buttons[name] = make("button", { type: "button", class: look, "aria-label": label, title: label, click }, icon(name));
      controls.append(this.buttons[name]);
    }
    this.count = make("span", { class: "viewer-count" });
    controls.append(this.count);
    const body = make("div", { class: "viewer-body" }, this.slider, this.phases, this.caption, controls, this._makeMap());
    this.root = make(
      "div",
      {
        class: "viewer", tabindex: 0, role: "group", keydown: (event) => this._key(event),
        "aria-label": "Steps of the decode. Arrow keys, Home and End go through them, space plays.",
      },
      make("div", { class: "viewer-wall" }, this.stage), body,
    );
  }

  _makeMap() {
    const change = () => {
      this.shows[this._phase()] = this.mapSwitch.checked;
      this._drawMap();
    };
    this.mapSwitch = make("input", { type: "checkbox", change });
    const input = () => this._drawMap();
    this.strength = make("input", { type: "range", min: 10, max: 100, value: 45, "aria-label": "Strength of the map", input });
    this.legend = make("ul", { class: "viewer-legend", "aria-label": "Cells of this step" });
    this.numbers = CELLS.map((cell, number) => {
      const sign = make("canvas", { width: 32, height: 32, "aria-hidden": "true" });
      drawCell(sign.getContext("2d"), number, 0, 0, 32);
      const text = make("span");
      if (cell.fill) this.legend.append(make("li", { title: cell.about }, sign, text));
      return text;
    });
    const row = make("div", { class: "viewer-map" }, make("label", {}, this.mapSwitch, "Map of decisions"), this.strength);
    return make("div", {}, row, this.legend);
  }

  // Show other frames, from the first one on, or from another place.
  show(frames, index = 0) {
    this.pause();
    this.frames = [...frames];
    this.follows = this.isLive = false;
    this._updatePhases();
    this._goTo(index);
  }

  // Begin a decode whose frames come one by one.
  begin() {
    this.show([]);
    this.follows = this.isLive = true;
    this._readAloud();
  }

  // No frame comes any more.
  end() {
    this.isLive = false;
    this._readAloud();
  }

  // Add the newest frame.
  add(frame) {
    this.frames.push(frame);
    this._updatePhases();
    this._goTo(this.follows ? this.frames.length - 1 : this.index);
  }

  goTo(index) {
    this.pause();
    this._goTo(index);
    this.follows = this.index === this.frames.length - 1;
    this._readAloud();
  }

  toggle() {
    if (this.timer !== null) return this.pause();
    if (this.frames.length < 2) return undefined;
    this.follows = false;
    if (this.index === this.frames.length - 1) this._goTo(0);
    this._setPlayButton("pause", "Pause");
    this._playOn();
    return this._readAloud();
  }

  pause() {
    if (this.timer === null) return;
    clearTimeout(this.timer);
    this.timer = null;
    this._setPlayButton("play", "Play");
    this._readAloud();
  }

  // What moves by itself would be read aloud without an end.
  _readAloud() {
    const moves = this.timer !== null || (this.isLive && this.follows);
    this.caption.setAttribute("aria-live", moves ? "off" : "polite");
  }

  _playOn() {
    this.timer = setTimeout(() => {
      this._goTo(this.index + 1);
      if (this.index === this.frames.length - 1) this.pause();
      else this._playOn();
    }, this._pause());
  }

  _pause() {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return LITTLE_MOTION;
    if (this._changesAt(this.index)) return AT_CHANGES;
    return Math.min(LONGEST, Math.max(SHORTEST, PLAY_ALL / this.frames.length));
  }

  _changesAt(index) {
    const frame = this.frames[index], before = this.frames[index - 1];
    return !before || frame.kind !== before.kind || frame.model !== before.model;
  }

  _setPlayButton(name, label) {
    this.buttons.play.replaceChildren(icon(name));
    this.buttons.play.setAttribute("aria-label", label);
    this.buttons.play.title = label;
  }

  _key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const { target, key } = event;
    const isSlider = target.type === "range";
    if (isSlider && key !== " ") return; // they take the others themselves
    if (key === " " && (target instanceof HTMLButtonElement || target === this.mapSwitch)) return;
    const moves = {
      ArrowLeft: () => this.goTo(this.index - 1),
      ArrowRight: () => this.goTo(this.index + 1),
      Home: () => this.goTo(0),
      End: () => this.goTo(this.frames.length - 1),
      " ": () => this.toggle(),
    };
    if (!Object.hasOwn(moves, key)) return;
    event.preventDefault();
    moves[key]();
  }

  _phase() {
    const frame = this.frames[this.index];
    return frame && frame.kind === "decided" && frame.model === 0 ? "result" : "steps";
  }

  _goTo(index) {
    const last = this.frames.length - 1;
    this.index = Math.max(0, Math.min(index, last));
    const frame = this.frames[this.index];
    this.root.classList.toggle("is-empty", !frame);
    this.slider.max = Math.max(0, last);
    this.slider.value = this.index;
    this.slider.disabled = last < 1;
    this.count.textContent = frame ? `Step ${this.index + 1} of ${last + 1}` : "No steps yet";
    for (const name of ["first", "previous"]) this.buttons[name].disabled = this.index <= 0;
    for (const name of ["next", "last"]) this.buttons[name].disabled = this.index >= last;
    this.buttons.play.disabled = last < 1;
    for (const [number, mark] of [...this.phases.children].entries()) {
      mark.classList.toggle("is-past", this.starts[number] <= this.index);
    }
    this.title.textContent = frame ? frame.title : "";
    this.detail.textContent = frame ? frame.detail : "";
    this.slider.setAttribute("aria-valuetext", frame ? `Step ${this.index + 1} of ${last + 1}: ${frame.title}` : "None");
    this._showFrame(frame);
  }

  _showFrame(frame) {
    if (frame) {
      this.image.src = frame.image;
      this.image.alt = `The image at this step. ${frame.title}`;
      this.stage.style.aspectRatio = frame.rows && frame.columns ? `${frame.columns} / ${frame.rows}` : "auto";
    } else {
      this.image.removeAttribute("src");
      this.image.alt = "";
      this.stage.style.aspectRatio = "1";
    }
    this.image.hidden = !frame;
    this.empty.hidden = Boolean(frame);
    const counts = frame ? countCells(frame) : CELLS.map(() => 0);
    CELLS.forEach((cell, number) => {
      this.numbers[number].textContent = frame ? `${cell.name}: ${counts[number].toLocaleString("en")}` : cell.name;
      this.numbers[number].parentElement?.classList.toggle("is-none", counts[number] === 0);
    });
    this._drawMap();
  }

  _drawMap() {
    const frame = this.frames[this.index];
    this.mapSwitch.checked = this.shows[this._phase()];
    this.mapSwitch.disabled = !frame;
    this.strength.disabled = !frame || !this.mapSwitch.checked;
    this.canvas.hidden = !frame || !this.mapSwitch.checked;
    this.canvas.style.opacity = Number(this.strength.value) / 100;
    if (!this.canvas.hidden) drawMap(this.canvas, frame);
  }

  // A strip below the slider: a piece for each part of the decode, as long as it has steps.
  _updatePhases() {
    this.starts = [...this.frames.keys()].filter((index) => this._changesAt(index));
    const pieces = this.starts.map((start, number) => {
      const end = number + 1 < this.starts.length ? this.starts[number + 1] : this.frames.length;
      const piece = make("span");
      piece.style.flexGrow = end - start;
      return piece;
    });
    this.phases.replaceChildren(...pieces);
  }
}
