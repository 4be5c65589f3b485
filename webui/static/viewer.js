// The viewer: receives messages of the page as its value and does the rest in the browser.
// Messages: image (chosen, not segmented yet), result, error.

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const stage = new Stage(part("canvas"));
const rows = [];
let shown = { id: null, name: "", width: 0, height: 0 };
let latest = null; // Serial of the newest message; older ones that are still decoding are dropped.
let defaultThreshold = 0.5;
let threshold = 0.5;
let moved = false; // Whether a person chose the threshold for the model in use.
let modelInUse = null;

const opacitySlider = part("opacity");
const thresholdSlider = part("threshold");

function setBusy(busy) {
  part("busy").hidden = !busy;
  part("stage").setAttribute("aria-busy", String(busy));
}

function showError(title, detail) {
  part("alert-title").textContent = title;
  part("alert-detail").textContent = detail;
  part("alert").hidden = !title;
}

function showThreshold() {
  thresholdSlider.value = threshold;
  part("threshold-value").textContent = threshold.toFixed(2);
  part("reset").disabled = threshold === defaultThreshold;
}

/** At the answer's own threshold its exact masks count; elsewhere the rounded probabilities. */
function applyThreshold() {
  for (const layer of stage.layers) {
    const exact = threshold === layer.answerThreshold;
    layer.levels = exact ? layer.exactMask : layer.probability;
    layer.cut = exact ? 1 : cutLevel(threshold);
    layer.measure = exact ? layer.exactMeasure : measureAt(layer.cumulated, layer.cut);
  }
  rows.forEach((row) => row.update());
  stage.schedule();
}

function clearResult() {
  stage.layers = [];
  rows.length = 0;
  part("legend").replaceChildren();
  part("legend-empty").hidden = false;
  thresholdSlider.disabled = opacitySlider.disabled = part("reset").disabled = true;
  showDetails(part("details"), []);
}

async function showImage(message) {
  const bitmap = message.png ? await decodePng(message.png) : null;
  if (latest !== message.serial) return;
  setBusy(false);
  showError("", "");
  clearResult();
  shown = { id: message.id, name: message.name };
  stage.bitmap = bitmap;
  part("canvas").setAttribute("aria-label", `${message.name}, not segmented yet`);
  part("hint").hidden = Boolean(bitmap);
  part("hint-title").textContent = message.name;
  part("hint-detail").textContent = "There is no preview of this file. Press Segment to let the service read it.";
  part("status").textContent = `${message.name} · not segmented yet`;
  showDetails(part("details"), [["Image", message.name]]);
  document.dispatchEvent(new CustomEvent("tunevlseg:image", { detail: message.example }));
  stage.schedule();
}

async function makeLayer(mask, index, answer) {
  const probability = bitmapLevels(await decodePng(mask.probability_png));
  const spacing = answer.image.pixel_spacing_mm;
  const [colourName, colour] = COLOURS[index % COLOURS.length];
  return {
    prompt: mask.prompt,
    colour,
    colourName,
    probability,
    cumulated: cumulate(probability),
    exactMask: decodeRle(mask.rle),
    exactMeasure: { area: mask.area_px, confidence: mask.confidence },
    answerThreshold: answer.threshold,
    width: answer.image.width,
    height: answer.image.height,
    mm2PerPixel: spacing ? spacing[0] * spacing[1] : null,
    visible: true,
  };
}

async function showResult(message) {
  const { answer } = message;
  // The person has chosen another image meanwhile: this answer is not about what is on screen.
  if (message.image_id !== shown.id) return setBusy(false);
  const preview = answer.image.preview_png;
  const bitmap = preview ? await decodePng(preview) : stage.bitmap;
  const layers = [];
  // One after another: a large image takes four bytes per pixel while it is decoded.
  for (const [index, mask] of answer.masks.entries()) layers.push(await makeLayer(mask, index, answer));
  if (latest !== message.serial) return;
  setBusy(false);
  showError("", "");
  clearResult();
  stage.bitmap = bitmap;
  stage.layers = layers;
  part("hint").hidden = Boolean(bitmap);
  for (const layer of layers) {
    const row = legendRow(layer, {
      onShow: (visible) => {
        layer.visible = visible;
        stage.schedule();
      },
      onSave: () => saveMask(layer),
    });
    rows.push(row);
    part("legend").append(row.row);
  }
  part("legend-empty").hidden = true;
  thresholdSlider.disabled = opacitySlider.disabled = false;
  const model = JSON.stringify(answer.versions);
  defaultThreshold = answer.threshold;
  if (model !== modelInUse || !moved) {
    threshold = defaultThreshold;
    moved = false;
  }
  modelInUse = model;
  showThreshold();
  applyThreshold();
  showDetails(part("details"), answerDetails(shown.name, answer));
  const phrases = layers.map((layer) => layer.prompt).join(", ");
  part("canvas").setAttribute("aria-label", `${shown.name} with masks of ${phrases}`);
  part("status").textContent = `${shown.name} · segmented in ${formatTime(answer.timings_ms.total)}`;
}

async function saveMask(layer) {
  const link = document.createElement("a");
  const stem = shown.name.replace(/\.[^.]*$/, "");
  link.download = `${stem}_${layer.prompt}_mask.png`.replace(/[^\p{L}\p{N}._-]+/gu, "-");
  link.href = URL.createObjectURL(await encodeMaskPng(maskAt(layer.levels, layer.cut), layer.width, layer.height));
  link.click();
  URL.revokeObjectURL(link.href);
}

async function receive() {
  if (!props.value) return;
  const message = JSON.parse(props.value);
  latest = message.serial;
  if (message.kind === "result") await showResult(message);
  else if (message.kind === "image") await showImage(message);
  else {
    setBusy(false);
    showError(message.title, message.detail);
  }
}

opacitySlider.addEventListener("input", () => {
  stage.opacity = Number(opacitySlider.value);
  part("opacity-value").textContent = `${Math.round(stage.opacity * 100)} %`;
  stage.schedule();
});
thresholdSlider.addEventListener("input", () => {
  threshold = Number(thresholdSlider.value);
  moved = true;
  showThreshold();
  applyThreshold();
});
part("reset").addEventListener("click", () => {
  threshold = defaultThreshold;
  moved = false;
  showThreshold();
  applyThreshold();
});
part("dismiss").addEventListener("click", () => showError("", ""));
document.addEventListener("tunevlseg:busy", () => {
  showError("", "");
  setBusy(true);
});
document.addEventListener("tunevlseg:idle", () => setBusy(false));

// A file dropped on the image would otherwise replace the page.
part("stage").addEventListener("dragover", (event) => event.preventDefault());
part("stage").addEventListener("drop", (event) => {
  event.preventDefault();
  const field = document.querySelector(".tvs-upload input[type=file]");
  if (!field || !event.dataTransfer.files.length) return;
  field.files = event.dataTransfer.files;
  field.dispatchEvent(new Event("change", { bubbles: true }));
});
watch("value", () => {
  receive().catch((error) => {
    setBusy(false);
    showError("The answer could not be shown", String(error.message ?? error));
  });
});
