"""What lies below a folder, as machines and people leave it: photographs, hidden files, other files."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from twostage.data.kinds import SUFFIXES, kind_of
from twostage.errors import some

__all__ = ["Found", "walk"]

LEFT_BEHIND = frozenset("__macosx thumbs.db ehthumbs.db desktop.ini @eadir #recycle $recycle.bin lost+found".split())
"""What systems leave in folders, apart from all that begins with a dot."""
BY_CONTENT = ("JPEG", "PNG", "WebP", "GIF", "HEIC", "AVIF")
"""Kinds whose first bytes leave no doubt, whatever a file is called."""
HEAD = 32


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
                f"{folder}: {len(self.hidden)} hidden files, which systems and programs leave, are left out: "
                f"{some(self.hidden, 2)}"
            )
        if self.others:
            kinds = some((f"{count} {kind}" for kind, count in self.others.most_common()), 6)
            notes.append(f"{folder}: files that are no photographs are left out: {kinds}")
        return notes


def walk(folder: Path, most: int | None = None) -> Found:
    """All that lies below a folder, links to folders included; hidden files and folders are left out and counted.

    Args:
        most: Stop after so many photographs.
    """
    found = Found()
    for at, folders, files in os.walk(folder, followlinks=True):
        inside = "" if Path(at) == folder else f"{Path(at).relative_to(folder).as_posix()}/"
        hidden = any(map(_is_hidden, PurePosixPath(inside).parts))
        if inside and os.path.islink(at) and Path(at).resolve() in [above.resolve() for above in Path(at).parents]:
            folders.clear()  # a link to a folder above it would never end
            continue
        for name in sorted(files):
            path = os.path.join(at, name)
            if hidden or _is_hidden(name):
                found.hidden.append(inside + name)
            elif os.path.isfile(path) or os.path.islink(path):
                suffix = os.path.splitext(name)[1].lower()
                if suffix in SUFFIXES or _kind(path) in BY_CONTENT:
                    found.photographs.append(inside + name)
                else:
                    found.others[suffix or "without suffix"] += 1
        if most is not None and len(found.photographs) > most:
            break
    found.photographs.sort(key=lambda path: path.split("/"))
    return found


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "~$")) or name.lower() in LEFT_BEHIND


def _kind(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return kind_of(file.read(HEAD))
    except OSError:
        return ""
