"""What people read on the page, in words: the statuses, the model's card, where photographs go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twostage.trust.status import Status

__all__ = ["STATUSES", "Words", "card_rows", "privacy", "subtitle"]


@dataclass(frozen=True)
class Words:
    """What a status is called, and what it means and asks for."""

    label: str
    meaning: str


STATUSES = {
    Status.OK: Words("OK", "nothing speaks against the number"),
    Status.OUT_OF_RANGE: Words(
        "Out of range",
        "the number lies outside the range of the model: dilute, or use a model that was trained with such "
        "concentrations",
    ),
    Status.LOW_CONFIDENCE: Words(
        "Low confidence",
        "the two stages disagree, another concentration is likely as well, or the interval is too wide: photograph "
        "again",
    ),
    Status.UNLIKE: Words(
        "Unfamiliar",
        "in colour, layout or sharpness the photograph is unlike those that the model has learned from: look at it, "
        "and photograph again",
    ),
    Status.REFUSED: Words(
        "Refused", "the file cannot be read, or there is nothing to read in the photograph: there is no number"
    ),
}
FITS = {"pad": "the whole, in proportion", "crop": "the middle square", "stretch": "the whole, out of proportion"}


def subtitle(card: dict[str, Any]) -> str:
    """What the model reads, in one line.

    >>> subtitle({"low": 10.0, "high": 308.0, "unit": "ug/L"})
    'Reads 10 to 308 ug/L from photographs'
    """
    if card.get("low") is None or card.get("high") is None:
        return "Reads photographs"
    return f"Reads {card['low']:g} to {card['high']:g} {card.get('unit') or ''}".rstrip() + " from photographs"


def card_rows(card: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of what is known of a model."""
    yield from _meaning(card)
    edges, size, fit = card.get("edges"), card.get("size"), card.get("fit")
    if edges:
        yield "Bins", f"{len(edges) - 1}, with edges at {', '.join(f'{edge:.4g}' for edge in edges)}"
    if size:
        yield "Sees", f"{size} x {size} pixels: {FITS.get(str(fit), fit)}"
    yield from _training(card.get("trained"))
    names = {"Method": "method", "Backbone": "backbone", "Version of twostage": "version", "Digest": "digest"}
    yield from ((name, str(card[key])) for name, key in names.items() if card.get(key))


def _meaning(card: dict[str, Any]) -> Iterator[tuple[str, str]]:
    unit = card.get("unit") or "no unit given"
    if card.get("low") is not None and card.get("high") is not None:
        cut = "; what is read beyond becomes the nearer end" if card.get("limit", "none") != "none" else ""
        yield "Range", f"{card['low']:g} to {card['high']:g}, {unit}{cut}"
    confidence = card.get("confidence")
    if confidence:
        share = f"{100 * confidence:g} of 100"
        yield "Intervals", f"hold the concentration of {share} new specimens that are photographed as in training"
    else:
        yield "Intervals", "none: the model had too few specimens to learn them from"
    if card.get("minimum") is not None:
        yield "Least", f"{card['minimum']:g}: what is read below becomes this"


def _training(trained: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if not trained:
        return
    said = [f"on {trained['n_train']} photographs"] if trained.get("n_train") else []
    said += [f"on {trained['date']}"] if trained.get("date") else []
    if said:
        yield "Trained", ", ".join(said)


def privacy(reader: str) -> str:
    """Where photographs go."""
    if reader == "wasm":
        return "Photographs stay on this device: the page computes by itself and sends nothing anywhere."
    return "Photographs go to the server of this page, which reads them and keeps none."
