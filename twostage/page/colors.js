// Colours that browsers take for sRGB though the file says otherwise: such a photograph is refused, as its reading would
// be wrong without a sign. Profiles, and the primaries of P3 and BT.2020, are converted by the browser.

const ADOBE = "its colours are not sRGB (EXIF ColorSpace, Adobe RGB), and it has no profile; save it as 8-bit sRGB";
const HDR = "the high dynamic range (PQ, HLG) has no defined white; save it as 8-bit sRGB";

function checkColors(kind, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (kind === "JPEG" && !isSrgbByExif(view)) throw new Refusal(ADOBE);
  const transfer = kind === "PNG" ? transferOf(bytes, "cICP", 5) : transferOf(bytes, "colrnclx", 11);
  if (["PNG", "AVIF", "HEIC"].includes(kind) && [16, 18].includes(transfer)) throw new Refusal(HDR);
}

/** The number of the transfer curve, so far behind a mark in the first 64 KiB; undefined where there is no mark. */
function transferOf(bytes, mark, behind) {
  const at = new TextDecoder("latin1").decode(bytes.subarray(0, 1 << 16)).indexOf(mark);
  return at < 0 ? undefined : bytes[at + behind];
}

/** Whether EXIF says nothing else, or a profile says more. */
function isSrgbByExif(view) {
  let srgb = true;
  for (let at = 2; at + 12 < view.byteLength && view.getUint8(at) === 0xff; ) {
    const marker = view.getUint8(at + 1), begin = at + 4;
    if (marker === 0xda) break;
    if (marker === 0xe2 && view.getUint32(begin) === 0x4943435f) return true; // ICC_PROFILE
    if (marker === 0xe1 && view.getUint32(begin) === 0x45786966) srgb = exifIsSrgb(view, begin + 6) && srgb;
    at += 2 + view.getUint16(at + 2);
  }
  return srgb;
}

/** TIFF tags at `start`: ColorSpace 1 or none, and no InteropIndex R03. What cannot be followed says nothing. */
function exifIsSrgb(view, start) {
  const little = view.getUint16(start) === 0x4949;
  const entries = (ifd) => {
    const found = {}, count = view.getUint16(start + ifd, little);
    for (let i = 0, at = start + ifd + 2; i < count; i++, at += 12) found[view.getUint16(at, little)] = at + 8;
    return found;
  };
  const follow = (at) => (at === undefined ? {} : entries(view.getUint32(at, little)));
  try {
    const exif = follow(entries(view.getUint32(start + 4, little))[0x8769]), interop = follow(exif[0xa005]);
    const space = exif[0xa001] === undefined ? 1 : view.getUint16(exif[0xa001], little);
    return space === 1 && !(interop[1] && view.getUint32(interop[1]) === 0x52303300);
  } catch {
    return true;
  }
}
