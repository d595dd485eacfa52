// The probabilities of the bins over a scale, with the interval and the reading on it.

const WIDTH = 220, HEIGHT = 40, SCALE = HEIGHT + 6;

function draw(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Where a concentration lies on a scale on which all bins are as wide: a little beyond its ends at most. */
function placeOf(concentration, edges) {
  const count = edges.length - 1;
  let bin = edges.filter((edge) => edge <= concentration).length - 1;
  bin = Math.min(Math.max(bin, 0), count - 1);
  const share = (concentration - edges[bin]) / (edges[bin + 1] - edges[bin]);
  return (Math.min(Math.max(bin + share, -0.2), count + 0.2) * WIDTH) / count;
}

/** Where the interval lies, as pairs of ends: on a circle what is counted on beyond an end lies at the other one. */
function partsOf(row) {
  const { edges, period } = settings.card, low = edges[0], high = edges[edges.length - 1];
  if (row.lower === null || row.upper === null) return [];
  if (!period) return [[row.lower, row.upper]];
  const turns = [-period, 0, period].map((turn) => [row.lower + turn, row.upper + turn]);
  return turns.filter(([from, to]) => from < high && to > low).map(([from, to]) => [Math.max(from, low), Math.min(to, high)]);
}

function barsOf(row) {
  const { edges } = settings.card, probabilities = row.bin_probabilities, step = WIDTH / probabilities.length;
  const drawn = probabilities.map((p, k) => {
    const height = Math.max(p * HEIGHT, p > 0.005 ? 1 : 0), from = k * step + step * 0.06;
    const title = draw("title", {}, `${range(short(edges[k]), short(edges[k + 1]))}: ${percent(p)}`);
    const kind = k === row.bin_index ? "bar here" : "bar";
    return draw("rect", { class: kind, x: from, y: HEIGHT - height, width: step * 0.88, height }, title);
  });
  const every = Math.ceil(probabilities.length / 4), last = probabilities.length;
  edges.forEach((edge, k) => {
    drawn.push(draw("path", { class: "tick", d: `M${k * step} ${SCALE - 3}v6` }));
    if (k !== last && (k % every || last - k < every)) return;
    const anchor = k === 0 ? "start" : k === last ? "end" : "middle";
    drawn.push(draw("text", { x: k * step, y: SCALE + 17, "text-anchor": anchor }, short(edge)));
  });
  drawn.push(draw("path", { class: "tick", d: `M0 ${SCALE}h${WIDTH}` }));
  for (const part of partsOf(row)) {
    const [from, to] = part.map((end) => placeOf(end, edges));
    drawn.push(draw("rect", { class: "band", x: from, y: SCALE - 2.5, width: Math.max(to - from, 1), height: 5 }));
  }
  const x = placeOf(row.concentration, edges);
  drawn.push(draw("path", { class: "mark", d: `M${x} ${SCALE - 5}v10` }));
  const likely = probabilities.map((p, k) => [p, k]).filter(([p]) => p >= 0.01).sort(([p], [q]) => q - p);
  const said = likely.map(([p, k]) => `${range(short(edges[k]), short(edges[k + 1]))} ${percent(p)}`).join(", ");
  const label = `Probability of the bins: ${said}`;
  return draw("svg", { class: "bars", role: "img", "aria-label": label, viewBox: `-8 0 ${WIDTH + 16} ${SCALE + 20}` }, ...drawn);
}
