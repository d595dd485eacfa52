"""What lies below a folder, as machines and people leave it: photographs, hidden files, other files."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from twostage.decoding.kinds import SUFFIXES, kind_of, open_regular
from twostage.errors import ImageError, number_of, some

__all__ = ["Found", "by_parts", "walk"]

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
    linked: list[str] = field(default_factory=list)

    def notes(self, folder: Path) -> list[str]:
        """What was left out, in one line for each kind."""
        notes = []
        if self.hidden:
            notes.append(
                f"{folder}: {number_of(len(self.hidden), 'hidden file or folder', 'hidden files and folders')}, which "
                f"systems and programs leave, {'is' if len(self.hidden) == 1 else 'are'} left out: "
                f"{some(self.hidden, 2)}"
            )
        if self.linked:
            leads, them = ("link leads", "is") if len(self.linked) == 1 else ("links lead", "are")
            notes.append(
                f"{folder}: {len(self.linked)} {leads} to folders that are read anyway, or lie above, and {them} not "
                f"followed: {some(self.linked, 2)}"
            )
        if self.others:
            kinds = some(
                (f"{count} {kind}" for kind, count in sorted(self.others.items(), key=lambda one: (-one[1], one[0]))), 6
            )
            notes.append(f"{folder}: files that are no photographs are left out: {kinds}")
        return notes


def walk(folder: Path, most: int | None = None) -> Found:
    """All that lies below a folder; hidden files and folders are left out and counted.

    Links to folders are followed, after the folders themselves and each folder once: where folders are linked to each
    other, every order in which one could go through them would be another path.

    Args:
        most: Look at so many files, by their names alone, and pass over folders that cannot be read.

    Raises:
        OSError: A folder cannot be read.
    """
    found, left, links, seen = Found(), most, [folder], set[str]()
    while links and left != 0:
        start, further = links.pop(0), list[Path]()
        if os.path.realpath(start) in seen or (start != folder and _is_above(start)):
            found.linked.append(f"{start.relative_to(folder).as_posix()}/")
            continue
        for at, folders, files in os.walk(start, onerror=_raised if most is None else None):
            if (real := os.path.realpath(at)) in seen:
                folders.clear()
                continue
            seen.add(real)
            inside = "" if Path(at) == folder else f"{Path(at).relative_to(folder).as_posix()}/"
            hidden = [*filter(_is_hidden, folders)]
            folders[:] = [name for name in folders if name not in hidden]
            found.hidden += [f"{inside}{name}/" for name in hidden]
            further += [Path(at, name) for name in folders if os.path.islink(os.path.join(at, name))]
            _sort(at, inside, files[:left], most is None, found)
            left = None if left is None else max(0, left - len(files))
            if left == 0:
                break
        links += sorted(further)
    found.hidden.sort()
    found.photographs.sort(key=by_parts)
    return found


def by_parts(path: str) -> str:
    """A key that sorts paths folder by folder.

    >>> sorted(["a b/1", "a/1", "a/b/1"], key=by_parts)
    ['a/1', 'a/b/1', 'a b/1']
    """
    return path.replace(os.sep, "/").replace("/", "\0")


def _sort(at: str, inside: str, files: list[str], by_content: bool, found: Found) -> None:
    """Files of one folder, each to its kind."""
    for name in files:
        path = os.path.join(at, name)
        if _is_hidden(name):
            found.hidden.append(inside + name)
        elif os.path.splitext(name)[1].lower() in SUFFIXES or (by_content and _kind(path) in BY_CONTENT):
            found.photographs.append(inside + name)
        else:
            found.others[os.path.splitext(name)[1].lower() or "without suffix"] += 1


def _is_above(link: Path) -> bool:
    """Does a link lead to a folder above it?"""
    return Path(os.path.realpath(link)) in Path(os.path.realpath(link.parent)).parents


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
