"""Many names and paths in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import SupportsIndex, TypeVar, overload

__all__ = ["Paths", "Texts"]

T = TypeVar("T")


class Held(Sequence[T]):
    """What is held as bytes, one after another, in a tenth of the memory, and made when it is asked for."""

    made: Callable[[str], T]
    """Of a text."""

    def __init__(self, texts: Iterable[str | Path]) -> None:
        self.held, self.ends = bytearray(), array("q", [0])
        for text in texts:
            self.held += str(text).encode("utf-8", "surrogatepass")
            self.ends.append(len(self.held))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        i = range(len(self))[index]
        return self.made(self.held[self.ends[i] : self.ends[i + 1]].decode("utf-8", "surrogatepass"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr([*self])


class Texts(Held[str]):
    """Many texts in little memory.

    >>> Texts(["b", "\u00e4"])[1:] == ["\u00e4"]
    True
    """

    made = str


class Paths(Held[Path]):
    """Many paths in little memory.

    >>> Paths(["a/b.png", "c.png"])[1:] == [Path("c.png")]
    True
    """

    made = Path
