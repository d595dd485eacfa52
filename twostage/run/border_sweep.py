"""Simulated photographs whose concentration alone is moved across the bins' edges, read by the trained networks."""

from __future__ import annotations

import numpy as np

from twostage.data.simulated import render_photographs
from twostage.evaluation.border_continuity import BorderSweep, around_edges
from twostage.run.preparation import Prepared
from twostage.stages.two_stage import COMBINATIONS, TwoStage, combine

__all__ = ["sweep_borders"]

PHOTOGRAPHS = 2


def sweep_borders(prepared: Prepared, network: TwoStage) -> BorderSweep | None:
    """Photographs that are in no part of the split, each simulated anew at every concentration around some edges.

    A photograph's light, geometry and noise follow from its number alone, so nothing but its concentration moves.
    None for photographs that are not simulated, and where there are no bins to choose from.
    """
    config, bins = prepared.config, prepared.bins
    if config.data.kind != "simulated" or network.classifier is None or bins.count < 2:
        return None
    edges, targets = around_edges(bins.edges)
    seen = [
        render_photographs(
            np.array([target]), config.image.size, config.seed,
            card_visible=config.data.reference == "card", first=config.data.count + number,
        )
        for number in range(PHOTOGRAPHS) for target in targets.ravel()
    ]  # fmt: skip
    probabilities, offsets = network.predict(np.concatenate(seen), views=config.combine.views)
    shape = (PHOTOGRAPHS, *targets.shape)
    if not np.isfinite(probabilities * offsets).all():  # a network that fails there has nothing to show
        return None
    errors = {name: combine(bins, probabilities, offsets, name).reshape(shape) - targets for name in COMBINATIONS}
    return BorderSweep(edges, targets, errors)
