"""The page as one text: its own parts, what the model's card says, and for a page without a server the model itself."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from html import escape
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

from twostage.decoding import kinds, limits
from twostage.page import runtime
from twostage.page.words import STATUSES, card_rows, privacy, subtitle
from twostage.report.masks_figure import colors_of

__all__ = ["READERS", "as_html", "page_html", "part"]

READERS = {
    "wasm": ["area.js", "colors.js", "decode.js", "masks.js", "wasm_reader.js"],
    "server": ["server_reader.js"],
}
"""What each reader is made of, beside what the page itself is."""
PAGE = ["csv.js", "bars.js", "page.js"]
LEVEL = 9


def page_html(card: dict[str, Any], *, reader: str, model: bytes | None) -> str:
    """The page that reads photographs with a model, as one HTML file that fetches nothing from elsewhere.

    Args:
        card: What the exported model says of itself (the metadata `twostage` of its ONNX file).
        reader: "wasm": the page computes by itself, with `model`; "server": it posts photographs to `predict`, beside
            the page's own address.
        model: The ONNX file; None for "server".
    """
    if (reader == "wasm") != (model is not None):
        raise ValueError("the reader 'wasm' needs a model, the reader 'server' none")
    scripts = ["".join(part(name) for name in ["settings.js", *READERS[reader], *PAGE])]
    if model is not None:
        scripts.insert(0, runtime.script())
    style = part("page.css")
    shown = Template(part("page.html")).substitute(
        policy=_policy(scripts, style, reader),
        style=style,
        settings=_json(_settings(card)),
        scripts="\n".join([*_packed(model), *(f'<script type="module">{script}</script>' for script in scripts)]),
        licences="" if model is None else _licences(),
        **_texts(card, reader),
    )
    return shown


def as_html(graph: bytes, card: dict[str, Any]) -> bytes:
    """A model's ONNX file and card as the file of a page that needs no server."""
    return page_html(card, reader="wasm", model=graph).encode("utf-8")


def part(name: str) -> str:
    """A file of the page; a script is one of several that share their names.

    >>> part("area.js").startswith("//")
    True
    """
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _texts(card: dict[str, Any], reader: str) -> dict[str, str]:
    unit, confidence = card.get("unit") or "", card.get("confidence")
    statuses = [
        (f"{one.label} ({status.value})", f"{one.meaning[:1].upper()}{one.meaning[1:]}.")
        for status, one in STATUSES.items()
    ]
    return {
        "title": escape(str(card.get("name") or "Reading photographs")),
        "subtitle": escape(subtitle(card)),
        "unit": escape(f" ({unit})" if unit else ""),
        "interval": escape(f"{100 * confidence:g} % interval" if confidence else "Interval"),
        "remarks": "\n".join(f'<p class="remark">{escape(str(text))}</p>' for text in card.get("remarks") or []),
        "card": _list(card_rows(card)),
        "statuses": _list(statuses),
        "privacy": escape(privacy(reader)),
        "maker": escape(f"Made by twostage {version('twostage')}."),
    }


def _list(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)


def _settings(card: dict[str, Any]) -> dict[str, Any]:
    """What the scripts must know."""
    known = {
        name: {
            "starts": [start.decode("latin-1") for start in kind.starts],
            "hint": kind.hint,
            "read": bool(kind.plugin),
        }
        for name, kind in kinds.KINDS.items()
    }
    return {
        "card": card,
        "statuses": {status.value: {"label": one.label} for status, one in STATUSES.items()},
        "kinds": known,
        "brands": {"heif": sorted(kinds.HEIF_BRANDS), "avif": sorted(kinds.AVIF_BRANDS)},
        "limits": {
            "head": kinds.HEAD,
            "file": limits.MAX_FILE,
            "pixels": limits.MAX_PIXELS,
            "side": limits.MIN_SIDE,
        },
        "colors": colors_of(8),
    }


def _json(value: object) -> str:
    """JSON in which nothing ends the script that holds it."""
    return json.dumps(value, allow_nan=False, ensure_ascii=True).replace("<", "\\u003c")


def _policy(scripts: Iterable[str], style: str, reader: str) -> str:
    """Nothing is fetched, and no script runs but these; a page with a server may ask that server."""
    hashes = " ".join(map(_source, scripts))
    rules = [
        "default-src 'none'",
        f"script-src {hashes}" + (" 'wasm-unsafe-eval'" if reader == "wasm" else ""),
        f"style-src {_source(style)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules + (["connect-src 'self'"] if reader == "server" else []))


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _packed(model: bytes | None) -> list[str]:
    """What the browser unpacks, as data that it does not run."""
    if model is None:
        return []
    parts = {"wasm": runtime.file_of(runtime.WASM), "model": model, "notices": runtime.file_of(runtime.NOTICES)}
    return [f'<script type="application/gzip" id="{name}">{_text(content)}</script>' for name, content in parts.items()]


@lru_cache(4)
def _text(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, LEVEL, mtime=0)).decode()


def _licences() -> str:
    about = runtime.described()
    title = f"Licence of {about['package']} {about['version']}, which computes in this page"
    return (
        f'<details class="screen" id="licences"><summary>{escape(title)}</summary>\n'
        f'<pre tabindex="0">{escape(runtime.licence())}</pre>\n<pre id="others" tabindex="0"></pre>\n</details>'
    )
