"""Photographs in files: ``data=csv`` lists them in a table, ``data=folder`` has one folder per concentration."""

from __future__ import annotations

from twostage.data.photographs import Photographs, Request, load_files
from twostage.data.table import read_csv, read_folder, read_table
from twostage.files import given_path

__all__ = ["load_csv", "load_folder"]


def load_csv(request: Request) -> Photographs:
    """The photographs of a table."""
    data = request.data
    extra = tuple(dict.fromkeys(name for name in (data.split_column, request.split.column) if name))
    boxes = data.box_columns or ()
    table = read_table(data.table, data.image_column, data.target_column, data.group_column, extra, boxes)
    notes = []
    if boxes and not data.group_column:
        notes.append(
            f"{len(table)} boxes in {len(set(table.paths))} photographs: those of one photograph stay on one side of "
            f"the split, like one specimen; data.group_column=... would name the specimens instead"
        )
    if not data.group_column:
        for name in {"group", "specimen"} & set(read_csv(given_path(data.table, "data.table"), []).columns):
            notes.append(
                f"the table names specimens in a column '{name}': data.group_column={name} would keep photographs of "
                f"one specimen on one side of the split; without it the figures may be too good"
            )
    return load_files(table, notes, request)


def load_folder(request: Request) -> Photographs:
    """The photographs of a folder with one folder per concentration."""
    return load_files(read_folder(request.data.root), [], request)
