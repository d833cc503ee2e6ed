// A stack of naive modules (Figure 2a): the pool passes on every channel, so each module is wider than the one before.
import { axisEnd, bars, key, living, number, sum } from "./parts.js";

const MOST = 12; // modules

// The modules of a stack: channels in and out, MACs on a map of size × size places, parameters with biases.
function naiveStack({ modules, channels, one, three, five }, size) {
  const stack = [];
  for (let c = channels; stack.length < modules; c = stack.at(-1).out) {
    const weights = c * (one + 9 * three + 25 * five);
    const made = one + three + five;
    stack.push({ in: c, out: c + made, macs: weights * size * size, parameters: weights + made });
  }
  return stack;
}

// A module with reductions ends at the same width however much comes in; here the next one reads that width.
function reducedMacs(c, w) {
  const three = c * w.three_reduce + 9 * w.three_reduce * w.three;
  const five = c * w.five_reduce + 25 * w.five_reduce * w.five;
  return (c * w.one + three + five + c * w.pool_proj) * w.size * w.size;
}

function controls() {
  const width = (name, label) => ({ name, label, min: 8, max: 256, step: 8 });
  return [
    { name: "modules", label: "modules", min: 1, max: MOST, step: 1 },
    { name: "channels", label: "input channels", min: 8, max: 512, step: 8 },
    width("one", "#1×1"),
    width("three", "#3×3"),
    width("five", "#5×5"),
  ];
}

function draw(values, { start, reduced, colors, labels }) {
  const { size } = reduced;
  const stack = naiveStack(values, size), last = stack.at(-1);
  const all = (name) => sum(stack.map((module) => module[name]));
  const width = reduced.one + reduced.three + reduced.five + reduced.pool_proj;
  const steady = values.modules * reducedMacs(width, reduced);

  // The axes hold the longest stack of the widths that the figure starts with.
  const longest = naiveStack({ ...start, modules: MOST }, size).at(-1);
  const channelRow = (module, i) => ({
    label: `module ${i + 1}`,
    parts: [
      { size: module.in, color: "#9a9a9a" },
      ...["one", "three", "five"].map((path) => ({ size: values[path], color: colors[path] })),
    ],
    text: number(module.out),
  });
  const { one, three, five } = labels;
  const costRow = (module, i) => ({
    label: `module ${i + 1}`,
    parts: [{ size: module.macs, color: "#D55E00" }],
    text: number(module.macs),
  });
  return {
    says: `After ${values.modules} naive ${values.modules === 1 ? "module" : "modules"}: ` +
      `<b>${number(last.out)}</b> channels, <b>${number(all("macs"))}</b> MACs and <b>${number(all("parameters"))}</b> parameters in all.<br>` +
      `As many modules with the reductions of 3a, each reading ${width} channels: ${width} channels, ` +
      `<b>${number(steady)}</b> MACs in all.`,
    picture: key(colors, { one, three, five }) + bars("Channels out (gray: passed on by the pool)", axisEnd(longest.out), stack.map(channelRow)) +
      bars("MACs", axisEnd(longest.macs), stack.map(costRow)),
  };
}

const figure = living({ controls, draw });
export default figure;
