"""onnxruntime-web, which computes in a browser: its files lie beside this one, packed, and are proved by their sums."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from functools import cache
from pathlib import Path
from typing import Any

from twostage.errors import ModelFolderError

__all__ = ["FOLDER", "NOTICES", "SCRIPT", "WASM", "described", "file_of", "licence", "script"]

FOLDER = Path(__file__).parent / "onnxruntime_web"
SCRIPT, WASM, NOTICES = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "ThirdPartyNotices.txt"
EXPORTS = re.compile(r"export\{([^}]*)\};")
MEMORY = "maximum:65536,shared:!0"
LESS_MEMORY = "maximum:16384,shared:!0"
"""Pages of 64 KiB: a phone that reserves all of 4 GiB at the start may refuse; 1 GiB is plenty for one photograph."""


def described() -> dict[str, Any]:
    """What the files are: package, version, integrity of the package, and the SHA-256 of each."""
    return dict(json.loads((FOLDER / "files.json").read_text(encoding="utf-8")))


@cache
def file_of(name: str) -> bytes:
    """A file as the package has it.

    Raises:
        ModelFolderError: It was changed or damaged.
    """
    try:
        content = lzma.decompress((FOLDER / f"{name}.xz").read_bytes())
    except (OSError, lzma.LZMAError) as error:
        raise ModelFolderError(f"{name}: missing or damaged in this installation; install twostage again") from error
    if hashlib.sha256(content).hexdigest() != described()["sha256"][name]:
        raise ModelFolderError(f"{name}: changed since it was packed; install twostage again")
    return content


def licence() -> str:
    """The licence that goes with every copy."""
    return (FOLDER / "LICENSE").read_text(encoding="utf-8")


def script() -> str:
    """The module as a script inside a page, where nobody can import it: it hands out its names as `ort`.

    >>> "globalThis.ort={" in script()
    True
    """
    text = file_of(SCRIPT).decode("utf-8")
    names = EXPORTS.findall(text)
    if len(names) != 1 or text.count(MEMORY) != 1:
        raise AssertionError(f"{SCRIPT} is built otherwise than expected: see docs/develop/renew-onnxruntime-web.md")
    pairs = (name.split(" as ") for name in names[0].split(","))
    given = ",".join(f"{public}:{own}" for own, public in pairs)
    text = EXPORTS.sub(lambda _: f"globalThis.ort={{{given}}};", text).replace(MEMORY, LESS_MEMORY)
    return re.sub(r"\n//# sourceMappingURL=\S*", "", text)
