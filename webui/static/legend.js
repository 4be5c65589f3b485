// The legend: one row per phrase, built once per result and updated in place.

// Okabe and Ito's colours, told apart with any colour vision; white takes the place of black.
const COLOURS = [
  ["sky blue", [86, 180, 233]],
  ["orange", [230, 159, 0]],
  ["green", [0, 158, 115]],
  ["purple", [204, 121, 167]],
  ["yellow", [240, 228, 66]],
  ["vermilion", [213, 94, 0]],
  ["blue", [0, 114, 178]],
  ["white", [255, 255, 255]],
];

function make(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Build a row; returns its node and a function that writes new figures into it. */
function legendRow(layer, { onShow, onSave }) {
  const row = make("li", "tvs-row");
  const label = make("label", "tvs-phrase");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = layer.visible;
  box.setAttribute("aria-label", `Show ${layer.prompt} (${layer.colourName})`);
  box.addEventListener("change", () => onShow(box.checked));
  const swatch = make("span", "tvs-swatch");
  swatch.style.backgroundColor = `rgb(${layer.colour.join(",")})`;
  label.append(box, swatch, make("span", "tvs-phrase-text", layer.prompt));
  label.title = layer.prompt;
  const figures = make("p", "tvs-figures");
  const save = make("button", "tvs-link", "Save");
  save.type = "button";
  save.setAttribute("aria-label", `Save the mask of ${layer.prompt} as PNG`);
  save.addEventListener("click", onSave);
  row.append(label, figures, save);
  return {
    row,
    update() {
      const { area, confidence } = layer.measure;
      row.classList.toggle("tvs-nothing", area === 0);
      save.disabled = area === 0;
      const texts = area ? describe(layer, area, confidence) : ["Nothing found at this threshold"];
      figures.replaceChildren(...texts.map((text) => make("span", "", text)));
    },
  };
}

function describe(layer, area, confidence) {
  const parts = [`${area.toLocaleString("en")} px`];
  if (layer.mm2PerPixel) parts.push(`${formatMm2(area * layer.mm2PerPixel)} mm²`);
  parts.push(`confidence ${confidence.toFixed(2)}`);
  return parts;
}

function formatMm2(value) {
  return value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 1 : 0 });
}

function formatTime(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Fill the definition list with what the answer says about itself. */
function showDetails(list, entries) {
  list.replaceChildren(
    ...entries.flatMap(([name, value, title]) => {
      const data = make("dd", "", value);
      if (title) data.title = title;
      return [make("dt", "", name), data];
    }),
  );
}

function answerDetails(name, { image, versions, timings_ms: timings }) {
  const spacing = image.pixel_spacing_mm;
  const { base, checkpoint, dataset } = versions;
  const steps = Object.entries(timings).filter(([step]) => step !== "total");
  return [
    ["Image", name, `SHA-256 ${image.digest}`],
    ["Size", `${image.width} × ${image.height} px`],
    ["Spacing", spacing ? `${spacing.map((mm) => mm.toFixed(3)).join(" × ")} mm` : "not known"],
    ["Time", formatTime(timings.total), steps.map(([s, ms]) => `${s} ${ms.toFixed(1)} ms`).join(", ")],
    ["Base", `${base.name} (${base.digest.slice(0, 8)})`, `SHA-256 ${base.digest}`],
    [
      "Checkpoint",
      checkpoint
        ? `${dataset ?? ""}/${checkpoint.version} · ${checkpoint.strategy} (${checkpoint.digest.slice(0, 8)})`
        : "zero-shot (none)",
      checkpoint ? `SHA-256 ${checkpoint.digest}` : "",
    ],
  ];
}
