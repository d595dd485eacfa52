"""Photographs in files: ``data=csv`` lists them in a table, ``data=folder`` has one folder per concentration."""

from __future__ import annotations

from twostage.data.photographs import Photographs, Request, load_files
from twostage.tables.folders import read_folder
from twostage.tables.table import read_table

__all__ = ["load_csv", "load_folder"]


def load_csv(request: Request) -> Photographs:
    """The photographs of a table."""
    data = request.data
    extra = tuple(dict.fromkeys(name for name in (data.split_column, request.split.column) if name))
    table = read_table(
        data.table,
        data.image_column,
        data.target_column,
        data.group_column,
        extra,
        images=data.images,
        decimal=data.decimal,
        day_column=data.day_column,
        on_target_error=data.on_target_error,
        box_columns=data.box_columns or (),
    )
    return load_files(table, request)


def load_folder(request: Request) -> Photographs:
    """The photographs of a folder with one folder per concentration."""
    data = request.data
    return load_files(read_folder(data.root, data.pattern, data.decimal), request)
