"""Photographs of a gauge, drawn for tests: a dial with ticks, a needle, light that falls unevenly, glare."""

import numpy as np
import pandas as pd
from PIL import Image

SUPERSAMPLED = 3


def draw_gauge(degrees, rng, side=80):
    """A photograph uint8 (side,side,3) whose needle points `degrees` counter-clockwise from upright."""
    axis = (np.arange(side * SUPERSAMPLED) + 0.5) / (side * SUPERSAMPLED) - 0.5
    x, y = axis - rng.normal(0, 0.01), -(axis[:, None] - rng.normal(0, 0.01))
    radius, angle = np.hypot(x, y), np.degrees(np.arctan2(-x, y))
    shade = np.where(radius < 0.46, 0.92, 0.35)
    tick = (np.abs((angle + 15) % 30 - 15) * np.pi / 180 * radius < 0.006) & (radius > 0.38) & (radius < 0.44)
    turn = np.radians(degrees)
    along, across = -x * np.sin(turn) + y * np.cos(turn), x * np.cos(turn) + y * np.sin(turn)
    needle = (along > -0.08) & (along < 0.36) & (np.abs(across) < 0.022 * (1 - along / 0.45))
    shade = np.where(tick | needle | (radius < 0.035), 0.08, shade)
    light = 1 + 0.25 * rng.normal() * x + 0.25 * rng.normal() * y
    color = np.clip(shade * light, 0, 1)[..., None] * (1 + rng.normal(0, 0.03, 3)) * rng.uniform(0.8, 1)
    for _ in range(rng.poisson(1.0)):
        at, wide = rng.uniform(-0.3, 0.3, 2), rng.uniform(0.015, 0.05)
        color = (
            color + rng.uniform(0.2, 0.6) * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * wide**2))[..., None]
        )
    small = color.reshape(side, SUPERSAMPLED, side, SUPERSAMPLED, 3).mean((1, 3))
    return (255 * np.clip(small + rng.normal(0, 0.01, small.shape), 0, 1)).round().astype(np.uint8)


def write_gauges(folder, count, seed=0, side=80):
    """`count` photographs below a folder, and the table that lists them with their angles, 0..360."""
    rng, folder = np.random.default_rng(seed), folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    angles, names = rng.uniform(0, 360, count), [f"gauge_{i:04d}.png" for i in range(count)]
    for name, angle in zip(names, angles, strict=True):
        Image.fromarray(draw_gauge(angle, rng, side)).save(folder / name)
    table = folder / "gauges.csv"
    pd.DataFrame({"image": names, "target": angles.round(2)}).to_csv(table, index=False)
    return table
