// The crops of an image that the paper averages over: 1, 10 or 144, and what each of them shows to the network.
import { living } from "./parts.js";

const VIEWS = ["top left", "top right", "bottom left", "bottom right", "center", "whole square"];

function roundHalfToEven(x) { // as Python rounds
  return x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}

// The image resized so that its shorter side has `shorter` pixels.
function resized(width, height, shorter) {
  const longer = Math.floor((shorter * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? { width: shorter, height: longer } : { width: longer, height: shorter };
}

// The squares of a resized image: left, center and right, or top, center and bottom. Of a square image they are one.
function squares({ width, height }) {
  const wide = width >= height, side = Math.min(width, height), rest = Math.abs(width - height);
  const names = wide ? ["left", "center", "right"] : ["top", "center", "bottom"];
  return [0, Math.floor(rest / 2), rest].map((start, i) =>
    ({ square: names[i], left: wide ? start : 0, top: wide ? 0 : start, side }));
}

// The five crops of a square, and the whole square, which is resized to the size of a crop.
function views({ square, left, top, side }, size) {
  const middle = roundHalfToEven((side - size) / 2), far = side - size;
  const corners = [[0, 0], [far, 0], [0, far], [far, far], [middle, middle]];
  const boxes = corners.map(([x, y], i) => ({ square, view: VIEWS[i], left: left + x, top: top + y, side: size }));
  return [...boxes, { square, view: VIEWS[5], left, top, side }];
}

// Every crop: of which scale, from where, and whether mirrored.
function allCrops({ crops, width, height }, { size, sevenths }) {
  const scales = sevenths.map((n) => resized(width, height, Math.round((size * n) / 7)));
  const found = [];
  if (crops === "1") {
    const [scale] = scales;
    const [left, top] = [scale.width, scale.height].map((side) => roundHalfToEven((side - size) / 2));
    return [{ scale, view: "center", left, top, side: size, mirrored: false }];
  }
  for (const scale of crops === "144" ? scales : scales.slice(0, 1)) {
    for (const square of crops === "144" ? squares(scale) : squares(scale).slice(1, 2)) {
      for (const box of crops === "144" ? views(square, size) : views(square, size).slice(0, 5)) {
        found.push({ scale, ...box, mirrored: false }, { scale, ...box, mirrored: true });
      }
    }
  }
  return found;
}

function controls(inputs, { crops }) {
  return [
    { name: "crops", label: "crops per image", options: ["1", "10", "144"] },
    { name: "crop", label: "crop", min: 1, max: Number(crops), step: 1 },
    { name: "width", label: "width of the image", min: 128, max: 640, step: 1 },
    { name: "height", label: "height of the image", min: 128, max: 640, step: 1 },
  ];
}

function adapt(values) {
  return { ...values, crop: Math.min(values.crop, Number(values.crops)) };
}

const place = ({ scale, left, top, side, mirrored }) => [scale.width, scale.height, left, top, side, mirrored].join();

function draw(values, inputs) {
  const found = allCrops(values, inputs), { size, photograph } = inputs;
  const { scale, square, view, left, top, side, mirrored } = found[values.crop - 1];
  const different = new Set(found.map(place)).size;

  const image = `<image href="${photograph}" width="${scale.width}" height="${scale.height}"
    preserveAspectRatio="xMidYMid slice"/>`;
  const box = ({ left, top, side }, chosen) => { // the line lies inside the crop: at the picture's edge it is whole, too
    const width = chosen ? 6 : 1;
    return `<rect x="${left + width / 2}" y="${top + width / 2}" width="${side - width}" height="${side - width}"
      fill="none" stroke="${chosen ? "#D55E00" : "#fff"}" stroke-width="${width}" stroke-opacity="${chosen ? 1 : 0.6}"/>`;
  };
  const same = found.filter((crop) => crop.scale === scale);
  const whole = `<svg class="image" viewBox="0 0 ${scale.width} ${scale.height}" role="img"
    aria-label="The resized image and its crops">
    ${image}${same.map((crop) => box(crop, false)).join("")}${box({ left, top, side }, true)}</svg>`;
  const flip = mirrored ? `translate(${2 * left + side} 0) scale(-1 1)` : "";
  const seen = `<svg class="crop" viewBox="${left} ${top} ${side} ${side}" role="img"
    aria-label="What the network sees of it">
    <g transform="${flip}">${image}</g></svg>`;
  return {
    says: `Crop ${values.crop} of ${found.length}: the image is resized to ${scale.width} × ${scale.height}; ` +
      `of ${square ? `its ${square} square` : "it"} the ${view}: ` +
      `pixels <b>${left}</b> to <b>${left + side}</b> across, <b>${top}</b> to <b>${top + side}</b> down` +
      `${side === size ? "" : `, resized to ${size} × ${size}`}${mirrored ? ", mirrored" : ""}.<br>` +
      (found.length === 1 ? "The network runs once."
        : `${different} of the ${found.length} crops are different; the network runs ${found.length} times.`),
    picture: `<div class="beside">${whole}${seen}</div>`,
  };
}

const figure = living({ controls, adapt, draw });
export default figure;
