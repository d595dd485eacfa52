// The photograph as the model saw it, with the outlines of its masks (those of twostage/report/masks_figure.py).

const OUTLINED = 0.3; // a mask that needs more of the photograph for half of its weight has no outline
const SIDE = 320;

/** A data URL of a square (size * size * 3), enlarged without smoothing, with the outlines of masks (count, h, w). */
function pictureOf(square, size, masks, [count, h, w]) {
  const small = document.createElement("canvas"), large = document.createElement("canvas");
  small.width = small.height = size;
  const pixels = small.getContext("2d").createImageData(size, size);
  for (let i = 0; i < size * size; i++) pixels.data.set([...square.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  small.getContext("2d").putImageData(pixels, 0, 0);
  large.width = large.height = size * Math.max(1, Math.round(SIDE / size));
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, large.width, large.height);
  for (let m = 0; m < count; m++) {
    outline(context, settings.colors[m % settings.colors.length], masks.subarray(m * h * w, (m + 1) * h * w), [h, w]);
  }
  return large.toDataURL("image/png");
}

/** Draw the line inside which half of a mask's weight lies, between the middles of its pixels (marching squares). */
function outline(context, color, mask, [h, w]) {
  const ordered = Float32Array.from(mask).sort().reverse();
  const total = ordered.reduce((sum, value) => sum + value, 0);
  let inside = 0;
  for (let sum = 0; sum < total / 2 && inside < ordered.length; ) sum += ordered[inside++];
  if (!(inside > 0 && inside <= OUTLINED * ordered.length)) return;
  const level = (ordered[inside - 1] + ordered[inside]) / 2;
  const at = (i, j) => mask[Math.min(Math.max(i, 0), h - 1) * w + Math.min(Math.max(j, 0), w - 1)] - level;
  const { width, height } = context.canvas;
  context.beginPath();
  for (let i = -1; i < h; i++) for (let j = -1; j < w; j++) crossings(at, i, j).forEach(([row, column], k) =>
    context[k % 2 ? "lineTo" : "moveTo"](((column + 0.5) * width) / w, ((row + 0.5) * height) / h));
  for (const [style, wide] of [["#fff8", 3.5], [color, 2]]) { // a light rim, so that it is seen on dark
    context.strokeStyle = style;
    context.lineWidth = (wide * width) / SIDE;
    context.stroke();
  }
}

/** Where the level crosses the sides of the cell between four pixels: none, two points or four, as row and column. */
function crossings(at, i, j) {
  const corners = [[i, j], [i, j + 1], [i + 1, j + 1], [i + 1, j]], found = [];
  for (let k = 0; k < 4; k++) {
    const [a, b] = [corners[k], corners[(k + 1) % 4]], [p, q] = [at(...a), at(...b)];
    if (p < 0 !== q < 0) found.push(a.map((start, d) => start + ((b[d] - start) * p) / (p - q)));
  }
  return found;
}
