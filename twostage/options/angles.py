"""What is allowed of targets that are angles: on a circle, moved by turning, put right between the stages."""

from __future__ import annotations

from twostage.errors import ConfigError
from twostage.options.run import Config
from twostage.scale import circle

__all__ = ["check_angles"]

GEOMETRY = ("quarter_turns", "flips", "mirror", "rotation")
"""Options of `augment` that turn or mirror."""


def check_angles(config: Config) -> None:
    """See that it is said what turning has to do with the target, and that no two options say otherwise.

    Raises:
        ConfigError: It is not.
    """
    if config.bins.period is not None:
        _check_circle(config, config.bins.period)
    if config.data.made_by_turning:
        _check_turning(config)
    if config.regressor.align != "none":
        _check_alignment(config, f"regressor.align={config.regressor.align}")
    augment = config.augment
    is_angle = config.is_angle or config.data.made_by_turning or config.regressor.align == "turn"
    moves = [name for name in GEOMETRY if getattr(augment, name)]
    if is_angle and moves and augment.moves_target is None:
        raise ConfigError(
            f"the target is an angle, and augment.{moves[0]} would turn or mirror the photograph without it: "
            f"augment.moves_target=true moves it as well, augment=none changes nothing, and augment.moves_target=false "
            f"says that this target stays"
        )
    around = [name for name in ("quarter_turns", "flips") if getattr(augment, name)]
    if augment.moves_target and around and config.bins.period is None:
        raise ConfigError(
            f"augment.{around[0]} with augment.moves_target=true moves targets all the way around: give "
            f"bins.period=360 as well, or augment.{around[0]}=false"
        )
    if augment.moves_target and config.data.scale == "log":
        raise ConfigError("augment.moves_target is for angles, and data.scale=log is not: leave one of them out")


def _check_circle(config: Config, period: float) -> None:
    """The bins fill it, and nothing is asked of its ends, which it has not."""
    around = f"bins.period={period:g}"
    if ends := config.bins.edges or config.bins.range:
        circle(ends, config.data.scale, period)
    elif not period > 0:
        raise ConfigError(f"{around} must be a number above zero: 360 for degrees")
    if config.data.minimum is not None:
        raise ConfigError(
            f"data.minimum={config.data.minimum:g} is for a line, and {around} makes the target go around: leave one "
            f"of them out"
        )
    if config.combine.limit != "none":
        raise ConfigError(
            f"combine.limit={config.combine.limit} ends at both ends of the bins, and a circle ({around}) has no ends: "
            f"combine.limit=none"
        )
    if config.classifier.encoding != "bins":
        raise ConfigError(f"classifier.encoding={config.classifier.encoding} knows no circle: leave out bins.period")


def _check_turning(config: Config) -> None:
    """Data that is made by turning is turned in training as well, and as far around as its circle."""
    augment, data, period = config.augment, config.data, config.bins.period
    if not (augment.moves_target and augment.rotation == data.turn):
        raise ConfigError(
            f"data={data.kind} turns its photographs by augment=turned, augment.rotation={data.turn:g} and "
            f"augment.moves_target=true: leave these as they are"
        )
    if any(getattr(augment, name) for name in GEOMETRY[:-1]):
        raise ConfigError(f"data={data.kind} turns by data.turn={data.turn:g} at most: leave augment=turned as it is")
    if period is not None and 2 * data.turn < period:
        raise ConfigError(
            f"data.turn={data.turn:g} turns by {2 * data.turn:g} in all, which does not fill bins.period={period:g}: "
            f"leave bins.period out, or turn by {period / 2:g}"
        )


def _check_alignment(config: Config, align: str) -> None:
    """Stage 2 sees what stage 1 has put right: so there is one; and where it turns, turning changes the target."""
    if config.method != "two_stage":
        raise ConfigError(f"{align} needs what stage 1 says: method=two_stage, not {config.method}")
    if config.regressor.align == "turn" and config.augment.moves_target is False:
        raise ConfigError(
            f"{align} turns photographs, and augment.moves_target=false says that this changes no target: leave one of "
            f"them out"
        )
    if config.combine.limit == "logistic":
        raise ConfigError(
            f"combine.limit=logistic bends estimates of the whole range, and with {align} stage 2 "
            f"estimates what is left of it: combine.limit=clip"
        )
