// What the five living figures share: labeled controls, bars on an absolute scale, and the way from a control to the
// figure. A model holds `inputs`, the numbers that Python gave, and `values`, where the controls stand. In JupyterLab
// it is anywidget's, so that Python knows the values too; on a page it is the one at the end of this file.

export const number = (n) => n.toLocaleString("en-US");
export const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);

export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The end of an axis that holds `largest`: the next number that has one digit and zeros.
export function axisEnd(largest) {
  const unit = 10 ** Math.floor(Math.log10(largest));
  return Math.ceil(largest / unit) * unit;
}

// Bars, one for each row { label, parts: [{ size, color, faint }], text }, on an axis from 0 to `end` that never moves:
// what grows can only grow. A bar that leaves the axis is cut at its end and marked.
export function bars(title, end, rows) {
  const drawn = rows.map(({ label, parts, text }) => {
    let room = end;
    const pieces = parts.map(({ size, color, faint }) => {
      const shown = Math.min(size, room);
      room -= shown;
      return `<i style="width:${(100 * shown) / end}%; background:${color}; opacity:${faint ? 0.35 : 1}"></i>`;
    });
    const cut = sum(parts.map((part) => part.size)) > end ? "<b>▸</b>" : "";
    return `<dt>${label}</dt><dd><span class="track">${pieces.join("")}${cut}</span><span>${text}</span></dd>`;
  });
  return `<p class="axis">${title}, axis from 0 to ${number(end)}</p><dl>${drawn.join("")}</dl>`;
}

export const swatch = (color) => `<i class="swatch" style="background:${color}"></i>`;

// Which color is which path.
export const key = (colors, labels) =>
  `<p class="key">${Object.keys(labels).map((path) => `<span>${swatch(colors[path])} ${labels[path]}</span>`).join("")}</p>`;

// A control is { name, label, min, max, step } or { name, label, options }. What a reader does goes to `change`.
function makeControl(control, change) {
  if (control.options) {
    const list = element("select", { name: control.name });
    list.addEventListener("change", () => change(control.name, list.value));
    function show({ options }, value) {
      if (list.options.length !== options.length) list.replaceChildren(...options.map((o) => element("option", {}, o)));
      list.value = value;
    }
    return { row: element("label", {}, element("span", {}, control.label), list), show };
  }
  const slider = element("input", { type: "range", name: control.name });
  const box = element("input", { type: "number", "aria-label": `${control.label}, as a number` });
  slider.addEventListener("input", () => change(control.name, slider.valueAsNumber));
  box.addEventListener("change", () => {
    slider.value = box.value; // the slider keeps what is typed inside its range and on its steps
    change(control.name, slider.valueAsNumber);
  });
  function show({ min, max, step }, value) {
    for (const input of [slider, box]) {
      Object.assign(input, { min, max, step });
      input.value = value;
    }
  }
  const label = element("label", {}, element("span", {}, control.label), slider);
  return { row: element("div", {}, label, box), show };
}

// A figure of three functions. controls(inputs, values): the list of its controls. draw(values, inputs): what it
// `says` in a sentence or two, and its `picture`, both HTML. adapt(values, name, inputs): the values after the control
// `name` has moved, for a figure whose controls depend on each other.
export function living({ controls, draw, adapt = (values) => values }) {
  function render({ model, el }) {
    const inputs = model.get("inputs");
    function change(name, value) {
      model.set("values", adapt({ ...model.get("values"), [name]: value }, name, inputs));
      model.save_changes();
    }
    const made = controls(inputs, model.get("values")).map((control) => makeControl(control, change));
    const says = element("output", {}), picture = element("div", { class: "picture" });
    function refresh() {
      const values = model.get("values");
      controls(inputs, values).forEach((control, i) => made[i].show(control, values[control.name]));
      const drawn = draw(values, inputs);
      says.innerHTML = drawn.says;
      picture.innerHTML = drawn.picture;
    }
    const form = element("div", { class: "controls" }, ...made.map(({ row }) => row));
    for (const control of form.querySelectorAll("input, select")) {
      control.setAttribute("data-lm-suppress-shortcuts", ""); // else JupyterLab takes the arrow keys
    }
    el.replaceChildren(element("div", { class: "living" }, form, says, picture));
    model.on("change:values", refresh);
    refresh();
    return () => model.off("change:values", refresh);
  }
  return { render };
}

// Put a figure into the first place of a page that waits for one of this name.
export function mount(name, figure, state) {
  const listeners = [];
  const model = {
    get: (key) => state[key],
    set(key, value) {
      state[key] = value;
      listeners.forEach((listen) => listen());
    },
    on: (event, listen) => listeners.push(listen),
    save_changes() {},
  };
  const el = document.querySelector(`[data-figure="${name}"]:not([data-live])`);
  el.dataset.live = "";
  figure.render({ model, el });
}
