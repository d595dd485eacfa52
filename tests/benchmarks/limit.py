"""How exactly a concentration can be read at all: the Cramer-Rao bound of the simulated assay, and a fit that meets it.

The parameters of a photograph are its concentration and its scene (centre, radius, lighting gradient, meniscus,
exposure, white balance: ten deviations, all unknown, with their spreads as normal priors). With light I(u) at pixel and
channel u, noise variance v(u) and derivatives D of I by the parameters, the information is::

    F = sum over u of D(u) D(u)^T / v(u)  +  diag(0, 1, ..., 1)

and no estimator that is unbiased for the concentration has a variance below the first diagonal element of F^-1 (Cramer
1946, Rao 1945; with priors: van Trees, Detection, Estimation, and Modulation Theory I, 1968, section 2.4). What is
assumed:

- The concentration itself has no prior: 80..350 says next to nothing to an instrument that reads tenths of a unit.
- v is the simulator's ``a * I + r^2`` and a twelfth of a squared grey level (sRGB, in linear light), which is what
  rounding to 8 bits adds where the noise spans a level or so (Widrow 1956), as it does here outside of black. That v
  itself tells I is left out; it would add about ``a / I`` of the information, a ten-thousandth.
- Glare is masked: pixels where a spot adds more than a hundredth of the noise are taken out, as are those within three
  standard deviations of full scale. Who models the spots can gain a little over that, but never more than the bound
  without any glare, which is shown beside it.
- The bound is taken at each photograph's own scene and averaged as a variance over random scenes.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import least_squares

from twostage.data.color import to_color
from twostage.data.simulated import (
    DEVIATIONS,
    LAWS,
    Assay,
    Scene,
    draw_scene,
    noise_free_light,
    photograph_rng,
    render_photographs,
    sample_targets,
)
from twostage.decoding.spaces import linear_to_srgb

LOW, HIGH = 80.0, 350.0
GRID = np.linspace(LOW, HIGH, 7)
SCENES = {64: (60, 200), 250: (8, 24)}
"""Pixels: scenes for each concentration of the grid, and photographs with uniform concentrations."""
FITTED, FITTED_PIXELS = 200, 64
STEPS = np.array([0.01] + [1e-4] * DEVIATIONS)
"""Of the central differences: small against what any derivative changes over, so that their errors are about 1e-6."""
PRIOR = np.array([0.0] + [1.0] * DEVIATIONS)
STAGES = ((8.0, 1e-2), (2.0, 1e-2), (1.0, 1e-3), (1.0, 1e-8))
"""Of the fit: how many times softer the edge of the well is, and when to stop (relative change of the misfit)."""
SEED = 20_000


def run(work):
    rows = []
    for law, reference in (("beer_lambert", "card"), ("beer_lambert", "none"), ("universal_indicator", "card")):
        for size, (scenes, photographs) in SCENES.items():
            case = {"pixels": size, "reference": reference, "law": law}
            for target in GRID:
                rows.append(case | {"concentration": f"{target:g}", "limit": _limit(np.full(scenes, target), **case)})
            targets = LOW + (np.arange(photographs) + 0.5) / photographs * (HIGH - LOW)
            overall = {"limit": _limit(targets, **case), "without_glare": _limit(targets, **case, glare=False)}
            # the fit begins at the middle of the range, from where a law that turns back leads elsewhere
            fitted = _fit_many(reference) if size == FITTED_PIXELS and law == "beer_lambert" else {}
            rows.append(case | {"concentration": f"{LOW:g}..{HIGH:g}"} | overall | fitted)
    return rows


def bounds(targets, numbers, size, seed, *, assay=None, card_visible=True, glare=True):
    """The least standard deviation with which each photograph's concentration can be read, (N,).

    Args:
        targets: Concentrations (N,).
        numbers: Photograph i of (seed, i), as `render_photographs` counts them, (N,).
        size: Pixels.
        glare: False leaves the spots away, instead of masking them.
    """
    assay = assay or Assay()

    def one(target, number):
        scene = draw_scene(photograph_rng(seed, int(number)), size, assay)
        parameters = np.concatenate([[target], scene.deviations])
        spots = scene.glare if glare else np.zeros_like(scene.glare)
        keep = seen(parameters, spots, assay, card_visible)
        return np.sqrt(np.linalg.inv(information(parameters, keep, assay, card_visible))[0, 0])

    return _each(one, targets, numbers)


def information(parameters, keep, assay, card_visible):
    """Fisher information and prior precision, (11, 11), of the pixels in `keep` (size, size, 3)."""
    size = len(keep)
    sd = np.sqrt(variance(clean_light(parameters, size, assay, card_visible), assay))
    whitened = (derivatives(parameters, size, assay, card_visible) / sd)[:, keep]
    return whitened @ whitened.T + np.diag(PRIOR)


def derivatives(parameters, size, assay, card_visible):
    """Of the light by the concentration and the ten deviations, (11, size, size, 3), from the simulator's own model."""

    def slope(k):
        step = np.where(np.arange(len(parameters)) == k, STEPS, 0.0)
        above, below = (clean_light(parameters + s, size, assay, card_visible) for s in (step, -step))
        return (above - below) / (2 * STEPS[k])

    return np.stack([slope(k) for k in range(len(parameters))])


def clean_light(parameters, size, assay, card_visible):
    """Light without noise and glare, (size, size, 3)."""
    scene = Scene(parameters[1:], np.zeros((size, size)))
    return noise_free_light(parameters[0], scene, size, assay, card_visible)


def variance(light, assay):
    """Of noise and rounding: the step of a grey level is 1 / 255 over the slope of the sRGB curve."""
    step = 1e-6
    slope = (linear_to_srgb(light + step) - linear_to_srgb(light - step)) / (2 * step)
    return assay.shot_noise * light + assay.read_noise**2 + (1 / 255 / slope) ** 2 / 12


def seen(parameters, glare, assay, card_visible):
    """Which pixels and channels tell something: not touched by glare, not at full scale; bool (size, size, 3)."""
    light = clean_light(parameters, len(glare), assay, card_visible)
    sd = np.sqrt(variance(light, assay))
    return (assay.scale * glare[..., None] < 0.01 * sd) & (light + 3 * sd < 1.0)


def fit(photograph, keep, *, assay=None, card_visible=True):
    """Read one photograph by the most probable parameters given all its pixels in `keep`: (11,).

    Levenberg-Marquardt on whitened pixels and priors, from the middle of all priors. At first the edge of the well is
    soft, which is found from further away, and all pixels weigh alike, for what a soft edge does not fit is not noise.

    Args:
        photograph: uint8 sRGB (size, size, 3).
        keep: The pixels and channels to be used, bool (size, size, 3).
    """
    assay, size = assay or Assay(), len(photograph)
    srgb = torch.from_numpy(photograph).permute(2, 0, 1)[None].double() / 255
    measured = to_color(srgb, "linear")[0].permute(1, 2, 0).numpy()[keep]
    parameters = np.concatenate([[(LOW + HIGH) / 2], np.zeros(DEVIATIONS)])
    for edge, tolerance in STAGES:
        model = replace(assay, edge_pixels=edge * assay.edge_pixels)
        light = clean_light(parameters, size, model, card_visible)[keep] if edge == 1 else np.ones(keep.sum())
        sd = np.sqrt(variance(np.maximum(light, 0.0), assay))

        def misfit(p, model=model, sd=sd):
            return np.concatenate([(clean_light(p, size, model, card_visible)[keep] - measured) / sd, p[1:]])

        def slopes(p, model=model, sd=sd):
            return np.vstack([(derivatives(p, size, model, card_visible)[:, keep] / sd).T, np.diag(PRIOR)[1:]])

        parameters = least_squares(misfit, parameters, slopes, method="lm", x_scale="jac", ftol=tolerance).x
    return parameters


def _limit(targets, pixels, reference, law, glare=True):
    case = {"assay": LAWS[law](), "card_visible": reference == "card", "glare": glare}
    return round(rms(bounds(targets, range(len(targets)), pixels, SEED, **case)), 4)


def _fit_many(reference):
    """Freshly rendered photographs, read by `fit`: its error over the limit of the same photographs."""
    card, seed = reference == "card", SEED + 1
    targets = sample_targets(FITTED, LOW, HIGH, "uniform", seed)
    photographs = render_photographs(targets, FITTED_PIXELS, seed, card_visible=card)
    read = _each(lambda *one: read_known(*one, seed, card), photographs, targets, range(FITTED))
    error = rms(read - targets)
    ratio = error / rms(bounds(targets, range(FITTED), FITTED_PIXELS, seed, card_visible=card))
    return {
        "fitted_rmse": round(error, 4),
        "fitted_over_limit": round(ratio, 3),
        "standard_error": round(ratio / np.sqrt(2 * FITTED), 3),
        "fitted": FITTED,
    }


def read_known(photograph, target, number, seed, card_visible):
    """The concentration that `fit` reads; the pixels left out are those of the bound, from the scene that was drawn."""
    scene = draw_scene(photograph_rng(seed, int(number)), len(photograph), Assay())
    keep = seen(np.concatenate([[target], scene.deviations]), scene.glare, Assay(), card_visible)
    return fit(photograph, keep, card_visible=card_visible)[0]


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def _each(function, *columns):
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return np.array(list(pool.map(function, *columns)))
