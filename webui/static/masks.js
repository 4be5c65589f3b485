// Masks from probability levels: pure functions, no page.

/** Decode COCO's compressed run lengths (column by column) to one byte per pixel, row by row. */
function decodeRle({ size: [height, width], counts }) {
  const runs = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value |= (code & 0x1f) << shift;
      shift += 5;
    } while (code & 0x20);
    if (code & 0x10 && shift < 32) value |= -1 << shift;
    // From the fourth run on, the difference to the run two before is stored.
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  const mask = new Uint8Array(width * height);
  let position = 0;
  runs.forEach((length, index) => {
    if (index % 2) {
      for (let i = position; i < position + length; i++) {
        mask[(i % height) * width + Math.floor(i / height)] = 1;
      }
    }
    position += length;
  });
  return mask;
}

/** Pixels at or above every level 0..255, and the sum of their levels. */
function cumulate(levels) {
  const area = new Float64Array(257);
  const sum = new Float64Array(257);
  for (const level of levels) area[level] += 1;
  for (let level = 255; level >= 0; level--) {
    sum[level] = sum[level + 1] + area[level] * level;
    area[level] += area[level + 1];
  }
  return { area, sum };
}

/** The lowest level that counts as inside: probabilities are rounded to 255ths. */
function cutLevel(threshold) {
  return Math.round(threshold * 255);
}

/** One byte per pixel: 1 where the level reaches the cut. */
function maskAt(levels, cut) {
  const mask = new Uint8Array(levels.length);
  for (let i = 0; i < levels.length; i++) mask[i] = levels[i] >= cut ? 1 : 0;
  return mask;
}

/** Area in pixels and mean probability inside; confidence is null for an empty mask. */
function measureAt(cumulated, cut) {
  const area = cumulated.area[cut];
  return { area, confidence: area ? cumulated.sum[cut] / area / 255 : null };
}
