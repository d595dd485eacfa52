"""The page's scripts give what Python gives: averages, decoded files, refusals, tables."""

import base64
import io
import json

import numpy as np
import pandas as pd
import photo_files as make
import pytest

from twostage.data.images import decode_photograph
from twostage.decoding.area import to_square
from twostage.page.assembly import _settings, part

COLUMNS = "image concentration lower upper bin_index bin_low bin_high bin_probability status reason".split()

RUN = """async ([source, settings, name, given]) => {
  const run = new Function("settings", `class Refusal extends Error {}\\n${source}; return ${name};`)(settings);
  try { return await run(given); } catch (error) { return error.message; }
}"""


@pytest.fixture(scope="module")
def script(browser):
    """Call a function of the page's scripts: script(expression, given) -> what it returns."""
    page = browser.new_page()
    source = "".join(part(name) for name in ("area.js", "colors.js", "decode.js", "csv.js", "bars.js"))

    def call(expression, given, **card):
        return page.evaluate(RUN, [source, _settings({"size": 16, "fit": "crop"} | card), expression, given])

    yield call
    page.close()


AVERAGED = """({ pixels, width, height, size, fit }) => {
  const at = (y, x) => [0, 1, 2].map((c) => pixels[(y * width + x) * 3 + c]);
  const read = (top, bottom, left, right) => {
    const found = [];
    for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) found.push(...at(y, x), 255);
    return found;
  };
  return Array.from(toSquare(read, width, height, size, fit));
}"""


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize(
    ("height", "width", "size"), [(64, 64, 64), (97, 71, 32), (33, 200, 24), (40, 17, 31), (16, 16, 64), (1, 5, 8)]
)
def test_averages_are_those_of_python(script, fit, height, width, size):
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    given = {"pixels": pixels.ravel().tolist(), "width": width, "height": height, "size": size, "fit": fit}
    expected = to_square(
        lambda top, bottom, left, right: (pixels[top:bottom, left:right], 255), width, height, size, fit
    )
    assert script(AVERAGED, given) == expected.ravel().tolist()


DECODED = "async (text) => Array.from(await squareOf(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))])))"
HALF_CLEAR = np.dstack([make.SCENE, np.repeat([[0], [90], [255], [255]], 16, 0) * np.ones((1, 64), int)]).astype(
    np.uint8
)
READ = {
    "JPEG": lambda: make.written("JPEG"),
    "turned": lambda: make.written("JPEG", make.SCENE[:40], exif=make.exif(tag274=6)),
    "P3": lambda: make.written("JPEG", make.p3(), icc_profile=make.icc("P3")),
    "gray": lambda: make.written("PNG", make.GRAY),
    "16 bits": lambda: make.png(make.SCENE.astype(np.uint16) * 257),
    "transparent": lambda: make.written("PNG", HALF_CLEAR),
    "WebP": lambda: make.written("WEBP", lossless=True),
}


@pytest.mark.parametrize("kind", READ)
def test_files_give_the_pixels_that_python_reads(script, kind):
    content = READ[kind]()
    found = script(DECODED, base64.b64encode(content).decode())
    expected = decode_photograph(io.BytesIO(content), 16, "crop")
    assert isinstance(found, list), found
    assert np.abs(np.reshape(found, (16, 16, 3)) - expected.astype(int)).max() <= 1


def with_wrong_checksum():
    content = bytearray(make.written("PNG"))
    content[-20] ^= 1
    return bytes(content)


REFUSED = {
    "a cut JPEG": (lambda: make.written("JPEG")[:-100], "cut or damaged"),
    "a JPEG that continues with its preview alone": (lambda: make.written("JPEG")[:-2], "cut or damaged"),
    "a PNG with a wrong checksum": (with_wrong_checksum, "cut or damaged"),
    "a cut WebP": (lambda: make.written("WEBP")[:-10], "cut or damaged"),
    "a cut GIF": (lambda: make.written("GIF")[:-10], "cut or damaged"),
    "text": (lambda: b"image,target\n", "not a photograph that can be read (JPEG, PNG,"),
    "nothing": (lambda: b"", "not a photograph that can be read"),
    "PDF": (lambda: b"%PDF-1.7" + bytes(100), "PDF: convert it to JPEG or PNG"),
    "a film": (lambda: bytes([0, 0, 0, 20]) + b"ftypisom" + bytes(60), "film: take a picture out of the film"),
    "TIFF": (lambda: make.tiff(), "does not decode TIFF"),
    "too small": (lambda: make.written("PNG", make.SCENE[:15]), "too small: 64 x 15 pixels; 16 or more"),
    "transparent everywhere": (
        lambda: make.written("PNG", np.dstack([make.SCENE, np.full((64, 64), 128, np.uint8)])),
        "transparent everywhere",
    ),
    "Adobe RGB by its tags": (lambda: make.written("JPEG", exif=make.exif(0xFFFF, "R03")), "Adobe RGB"),
    "high dynamic range": (lambda: make.png(make.SCENE, (b"cICP", bytes([9, 16, 0, 1]))), "high dynamic range"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused_in_words(script, what):
    content, words = REFUSED[what]
    assert words in script(DECODED, base64.b64encode(content()).decode())


def test_numbers_and_texts_are_written_as_pandas_writes_them(script):
    texts = ["plain", "a,b", 'said "so"', "two\nlines", "", " space", "=1+1", "µg/L", "semi;colon", "'"]
    numbers = [0.1, 1e-5, 123456789.125, 80.0, 1e16, 0.00012, -2.5, 1e-300, 3.4e38, 1 / 3]
    rows = [dict.fromkeys(COLUMNS) | {"image": t, "concentration": x} for t, x in zip(texts, numbers, strict=True)]
    rows.append(dict.fromkeys(COLUMNS, None) | {"image": "x", "bin_index": 3, "reason": "", "status": "refused"})
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"bin_index": "Int64"})
    assert script("csvOf", json.loads(json.dumps(rows))) == frame.to_csv(index=False)


@pytest.mark.parametrize(
    ("lower", "upper", "drawn"),
    [(20, 40, [[20, 40]]), (350, 370, [[0, 10], [350, 360]]), (-10, 5, [[0, 5], [350, 360]]), (None, None, [])],
)
def test_an_interval_on_a_circle_is_drawn_on_both_sides_of_its_seam(script, lower, upper, drawn):
    row = {"lower": lower, "upper": upper}
    assert sorted(script("(row) => partsOf(row)", row, edges=[0, 90, 360], period=360)) == drawn
    line = [] if lower is None else [[lower, upper]]
    assert script("(row) => partsOf(row)", row, edges=[0, 90, 360], period=None) == line
