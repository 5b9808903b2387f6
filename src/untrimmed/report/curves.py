"""How a training went, as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from untrimmed.report.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, Graphic, Series, lines

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY, GREY)
_BESIDES = ("gradient_norm",)


def training_curves(records: Sequence[Mapping[str, Any]]) -> tuple[Graphic, ...]:
    """Loss by epoch, term by term, and the validation mAP where it was measured.

    Args:
        records: lines of ``log.jsonl``: ``{"epoch", "train": {term: value}, "validation": {"mAP": value}}``.

    Returns:
        One or two figures; none for no records.
    """
    if not records:
        return ()
    epochs = [float(record["epoch"]) for record in records]
    terms = [name for name in records[0]["train"] if name not in _BESIDES]
    terms = sorted(terms, key=lambda name: name != "loss")[: len(_COLOURS)]
    losses = [
        Series(name, [record["train"].get(name, float("nan")) for record in records], color)
        for name, color in zip(terms, _COLOURS, strict=False)
    ]
    figures = [lines("training-loss", "Loss in training", epochs, losses, "epoch", "mean over the epoch")]
    measured = [record for record in records if record.get("validation", {}).get("mAP") is not None]
    if measured:
        points = Series("validation", [record["validation"]["mAP"] for record in measured], BLUE)
        at = [float(record["epoch"]) for record in measured]
        figures.append(lines("validation-map", "mAP on the validation videos", at, [points], "epoch", "mAP"))
    return tuple(figures)
