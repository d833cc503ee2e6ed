"use strict";
// The page of a network's units. It opens from a disk, where a page may not read files. So the data come as scripts
// that call explorer.run and explorer.stage, and the pictures as sprites: data/run.js at once, the rest when needed.

const $ = (id) => document.getElementById(id);
const NARROW = matchMedia("(max-width: 62rem)");
const root = document.documentElement;
let run; // what data/run.js holds
const stages = new Map(); // name → { …the stage of run.js, tiles, details: a promise }
let chosen = null; // the tile of the unit that is shown
let waiting = {}; // stage name → what to call with the data of its script

const explorer = {
  run(data) { run = data; start(); },
  stage(name, data) { waiting[name]?.(data); },
};

// --- small helpers ---------------------------------------------------------------------------------------------

function element(kind, attributes = {}, ...children) {
  const svg = ["svg", "path", "rect", "circle", "line", "text", "g", "title"].includes(kind);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", kind) : document.createElement(kind);
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined && value !== false) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

const number = (value) => (value === 0 ? "0" : Math.abs(value) < 1000 ? value.toPrecision(3) : Math.round(value).toString());
const percent = (share) => `${Number((100 * share).toPrecision(2))} %`;
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

/** The style that shows cell `index` of a sheet of `columns` columns. */
const cell = (file, columns, index) => `background-image:url("images/${file}");--columns:${columns};` +
  `--column:${index % columns};--row:${Math.floor(index / columns)}`;

/** A picture of a sheet. */
function sprite(file, columns, index, label, classes = "") {
  return element("div", { class: `sprite ${classes}`, role: "img", "aria-label": label, style: cell(file, columns, index) });
}

/** Where the pictures of a unit are: the optimized one at full size, and that of the map. A gallery has only the first. */
const large = (stage, index) => [`${stage.name}-optimized-${Math.floor(index / run.chunk)}.webp`, run.across, index % run.chunk];
const small = (stage, index) => (run.small ? [`${stage.name}-small.webp`, run.columns, index] : large(stage, index));

// --- units and their names -------------------------------------------------------------------------------------

/** Where unit `index` of a stage stands: its path, its number within the path, and its receptive field. */
function place(stage, index) {
  let first = 0;
  for (const [path, width, field] of stage.paths) {
    if (index < first + width) return { path, field, number: index - first };
    first += width;
  }
}

function unitName(stage, index) {
  const { path, number } = place(stage, index);
  if (stage.kind === "classes") return `${stage.name}:${index} (${run.outputs[index]})`;
  return `${stage.name}${path ? "." + path : ""}:${number}`;
}

/** The address of a unit is its name, as inception_lab.lens takes it. */
const unitHash = (stage, index) => "#" + unitName(stage, index).split(" ")[0];

function unitOfHash(hash) {
  const [, name, path, number] = /^#(\w+)\.?(\w*):(\d+)$/.exec(decodeURIComponent(hash)) ?? [];
  const stage = stages.get(name);
  let first = 0;
  for (const [own, width] of stage?.paths ?? []) {
    if (own === path && Number(number) < width) return [stage, first + Number(number)];
    first += width;
  }
  return null;
}

/** How many units of a stage have their pictures, and whether one has; of a gallery, any may be missing. */
const hasPicture = (stage, index) => !run.steps || (stage.reached[index] ?? null) !== null;
const picturedOf = (stage) => (run.steps ? stage.reached.filter((value) => value !== null).length : stage.units);
const isDead = (stage, index) => stage.dead.includes(index);
const classOf = (stage, index) => run.classes[stage.classes?.[index]];

function label(stage, index) {
  const parts = [unitName(stage, index)];
  if (isDead(stage, index)) parts.push("dead");
  else if (stage.kind !== "classes" && classOf(stage, index)) parts.push(`${run.says} ${classOf(stage, index)}`);
  return parts.join(", ");
}

// --- the map ---------------------------------------------------------------------------------------------------

function start() {
  for (const [path, { color }] of Object.entries(run.paths))
    root.style.setProperty(`--${path}`, color);
  const total = run.stages.reduce((sum, stage) => sum + stage.units, 0);
  const made = run.stages.reduce((sum, stage) => sum + picturedOf(stage), 0);
  $("about").textContent =
    `${plural(total, "unit")} of ${run.network}, trained on ${run.trained}, seen on ${plural(run.images, "image")} of ` +
    `${run.data}. ${run.steps ? "Each picture was optimized to excite one unit." : "Each picture is the patch that excites a unit most."}` +
    (made < total ? ` ${plural(made, "picture")} of ${total.toLocaleString("en")} are made so far.` : "");
  const map = $("map");
  for (const stage of run.stages) {
    stages.set(stage.name, { ...stage, tiles: [] });
    map.append(row(stages.get(stage.name)));
  }
  if (run.unbuilt?.length)
    map.append(element("p", { class: "quiet unbuilt" }, `Not built: ${run.unbuilt.join(", ")}. Call explore with these --stages, or without any.`));
  for (const [path, { label }] of Object.entries(run.paths)) $("paths").append(toggle(path, label));
  const seen = new IntersectionObserver(
    (entries) => entries.filter((e) => e.isIntersecting).forEach((e) => { paint(e.target); seen.unobserve(e.target); }),
    { rootMargin: "400px" },
  );
  map.querySelectorAll(".stage").forEach((section) => seen.observe(section));
  help();
  if (location.hash) followHash();
}

function row(stage) {
  const lines = stage.paths.reduce((sum, [, width]) => sum + Math.ceil(width / 28), 0);
  const heading = element("h2", { id: `stage-${stage.name}` }, stage.name);
  const facts = [plural(stage.units, stage.kind === "classes" ? "class" : "unit").replace("classs", "classes")];
  if (stage.map) facts.push(`map ${stage.map}×${stage.map}`);
  const fields = stage.paths.map(([, , field]) => field);
  if (stage.map) facts.push(`field ${[...new Set([Math.min(...fields), Math.max(...fields)])].join("–")} px`);
  const dead = stage.dead.length ? `${stage.dead.length} dead` : "";
  const aside = element("div", { class: "label" }, heading, element("p", { class: "quiet" }, facts.join(", ")),
    element("p", { class: "quiet count" }, dead));
  const units = element("div", { class: "units", role: "listbox", "aria-labelledby": heading.id,
    "aria-orientation": "horizontal" });
  for (const [path, width] of stage.paths) {
    const known = run.paths[path];
    const name = known ? `${known.label} path, ${plural(width, "unit")}` : "";
    const tiles = element("div", { class: "tiles" });
    for (let i = 0; i < width; i++) tiles.append(tile(stage));
    const group = element("div", { class: "path", role: "group", "aria-label": name || stage.name,
      style: `--color:var(--${known ? path : "plain"})` });
    if (name) group.append(element("div", { class: "name", "aria-hidden": "true" }, name));
    group.append(tiles);
    units.append(group);
  }
  stage.tiles[0].tabIndex = 0;
  const section = element("section", { class: "stage", "data-stage": stage.name, "aria-labelledby": heading.id,
    style: `contain-intrinsic-block-size:auto ${lines * 30 + stage.paths.length * 26 + 20}px` }, aside, units);
  return section;
}

function tile(stage) {
  const index = stage.tiles.length;
  const made = document.createElement("div");
  made.className = isDead(stage, index) ? "tile sprite dead" : "tile sprite";
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", "false");
  made.setAttribute("aria-label", label(stage, index));
  made.tabIndex = -1;
  made.unit = [stage, index];
  stage.tiles.push(made);
  return made;
}

/** Give the tiles of a row their pictures, once the row comes near. */
function paint(section) {
  const stage = stages.get(section.dataset.stage);
  stage.tiles.forEach((made, index) => {
    made.title = made.getAttribute("aria-label");
    if (hasPicture(stage, index) && !isDead(stage, index)) made.style.cssText = cell(...small(stage, index));
  });
}

// --- choosing and showing a unit -------------------------------------------------------------------------------

$("map").addEventListener("click", (event) => {
  const made = event.target.closest(".tile");
  if (made) choose(...made.unit);
});

/** Show a unit by way of the address, so that it can be kept, and the browser's back button works. */
function choose(stage, index, replace = false) {
  const hash = unitHash(stage, index);
  if (location.hash === hash) followHash();
  else if (replace) location.replace(hash);
  else location.hash = hash;
}

addEventListener("hashchange", followHash);

async function followHash() {
  const found = unitOfHash(location.hash);
  if (!found) return close();
  const [stage, index] = found;
  mark(stage.tiles[index]);
  cover();
  const panel = $("unit");
  panel.replaceChildren(head(unitName(stage, index)), element("p", { class: "quiet" }, "Loading …"));
  if (NARROW.matches) panel.focus();
  try {
    const details = await load(stage);
    if (chosen === stage.tiles[index]) panel.replaceChildren(...describe(stage, index, details));
  } catch (error) {
    panel.replaceChildren(head(unitName(stage, index)), element("p", { class: "error", role: "alert" }, error.message));
  }
  panel.scrollTop = 0;
}

function mark(made) {
  chosen?.setAttribute("aria-selected", "false");
  chosen = made;
  if (!made) return;
  made.setAttribute("aria-selected", "true");
  own(made);
}

/** Make a tile the one of its row that the Tab key reaches. */
function own(made) {
  for (const other of made.unit[0].tiles) if (other.tabIndex === 0) other.tabIndex = -1;
  made.tabIndex = 0;
}

function close() {
  const made = chosen;
  mark(null);
  uncover();
  help();
  if (unitOfHash(location.hash)) location.hash = "";
  made?.focus();
}

/** Open the panel; on a narrow screen it lies over the rest, which cannot be reached meanwhile. */
function cover() {
  document.body.classList.add("open");
  for (const part of document.querySelectorAll("header, .tools, main")) part.inert = NARROW.matches;
}

function uncover() {
  document.body.classList.remove("open");
  for (const part of document.querySelectorAll("header, .tools, main")) part.inert = false;
}

NARROW.addEventListener("change", () => document.body.classList.contains("open") && cover());

/** The data of a stage, from its script; the script is loaded once. */
function load(stage) {
  stage.details ??= new Promise((resolve, reject) => {
    waiting[stage.name] = resolve;
    const file = `data/${stage.name}.js`;
    const script = element("script", { src: file });
    script.onerror = () => { stage.details = null; reject(new Error(`${file} is missing: is the exploration finished?`)); };
    document.head.append(script);
  });
  return stage.details;
}

function head(title) {
  const button = element("button", { class: "close", type: "button" }, "Close");
  button.addEventListener("click", close);
  return element("div", { class: "head" }, element("h2", { id: "unit-name" }, title), button);
}

function describe(stage, index, details) {
  const { path, field } = place(stage, index);
  const known = run.paths[path];
  const parts = [head(unitName(stage, index))];
  const facts = [];
  if (known) facts.push(element("span", { class: "chip", style: `--color:var(--${path})` }, `${known.label} path, `));
  facts.push(stage.kind === "classes" ? "logit of a class" : `map ${stage.map}×${stage.map}, receptive field ${field}×${field} pixels`);
  parts.push(element("p", { class: "quiet" }, ...facts));
  const dead = isDead(stage, index);
  if (dead)
    parts.push(element("p", { class: "error" }, `This unit is dead: it is 0 on all ${plural(run.images, "image")}.`));
  const pictures = element("div", { class: "pictures" });
  if (!dead) pictures.append(optimized(stage, index, details));
  if (!dead && details.patches) pictures.append(patches(stage, index, details));
  if (details.photographs) pictures.append(words(stage, index, details));
  parts.push(pictures);
  if (!dead && details.least) parts.push(least(stage, index, details));
  parts.push(...wires(stage, index, details));
  if (!dead && details.tuning) parts.push(tuning(stage, index, details));
  return parts;
}

function optimized(stage, index, details) {
  const reached = stage.reached[index];
  const peak = details.patches ? details.patches[index][0]?.value : details.peak[index];
  const best = details.patches ? "strongest patch" : "strongest photograph";
  if (!run.steps) return element("figure", {}, element("figcaption", {}, "No image was optimized (--steps 0)."));
  if (!hasPicture(stage, index))
    return element("figure", {}, element("figcaption", {}, "Not optimized yet: the pictures are still being made."));
  const text = stage.kind === "classes"
    ? `Optimized for the logit: ${number(reached)}; the best image has ${number(peak)}.`
    : `Optimized for the mean over the map. Its largest activation is ${number(reached)}; the ${best} has ${number(peak)}.`;
  const picture = sprite(...large(stage, index), `Image optimized to excite ${unitName(stage, index)}, activation ${number(reached)}`, "optimized");
  return element("figure", {}, picture, element("figcaption", {}, text));
}

function patches(stage, index, details) {
  const list = element("ol", { class: "patches", "aria-label": "Patches that excite the unit most, strongest first" });
  const chunk = Math.floor(index / run.chunk);
  const counts = new Map();
  details.patches[index].forEach((patch, rank) => {
    const name = run.classes[patch.class] ?? "";
    counts.set(name, (counts.get(name) ?? 0) + 1);
    const [left, top, right, bottom] = patch.box;
    const whole = right - left >= run.size;
    const text = `Patch ${rank + 1}: ${name}, activation ${number(patch.value)}, ` + (whole ? `the whole of image ${patch.image}`
      : `image ${patch.image}, ${right - left}×${bottom - top} pixels at left ${left}, top ${top}`);
    const picture = sprite(`${stage.name}-patches-${chunk}.webp`, run.patches, (index % run.chunk) * run.patches + rank, text);
    picture.title = text;
    if (stage.kind !== "classes") picture.append(element("i", { class: "fires", style: `left:${at(left, right)}%;top:${at(top, bottom)}%` }));
    list.append(element("li", {}, picture));
  });
  const shown = details.patches[index].length;
  const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([name, count]) => `${name} ${count}`);
  return element("figure", {}, list, element("figcaption", {}, `The ${shown} patches that excite it most: ${most.join(", ")}.`));
}

/** Where in a patch its unit fires, in per cent: in the middle, or where that lies in a patch that is the whole image. */
const at = (low, high) => (high - low <= run.size ? 50 : Math.min(Math.max((50 * (low + high)) / run.size, 0), 100));

function least(stage, index, details) {
  const list = element("ol", { class: "least" });
  const rows = details.least[index], chunk = Math.floor(index / run.chunk);
  rows.forEach((image, rank) => {
    const text = `Image ${image.image}: ${run.classes[image.class] ?? ""}, ${number(image.value)} before the ReLU`;
    const picture = sprite(`${stage.name}-least-${chunk}.webp`, rows.length, (index % run.chunk) * rows.length + rank, text);
    picture.title = text;
    list.append(element("li", {}, picture));
  });
  return element("section", {}, element("h3", {}, "The images that excite it least"), list);
}

/** What a gallery says in place of patches: names of classes. */
function words(stage, index, details) {
  const names = details.photographs[index].map((row) => run.classes[row.class]);
  const speaks = details.speaks[index].map((row) => `${run.outputs[row.class]} (${row.r.toFixed(2)})`);
  return element("div", { class: "words" },
    element("h3", {}, "Photographs that excite it most"),
    element("ol", {}, ...names.map((name) => element("li", {}, name))),
    element("h3", {}, "Classes it speaks for"),
    element("ul", {}, ...speaks.map((text) => element("li", {}, text))),
    element("p", { class: "quiet" }, "By the correlation, over the photographs, of its mean activation and the class's logit."));
}

/** What a unit reads and what reads it: the strongest wires of each, with the units at their other ends. */
function wires(stage, index, details) {
  const next = [...stages.values()].find((other) => other.previous === stage.name);
  const color = (channel) => ["red", "green", "blue"][channel];
  const from = stage.previous === "image" ? color : (channel) => `${stage.previous}:${channel}`;
  const sections = [
    wired("inputs", `Strongest inputs from ${stage.previous === "image" ? "the image" : stage.previous}`, details.inputs[index], stages.get(stage.previous), from),
    wired("outputs", `Strongest outputs to ${next ? next.name : "the classes"}`, details.outputs?.[index] ?? [], next, (channel) => run.outputs[channel]),
  ].filter(Boolean);
  if (sections.length) sections.push(element("p", { class: "quiet" }, "Orange excites, blue inhibits; a square is the weights, by place. ", run.strength));
  return sections;
}

function wired(kind, title, rows, other, name) {
  if (!rows.length) return null;
  const list = element("ol", { class: `wires ${kind}` });
  const largest = Math.max(...rows.map((r) => r.excites + r.inhibits)) || 1;
  for (const wire of rows) {
    const text = `excites ${number(wire.excites)}, inhibits ${number(wire.inhibits)}`;
    const end = other ? unitName(other, wire.channel) : name(wire.channel);
    const who = element(other ? "button" : "span", other ? { type: "button" } : {}, end);
    const picture = element("span", { class: "end" });
    if (other) {
      who.addEventListener("click", () => { choose(other, wire.channel); $("unit").focus(); });
      if (hasPicture(other, wire.channel) && !isDead(other, wire.channel)) {
        const shown = sprite(...small(other, wire.channel), "");
        shown.removeAttribute("aria-label");
        shown.setAttribute("role", "presentation");
        picture.append(shown);
      }
    }
    if (wire.kernel?.length) picture.append(kernel(wire.kernel, Math.round(Math.sqrt(wire.kernel.length)), end));
    const bar = element("div", { class: "bar", role: "img", "aria-label": text, title: text },
      element("i", { class: "excites", style: `width:${(100 * wire.excites) / largest}%` }),
      element("i", { class: "inhibits", style: `width:${(100 * wire.inhibits) / largest}%` }));
    list.append(element("li", {}, picture, who, bar, element("span", { class: "quiet" }, number(wire.excites + wire.inhibits))));
  }
  return element("section", {}, element("h3", {}, title), list);
}

/** A kernel as a little map of squares: values from −100 to 100 of the largest that is shown. */
function kernel(values, side, name) {
  const cells = values.map((value, i) =>
    element("rect", { class: "cell", x: i % side, y: Math.floor(i / side), width: 1, height: 1, style: "stroke-width:0" }));
  const marks = values.map((value, i) =>
    element("rect", { class: value < 0 ? "inhibits" : "excites", x: i % side, y: Math.floor(i / side), width: 1, height: 1,
      "fill-opacity": Math.abs(value) / 100 }));
  return element("svg", { width: 32, height: 32, viewBox: `0 0 ${side} ${side}`, role: "img",
    "aria-label": `Weights from ${name}, ${side}×${side}` }, ...cells, ...marks);
}

function tuning(stage, index, details) {
  const { scales, curves } = details.tuning, values = curves[index];
  const width = 380, height = 170, left = 44, bottom = 34, top = 10, right = 10;
  const most = Math.max(...values, 0) || 1, least = Math.min(...values, 0);
  const logs = scales.map(Math.log2), span = logs.at(-1) - logs[0] || 1;
  const x = (i) => left + ((width - left - right) * (logs[i] - logs[0])) / span;
  const y = (value) => top + (height - top - bottom) * (1 - (value - least) / (most - least));
  const best = values.indexOf(Math.max(...values));
  const { path } = place(stage, index);
  const text = `Mean activation by the object's size: most, ${number(values[best])}, at ${percent(scales[best])} of the image's side`;
  const chart = element("svg", { viewBox: `0 0 ${width} ${height}`, width: "100%", role: "img", "aria-label": text,
    style: run.paths[path] ? `--color:var(--${path})` : "" });
  chart.append(element("path", { class: "axis", d: `M${left} ${top}V${height - bottom}H${width - right}` }));
  for (const value of least < 0 ? [least, 0, most] : [0, most])
    chart.append(element("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  scales.forEach((scale, i) => {
    if (scales.length > 9 && i % 2) return;
    chart.append(element("text", { x: x(i), y: height - bottom + 15, "text-anchor": "middle" }, percent(scale)));
  });
  chart.append(element("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, "side of the object, of the image's side"));
  chart.append(element("path", { class: "curve", d: values.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}`).join("") }));
  values.forEach((v, i) => chart.append(element("circle", { class: "dot", cx: x(i), cy: y(v), r: 3 },
    element("title", {}, `${percent(scales[i])}: ${number(v)}`))));
  const rows = scales.map((scale, i) => element("tr", {}, element("th", { scope: "row" }, percent(scale)), element("td", {}, number(values[i]))));
  const table = element("table", {}, element("tbody", {}, ...rows));
  return element("section", {}, element("h3", {}, "Tuning to the size of objects"), chart,
    element("p", { class: "quiet" }, "The mean, over drawn shapes, of the largest activation in the map." +
      (run.trained === "shapes" ? "" : ` The network was trained on ${run.trained}, and has not seen such shapes before.`)), element("details", {}, element("summary", {}, "as numbers"), table));
}

// --- help ------------------------------------------------------------------------------------------------------

function help() {
  const keys = [["Tab", "from stage to stage"], ["arrows", "from unit to unit"], ["Enter", "show the unit"],
    ["Escape", "close it, or clear the search"], ["/", "search"], ["Page Up, Page Down", "one stage up or down"]];
  const list = element("dl", { class: "keys" });
  for (const [key, what] of keys) list.append(element("dt", {}, element("kbd", {}, key)), element("dd", {}, what));
  $("unit").replaceChildren(
    NARROW.matches ? head("Choose a unit") : element("h2", { id: "unit-name" }, "Choose a unit"),
    element("p", {}, "A row is a stage of the network, in the order that an image passes them. A square is a unit: one " +
      "channel of the stage's output. The color on the left of a block says which path of the module its units belong to."),
    element("p", {}, "Click a square to see its image, the patches that excite it most, what it reads from the stage " +
      "before, and how it answers to small and large objects. A hatched square is a dead unit: it is 0 on every image."),
    element("p", {}, "The search takes names, paths, numbers and classes: “3a 5x5”, “dead”, “Egyptian cat”. Words in quotation " +
      "marks stand together: “\"tiger cat\"”." + (run.says === "speaks for" ? " Of a unit, the five classes that it speaks for count." : "")),
    list);
}

$("help").addEventListener("click", () => { help(); cover(); $("unit").focus(); });

// --- search and filters ----------------------------------------------------------------------------------------

const wanted = new Set(); // paths to show; all where it is empty

function toggle(path, text) {
  const button = element("button", { type: "button", "aria-pressed": "false", style: `--color:var(--${path})` }, text);
  button.addEventListener("click", () => {
    wanted.has(path) ? wanted.delete(path) : wanted.add(path);
    button.setAttribute("aria-pressed", wanted.has(path));
    filter();
  });
  return button;
}

/** What a search looks through, of one unit; in a gallery, all the classes that it speaks for. */
function searched(stage, index) {
  const { path } = place(stage, index);
  const classes = (stage.speaks?.[index] ?? []).map((number) => run.classes[number]);
  return [label(stage, index), run.paths[path]?.label ?? "", path, ...classes].join("\n").toLowerCase();
}

/** What is looked for: words, numbers, and phrases in quotation marks. Stage, path and number may be joined as in a unit's name. */
function sought(text) {
  const parts = text.toLowerCase().replace(/(\d)x(\d)/g, "$1×$2").match(/"[^"]+"?|[^\s.:"]+/g) ?? [];
  return parts.map((part) => part.replaceAll('"', ""));
}

function filter() {
  const terms = sought($("search").value);
  const fits = (stage, index) => terms.every((term) =>
    /^\d+$/.test(term) ? [index, place(stage, index).number].includes(Number(term)) : searched(stage, index).includes(term));
  const all = !terms.length && !wanted.size;
  let count = 0;
  for (const stage of stages.values()) {
    let here = 0;
    stage.tiles.forEach((made, index) => {
      made.hidden = !all && !((!wanted.size || wanted.has(place(stage, index).path)) && fits(stage, index));
      here += !made.hidden;
    });
    const section = stage.tiles[0].closest(".stage");
    section.hidden = !here;
    for (const group of section.querySelectorAll(".path")) group.hidden = !group.querySelector(".tile:not([hidden])");
    const first = stage.tiles.find((made) => !made.hidden);
    if (first && stage.tiles.find((made) => made.tabIndex === 0)?.hidden) own(first);
    count += here;
  }
  $("found").textContent = all ? "" : plural(count, "unit");
}

let pause;
$("search").addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(filter, 80); });

// --- keyboard --------------------------------------------------------------------------------------------------

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target === $("search");
  const made = event.target.closest?.(".tile");
  if (event.key === "/" && !typing) { $("search").focus(); $("search").select(); }
  else if (event.key === "Escape" && typing) { $("search").value = ""; filter(); }
  else if (event.key === "Escape" && document.body.classList.contains("open")) close();
  else if (event.key === "Enter" && typing) { filter(); visible()[0]?.focus(); }
  else if (made && (event.key === "Enter" || event.key === " ")) { choose(...made.unit); $("unit").focus(); }
  else if (made && move(made, event.key)) { /* moved */ }
  else return;
  event.preventDefault();
});

const shown = (stage) => stage.tiles.filter((made) => !made.hidden);
const visible = () => [...stages.values()].flatMap(shown);

/** Go from a tile to another, as a key says; whether the key was one of those that move. */
function move(made, key) {
  const row = shown(made.unit[0]), i = row.indexOf(made);
  const rows = [...stages.values()].map(shown).filter((tiles) => tiles.length);
  const at = rows.findIndex((tiles) => tiles[0].unit[0] === made.unit[0]);
  let to;
  if (key === "ArrowRight") to = row[i + 1] ?? rows[at + 1]?.[0];
  else if (key === "ArrowLeft") to = row[i - 1] ?? rows[at - 1]?.at(-1);
  else if (key === "Home") to = row[0];
  else if (key === "End") to = row.at(-1);
  else if (key === "PageDown") to = rows[at + 1]?.[0];
  else if (key === "PageUp") to = rows[at - 1]?.[0];
  else if (key === "ArrowDown") to = nearest(made, row, 1) ?? nearest(made, rows[at + 1] ?? [], 1);
  else if (key === "ArrowUp") to = nearest(made, row, -1) ?? nearest(made, rows[at - 1] ?? [], -1);
  else return false;
  if (to) {
    own(to);
    to.focus();
    to.scrollIntoView({ block: "nearest" });
    if (document.body.classList.contains("open") && !NARROW.matches) choose(...to.unit, true);
  }
  return true;
}

/** The tile of the next line, downwards or upwards, that is nearest from left to right. */
function nearest(made, tiles, direction) {
  const { left, top } = made.getBoundingClientRect();
  const boxes = tiles.map((tile) => ({ tile, box: tile.getBoundingClientRect() }))
    .filter(({ box }) => direction * (box.top - top) > 1);
  if (!boxes.length) return null;
  const line = boxes.reduce((best, { box }) => (direction * (box.top - best) < 0 ? box.top : best), boxes[0].box.top);
  const inLine = boxes.filter(({ box }) => Math.abs(box.top - line) < 1);
  return inLine.reduce((best, one) => (Math.abs(one.box.left - left) < Math.abs(best.box.left - left) ? one : best)).tile;
}

// The search stays in view; what sticks below it needs to know how high it is.
const tools = document.querySelector(".tools");
new ResizeObserver(() => root.style.setProperty("--tools", `${tools.offsetHeight}px`)).observe(tools);

// --- light and dark --------------------------------------------------------------------------------------------

const DARK = matchMedia("(prefers-color-scheme: dark)");
const remembered = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
if (remembered) root.dataset.theme = remembered;
const isDark = () => (root.dataset.theme ?? (DARK.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { $("theme").textContent = isDark() ? "Light" : "Dark"; };
$("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept, where a page may not */ }
  nameTheme();
});
DARK.addEventListener("change", nameTheme);
nameTheme();
