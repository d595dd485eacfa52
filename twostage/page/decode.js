// From a file to the square that the model reads, or a refusal in words. The browser decodes, turns and converts to sRGB.

/** The kind of a file that begins with these bytes, by the table of twostage/decoding/kinds.py; "" for none known. */
function kindOf(head) {
  const text = String.fromCharCode(...head);
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return "WebP";
  if (text.slice(4, 8) === "ftyp") return kindOfBrands(text);
  let best = "", longest = 0;
  for (const [kind, { starts }] of Object.entries(settings.kinds)) {
    for (const start of starts) {
      if (start.length > longest && text.startsWith(start)) [best, longest] = [kind, start.length];
    }
  }
  return best;
}

/** HEIF and its relatives name their kind, then others that they can pass for. */
function kindOfBrands(text) {
  const end = Math.min(new DataView(Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer).getUint32(0), text.length);
  const brands = [], { avif, heif } = settings.brands;
  for (let at = 8; at < 12 || at < end - 3; at += at === 8 ? 8 : 4) {
    brands.push(text.slice(at, at + 4).trim().toLowerCase());
  }
  const [first] = brands;
  if (first.startsWith("crx")) return "raw";
  if (avif.includes(first)) return "AVIF";
  if (!heif.includes(first)) return first.startsWith("jxl") ? "JPEG XL" : "film";
  return brands.some((b) => avif.includes(b)) && !brands.some((b) => /^hei[cx]$/.test(b)) ? "AVIF" : "HEIC";
}

/** Refuse what Python refuses by its kind, and files that are cut: browsers show a part of these as if it were all. */
function checkFile(kind, bytes) {
  if (!settings.kinds[kind]?.read) {
    const read = Object.keys(settings.kinds).filter((name) => settings.kinds[name].read).join(", ");
    const what = kind ? `${kind}: ${settings.kinds[kind].hint}` : "damaged or another format";
    throw new Refusal(`not a photograph that can be read (${read}); ${what}`);
  }
  const whole = { JPEG: jpegIsWhole, PNG: pngIsWhole, WebP: webpIsWhole, GIF: gifIsWhole }[kind];
  if (whole && !whole(bytes)) throw new Refusal("its file is cut or damaged; copy it again, or photograph again");
}

/** Whether all segments are there, and the mark of the end behind the last scan. */
function jpegIsWhole(bytes) {
  let at = 2;
  while (at + 3 < bytes.length) {
    if (bytes[at] !== 0xff) return false;
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at++; // a fill byte
      continue;
    }
    at += 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
    if (marker !== 0xda) continue;
    while (at + 1 < bytes.length && (bytes[at] !== 0xff || isData(bytes[at + 1]))) at++;
    if (bytes[at + 1] === 0xd9) return true;
  }
  return false;
}

const isData = (marker) => marker === 0 || marker === 0xff || (marker >= 0xd0 && marker <= 0xd7);

/** Whether every chunk has its checksum, up to the last. */
function pngIsWhole(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at), end = at + 8 + length;
    if (end + 4 > bytes.length || crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end)) return false;
    if (view.getUint32(at + 4) === 0x49454e44) return true; // IEND
    at = end + 4;
  }
  return false;
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

const webpIsWhole = (bytes) => new DataView(bytes.buffer).getUint32(4, true) + 8 <= bytes.length;

const gifIsWhole = (bytes) => bytes[bytes.length - 1] === 0x3b;

/** What the model reads of a file: Uint8Array (size * size * 3). */
async function squareOf(file) {
  const { size, fit } = settings.card, limits = settings.limits;
  if (file.size > limits.file) {
    throw new Refusal(`its file has ${Math.round(file.size / 1e6)} MB, more than ${limits.file / 1e6} MB; make it smaller`);
  }
  const bytes = new Uint8Array(await file.arrayBuffer()), kind = kindOf(bytes.subarray(0, limits.head));
  checkFile(kind, bytes);
  checkColors(kind, bytes);
  const picture = await decoded(bytes, kind);
  try {
    checkSize(picture.width, picture.height);
    const read = readerOf(picture, kind !== "JPEG");
    return toSquare(read, picture.width, picture.height, size, fit);
  } finally {
    picture.close();
  }
}

async function decoded(bytes, kind) {
  try {
    return await createImageBitmap(new Blob([bytes]), { imageOrientation: "from-image" });
  } catch {
    throw new Refusal(`it is damaged, or this browser does not decode ${kind}; save it as JPEG or PNG`);
  }
}

function checkSize(width, height) {
  const { side, pixels } = settings.limits;
  if (Math.min(width, height) < side) {
    throw new Refusal(`too small: ${width} x ${height} pixels; ${side} or more are needed on each side`);
  }
  if (width * height > pixels) {
    throw new Refusal(`${width}x${height} is more than ${pixels / 1e6} million pixels; make it smaller`);
  }
}

/** Hands out the pixels of a picture in sRGB, on white, a part at a time: phones have no canvas for all of them. */
function readerOf(picture, mayBeClear) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  const read = (white) => (top, bottom, left, right) => {
    const width = right - left, height = bottom - top;
    if (canvas.width !== width || canvas.height < height) Object.assign(canvas, { width, height });
    context.clearRect(0, 0, width, height);
    if (white) {
      context.fillStyle = "#fff";
      context.fillRect(0, 0, width, height);
    }
    context.drawImage(picture, left, top, width, height, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
  if (mayBeClear) checkTransparency(read(false), picture);
  return read(true);
}

/** Refuse what is transparent everywhere: every colour would be mixed with white, or white alone. */
function checkTransparency(read, { width, height }) {
  const step = Math.max(1, Math.floor(BAND / width));
  for (let top = 0; top < height; top += step) {
    const pixels = read(top, Math.min(top + step, height), 0, width);
    for (let i = 3; i < pixels.length; i += 4) if (pixels[i] === 255) return;
  }
  throw new Refusal("it is transparent everywhere (alpha), which no photograph is; save it without transparency");
}
