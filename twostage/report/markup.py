"""Small pieces of HTML for a page that opens offline. Whatever goes in is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from PIL import Image

__all__ = [
    "block",
    "document",
    "figure",
    "fold",
    "number",
    "paragraph",
    "percent",
    "photograph",
    "section",
    "subtitle",
    "table",
    "with_unit",
]

LARGEST = 128
"""Side of an embedded photograph, pixels; larger ones are made smaller, so that the page stays light."""

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1a1a1a; background: #fff;
  max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; break-after: avoid; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; break-after: avoid; }
.sheet table { width: 100%; margin: .7rem 0; }
.sheet td:first-child, .found td:not(:last-child) { white-space: nowrap; }
.sheet th { overflow-wrap: normal; }
.sheet td:not(:first-child), .sheet th:not(:first-child) { min-width: 0; }
.beside { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 3fr); gap: 1rem; align-items: start; }
.beside img.figure { margin: .7rem 0; }
@media screen and (max-width: 40rem) { .beside { grid-template-columns: 1fr; } }
.signatures { display: grid; grid-template-columns: 2fr 2fr 1fr; gap: 2rem; margin-top: 3.5rem; }
.signatures p { border-top: 1px solid #1a1a1a; margin: 0; }
.headline { font-size: 1.15rem; border-left: 4px solid #0072B2; padding-left: 1rem; }
.warnings { border-left: 4px solid #D55E00; padding-left: 1rem; overflow-wrap: anywhere; }
img.figure { max-width: 100%; height: auto; display: block; margin: 1rem auto; break-inside: avoid; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem .2rem 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { border-bottom: 1px solid #888; }
td { border-bottom: 1px solid #eee; }
td:not(:first-child), th:not(:first-child) { min-width: 4.5rem; }
summary { cursor: pointer; color: #0072B2; margin: .7rem 0; }
.photographs { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1rem; }
.photographs figure { margin: 0; font-size: .85rem; overflow-wrap: anywhere; break-inside: avoid; }
.photographs img { width: 128px; height: 128px; display: block; border: 1px solid #ccc; }
@media print {
  body { font-size: 10pt; margin: 0; padding: 0; max-width: none; }
  h1 { font-size: 13pt; margin: 0; }
  h2 { margin-top: 1.2rem; }
  .sheet { font-size: 8pt; line-height: 1.25; break-after: page; }
  .sheet table { font-size: 8pt; margin: .25cm 0; }
  .sheet td, .sheet th { padding-top: .5pt; padding-bottom: .5pt; }
  .sheet p { margin: .2cm 0; }
  .sheet .headline { font-size: 9.5pt; }
  .sheet .signatures { margin-top: 1.4cm; }
  img.figure { max-height: 23cm; width: auto; }
  @page { size: A4; margin: 1.5cm; }
}
"""


def document(title: str, body: Iterable[str]) -> str:
    """A whole page; its policy forbids the browser to fetch anything from anywhere."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Parts that are HTML already, under a heading."""
    return "\n".join([f"<section>\n<h2>{escape(title)}</h2>", *parts, "</section>"])


def subtitle(text: str) -> str:
    """A heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def block(kind: str, *parts: str) -> str:
    """Parts that are HTML already, together in a class of the style."""
    return "\n".join([f'<div class="{kind}">', *parts, "</div>"])


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text, of a class of the style."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def fold(summary: str, content: str) -> str:
    """HTML that is shown when its summary is clicked."""
    return f"<details>\n<summary>{escape(summary)}</summary>\n{content}\n</details>"


def table(rows: Iterable[Sequence[object]], header: Sequence[object] = ()) -> str:
    """A table of plain values, each shown as `number` shows it."""
    head = "<thead><tr>" + "".join(f"<th>{escape(str(name))}</th>" for name in header) + "</tr></thead>\n"
    lines = ["<tr>" + "".join(f"<td>{escape(number(cell))}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>\n" + (head if header else "") + "<tbody>\n" + "\n".join(lines) + "\n</tbody>\n</table>"


def figure(png: bytes, description: str) -> str:
    """An embedded figure with the words for who cannot see it."""
    return f'<img class="figure" alt="{escape(description)}" src="{_data(png)}">'


def photograph(pixels: np.ndarray, lines: Sequence[str]) -> str:
    """An embedded photograph, uint8 (H,W,3), with lines of plain text below."""
    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    caption = "<br>".join(escape(line) for line in lines)
    return f'<figure><img alt="" src="{_data(buffer.getvalue())}"><figcaption>{caption}</figcaption></figure>'


def number(value: object) -> str:
    """Four significant digits for a broken number, a dash for none, everything else as it is."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    return format(value, ".4g") if isinstance(value, float) else str(value)


def with_unit(value: float | None, unit: str) -> str:
    """A number and its unit."""
    return f"{number(value)} {unit}".rstrip() if value is not None else number(value)


def percent(share: float) -> str:
    """A share as a percentage, a dash for none."""
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
