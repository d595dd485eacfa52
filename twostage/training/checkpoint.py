"""Checkpoints: where a training stands, on the disk, whole or not there, never trusted unseen."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from pathlib import Path
from typing import Any

import torch

from twostage.errors import RunError, StorageError, some
from twostage.files import write_atomically

__all__ = ["FORMAT", "Checkpoint"]

log = logging.getLogger("twostage")

FORMAT = 2
DIGEST = 32
"""Bytes at the end of the file, after what torch.save wrote: sha256 of all before them."""
BLOCK = 1 << 22


class Checkpoint:
    """``last.pt`` of a stage, and the one before it as ``previous.pt`` until the stage is finished.

    The file is what torch.save writes, followed by a digest, so ``torch.load(path, weights_only=True)`` reads it too.
    `identity` says what was trained on what, as {name: text}; a checkpoint of something else is refused by those names.
    """

    def __init__(self, folder: Path, identity: dict[str, str] | None = None, *, force: bool = False) -> None:
        self.folder, self.last, self.previous = folder, folder / "last.pt", folder / "previous.pt"
        self.identity, self.force = identity or {}, force

    def save(self, state: dict[str, Any]) -> None:
        """Write a new checkpoint; the earlier one stays until the new one is on the disk and verified.

        Raises:
            StorageError: It cannot be written; the earlier ones are whole.
        """
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "identity": self.identity, "state": state}, buffer)
        buffer.write(hashlib.sha256(buffer.getbuffer()).digest())

        def verify_and_keep_earlier(written: Path) -> None:
            if not _is_whole(written):
                raise OSError("what was written reads back differently: the disk is faulty")
            if self.last.is_file():
                self.last.replace(self.previous)

        write_atomically(self.last, buffer.getbuffer(), verify_and_keep_earlier)

    def load(self) -> dict[str, Any] | None:
        """The state of the newest checkpoint that is whole, on the processor; None if there is none.

        Raises:
            RunError: It was written by another version, or by another training; the message names the differences.
            StorageError: It cannot be read.
        """
        for path in (self.last, self.previous):
            if not path.is_file():
                continue
            saved = _load(path)
            if saved is None:
                log.warning("%s is damaged and was removed: the training goes on from what was saved before it", path)
                with contextlib.suppress(OSError):  # else it would become the earlier checkpoint of the next
                    path.unlink(missing_ok=True)
                continue
            if saved["format"] != FORMAT:
                raise RunError(
                    f"{path} has format {saved['format']}, this version reads {FORMAT}: finish the run with the "
                    f"version that began it, or delete the file to train this stage again"
                )
            self._compare(path, saved["identity"])
            state: dict[str, Any] = saved["state"]
            return state
        return None

    def forget_earlier(self) -> None:
        """The stage is finished: last.pt alone stays."""
        self.previous.unlink(missing_ok=True)

    def _compare(self, path: Path, identity: dict[str, str]) -> None:
        names = sorted(identity.keys() | self.identity.keys())
        changed = [name for name in names if identity.get(name) != self.identity.get(name)]
        if changed and not self.force:
            what = some(f"{name}: {identity.get(name)} -> {self.identity.get(name)}" for name in changed)
            raise RunError(
                f"{path} belongs to another training ({what}): delete it to train this stage again, "
                f"or go on from it with resume=force"
            )


def _is_whole(path: Path) -> bool:
    """Does the digest at the end fit what is before it?"""
    digest, left = hashlib.sha256(), path.stat().st_size - DIGEST
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, BLOCK))):
            digest.update(block)
            left -= len(block)
        return file.read() == digest.digest()


def _load(path: Path) -> dict[str, Any] | None:
    """What was saved; None if the file is damaged, which the digest alone decides: all else may pass."""
    try:
        if not _is_whole(path):
            return None
        # to the processor, for the device may have no room for a second copy, or be another than it was
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if not {"format", "identity", "state"} <= set(saved):
            raise ValueError("it holds something else")
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be read ({error.strerror or error}); correct that, then give the same command"
        ) from error
    except Exception as error:  # torch.load raises many kinds
        reason = (" ".join(str(error).split()) or type(error).__name__)[:160]
        raise RunError(
            f"{path} is whole but cannot be loaded ({reason}): give the same command again where there is memory for "
            f"it and the torch that wrote it, or delete the file to train this stage again"
        ) from error
    return dict(saved)
