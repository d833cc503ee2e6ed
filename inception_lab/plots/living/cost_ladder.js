// The ladder from AlexNet to VGG-19, and GoogLeNet beside it: where in a network do parameters and MACs lie?
import { axisEnd, bars, living, number, sum } from "./parts.js";

// A layer is [parameters, output]: weights, and a bias for each output channel; and the shape that it makes, which is
// [channels, height, width], or [channels] for a linear layer. Each weight is used once at each place of the map.
const PRICES = {
  MACs: ([parameters, [channels, height = 1, width = 1]]) => (parameters - channels) * height * width,
  parameters: ([parameters]) => parameters,
};
const total = (layers, price) => sum(layers.map(price));

function controls({ networks }, { network }) {
  return [
    { name: "network", label: "network", options: Object.keys(networks) },
    { name: "layers", label: "layers with weights", min: 1, max: networks[network].length, step: 1 },
  ];
}

function adapt(values, name, { networks }) {
  const most = networks[values.network].length;
  return { ...values, layers: name === "network" ? most : Math.min(values.layers, most) };
}

function draw({ network, layers }, { networks }) {
  const passed = networks[network].slice(0, layers);
  const share = (unit) => (100 * total(passed, PRICES[unit])) / total(networks[network], PRICES[unit]);
  const say = (unit) => `<b>${number(total(passed, PRICES[unit]))}</b> ${unit} (${share(unit).toFixed(1)} % of all)`;
  const times = (unit) =>
    (total(networks[network], PRICES[unit]) / total(networks.googlenet, PRICES[unit])).toFixed(2);

  const row = (unit, name) => {
    const all = total(networks[name], PRICES[unit]);
    const part = name === network ? total(passed, PRICES[unit]) : 0;
    const color = name === network ? "#D55E00" : "#9a9a9a";
    const parts = [{ size: part, color }, { size: all - part, color, faint: name === network }];
    return { label: name, parts, text: number(all) };
  };
  const chart = (unit) => {
    const end = axisEnd(Math.max(...Object.values(networks).map((list) => total(list, PRICES[unit]))));
    return bars(unit, end, Object.keys(networks).map((name) => row(unit, name)));
  };
  return {
    says: `The first ${layers} of ${networks[network].length} layers of ${network}: ` +
      `${say("MACs")}, ${say("parameters")}.<br>` +
      `The whole network has ${times("MACs")} times the MACs and ${times("parameters")} times the parameters of GoogLeNet.`,
    picture: chart("MACs") + chart("parameters"),
  };
}

const figure = living({ controls, adapt, draw });
export default figure;
