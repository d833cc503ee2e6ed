// GoogLeNet in the browser: a picture goes in, and what the network makes of it is drawn.
//
// First comes what computes: `view` cuts the pixels out of a picture, `forward` sends them through the network, and
// `strength`, `enlarged` and `classMap` make maps of what comes out. The tests compare these with Python. Then comes the
// page. Nothing here asks another host: the files lie beside this one.

const HERE = new URL("./", import.meta.url);

/** What scripts/live.py wrote: name, size, classes, paths, modules, whether its units have a page. */
export const facts = await (await fetch(new URL("network.json", HERE))).json();
const SIZE = facts.size;
const UNITS = facts.modules.flatMap(([, paths]) => paths).reduce((sum, [, width]) => sum + width, 0);

// --- the network -------------------------------------------------------------------------------------------------

/** ONNX Runtime and the network in it: on the GPU where the site and the browser have what that takes. */
async function open() {
  const gpu = facts.webgpu && "Suspending" in WebAssembly && (await navigator.gpu?.requestAdapter());
  const isReal = gpu && !gpu.info?.isFallbackAdapter; // one that the processor plays is a hundred times slower
  for (const kind of isReal ? ["webgpu", "wasm"] : ["wasm"]) {
    try {
      const ort = await import(kind === "webgpu" ? "./ort.jspi.min.mjs" : "./ort.wasm.min.mjs");
      ort.env.logLevel = "error";
      ort.env.wasm.wasmPaths = HERE.href;
      ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
      const network = new URL("network.onnx", HERE).href;
      return { ort, kind, session: await ort.InferenceSession.create(network, { executionProviders: [kind] }) };
    } catch (error) {
      if (kind === "wasm") throw error;
      console.warn(`WebGPU does not run this network, WebAssembly does: ${error.message}`);
    }
  }
}

const opened = open();

/** Where `runs` the network: "webgpu" or "wasm". */
export const kind = async () => (await opened).kind;

/**
 * One pass: pixels (3 × SIZE × SIZE, from 0 to 1) → { logits, class_maps, inception_3a, … }, each with `data` and `dims`.
 * keep: a number for each unit of all modules, by which its map is multiplied; by default 1.
 */
export async function forward(pixels, keep = new Float32Array(UNITS).fill(1)) {
  const { ort, session } = await opened, start = performance.now();
  const outputs = await session.run({
    images: new ort.Tensor("float32", pixels, [1, 3, SIZE, SIZE]),
    keep: new ort.Tensor("float32", keep, [UNITS, 1, 1]),
  });
  milliseconds = performance.now() - start;
  return outputs;
}

let milliseconds; // of the last pass

/** What `forward` takes so that some paths, such as "inception_4a.five", give zeros. */
export function without(off) {
  const keep = new Float32Array(UNITS).fill(1);
  let first = 0;
  for (const [module, paths] of facts.modules)
    for (const [path, width] of paths) {
      if (off.has(`${module}.${path}`)) keep.fill(0, first, first + width);
      first += width;
    }
  return keep;
}

export function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** The numbers of the `count` largest values, the largest first. */
const largest = (values, count) => [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, count);

// --- pixels ------------------------------------------------------------------------------------------------------

/**
 * What the network sees of a picture (an image, bitmap, canvas or video), red, green and blue from 0 to 255, one pixel
 * after the other: the shorter side is scaled to 8/7 · SIZE by Pillow's bicubic filter, and the center is cut out.
 */
export function view(picture) {
  const wide = picture.videoWidth ?? picture.width, high = picture.videoHeight ?? picture.height;
  const share = Math.min(1, 4096 / Math.max(wide, high)); // a larger canvas is more than some telephones have
  const canvas = new OffscreenCanvas(Math.round(wide * share), Math.round(high * share));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // what is transparent shows white
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  const shorter = Math.round((SIZE * 8) / 7), scale = shorter / Math.min(width, height);
  const sides = [width, height].map((side) => evenRound(side * scale));
  const [left, top] = sides.map((side) => Math.floor((side - SIZE) / 2));
  // Along the rows first, then along the columns, with 8 bits between, as Pillow does it.
  const across = bicubic(width, sides[0], left), down = bicubic(height, sides[1], top);
  const narrow = new Uint8ClampedArray(3 * SIZE * height), seen = new Uint8ClampedArray(3 * SIZE * SIZE);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < SIZE; x++)
      for (let c = 0; c < 3; c++)
        narrow[3 * (y * SIZE + x) + c] = weighted(data, 4 * y * width + c, 4, across[x]);
  for (let y = 0; y < SIZE; y++)
    for (let x = 0; x < SIZE; x++)
      for (let c = 0; c < 3; c++)
        seen[3 * (y * SIZE + x) + c] = weighted(narrow, 3 * x + c, 3 * SIZE, down[y]);
  return seen;
}

/** Python's round: a half goes to the even number. */
const evenRound = (value) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

const ONE = 2 ** 22; // Pillow's weights are whole numbers of this fraction

/** For each of the SIZE pixels from `first` on: which old pixels it is made of, and their weights. */
function bicubic(oldSide, newSide, first) {
  const scale = oldSide / newSide, wider = Math.max(scale, 1); // when it shrinks, the filter is as wide as a new pixel
  return Array.from({ length: SIZE }, (_, i) => {
    const center = (first + i + 0.5) * scale;
    const from = Math.max(0, Math.trunc(center - 2 * wider + 0.5));
    const to = Math.min(oldSide, Math.trunc(center + 2 * wider + 0.5));
    const weights = [];
    for (let x = from; x < to; x++) weights.push(cubic((x - center + 0.5) / wider));
    const sum = weights.reduce((a, b) => a + b);
    return { from, weights: weights.map((w) => Math.sign(w) * Math.floor(0.5 + Math.abs((w / sum) * ONE))) };
  });
}

function cubic(x) {
  const a = -0.5, far = Math.abs(x);
  if (far < 1) return ((a + 2) * far - (a + 3)) * far * far + 1;
  return far < 2 ? (((far - 5) * far + 8) * far - 4) * a : 0;
}

function weighted(data, start, step, { from, weights }) {
  let sum = ONE / 2;
  for (let i = 0; i < weights.length; i++) sum += data[start + step * (from + i)] * weights[i];
  return Math.floor(sum / ONE); // the array cuts it off at 0 and 255
}

/** Pixels as `view` gives them → as the network takes them: one color after the other, from 0 to 1. */
export function normalized(seen) {
  const pixels = new Float32Array(seen.length), plane = SIZE * SIZE;
  for (let i = 0; i < plane; i++) for (let c = 0; c < 3; c++) pixels[c * plane + i] = seen[3 * i + c] / 255;
  return pixels;
}

// --- maps --------------------------------------------------------------------------------------------------------

/** A map: values of `side` rows, in order. */
const makeMap = (values, side) => ({ values, side });

/** One channel of an output (1, C, side, side). */
function channel({ data, dims }, index) {
  const plane = dims[2] * dims[3];
  return makeMap(data.subarray(index * plane, (index + 1) * plane), dims[2]);
}

/** How strong some channels are together at each position: the root of the sum of their squares. */
export function strength(output, first, width) {
  const side = output.dims[2], sums = new Float32Array(side * side);
  for (let c = first; c < first + width; c++) channel(output, c).values.forEach((value, i) => { sums[i] += value * value; });
  return makeMap(sums.map(Math.sqrt), side);
}

/** The class activation map: what each position adds to the logit of a class. */
export const classMap = (outputs, target) => channel(outputs.class_maps, target);

/** A map at the size of the picture, bilinear between the centers of its positions. */
export function enlarged({ values, side }, size = SIZE) {
  const found = new Float32Array(size * size);
  const places = Array.from({ length: size }, (_, i) => {
    const at = Math.max(0, ((i + 0.5) * side) / size - 0.5), low = Math.floor(at);
    return [low, Math.min(low + 1, side - 1), at - low];
  });
  places.forEach(([top, bottom, down], y) => places.forEach(([left, right, along], x) => {
    const upper = values[top * side + left] * (1 - along) + values[top * side + right] * along;
    const lower = values[bottom * side + left] * (1 - along) + values[bottom * side + right] * along;
    found[y * size + x] = upper * (1 - down) + lower * down;
  }));
  return found;
}

// --- drawing -----------------------------------------------------------------------------------------------------

const $ = (id) => document.getElementById(`live-${id}`);
const short = (module) => module.replace("inception_", "");
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
const SMALL = 96; // pixels of small pictures
const MORE = [213, 94, 0], LESS = [0, 114, 178]; // what speaks for a class, and against it: Okabe and Ito's

function element(kind, attributes = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) if (value !== false) made.setAttribute(name, value === true ? "" : value);
  made.append(...children);
  return made;
}

const rgb = (color) => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));

/**
 * Paint what the network sees at some size, in gray or in color, and over it at each pixel the color and the share that
 * `over` gives.
 */
function paint(canvas, seen, over, { gray = true, size = SIZE } = {}) {
  canvas.width = canvas.height = size;
  const image = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    const x = Math.floor(((i % size) * SIZE) / size), y = Math.floor((Math.floor(i / size) * SIZE) / size);
    const at = 3 * (y * SIZE + x), mean = 80 + (seen[at] + seen[at + 1] + seen[at + 2]) / 5;
    const [color, share] = over?.(i) ?? [MORE, 0];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = (gray ? mean : seen[at + c]) * (1 - share) + color[c] * share;
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Paint a map in a color: nothing at its weakest position, the color alone at its strongest. */
function glow(canvas, seen, map, color, size = SIZE) {
  const low = Math.min(...map.values), range = Math.max(...map.values) - low || 1, large = enlarged(map, size);
  paint(canvas, seen, (i) => [color, Math.min(0.9, (large[i] - low) / range)], { size });
}

/** Paint a class activation map: orange for the class, blue against it. */
function forAndAgainst(canvas, seen, map) {
  const large = enlarged(map), most = map.values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
  paint(canvas, seen, (i) => [large[i] > 0 ? MORE : LESS, (0.75 * Math.abs(large[i])) / most]);
}

// --- the page ----------------------------------------------------------------------------------------------------

const state = {
  seen: null, // pixels as `view` gives them
  before: null, // what the network says with all paths
  after: null, // and without those in `off`
  off: new Set(),
  module: facts.modules[4][0],
  target: null, // the class whose map is shown; null: the guess
  alone: {}, // path → change of the guess's logit without it
};
let stream = null, busy = false, again = false, stop = false;

/** Compute anew what is shown. Called meanwhile, it computes once more afterwards. */
async function update() {
  again = true;
  if (busy) return;
  busy = true;
  try {
    while (again && state.seen) {
      again = false;
      const pixels = normalized(state.seen);
      if (!state.before) state.before = await forward(pixels);
      state.after = state.off.size ? await forward(pixels, without(state.off)) : state.before;
      show();
    }
  } catch (error) {
    say(`The network could not run: ${error.message}`);
  }
  busy = false;
}

/** Show another picture; the class whose map is shown stays while a camera runs. */
function see(picture) {
  Object.assign(state, { seen: view(picture), before: null, target: stream && state.target, alone: {} });
  stop = true;
  return update();
}

function say(text) {
  $("state").textContent = text;
}

function show() {
  showClasses();
  showPicture();
  showModules();
  showPaths();
  showTable();
  say(`Ready: ${(facts.bytes / 1e6).toFixed(1)} MB are loaded, and one pass takes ${Math.round(milliseconds)} ms.`);
}

const guess = (outputs) => largest(outputs.logits.data, 1)[0];
const target = () => state.target ?? guess(state.after);

function showClasses() {
  const before = softmax(state.before.logits.data), after = softmax(state.after.logits.data);
  const focused = document.activeElement?.closest("#live-classes") && document.activeElement.value;
  $("classes").replaceChildren(...largest(after, 5).map((index) => {
    const radio = element("input", { type: "radio", name: "live-class", value: index, checked: index === target() });
    radio.addEventListener("change", () => { state.target = index; showPicture(); });
    const bar = element("span", { class: state.off.size ? "bar was" : "bar", style: `--now:${100 * after[index]}%;--before:${100 * before[index]}%` });
    const was = state.off.size ? [element("small", {}, `was ${percent(before[index])}`)] : [];
    return element("label", {}, radio, element("span", {}, facts.classes[index]), element("b", {}, percent(after[index])), bar, ...was);
  }));
  if (focused) $("classes").querySelector(`[value="${focused}"]`)?.focus();
  const first = guess(state.before), now = guess(state.after), name = facts.classes[first];
  const change = state.after.logits.data[first] - state.before.logits.data[first];
  $("change").textContent = !state.off.size ? "" :
    `Without ${[...state.off].map(pathName).join(", ")}: “${name}” ${percent(before[first])} → ${percent(after[first])}, ` +
    `its logit ${signed(change)}. ${now === first ? "The guess stays." : `The guess is now “${facts.classes[now]}”.`}`;
}

function showPicture() {
  const withMap = $("cam").checked;
  if (withMap) forAndAgainst($("picture"), state.seen, classMap(state.after, target()));
  else paint($("picture"), state.seen, null, { gray: false });
  const shown = withMap ? ` and the class activation map of ${facts.classes[target()]}` : "";
  $("picture").setAttribute("aria-label", `What the network sees${shown}`);
}

/** The paths of a module: name, first channel, channels. */
function pathsOf(module) {
  let first = 0;
  return facts.modules.find(([name]) => name === module)[1].map(([path, width]) => {
    first += width;
    return { path, name: `${module}.${path}`, first: first - width, width, ...facts.paths[path], color: rgb(facts.paths[path].color) };
  });
}

function pathName(name) {
  const [module, path] = name.split(".");
  return `${short(module)} ${facts.paths[path].label}`;
}

/** The nine modules, each with small maps of its four paths. */
function showModules() {
  for (const [module] of facts.modules) {
    const tile = $(`module-${module}`);
    const canvases = [...tile.querySelectorAll("canvas")];
    pathsOf(module).forEach((path, i) => {
      glow(canvases[i], state.seen, strength(state.after[module], path.first, path.width), path.color, SMALL);
      canvases[i].classList.toggle("off", state.off.has(path.name));
    });
  }
}

/** The chosen module: each path's map, its switch, and its units with the largest peaks. */
function showPaths() {
  const output = state.after[state.module];
  const focused = document.activeElement?.closest("#live-paths") && document.activeElement.dataset.path;
  $("paths").replaceChildren(...pathsOf(state.module).map((path) => {
    const canvas = element("canvas", { role: "img", "aria-label": `Where the ${path.label} path answers` });
    glow(canvas, state.seen, strength(output, path.first, path.width), path.color);
    const box = element("input", { type: "checkbox", checked: !state.off.has(path.name), "data-path": path.name });
    box.addEventListener("change", () => toggle(path.name));
    const peaks = Array.from({ length: path.width }, (_, i) => Math.max(...channel(output, path.first + i).values));
    const units = largest(peaks, 6).filter((unit) => peaks[unit] > 0).map((unit) => showUnit(path, unit, peaks[unit], output));
    return element("section", { style: `--path:rgb(${path.color})` },
      element("h3", {}, `${short(state.module)} ${path.label}`), element("label", {}, box, ` on, ${path.width} units`),
      canvas, element("ul", { "aria-label": `Units of the ${path.label} path with the largest peaks` }, ...units));
  }));
  if (focused) $("paths").querySelector(`[data-path="${focused}"]`)?.focus();
}

function showUnit(path, unit, peak, output) {
  const canvas = element("canvas", { role: "img", "aria-label": `Where unit ${unit} answers` });
  glow(canvas, state.seen, channel(output, path.first + unit), path.color, SMALL);
  const text = `${unit}, peak ${peak.toPrecision(3)}`;
  if (!facts.units) return element("li", {}, canvas, element("span", {}, text));
  const href = `${facts.units}/index.html#${path.name}:${unit}`, picture = fromGallery(path.first + unit);
  return element("li", {}, element("a", { href, "aria-label": `Unit ${path.name}:${unit} in the gallery, peak ${peak.toPrecision(3)}` },
    canvas, ...(picture ? [picture] : []), element("span", {}, text)));
}

/** A unit's picture in the gallery, if it has one: a cell of a sheet. */
function fromGallery(index) {
  const stage = gallery?.stages.find(({ name }) => name === state.module);
  if ((stage?.reached[index] ?? null) === null) return null;
  const { chunk, across } = gallery, cell = index % chunk;
  const sheet = `${facts.units}/images/${state.module}-optimized-${Math.floor(index / chunk)}.webp`;
  return element("span", { class: "picture", style: `background-image:url("${sheet}");--columns:${across};` +
    `--column:${cell % across};--row:${Math.floor(cell / across)}` });
}

/** data/run.js of the gallery is a script that calls `explorer.run` with what is read here. */
const gallery = facts.units && await fetch(`${facts.units}/data/run.js`)
  .then((answer) => answer.text()).then((text) => JSON.parse(text.slice(text.indexOf("(") + 1, text.lastIndexOf(")"))))
  .catch(() => null);

function toggle(name) {
  if (!state.off.delete(name)) state.off.add(name);
  return update();
}

/** Send the picture through once for each path, with that path alone switched off. */
async function switchEach() {
  stopCamera();
  if (busy) return;
  busy = true;
  stop = false;
  $("all").disabled = true;
  const pixels = normalized(state.seen), first = guess(state.before), base = state.before.logits.data[first];
  for (const { name } of facts.modules.flatMap(([module]) => pathsOf(module))) {
    const { logits } = await forward(pixels, without(new Set([name])));
    if (stop) break; // another picture is there
    state.alone[name] = logits.data[first] - base;
    showTable();
    await new Promise(requestAnimationFrame);
    if (stop) break;
  }
  $("all").disabled = false;
  busy = false;
  if (again) update();
}

/** A row for each module, a column for each path: whether it is on, and the change of the logit without it. */
function showTable() {
  const paths = Object.entries(facts.paths), most = Math.max(1e-6, ...Object.values(state.alone).map(Math.abs));
  const focused = document.activeElement?.closest("#live-table") && document.activeElement.dataset.path;
  const head = element("tr", {}, element("td"), ...paths.map(([, { label }]) => element("th", { scope: "col" }, label)));
  const rows = facts.modules.map(([module, own]) => element("tr", {}, element("th", { scope: "row" }, short(module)),
    ...paths.map(([path]) => {
      if (!own.some(([name]) => name === path)) return element("td");
      const name = `${module}.${path}`, change = state.alone[name], on = !state.off.has(name);
      const share = Math.abs(change ?? 0) / most, color = change < 0 ? LESS : MORE;
      const button = element("button", { type: "button", "aria-pressed": String(!on), "data-path": name,
        "aria-label": `${pathName(name)}, ${on ? "on" : "off"}${change === undefined ? "" : `, without it the logit changes by ${signed(change)}`}`,
        style: `--color:rgba(${color},${(0.5 * share).toFixed(2)})` }, on ? (change === undefined ? "on" : signed(change)) : "off");
      button.addEventListener("click", () => toggle(name));
      return element("td", {}, button);
    })));
  const caption = Object.keys(state.alone).length
    ? `Change of the logit of “${facts.classes[guess(state.before)]}” without each path; a click switches a path off`
    : "Click to switch a path off or on";
  $("table").replaceChildren(element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...rows)));
  if (focused) $("table").querySelector(`[data-path="${focused}"]`)?.focus();
}

// --- what the reader does ----------------------------------------------------------------------------------------

/** Show a picture file, or say why it cannot be. */
async function seeFile(file, name = "this file") {
  stopCamera();
  try {
    await see(await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" }));
  } catch {
    say(`${name} is no picture that this browser can read.`);
  }
}

async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) { // no camera, or not allowed; and a page that came without encryption from another host has none
    return say(`The camera cannot be used (${error.message}).`);
  }
  $("camera").setAttribute("aria-pressed", "true");
  const video = element("video", { playsinline: true, muted: true });
  video.srcObject = stream;
  await video.play();
  while (stream) {
    if (video.videoWidth) await see(video);
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $("camera").setAttribute("aria-pressed", "false");
}

/** Fill in what stays: the photographs to start with, and a tile for each module. */
function build() {
  for (const [file, name] of Object.entries(facts.photographs)) {
    const picture = element("img", { src: new URL(`${file}.webp`, HERE).href, alt: name });
    const button = element("button", { type: "button" }, picture);
    button.addEventListener("click", async () => seeFile(await (await fetch(picture.src)).blob()));
    $("photographs").append(button);
  }
  for (const [module, paths] of facts.modules) {
    const radio = element("input", { type: "radio", name: "live-module", value: module, checked: module === state.module });
    radio.addEventListener("change", () => { state.module = module; showPaths(); });
    const maps = element("span", { class: "maps", "aria-hidden": "true" }, ...paths.map(() => element("canvas")));
    $("modules").append(element("label", { id: `live-module-${module}` }, radio, maps, short(module)));
  }
  $("file").addEventListener("change", () => { if ($("file").files[0]) seeFile($("file").files[0], $("file").files[0].name); });
  $("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
  $("cam").addEventListener("change", showPicture);
  $("all").addEventListener("click", switchEach);
  $("on").addEventListener("click", () => { state.off.clear(); update(); });
  $("app").addEventListener("dragover", (event) => event.preventDefault());
  $("app").addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) seeFile(file, file.name);
  });
}

build();
await opened;
await seeFile(await (await fetch(new URL(`${Object.keys(facts.photographs)[0]}.webp`, HERE))).blob());
$("app").hidden = false;
