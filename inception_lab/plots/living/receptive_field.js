// The receptive field by depth: how many pixels of the image can influence one unit, layer after layer.
import { axisEnd, key, living, number } from "./parts.js";

// After a k×k window that moves by `stride`: k − 1 more steps of the map below, and longer steps from here on.
function after({ field, step }, [kernel, stride]) {
  const k = parseInt(kernel); // "3×3" → 3
  return { field: field + (k - 1) * step, step: step * stride };
}

// The layers of a network from its windows [name, kernel, stride]. Those of a module's four paths, such as
// inception_3a.three.conv, are one layer with a list for each path; any other is a layer with one list.
function layersOf(network, labels) {
  const layers = new Map();
  for (const [name, ...window] of network) {
    const [stage, second] = name.split(".");
    const [place, path] = second in labels ? [stage, second] : [name, ""];
    if (!layers.has(place)) layers.set(place, {});
    (layers.get(place)[path] ??= []).push(window);
  }
  return [...layers].map(([name, windows]) => ({ name, windows }));
}

// The fields after each layer, by path. The next layer reads all paths, so it starts from the largest.
function fieldsByDepth(network, labels) {
  let below = { field: 1, step: 1 };
  return layersOf(network, labels).map(({ name, windows }) => {
    const paths = Object.entries(windows).map(([path, list]) => ({ path, ...list.reduce(after, below) }));
    below = paths.reduce((a, b) => (b.field > a.field ? b : a));
    return { name, windows, paths, ...below };
  });
}

function controls({ networks, labels }, { network }) {
  return [
    { name: "network", label: "network", options: Object.keys(networks) },
    { name: "depth", label: "layers passed", min: 1, max: layersOf(networks[network], labels).length, step: 1 },
  ];
}

function adapt(values, name, { networks, labels }) {
  return { ...values, depth: Math.min(values.depth, layersOf(networks[values.network], labels).length) };
}

const describe = ([[kernel, stride]]) => `${kernel}, stride ${stride}`; // a layer of a chain is one window

function draw({ network, depth }, { networks, side, photograph, colors, labels }) {
  const layers = fieldsByDepth(networks[network], labels);
  const { name, windows, paths, field, step } = layers[depth - 1];
  const color = (path) => colors[path] ?? "#D55E00";

  const each = paths.map(({ path, field }) => `${labels[path]} ${number(field)}`).join(", ");
  const what = paths.length > 1 ? `its paths see ${each} pixels` : describe(windows[""]);
  const who = paths.length > 1 ? "a unit of its widest path" : "a unit";
  const wide = field >= side ? " It sees the whole image." : "";

  // Of two squares of one size the second is dashed, so that both colors are seen.
  const squares = [...paths].sort((a, b) => b.field - a.field).map(({ path, field }, i, sorted) =>
    `<rect x="${(side - field) / 2}" y="${(side - field) / 2}" width="${field}" height="${field}" fill="none"
      stroke="${color(path)}" stroke-width="4" ${sorted[i - 1]?.field === field ? 'stroke-dasharray="9"' : ""}/>`);
  const image = `<svg class="image" viewBox="0 0 ${side} ${side}" role="img"
    aria-label="The field over an image of ${side} pixels"><image href="${photograph}" width="${side}" height="${side}"
    preserveAspectRatio="xMidYMid slice"/>${squares.join("")}</svg>`;

  const end = axisEnd(Math.max(...Object.values(networks).map((list) => fieldsByDepth(list, labels).at(-1).field)));
  const slot = 400 / layers.length, height = 200;
  const columns = layers.slice(0, depth).flatMap(({ paths }, i) => paths.map(({ path, field }, j) => {
    const width = (slot * 0.85) / paths.length, tall = (height * field) / end;
    const x = i * slot + j * width;
    return `<rect x="${x}" y="${height - tall}" width="${width}" height="${tall}" fill="${color(path)}"/>`;
  }));
  const line = height - (height * side) / end;
  const chart = `<svg class="chart" viewBox="0 -14 400 230" role="img" aria-label="Receptive field by depth">
    <line x1="0" x2="400" y1="${height}" y2="${height}"/>
    <line x1="0" x2="400" y1="${line}" y2="${line}" stroke-dasharray="4"/>
    <line x1="0" x2="400" y1="0" y2="0" stroke-dasharray="1 4"/>
    ${columns.join("")}<text x="0" y="-3">${number(end)} pixels</text>
    <text x="0" y="${line - 3}">${side}: the image</text>
    <text x="0" y="214">layer 1</text><text x="400" y="214" text-anchor="end">layer ${layers.length}</text></svg>`;
  return {
    says: `After layer ${depth} of ${layers.length} (${name}: ${what}) ${who} sees ` +
      `<b>${number(field)}</b> × ${number(field)} pixels, and its neighbor the same, ${step} ${step === 1 ? "pixel" : "pixels"} further.${wide}`,
    picture: `${layers.some((layer) => layer.paths.length > 1) ? key(colors, labels) : ""}` +
      `<div class="beside">${image}${chart}</div>`,
  };
}

const figure = living({ controls, adapt, draw });
export default figure;
