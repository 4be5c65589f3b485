// Example tiles: a click tells the page which; the viewer tells which one is on screen.

const tiles = [...element.querySelectorAll("button[data-key]")];
for (const tile of tiles) tile.addEventListener("click", () => trigger("pick", { key: tile.dataset.key }));
document.addEventListener("tunevlseg:image", ({ detail }) => {
  for (const tile of tiles) tile.setAttribute("aria-pressed", String(tile.dataset.key === detail));
});
