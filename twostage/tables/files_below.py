"""What lies below a folder, as machines and people leave it: photographs, hidden files, other files."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from twostage.decoding.kinds import SUFFIXES, kind_of, open_regular
from twostage.errors import ImageError, some

__all__ = ["Found", "walk"]

LEFT_BEHIND = frozenset("__macosx thumbs.db ehthumbs.db desktop.ini @eadir #recycle $recycle.bin lost+found".split())
"""What systems leave in folders, apart from all that begins with a dot."""
BY_CONTENT = ("JPEG", "PNG", "WebP", "GIF", "HEIC", "AVIF")
"""Kinds whose first bytes leave no doubt, whatever a file is called."""
HEAD = 64


@dataclass
class Found:
    """What lies below a folder: photographs as paths from it with "/", sorted, and what was left out."""

    photographs: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def notes(self, folder: Path) -> list[str]:
        """What was left out, in one line for each kind."""
        notes = []
        if self.hidden:
            notes.append(
                f"{folder}: {len(self.hidden)} hidden files and folders, which systems and programs leave, are left "
                f"out: {some(self.hidden, 2)}"
            )
        if self.others:
            kinds = some(
                (f"{count} {kind}" for kind, count in sorted(self.others.items(), key=lambda one: (-one[1], one[0]))), 6
            )
            notes.append(f"{folder}: files that are no photographs are left out: {kinds}")
        return notes


def walk(folder: Path, most: int | None = None) -> Found:
    """All that lies below a folder, links to folders included; hidden files and folders are left out and counted.

    Args:
        most: Look at so many files, by their names alone, and pass over folders that cannot be read.

    Raises:
        OSError: A folder cannot be read.
    """
    found, left = Found(), most
    for at, folders, files in os.walk(folder, followlinks=True, onerror=_raised if most is None else None):
        inside = "" if Path(at) == folder else f"{Path(at).relative_to(folder).as_posix()}/"
        if inside and os.path.islink(at) and Path(at).resolve() in [above.resolve() for above in Path(at).parents]:
            folders.clear()  # a link to a folder above it would never end
            continue
        hidden = [*filter(_is_hidden, folders)]
        folders[:] = [name for name in folders if name not in hidden]
        found.hidden += [f"{inside}{name}/" for name in hidden]
        for name in files[:left]:
            path = os.path.join(at, name)
            if _is_hidden(name):
                found.hidden.append(inside + name)
            elif os.path.splitext(name)[1].lower() in SUFFIXES or (most is None and _kind(path) in BY_CONTENT):
                found.photographs.append(inside + name)
            else:
                found.others[os.path.splitext(name)[1].lower() or "without suffix"] += 1
        left = None if left is None else max(0, left - len(files))
        if left == 0:
            break
    found.hidden.sort()
    found.photographs.sort(key=lambda path: path.split("/"))
    return found


def _raised(error: OSError) -> None:
    raise error


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "~$")) or name.lower() in LEFT_BEHIND


def _kind(path: str) -> str:
    try:
        with open_regular(path) as file:
            return kind_of(file.read(HEAD))
    except ImageError:
        return ""
    except OSError:
        return ""
