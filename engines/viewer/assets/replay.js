// The page that replays one decode: its data are in the page.

const WORDS = {
  nfe_target: "Passes of the target", nfe_drafter: "Passes of drafters", acceptance_rate: "Draft tokens accepted",
  resampled_rate: "Tokens drawn again", seconds: "Seconds",
};

function shown(name, value) {
  if (value === null || value === undefined) return "none";
  if (name.endsWith("_rate")) return `${(100 * value).toFixed(1)}%`;
  if (name === "seconds") return Number(value).toFixed(2);
  return Array.isArray(value) ? value.join(", ") : String(value);
}

function facts(pairs) {
  const list = make("dl", { class: "facts" });
  for (const [name, text] of pairs) list.append(make("dt", {}, name), make("dd", {}, text));
  return list;
}

function replay(decode) {
  const title = decode.prompt || "A decode, step by step";
  document.title = title;
  document.getElementById("prompt").textContent = title;
  document.getElementById("summary").textContent = "How mulo-sd drew this image, step by step.";
  const viewer = new Viewer(document.getElementById("viewer"));
  viewer.show(decode.frames || []);
  const plain = ["model", "quality", "seed", "mode", "bundle", "size"].filter((name) => decode[name] !== undefined && decode[name] !== null);
  const said = plain.map((name) => [name[0].toUpperCase() + name.slice(1), String(decode[name])]);
  const stats = Object.entries(decode.stats || {}).filter(([name]) => name in WORDS);
  const about = document.getElementById("about");
  about.append(facts([...said, ...stats.map(([name, value]) => [WORDS[name], shown(name, value)])]));
  const settings = Object.entries(decode.settings || {});
  if (settings.length) {
    const list = facts(settings.map(([name, value]) => [name, shown(name, value)]));
    about.append(make("details", {}, make("summary", {}, "Settings"), list));
  }
  viewer.root.focus({ preventScroll: true });
}

replay(JSON.parse(document.getElementById("decode").textContent));
