"""MODEL_CARD.md: what a stranger must know of a model before reading with it, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from twostage.errors import number_of
from twostage.evaluation.remarks import UNTESTED, judged
from twostage.report.card_words import BEYOND, COLORS, FIT
from twostage.report.markup import number, percent, with_unit
from twostage.report.sheet import STATUSES, span

__all__ = ["CardFacts", "model_card"]


@dataclass(frozen=True)
class CardFacts:
    """What the card tells.

    `edges` (K+1,) of the bins in the `unit`, which may be empty, `period` that of a circle; `source` says what
    photographs it has learned from, without any path; `metrics` is metrics.json of the run, or of that of its `parent`,
    the folder that was recalibrated, None where it is not known; `parts` has a row for each part of the split;
    `confidence` is that of the intervals, None without any; `moved` says in words what a recalibration does to the
    readings; `standards` counts the specimens that it learned from; `networks` describes the networks in words.
    """

    name: str
    unit: str
    edges: Sequence[float]
    source: str
    are_files: bool
    size: int
    fit: str
    color: str
    networks: str
    confidence: float | None
    false_alarm: float | None
    minimum: float | None
    period: float | None
    limit: str
    n_train: int | None
    remarks: Sequence[str]
    digest: str
    version: str
    metrics: Mapping[str, Any] | None = None
    parts: pd.DataFrame = field(default_factory=pd.DataFrame)
    parent: str | None = None
    moved: str = ""
    standards: int = 0


def model_card(facts: CardFacts) -> str:
    """The card, with the front matter that the Hugging Face hub reads."""
    sections = [
        f"---\n{_front_matter(facts)}\n---",
        f"# {_plain(facts.name)}",
        _headline(facts),
        *_recalibrated(facts),
        "## What it reads",
        _reads(facts),
        "## How good it is",
        *_good(facts),
        "## How far to believe it",
        *_trust(facts),
        "## Limits",
        _limits(facts),
        "## How to use it",
        _use(),
        "## What it learned from",
        *_learned(facts),
        "## What is in it",
        _inside(facts),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(facts: CardFacts) -> str:
    """YAML; figures of a parent are not those of this model, so they are left out."""
    from huggingface_hub import EvalResult, ModelCardData

    known = facts.metrics if facts.metrics is not None and facts.parent is None else {}
    names = {"rmse": "RMSE", "mae": "mean absolute error", "r2": "R2"}
    figures = [
        EvalResult(
            task_type="image-regression",
            task_name="Concentration from a photograph",
            dataset_type="private",
            dataset_name="photographs of the same kind that played no part in training",
            metric_type=key,
            metric_name=f"{name} ({facts.unit})" if facts.unit and key != "r2" else name,
            metric_value=round(float(known[key]), 6),
        )
        for key, name in names.items()
        if known.get(key) is not None
    ]
    return ModelCardData(
        model_name=" ".join(facts.name.split()),
        license="unknown",
        library_name="twostage",
        tags=["twostage", "image-regression", "colorimetry", "chemistry", "uncertainty"],
        eval_results=figures or None,
    ).to_yaml()


def _headline(facts: CardFacts) -> str:
    said = f"Photo in, concentration out: this model reads a concentration{_of(facts.unit)} from one photograph"
    said += ", with an interval" if facts.confidence is not None else ", without an interval"
    return f"{said}, and refuses a photograph in which there is nothing to read."


def _of(unit: str) -> str:
    return f" in {_plain(unit)}" if unit else ""


def _recalibrated(facts: CardFacts) -> list[str]:
    if facts.parent is None:
        return []
    taught = f"{number_of(facts.standards, 'specimen', 'specimens')} of known concentration"
    return [
        f"It is the model *{_plain(facts.parent)}*, recalibrated for another day with {taught}: {facts.moved}.",
    ]


def _reads(facts: CardFacts) -> str:
    low, high = number(facts.edges[0]), with_unit(facts.edges[-1], _plain(facts.unit))
    around = f"It goes around: {low} and {high} are the same."
    beyond = BEYOND[facts.limit] if facts.period is None else around
    rows = [
        "**Photographs** like those it has learned from: the same vessel or card, the same light, the same way to "
        f"hold the camera. {FIT[facts.fit]} They are made {facts.size} pixels wide and high and read as "
        f"{COLORS[facts.color]}.",
        f"**Range**: {low} to {high}, in {len(facts.edges) - 1} bins with edges at "
        f"{', '.join(number(edge) for edge in facts.edges)}. {beyond}",
        "**Of what** it is the concentration, twostage does not know: who hands this model on writes it here.",
        f"**Unit**: {_plain(facts.unit) or 'not given when it was trained: ask who trained it'}.",
    ]
    if facts.minimum is not None:
        rows.append(f"**Least concentration** that it says: {number(facts.minimum)}.")
    return _listed(rows)


def _good(facts: CardFacts) -> list[str]:
    """The figures of the test set, or why there are none."""
    remarks = [_sentence(text) for text in facts.remarks]
    if facts.metrics is None:
        unknown = "The figures of its test set are not known here: ask who trained it."
        return remarks if UNTESTED in facts.remarks else [unknown, *remarks]
    metrics, whose = facts.metrics, "" if facts.parent is None else " These are figures of its parent, not of itself."
    counts, specimens = metrics["statuses"], metrics["agreement"]["specimens"]
    read = sum(counts.values()) - counts["refused"]
    how = f"Figures of {number_of(read, 'photograph', 'photographs')}"
    how += f" of {number_of(specimens, 'specimen', 'specimens')}" if specimens else ""
    how += " that played no part in training"
    if metrics.get("n_folds"):
        how += f": each was read by the model of one of {metrics['n_folds']} folds that had not seen its specimen"
    header = ("figure", "value", "95 % interval", "what it means")
    return [f"{how}.{whose}", _table(_figures(metrics), header), *remarks]


def _figures(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    unit = "decades" if "rmse_decades" in metrics else _plain(metrics["unit"])
    found = metrics["agreement"]
    ends = "; ".join(filter(None, (span(found["lower_interval"]), span(found["upper_interval"]))))
    rows = [
        ("RMSE", with_unit(judged(metrics, "rmse"), unit), "", "root of the mean squared error"),
        ("bias", with_unit(found["bias"], unit), span(found["bias_interval"]), "mean of read minus measured"),
        (
            "limits of agreement",
            "-" if found["lower"] is None else f"{number(found['lower'])} to {with_unit(found['upper'], unit)}",
            ends,
            _plain(found["reason"]) or "95 % of the differences lie between them, if normally distributed",
        ),
        *_coverage(metrics),
    ]
    others = [("rmse_colour_baseline", "a ridge over mean colours"), ("rmse_mean_baseline", "the training's mean")]
    for key, what in others:
        rows.append((f"RMSE of {what}", with_unit(judged(metrics, key), unit), "", "to compare with: no network"))
    return rows


def _coverage(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    found = metrics["coverage"]
    name = f"{100 * found['confidence']:g} % intervals"
    if found["share"] is None:
        return [(name, "-", "", f"none: {_plain(found['reason'])}")]
    band = " to ".join(percent(end) for end in found["band"])
    width = with_unit(found["width"], _plain(metrics["unit"]))
    return [(f"inside {name}", percent(found["share"]), band, f"of the measured concentrations; mean width {width}")]


def _trust(facts: CardFacts) -> list[str]:
    counts = {} if facts.metrics is None else facts.metrics["statuses"]
    rows = [(f"`{name}`", str(counts.get(name, "-")), what) for name, what in STATUSES.items()]
    said = "There are no intervals."
    if facts.confidence is not None:
        said = (
            f"Of concentrations {100 * facts.confidence:g} % shall lie within their intervals (conformal prediction, "
            f"every specimen counting once). That holds for photographs of the same kind, all together."
        )
    said += " Every reading has a status."
    if facts.false_alarm is not None:
        said += f" `unlike` is wrong for {100 * facts.false_alarm:g} % of the specimens of the right kind."
    return [
        said,
        _table(rows, ("status", "test photographs", "what it says")),
    ]


def _limits(facts: CardFacts) -> str:
    rows = [
        "It knows one kind of photograph. Another camera, lamp, vessel or reagent lot may move all readings, and the "
        "interval does not know of it: read a few standards first (`twostage check-model`), and recalibrate if they "
        "are off (`twostage recalibrate`).",
        "Nobody has approved it for diagnosis, or to decide about people. A laboratory validates it for its own use.",
    ]
    if facts.confidence is not None:
        rows.insert(1, "An interval is promised for the share of photographs said above, and not for each photograph.")
    if not facts.are_files:
        rows.insert(0, f"It has learned from {facts.source} alone: on real photographs nothing is known of its errors.")
    return _listed(rows)


def _use() -> str:
    return """With twostage installed and the model in `FOLDER`:

```sh
twostage predict run=FOLDER input=photo.jpg
```

```python
from twostage import Predictor

predictor = Predictor.load("FOLDER")  # or "hf://OWNER/NAME", where it is on the hub
prediction = predictor.predict(["photo.jpg"])
print(prediction.to_frame())  # concentration, lower, upper, status, reason
```"""


def _learned(facts: CardFacts) -> list[str]:
    count = "" if facts.n_train is None else f"{facts.n_train} "
    said = [f"It was trained on {count}{facts.source}."]
    if len(facts.parts):
        rows = [[_cell(value) for value in row] for row in facts.parts.itertuples(index=False)]
        said.append(_table(rows, list(facts.parts.columns)))
    if facts.are_files:
        said.append(
            "The photographs are not part of it. Whose they are, and under which licence, twostage does not know: "
            "who hands this model on writes it here, and as `license` in the first lines."
        )
    return said


def _inside(facts: CardFacts) -> str:
    return _listed(
        [
            f"{facts.networks}.",
            "Weights as safetensors and a description as JSON: loading them runs no code.",
            f"Made with twostage {facts.version}; the digest in `model.json` begins with `{facts.digest}`.",
        ]
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else str(int(value)) if value.is_integer() and abs(value) < 1e6 else number(value)
    return _plain(str(value))


def _listed(rows: Iterable[str]) -> str:
    return "\n".join(f"- {row}" for row in rows)


def _table(rows: Iterable[Sequence[str]], header: Sequence[str]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in lines)


def _sentence(text: str) -> str:
    plain = _plain(text)
    return f"**{plain[:1].upper()}{plain[1:]}.**"


def _plain(text: str) -> str:
    """A text of a user on one line, in which Markdown finds nothing."""
    one = " ".join(text.encode("utf-8", "replace").decode().split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in one)
