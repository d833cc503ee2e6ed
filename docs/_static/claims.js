// The page of claims: two menus that leave the rows of one verdict, one notebook, or both. The address keeps the choice,
// as in claims.html#verdict=contradicted&notebook=04. Without this script the whole table stands there.
"use strict";

const table = document.querySelector("main table");
const rows = [...table.tBodies[0].rows];
const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
const value = (row, name) => row.cells[heads.indexOf(name)].textContent.trim().replaceAll("\u00a0", " ");
const menus = {};

const form = document.createElement("form");
form.className = "claims-filter";
form.onsubmit = (event) => event.preventDefault();
for (const name of ["verdict", "notebook"]) {
  const counts = new Map();
  for (const row of rows) counts.set(value(row, name), (counts.get(value(row, name)) || 0) + 1);
  const label = form.appendChild(document.createElement("label"));
  label.textContent = `${name} `;
  menus[name] = label.appendChild(document.createElement("select"));
  menus[name].append(new Option(`all (${rows.length})`, ""));
  const values = [...counts.keys()].filter(Boolean);
  if (name === "notebook") values.sort();
  for (const one of values) menus[name].append(new Option(`${one} (${counts.get(one)})`, one));
  menus[name].onchange = () => {
    const chosen = Object.entries(menus).map(([key, menu]) => [key, menu.value]).filter((pair) => pair[1]);
    history.replaceState(null, "", chosen.length ? `#${new URLSearchParams(chosen)}` : location.pathname);
    show();
  };
}
const found = form.appendChild(document.createElement("output"));
(table.closest(".pst-scrollable-table-container") || table).before(form);

function show() {
  const shown = rows.filter((row) => {
    row.hidden = Object.entries(menus).some(([name, menu]) => menu.value && value(row, name) !== menu.value);
    return !row.hidden;
  });
  found.textContent = shown.length === 1 ? "1 claim" : `${shown.length} claims`;
}

function read() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  for (const [name, menu] of Object.entries(menus)) {
    menu.value = chosen.get(name) || "";
    if (menu.selectedIndex < 0) menu.value = ""; // an address that names none of them shows all
  }
  show();
}
addEventListener("hashchange", read);
read();
