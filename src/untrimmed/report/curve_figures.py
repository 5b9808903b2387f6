"""Curves of one or several models over the truth of a video, as figures (SegTAD, Fig. 3; ACGNet, Fig. 3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from untrimmed.formats.curves import Curves
from untrimmed.report.plots import BLUE, ORANGE, PURPLE, RED, SKY, Graphic, Series, over_truth
from untrimmed.types import Video

COLORS = (PURPLE, BLUE, ORANGE, RED, SKY)
"""Of the models, in their order."""


def class_figures(
    video: Video,
    models: Mapping[str, Curves],
    labels: Sequence[str] | None = None,
    classes: Collection[str] | None = None,
) -> dict[str, Graphic]:
    """One figure a class: its curve by each model, over its instances.

    Args:
        video: with its instances.
        models: name of each model and its curves of the video; at most five.
        labels: the classes to draw; None: those of the instances, as in the papers. A class that no model has a curve
            of is left out.
        classes: of the truth, by default those of the video. A curve of another name, such as ``action``, is drawn over
            all instances.
    """
    known = set(video.instances.labels if classes is None else classes)
    wanted = dict.fromkeys(video.instances.labels if labels is None else labels)
    figures: dict[str, Graphic] = {}
    for label in wanted:
        drawn = {name: curves for name, curves in models.items() if label in curves.values}
        if not drawn:
            continue
        bands = [
            (start, end)
            for (start, end), own in zip(video.instances.segments.tolist(), video.instances.labels, strict=True)
            if own == label or label not in known
        ]
        figures[label] = over_truth(
            f"curve-{len(figures)}",
            f"{label} in {video.id}",
            [
                (times(curves), Series(name, [float(value) for value in curves.values[label]], color))
                for (name, curves), color in zip(drawn.items(), COLORS, strict=False)
            ],
            bands,
            "class score",
            f"seconds of {video.id}: {label}",
        )
    return figures


def times(curves: Curves) -> list[float]:
    """Seconds of the values."""
    count = max((len(values) for values in curves.values.values()), default=0)
    return [curves.start + (step + 0.5) * curves.step for step in range(count)]
