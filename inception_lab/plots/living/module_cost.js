// The six widths of an Inception module: what its paths cost without reductions (Figure 2a) and with them (Figure 2b).
import { axisEnd, bars, living, number, sum, swatch } from "./parts.js";

const OWN = "widths of my own";
const WIDTHS = ["one", "three_reduce", "three", "five_reduce", "five", "pool_proj"];
const LABELS = { one: "#1×1", three_reduce: "#3×3 reduce", three: "#3×3", five_reduce: "#5×5 reduce", five: "#5×5" };

// A k×k convolution makes each of `outputs` maps with a kernel over all `inputs` maps, and one bias.
const convolution = (k, inputs, outputs) => ({ weights: k * k * inputs * outputs, biases: outputs });

// The convolutions of each path. A path of width 0 is left out.
function naiveModule(c, w) {
  return {
    one: [convolution(1, c, w.one)],
    three: [convolution(3, c, w.three)],
    five: [convolution(5, c, w.five)],
    pool: [], // passes on all that comes in
  };
}

function reducedModule(c, w) {
  return {
    one: [convolution(1, c, w.one)],
    three: w.three ? [convolution(1, c, w.three_reduce), convolution(3, w.three_reduce, w.three)] : [],
    five: w.five ? [convolution(1, c, w.five_reduce), convolution(5, w.five_reduce, w.five)] : [],
    pool: [convolution(1, c, w.pool_proj)],
  };
}

// Every weight is used once at each place of the map: one multiply-accumulate (MAC). The parameters have biases too.
const macs = (path, size) => sum(path.map(({ weights }) => weights)) * size * size;
const parameters = (path) => sum(path.map(({ weights, biases }) => weights + biases));
const total = (module, price) => sum(Object.values(module).map(price));

// The end of an axis: it holds the most expensive of the nine modules, whatever the controls say.
const end = (modules, price) =>
  axisEnd(Math.max(...Object.values(modules).map((w) => total(naiveModule(w.channels, w), (p) => price(p, w.size)))));

function controls({ modules }) {
  const width = (name) => ({ name, label: LABELS[name] ?? "pool proj", min: 0, max: 512, step: 8 });
  return [
    { name: "module", label: "module", options: [...Object.keys(modules), OWN] },
    ...WIDTHS.map(width),
    { name: "channels", label: "input channels", min: 8, max: 1024, step: 8 },
    { name: "size", label: "map size (pixels)", min: 1, max: 56, step: 1 },
  ];
}

function adapt(values, name, { modules }) {
  if (name === "module") return { ...values, ...modules[values.module] };
  const atLeast8 = (n) => Math.max(n, 8); // a large kernel cannot read a map without channels
  const kept = { ...values, three_reduce: atLeast8(values.three_reduce), five_reduce: atLeast8(values.five_reduce) };
  const same = (w) => Object.keys(w).every((key) => w[key] === kept[key]);
  return { ...kept, module: Object.keys(modules).find((stage) => same(modules[stage])) ?? OWN };
}

function draw(values, { modules, colors, labels }) {
  const { channels, size, one, three, five, pool_proj } = values;
  const naive = naiveModule(channels, values), reduced = reducedModule(channels, values);
  const prices = { MACs: (path) => macs(path, size), parameters };
  const outputs = { naive: one + three + five + channels, reduced: one + three + five + pool_proj };

  const say = (name, module) =>
    `${name}: <b>${number(total(module, prices.MACs))}</b> MACs, ` +
    `<b>${number(total(module, parameters))}</b> parameters, ${number(outputs[name.toLowerCase()])} channels out.`;
  const ratio = total(naive, prices.MACs) / total(reduced, prices.MACs);
  const left = Object.entries({ one, three, five, pool: pool_proj }).filter(([, width]) => width === 0);
  const verdict = left.length === 4
    ? "The reduced module has no path left: give at least one of the four a width."
    : `The naive module needs ${ratio.toFixed(2)} times the MACs of the reduced one.`;
  const without = left.length && left.length < 4
    ? ` Width 0 leaves a path out: ${left.map(([path]) => labels[path]).join(", ")}. (The naive pool stays.)` : "";

  const axes = { MACs: end(modules, macs), parameters: end(modules, parameters) };
  const row = (unit, label, module) => ({
    label,
    parts: Object.entries(module).map(([path, steps]) => ({ size: prices[unit](steps), color: colors[path] })),
    text: number(total(module, prices[unit])),
  });
  const charts = Object.keys(prices).map((unit) =>
    bars(unit, axes[unit], [row(unit, "naive", naive), row(unit, "reduced", reduced)]));
  const cells = (path) => [naive, reduced].flatMap((module) =>
    Object.values(prices).map((price) => `<td>${number(price(module[path]))}</td>`)).join("");
  const lines = Object.keys(labels).map((path) =>
    `<tr><th scope="row">${swatch(colors[path])} ${labels[path]}</th>${cells(path)}</tr>`);
  const head = ["path", "naive MACs", "naive parameters", "reduced MACs", "reduced parameters"]
    .map((name) => `<th scope="col">${name}</th>`);
  return {
    says: `${say("Reduced", reduced)}<br>${say("Naive", naive)}<br>${verdict}${without}`,
    picture: `${charts.join("")}<div class="scrolls"><table><tr>${head.join("")}</tr>` +
      `${lines.join("")}</table></div>`,
  };
}

const figure = living({ controls, adapt, draw });
export default figure;
