// Bring pixels to the working size by exact averages over areas, with one rounding at the end: the same integer weights
// and the same sums as twostage/decoding/area.py, so that the same pixels give the same square.

const CUBIC_ONE = 1 << 14;
const BAND = 1 << 19; // about so many pixels are held at a time

/** The nearest integer; a half becomes the even one, as in numpy. */
function rint(x) {
  const low = Math.floor(x), rest = x - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

/** The share of each pixel in each output's length: [output, pixel, weight]. Lengths in units of 1 / (2 size) pixels. */
function areaShares(count, part, size) {
  const pixel = 2 * size, end = pixel * count, first = size * count - part * size;
  const borders = Array.from({ length: size + 1 }, (_, j) => first + 2 * part * j);
  const inner = Array.from({ length: count + 1 }, (_, k) => pixel * k).filter((x) => x > first && x < borders[size]);
  const cuts = [...new Set([...borders, ...inner])].sort((a, b) => a - b);
  const entries = [];
  for (let i = 0; i + 1 < cuts.length; i++) {
    const output = Math.floor((cuts[i] - first) / (2 * part));
    entries.push([output, cuts[i] >= end ? count : Math.floor(cuts[i] / pixel), cuts[i + 1] - cuts[i]]);
  }
  return entries;
}

/** Keys' cubic convolution (1981) of the pixels within two of each output's middle: [output, pixel, weight]. */
function cubicShares(count, part, size) {
  const unit = 2 * size, entries = [];
  for (let output = 0; output < size; output++) {
    const middle = size * count - part * size + (2 * output + 1) * part;
    for (let pixel = Math.floor(middle / unit) - 2, last = pixel + 4; pixel <= last; pixel++) {
      const t = Math.abs(middle - pixel * unit - size) / unit;
      const near = (1.5 * t - 2.5) * t * t + 1, far = ((-0.5 * t + 2.5) * t - 4) * t + 2;
      const inside = part > count || (pixel >= 0 && pixel < count);
      if (t < 2 && inside) entries.push([output, pixel, rint(CUBIC_ONE * (t < 1 ? near : far))]);
    }
  }
  return entries;
}

/** What lies before and after the photograph is the average of its outermost 16th, at least a pixel. */
function continued(entries, count, part) {
  if (entries.every(([, pixel]) => pixel >= 0 && pixel < count)) return entries;
  const most = Math.max(1, Math.floor(2 ** 44 / (4 * part * part * 257))); // so that the sums stay exact
  const strip = Math.min(count, Math.max(1, Math.floor(count / 16)), most);
  return entries.flatMap(([output, pixel, weight]) => {
    if (pixel >= 0 && pixel < count) return [[output, pixel, weight * strip]];
    const begin = pixel < 0 ? 0 : count - strip;
    return Array.from({ length: strip }, (_, k) => [output, begin + k, weight]);
  });
}

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

/**
 * Integer weights of `count` pixels along one direction, whose middle `part` (or all, and what goes on beyond) becomes
 * `size` outputs. Entry e adds `weight[e]` of pixel `pixel[e]` to output `output[e]`; entries are ordered by pixel.
 */
function axisOf(count, part, size) {
  const found = continued((size <= part ? areaShares : cubicShares)(count, part, size), count, part);
  const sums = new Map();
  for (const [output, pixel, weight] of found) {
    const key = pixel * size + output;
    sums.set(key, (sums.get(key) || 0) + weight);
  }
  const keys = [...sums.keys()].filter((key) => sums.get(key)).sort((a, b) => a - b);
  const divisor = keys.reduce((d, key) => gcd(d, Math.abs(sums.get(key))), 0);
  const axis = {
    pixel: Int32Array.from(keys, (key) => Math.floor(key / size)),
    output: Int32Array.from(keys, (key) => key % size),
    weight: Float64Array.from(keys, (key) => sums.get(key) / divisor),
    totals: new Float64Array(size),
  };
  axis.output.forEach((output, e) => (axis.totals[output] += axis.weight[e]));
  axis.first = axis.pixel[0];
  axis.stop = axis.pixel[axis.pixel.length - 1] + 1;
  return axis;
}

/**
 * A photograph as a square of sRGB.
 * @param read read(top, bottom, left, right) gives these pixels, RGBA, row by row; the A is not looked at.
 * @param fit "crop" keeps the middle square; "stretch" the whole, out of proportion; "pad" the whole in proportion.
 * @returns Uint8Array (size * size * 3)
 */
function toSquare(read, width, height, size, fit) {
  const part = { crop: Math.min(width, height), pad: Math.max(width, height) }[fit];
  const down = axisOf(height, part || height, size), across = axisOf(width, part || width, size);
  const columns = across.stop - across.first, lines = Math.max(1, Math.floor(BAND / columns));
  const sums = new Float64Array(size * size * 3), line = new Float64Array(size * 3);
  let e = 0;
  for (let top = down.first; top < down.stop; top += lines) {
    const bottom = Math.min(top + lines, down.stop), pixels = read(top, bottom, across.first, across.stop);
    for (let row = top; row < bottom; row++) {
      sumAcross(across, pixels, (row - top) * columns - across.first, line);
      for (; e < down.pixel.length && down.pixel[e] === row; e++) {
        const to = down.output[e] * size * 3, weight = down.weight[e];
        for (let i = 0; i < line.length; i++) sums[to + i] += weight * line[i];
      }
    }
  }
  return Uint8Array.from(sums, (sum, i) => {
    const whole = down.totals[Math.floor(i / (3 * size))] * across.totals[Math.floor(i / 3) % size];
    return rint(Math.min(Math.max(sum / whole, 0), 255));
  });
}

function sumAcross(axis, pixels, offset, line) {
  const { pixel, output, weight } = axis;
  line.fill(0);
  for (let e = 0; e < pixel.length; e++) {
    const from = 4 * (offset + pixel[e]), to = 3 * output[e], w = weight[e];
    line[to] += w * pixels[from];
    line[to + 1] += w * pixels[from + 1];
    line[to + 2] += w * pixels[from + 2];
  }
}
