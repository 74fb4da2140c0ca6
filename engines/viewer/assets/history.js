// The decodes of this session, newest first, with their frames; their requests outlive a reload, and draw the same again.

const MOST_KEPT = 20, STORE = "mulo-sd.requests";

function passesOf(passes) {
  return Object.values(passes || {}).filter(Number.isFinite).reduce((sum, count) => sum + count, 0);
}

class History {
  // `choose` is called with a drawing that is chosen.
  constructor(list, part, choose) {
    Object.assign(this, { list, part, choose });
    this.drawings = this._stored().map((request) => ({ request }));
    this.current = null;
    this._show();
  }

  // Put a drawing first, in the place of one that the same request drew.
  add(drawing) {
    const same = (other) => ["prompt", "model", "quality", "seed"].every((name) => other.request[name] === drawing.request[name]);
    this.drawings = [drawing, ...this.drawings.filter((other) => !same(other))].slice(0, MOST_KEPT);
    this.current = drawing;
    try {
      localStorage.setItem(STORE, JSON.stringify(this.drawings.map((item) => item.request)));
    } catch {
      // A browser that keeps nothing: the list lasts until the page is left.
    }
    this._show();
  }

  mark(drawing) {
    this.current = drawing;
    this._show();
  }

  _stored() {
    try {
      const requests = JSON.parse(localStorage.getItem(STORE) || "[]");
      const texts = ["prompt", "model", "quality", "seed"];
      const isWhole = (item) => item && texts.every((name) => typeof item[name] === "string") && isSeed(item.seed);
      return requests.filter(isWhole).slice(0, MOST_KEPT);
    } catch {
      return [];
    }
  }

  _show() {
    const focused = [...this.list.children].findIndex((item) => item.contains(document.activeElement));
    this.list.replaceChildren(...this.drawings.map((drawing) => make("li", {}, this._entry(drawing))));
    this.part.hidden = this.drawings.length === 0;
    if (focused >= 0) this.list.querySelector('[aria-current="true"]')?.focus();
  }

  _entry(drawing) {
    const { request, frames } = drawing;
    const picture = frames
      ? make("img", { src: drawing.image, alt: "" })
      : make("span", { class: "blank", "aria-hidden": "true" }, "again");
    const cost = frames ? `${passesOf(drawing.passes)} passes, ${drawing.seconds.toFixed(2)}\u00a0s` : "a click draws it again";
    const about = [`${request.quality}, ${cost}`, `seed ${request.seed}`];
    const words = make("span", { class: "words" }, request.prompt, ...about.map((line) => make("span", {}, line)));
    return make("button", { type: "button", "aria-current": String(drawing === this.current), click: () => this.choose(drawing) }, picture, words);
  }
}

// Whether a text is a whole number in 0..2^64 - 1.
function isSeed(text) {
  return /^[0-9]{1,20}$/.test(text) && BigInt(text) < 2n ** 64n;
}

// JSON that may stand in a page: no parser of HTML takes it for anything but text.
function jsonForPage(value) {
  const escape = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, escape);
}

// A page in one file that replays a drawing: the service's own, with the data put in.
function replayPage(drawing) {
  const page = JSON.parse(document.getElementById("replay-page").textContent);
  const { request, passes, seconds, more, frames } = drawing;
  const total = passesOf(passes), target = passes.target || 0;
  const stats = { nfe_target: target, nfe_drafter: total - target, seconds };
  const data = { ...request, size: more.size, mode: more.mode, bundle: more.bundle, settings: more.settings, stats, frames };
  const [before, after] = page.split("DATA-OF-THE-DECODE");
  return before + jsonForPage(data) + after;
}

// A name for a file, of a prompt.
function fileName(request, ending) {
  const words = request.prompt.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60);
  return `${words || "image"}-${request.seed}.${ending}`;
}

// Have the browser save text as a file.
function saveFile(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/html" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
