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
    for (const layer of this.layers) {
      if (!layer.visible) continue;
      const tint = tintMask(layer, w, h, this.opacity, Math.max(1, Math.round(OUTLINE_PX * ratio)));
      const sheet = new OffscreenCanvas(w, h);
      sheet.getContext("2d").putImageData(tint, 0, 0);
      this.context.drawImage(sheet, left, top);
    }
  }
}

/** A mask at the size it is shown: tinted inside, opaque along its border whatever the zoom. */
function tintMask({ mask, width, height, colour }, w, h, opacity, border) {
  const inside = new Uint8Array(w * h);
  const columns = Int32Array.from({ length: w }, (_, x) => Math.floor(((x + 0.5) * width) / w));
  for (let y = 0; y < h; y++) {
    const row = Math.floor(((y + 0.5) * height) / h) * width;
    for (let x = 0; x < w; x++) inside[y * w + x] = mask[row + columns[x]];
  }
  const image = new ImageData(w, h);
  const pixels = new Uint32Array(image.data.buffer);
  const rgb = colour[0] | (colour[1] << 8) | (colour[2] << 16);
  const fill = (rgb | (Math.round(opacity * 255) << 24)) >>> 0;
  const line = (rgb | (255 << 24)) >>> 0;
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const i = y * w + x;
      if (!inside[i]) continue;
      let edge = false;
      for (let d = 1; d <= border && !edge; d++) {
        edge =
          x < d || x + d >= w || y < d || y + d >= h ||
          !inside[i - d] || !inside[i + d] || !inside[i - d * w] || !inside[i + d * w];
      }
      pixels[i] = edge ? line : fill;
    }
  }
  return image;
}
