// A reader inside the page: onnxruntime-web and the model lie in it, packed.

/** The bytes of a part of the page that lies in it as gzip and base64. */
async function unpacked(id) {
  const element = document.getElementById(id), text = atob(element.textContent.trim());
  const packed = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The number with the fewest digits that is the same in float32, in which the model computes; null for none. */
function shortest(x) {
  if (!Number.isFinite(x)) return null;
  for (let digits = 6; digits <= 9; digits++) {
    const short = Number(x.toPrecision(digits));
    if (Math.fround(short) === x) return short;
  }
  return x;
}

/** The bin that holds a concentration; an edge belongs to the bin above it, the last to the last. */
function binOf(concentration, edges) {
  const above = edges.filter((edge) => edge <= concentration).length;
  return Math.min(Math.max(above - 1, 0), edges.length - 2);
}

/** One row of predictions.csv, with all bin probabilities and the picture of what the model saw. */
function rowOf(image, out, square) {
  const { statuses, reasons, edges, size } = settings.card;
  const said = (name) => shortest(out[name].data[0]), concentration = said("concentration");
  const probabilities = Array.from(out.bin_probabilities.data, shortest);
  const bin = concentration === null ? null : binOf(concentration, edges);
  const masks = out.masks ? [out.masks.data, out.masks.dims.slice(1)] : [new Float32Array(), [0, 1, 1]];
  return {
    image, concentration, lower: said("lower"), upper: said("upper"), bin_index: bin,
    bin_low: bin === null ? null : edges[bin],
    bin_high: bin === null ? null : edges[bin + 1],
    bin_probability: bin === null ? null : probabilities[bin],
    status: statuses[out.status.data[0]],
    reason: reasons[out.reason.data[0]] ?? "",
    bin_probabilities: concentration === null ? null : probabilities,
    picture: pictureOf(square, size, ...masks),
  };
}

/** What reads: `read(file)` gives a row, of `atOnce` files at a time. */
async function openReader() {
  const { ort } = globalThis, { size } = settings.card;
  Object.assign(ort.env.wasm, { wasmBinary: await unpacked("wasm"), numThreads: 1 });
  ort.env.logLevel = "error";
  const options = { executionProviders: ["wasm"], logSeverityLevel: 3 };
  const session = await ort.InferenceSession.create(await unpacked("model"), options);
  ["wasm", "model"].forEach((id) => document.getElementById(id).remove()); // megabytes of text
  const read = async (file) => {
    const square = await squareOf(file);
    const photographs = new ort.Tensor("uint8", square, [1, size, size, 3]);
    return rowOf(file.name, await session.run({ photographs }), square);
  };
  return { read, atOnce: 1 };
}

const NEEDED = ["WebAssembly", "DecompressionStream", "createImageBitmap"];
