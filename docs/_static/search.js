// A page that is opened from the disk may not read other pages: what it asks for comes from texts.js.
window.fetch = async (url) => {
  const name = decodeURI(url).replace(/^(\.\/)+/, "").replace(/\.html$/, "");
  const text = (TEXTS[name] || "").replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return { text: async () => `<div role="main">${text}</div>` };
};
