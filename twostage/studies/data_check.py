"""``twostage check-data``: what training would find in table and photographs, without training, in one screen."""

from __future__ import annotations

import copy
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twostage.data.overview import facts_of, fate, shapes_of
from twostage.data.photographs import Photographs
from twostage.data.sealed import SEALED
from twostage.data.splits import UNUSED
from twostage.decoding.facts import PhotographFacts
from twostage.errors import DataError, number_of, some
from twostage.files import given_path, refuse_unwritable, write_output
from twostage.options.commands import CheckDataConfig
from twostage.options.run import Config
from twostage.report.contact_sheet import contact_sheet, rows_to_show
from twostage.run.data import RunData, load_data, load_photos
from twostage.run.suggestions import MANY_GROUPS, suggestions
from twostage.tables.parts import PARTS
from twostage.training.device import threads_to_decode, use_threads

__all__ = ["as_json", "check_data", "screen"]


def check_data(config: CheckDataConfig, words: Sequence[str] = ()) -> dict[str, Any]:
    """Look at the photographs as training would, and at nothing else.

    Args:
        words: The options as they were given on the command line, for the command to copy.

    Returns:
        What was found, as JSON can hold it; `refused` are the lines with which training would stop. What could not be
        looked at because of them is missing.

    Raises:
        StorageError: The photographs cannot be read at the moment, or the sheet cannot be written.
    """
    use_threads(config.runtime.threads)
    sheet = None if config.sheet is None else given_path(config.sheet, "sheet")
    if sheet is not None:
        refuse_unwritable(sheet, "sheet")
    refused: list[str] = []
    data, photos = _loaded(config, refused)
    found: dict[str, Any] = {"source": config.data.describe(), "refused": refused}
    if photos is not None:
        found |= {"photographs": _photographs(photos, config), "targets": _targets(photos), "groups": _groups(photos)}
    if data is not None:
        found |= {"parts": _parts(data), "bins": _bins(data), "near_duplicates": _duplicates(data)}
        found |= {"notes": data.notes, "suggestions": [one._asdict() for one in suggestions(data)]}
        if not refused:
            found["command"] = _command(data, found, words)
    if photos is not None and sheet is not None:
        write_output(sheet, _sheet(photos, config))
        found["sheet"] = str(sheet)
    return found


def _loaded(config: Config, refused: list[str]) -> tuple[RunData | None, Photographs | None]:
    """All that training would load; where it would stop, what is left when that is left out, and why it would."""
    relaxed = copy.deepcopy(config)
    for option in ("on_error", "on_target_error"):
        if hasattr(relaxed.data, option):
            setattr(relaxed.data, option, "skip")
    relaxed.data.scale, relaxed.data.minimum = "linear", None
    for one in (config, relaxed):
        try:
            data = load_data(one)
        except DataError as error:
            refused += [str(error)] if str(error) not in refused else []
        else:
            return data, data.photos
    try:
        return None, load_photos(relaxed)
    except DataError:  # which is said already
        return None, None


def _photographs(photos: Photographs, config: Config) -> dict[str, Any]:
    """How many of what kind and size, and what becomes of them."""
    table = photos.table
    found: dict[str, Any] = {"count": len(table), "left_out": photos.skipped, "network_sees": config.image.size}
    if not table.paths:
        return found
    facts = facts_of(table, threads_to_decode(config.runtime.threads))
    shapes = shapes_of(table, facts)
    return found | {
        "files": len(facts),
        "each": "turned copies of" if config.data.made_by_turning else "boxes in",
        "kinds": Counter(map(_kind, facts.values())),
        "sizes": shapes.sizes(),
        "not_square": fate(shapes, config.image.fit),
        "enlarged": shapes.smaller_than(config.image.size),
    }


def _kind(facts: PhotographFacts) -> str:
    channels = {1: "gray", 2: "gray with transparency", 3: "colour", 4: "four channels", 5: "five channels"}
    tag = f", {facts.color} ({facts.color_tag})" if facts.color_tag else ""
    return f"{facts.kind}, {facts.bits} bits, {channels.get(facts.channels, '')}{tag}"


def _targets(photos: Photographs) -> dict[str, Any]:
    targets = photos.table.targets
    levels, counts = np.unique(targets, return_counts=True)
    return {
        "low": float(targets.min()),
        "high": float(targets.max()),
        "levels": len(levels),
        "photographs_of_a_level": [int(counts.min()), int(counts.max())],
    }


def _groups(photos: Photographs) -> dict[str, Any] | None:
    if photos.table.groups is None:
        return None
    _, counts = np.unique(photos.table.groups, return_counts=True)
    return {"count": len(counts), "photographs_of_a_group": [int(counts.min()), int(counts.max())]}


def _parts(data: RunData) -> list[dict[str, Any]]:
    table, found = data.photos.table, []
    for part in (*PARTS, UNUSED, SEALED):
        rows = data.part(part)
        if len(rows):
            groups = None if table.groups is None else len(np.unique(table.groups[rows]))
            low, high = float(table.targets[rows].min()), float(table.targets[rows].max())
            found.append({"part": part, "photographs": len(rows), "groups": groups, "low": low, "high": high})
    return found


def _bins(data: RunData) -> list[dict[str, Any]]:
    """The bins, with the photographs that are trained on in each."""
    bins, train = data.bins, data.photos.table.select(data.part("train"))
    index = bins.index(train.targets)
    return [
        {"low": float(bins.edges[k]), "high": float(bins.edges[k + 1]), "photographs": int((index == k).sum())}
        for k in range(bins.count)
    ]


def _duplicates(data: RunData) -> dict[str, int] | None:
    if data.pairs is None or data.leaks is None:
        return None
    return {"pairs": len(data.pairs), "across_parts": len(data.leaks)}


def _command(data: RunData, found: Mapping[str, Any], words: Sequence[str]) -> str:
    """The command line to copy: the options that were given, and those that are suggested."""
    few = found["groups"] is not None and found["groups"]["count"] < MANY_GROUPS
    fixed = data.config.split.column or data.split_column or data.config.split.folds
    command = "crossval" if few and not fixed else "train"
    folds = [f"split.folds={found['groups']['count']}"] if few and 1 < found["groups"]["count"] < 5 else []
    added = {one["option"].split("=")[0]: one["option"] for one in found["suggestions"]}
    mine = [word for word in words if word.split("=")[0] not in ("json", "sheet", *added)]
    return shlex.join(["twostage", command, *mine, *added.values(), *(folds if command == "crossval" else [])])


def _sheet(photos: Photographs, config: Config) -> bytes:
    table, unit = photos.table, config.data.unit
    rows = rows_to_show(table.targets)
    levels = len(np.unique(table.targets))
    shown = f"{len(rows)} of {levels}" if levels > len(rows) else f"all {levels}"
    title = (
        f"{shown} concentrations{f' ({unit})' if unit else ''}, as the network sees them ({config.image.size} pixels)"
    )
    return contact_sheet(photos.pixels[rows], [f"{table.targets[i]:.5g}" for i in rows], title)


def as_json(found: Mapping[str, Any]) -> str:
    """What was found, for programs."""
    return json.dumps(found, indent=2)


def screen(found: Mapping[str, Any]) -> str:
    """What was found, for a person."""
    rows = [("source", found["source"])]
    if "photographs" in found:
        rows += _photograph_rows(found["photographs"]) + _target_rows(found)
    if "parts" in found:
        rows += [*_part_rows(found["parts"]), *_bin_rows(found["bins"])]
        pairs = found["near_duplicates"]
        said = (
            "not looked for"
            if pairs is None
            else f"{number_of(pairs['pairs'], 'pair', 'pairs')}, {pairs['across_parts']} across the split"
        )
        rows.append(("near-duplicates", said))
    lines = [f"{name:<18}{text}" for name, text in rows]
    told = [note for note in found.get("notes", []) if not note.startswith("left out ")]
    for title, texts in (("Training would stop", found["refused"]), ("Told in training", told)):
        lines += ["", f"{title}:", *(f"  {text}" for text in texts)] if texts else []
    if found.get("suggestions"):
        lines += ["", "Suggested:", *(f"  {one['option']:<28}{one['why']}" for one in found["suggestions"])]
    if "command" in found:
        lines += ["", f"Next:  {found['command']}"]
    if "sheet" in found:
        lines.append(f"Sheet: {found['sheet']}")
    return "\n".join(lines)


def _photograph_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    unused = f", and {len(found['left_out'])} that cannot be used" if found["left_out"] else ""
    rows = [("photographs", f"{found['count']}{unused}")]
    left_out = [why if name in why else f"{name}: {why}" for name, why in found["left_out"].items()]
    rows += [("", text) for text in left_out[:3]]
    if "kinds" in found:
        enlarged = f"; {found['enlarged']} are smaller and are enlarged" if found["enlarged"] else ""
        several = f"{found['count']} {found['each']} " if found["files"] < found["count"] else ""
        rows += [
            ("  kind", f"{several}{_counted(found['kinds'])}"),
            ("  size", f"{_counted(found['sizes'])}; the network sees {found['network_sees']} pixels{enlarged}"),
        ]
        rows += [("", found["not_square"])] if found["not_square"] else []
    return rows


def _counted(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return some((f"{count} {name}" for name, count in ordered), 4)


def _target_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    targets, groups = found["targets"], found["groups"]
    text = f"{targets['low']:g}..{targets['high']:g}, {targets['levels']} different"
    rows = [("concentrations", f"{text}, {_photographs_each(targets['photographs_of_a_level'])}")]
    named = "none are named" if groups is None else ""
    return [
        *rows,
        ("specimens", named or f"{groups['count']}, {_photographs_each(groups['photographs_of_a_group'])}"),
    ]


def _photographs_each(ends: list[int]) -> str:
    if ends[1] == 1:
        return "one photograph of each"
    return f"{ends[0] if ends[0] == ends[1] else f'{ends[0]} to {ends[1]}'} photographs of each"


def _part_rows(parts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    rows = []
    for k, one in enumerate(parts):
        of_groups = "" if one["groups"] is None else f" of {one['groups']} specimens"
        text = f"{one['part']:<12}{one['photographs']}{of_groups}, {one['low']:g}..{one['high']:g}"
        rows.append(("split" if k == 0 else "", text))
    return rows


def _bin_rows(bins: list[dict[str, Any]]) -> list[tuple[str, str]]:
    edges = [bins[0]["low"], *(one["high"] for one in bins)]
    counts = [one["photographs"] for one in bins]
    return [
        ("bins", f"{len(bins)}, with edges at {some((f'{edge:.4g}' for edge in edges), 12)}"),
        ("", f"{some(map(str, counts), 12)} photographs to train on"),
    ]
