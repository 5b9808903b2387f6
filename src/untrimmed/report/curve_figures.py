"""Curves of one or several models over the truth of a video, as figures (SegTAD, Fig. 3; ACGNet, Fig. 3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from untrimmed.formats.curves import Curves
from untrimmed.report.plots import BLUE, ORANGE, PURPLE, RED, SKY, Graphic, Series, over_truth
from untrimmed.types import Detections, Video

COLORS = (PURPLE, BLUE, ORANGE, RED, SKY)
"""Of the models, in their order."""


def class_figures(
    video: Video,
    models: Mapping[str, Curves],
    labels: Sequence[str] | None = None,
    classes: Collection[str] | None = None,
    results: Mapping[str, Detections] | None = None,
) -> dict[str, Graphic]:
    """One figure a class: its curve by each model, over its instances.

    Args:
        video: with its instances.
        models: name of each model and its curves of the video; at most five.
        labels: the classes to draw; None: those of the instances, as in the papers. A class that no model has a curve
            of is left out.
        classes: of the truth, by default those of the video. A curve of another name, such as ``action``, is drawn over
            all instances.
        results: detections of some of the models. As many of the best of a class as it has instances are blocks in a
            row below the curves; of a curve of another name, those of any label.
    """
    known = set(video.instances.labels if classes is None else classes)
    wanted = dict.fromkeys(video.instances.labels if labels is None else labels)
    colors = dict(zip(models, COLORS, strict=False))
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
        rows = [
            (colors[name], best(results[name], video.id, label if label in known else None, len(bands)))
            for name in drawn
            if results and name in results
        ]
        figures[label] = over_truth(
            f"curve-{len(figures)}",
            f"{label} in {video.id}",
            [
                (times(curves), Series(name, [float(value) for value in curves.values[label]], colors[name]))
                for name, curves in drawn.items()
            ],
            bands,
            "class score",
            f"seconds of {video.id}: {label}",
            rows,
        )
    return figures


def best(detections: Detections, video_id: str, label: str | None, count: int) -> list[tuple[float, float]]:
    """The segments of the ``count`` highest detections of a video, of one label or, if None, of any."""
    if video_id not in detections.video_ids:
        return []
    rows = detections.video == detections.video_ids.index(video_id)
    if label is not None:
        rows &= detections.label == (detections.labels.index(label) if label in detections.labels else -2)
    chosen = np.flatnonzero(rows)
    chosen = chosen[np.argsort(-detections.scores[chosen], kind="stable")][:count]
    return [(float(start), float(end)) for start, end in detections.segments[chosen]]


def times(curves: Curves) -> list[float]:
    """Seconds of the values."""
    count = max((len(values) for values in curves.values.values()), default=0)
    return [curves.start + (step + 0.5) * curves.step for step in range(count)]
