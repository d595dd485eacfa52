"""What ``--help`` prints, and what the pages of the reference are made of."""

from __future__ import annotations

from omegaconf import MISSING

from twostage.options.backbones import BACKBONES
from twostage.options.flat import walk
from twostage.options.run import DATA, Config

__all__ = ["option_table"]


def option_table(kind: type) -> list[tuple[str, str, str]]:
    """Rows (option, default, meaning with what is allowed) of a command's options, for its help."""
    components: list[tuple[str, type]] = [("", kind)]
    if issubclass(kind, Config):
        components += [(f"data ({name}) ", node) for name, node in DATA.items()]
        components += [(f"backbone ({name}) ", node) for name, node in BACKBONES.items()]
    rows = []
    for prefix, node in components:
        for key, value, metadata in walk(node()):
            if "meaning" not in metadata:
                continue
            allowed = " | ".join(metadata.get("choices") or [])
            if metadata.get("low") is not None:
                allowed = f"{metadata['low']:g}..{metadata['high']:g}"
            default = "" if value == MISSING else "null" if value is None else str(value)
            rows.append((prefix + key, default, metadata["meaning"] + (f" [{allowed}]" if allowed else "")))
    return rows
