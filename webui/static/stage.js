// The canvas: an image fitted into its box, and masks over it as outline and tint.

const OUTLINE_PX = 1.5;

class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.bitmap = null;
    this.layers = [];
    this.opacity = 0.4;
    this.pending = false;
    new ResizeObserver(() => this.schedule()).observe(canvas.parentElement);
  }

  /** Draw at the next frame; many changes before it cost one drawing. */
  schedule() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
    });
  }

  draw() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (!width || !height) return;
    // Setting the size clears the canvas, so the size is set only when it differs.
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.context.clearRect(0, 0, width, height);
    if (!this.bitmap) return;
    const scale = Math.min(width / this.bitmap.width, height / this.bitmap.height);
    const w = Math.max(1, Math.round(this.bitmap.width * scale));
    const h = Math.max(1, Math.round(this.bitmap.height * scale));
    const [left, top] = [Math.floor((width - w) / 2), Math.floor((height - h) / 2)];
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(this.bitmap, left, top, w, h);
    const border = Math.max(1, Math.round(OUTLINE_PX * ratio));
    const sheets = this.layers.filter((layer) => layer.visible).map((layer) => paint(layer, w, h, border));
    // All outlines above all tints, so that a mask under another one stays visible.
    this.context.globalAlpha = this.opacity;
    for (const { tint } of sheets) this.context.drawImage(tint, left, top);
    this.context.globalAlpha = 1;
    for (const { outline } of sheets) this.context.drawImage(outline, left, top);
  }
}

/** A mask at the size it is shown, as two pictures; its outline is as wide whatever the zoom. */
function paint({ levels, cut, width, height, colour }, w, h, border) {
  const inside = new Uint8Array(w * h);
  const columns = Int32Array.from({ length: w }, (_, x) => Math.floor(((x + 0.5) * width) / w));
  for (let y = 0; y < h; y++) {
    const row = Math.floor(((y + 0.5) * height) / h) * width;
    for (let x = 0; x < w; x++) inside[y * w + x] = levels[row + columns[x]] >= cut ? 1 : 0;
  }
  const opaque = (colour[0] | (colour[1] << 8) | (colour[2] << 16) | (255 << 24)) >>> 0;
  const [tint, outline] = [new ImageData(w, h), new ImageData(w, h)];
  const [filled, drawn] = [new Uint32Array(tint.data.buffer), new Uint32Array(outline.data.buffer)];
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const i = y * w + x;
      if (!inside[i]) continue;
      filled[i] = opaque;
      if (isEdge(inside, w, h, x, y, border)) drawn[i] = opaque;
    }
  }
  return { tint: sheetOf(tint), outline: sheetOf(outline) };
}

function isEdge(inside, w, h, x, y, border) {
  const i = y * w + x;
  for (let d = 1; d <= border; d++) {
    if (x < d || x + d >= w || y < d || y + d >= h) return true;
    if (!inside[i - d] || !inside[i + d] || !inside[i - d * w] || !inside[i + d * w]) return true;
  }
  return false;
}

function sheetOf(image) {
  const sheet = new OffscreenCanvas(image.width, image.height);
  sheet.getContext("2d").putImageData(image, 0, 0);
  return sheet;
}
