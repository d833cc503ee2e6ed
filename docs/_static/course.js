// On every page of the site: buttons that copy code, and light paper when a dark page is printed.
"use strict";

for (const code of document.querySelectorAll("div.highlight > pre")) {
  if (code.closest(".cell_output")) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-live", "polite");
  button.onclick = async () => {
    // What a terminal prints is not copied with the commands, nor are the prompts before them.
    const lines = code.textContent.trimEnd().split("\n");
    const typed = lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2));
    button.textContent = (await copy((typed.length ? typed : lines).join("\n"))) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  };
  code.parentElement.append(button);
}

// Pages from the disk are no secure context everywhere, so the older way is kept: select and copy.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

// Printing does not wait for figures that nobody has scrolled to: once the page is there, those for paper are loaded.
addEventListener("load", () => document.querySelectorAll("img[loading=lazy]:not(.only-dark)").forEach((image) => {
  image.loading = "eager";
}));

let theme;
addEventListener("beforeprint", () => {
  theme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
addEventListener("afterprint", () => (document.documentElement.dataset.theme = theme));
