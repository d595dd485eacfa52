"""`twostage recalibrate`: a new model folder for another day, fitted with a few standards; the old one stays."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from twostage.errors import ConfigError, ModelFolderError, StorageError, number_of
from twostage.evaluation.metrics import rmse
from twostage.files import given_path, refuse_unwritable, sync_folder
from twostage.model_folder import load_model, save_description
from twostage.options.reading import RecalibrateConfig
from twostage.run.folder import CARD
from twostage.run.model_card import figures_of, write_model_card
from twostage.run.standards import Standards, read_standards
from twostage.trust.recalibration import Choice, Recalibration, choose
from twostage.trust.renewal import renewed
from twostage.trust.trust import Trust

__all__ = ["recalibrate"]

log = logging.getLogger("twostage")

WRITTEN_ANEW = (
    "format",
    "edges",
    "config",
    "sha256",
    "digest",
    "trust",
    "recalibration",
    "members",
    "parent",
    "standards",
)


def recalibrate(config: RecalibrateConfig) -> str:
    """Read the standards, choose a recalibration, write the new folder; what a person is to know of it.

    Raises:
        ConfigError: The new folder is there already.
        DataError: The standards cannot be used.
        ModelFolderError: The model does not know the errors of its calibration.
    """
    output = given_path(config.output, "output")
    if output.exists():
        raise ConfigError(f"output={config.output} is there already, and nothing is overwritten: name another folder")
    refuse_unwritable(output, "output")
    standards = read_standards(config)
    model, then = standards.model, standards.model.trust.then
    if then is None:
        raise ModelFolderError(
            f"{standards.folder}: this model has kept no errors of its calibration, which tell drift from chance: "
            f"train it anew, with split.calibration above 0 or train.final=folds"
        )
    read, wanted = standards.judged.places(model.bins, standards.combination)
    choice = choose(model.bins, read, wanted, then.sd)
    trust, notes = renewed(model.trust, model.bins, standards.judged, standards.combination, choice)
    for note in notes:
        log.warning("%s", note)
    _write(output, standards, trust, model.recalibration.then(choice.recalibration))
    write_model_card(
        output / CARD, load_model(output, torch.device("cpu")), output, metrics=figures_of(standards.folder)
    )
    return _said(standards, choice, output)


def _write(output: Path, standards: Standards, trust: Trust, recalibration: Recalibration) -> None:
    """The new folder, whole or not at all: made beside its place and renamed."""
    model, parent = standards.model, standards.model.description
    kept = {key: value for key, value in parent.items() if key not in WRITTEN_ANEW}
    named: dict[str, Any] = {"folder": standards.name, "digest": parent.get("digest")}
    named |= {"parent": parent["parent"]} if "parent" in parent else {}
    taught = sorted({*parent.get("standards", []), *standards.judged.groups.tolist()})
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name[:50]}.", suffix=".tmp"))
        try:
            for name in parent["sha256"]:
                shutil.copyfile(standards.folder / name, made / name)
            save_description(
                made,
                model.config,
                model.bins,
                members=len(model.members),
                trust=trust.to_json(),
                recalibration=recalibration.to_json(),
                parent=named,
                standards=taught,
                **kept,
            )
            made.chmod(0o755)
            os.rename(made, output)  # fails where a folder with content came meanwhile
        finally:
            shutil.rmtree(made, ignore_errors=True)
        sync_folder(output.parent)
    except OSError as error:
        raise StorageError(f"{output}: cannot be written ({error.strerror or error})") from error


def _said(standards: Standards, choice: Choice, output: Path) -> str:
    """What was chosen and why, and how the standards are read with it."""
    bins, unit, judged = standards.model.bins, standards.unit, standards.judged
    read, wanted = judged.places(bins, standards.combination)
    after = choice.recalibration.moved(bins, read)
    lines = [
        f"{standards.table}: {number_of(judged.specimens, 'specimen', 'specimens')}, "
        f"{number_of(len(judged), 'photograph', 'photographs')}"
    ]
    if choice.rmse:
        tried = ", ".join(f"{name} {value:.4g}" for name, value in choice.rmse.items())
        lines.append(f"  error of each specimen left out, {unit}".rstrip(", ") + f": {tried}")
    chosen = choice.recalibration
    slope = f", slope {chosen.slope:.4g}" if chosen.slope != 1 else ""
    moved = "the errors are within chance" if chosen.is_none else f"{chosen.offset:+.4g} {unit}".strip() + slope
    lines.append(f"  chosen      {choice.name}: {moved}")
    then, now = (rmse(bins.scale.apart(place, wanted)) for place in (read, after))
    lines.append(f"  error of specimens before {then:.4g}, after {now:.4g} (fitted to them)")
    lines.append(f"Model in {output}: twostage predict run={output} input=...")
    return "\n".join(lines)
