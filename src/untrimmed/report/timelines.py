"""Figures over the time of one video: curves with the truth, and who lends to whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.patches import Patch

from untrimmed.report.plots import (
    BLUE,
    GREEN,
    GREY,
    LEGEND,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    SKY,
    UPRIGHT,
    WIDTH,
    Graphic,
    Series,
    as_graphic,
    new_figure,
)

_ROW = 0.11
"""Height of a row of blocks, in that of the curves."""


def over_truth(
    name: str,
    title: str,
    curves: Sequence[tuple[Sequence[float], Series]],
    truth: Sequence[tuple[float, float]],
    ylabel: str,
    xlabel: str = "seconds",
    found: Sequence[tuple[str, Sequence[tuple[float, float]]]] = (),
) -> Graphic:
    """Curves over time, between 0 and 1, over the segments of the truth.

    Args:
        curves: seconds of the values and, as long, the values of each.
        truth: segments in seconds, drawn as bands.
        found: colour and segments of each row of blocks below the curves; above them is then a row of the truth.
    """
    rows = [(GREEN, truth), *found] if found else []
    with new_figure(120 * (1 + _ROW * len(rows)), left=UPRIGHT, legend=1) as (figure, axes):
        for number, (start, end) in enumerate(truth):
            axes.axvspan(start, end, color=GREEN, alpha=0.22, linewidth=0, label="truth" if number == 0 else None)
        for times, one in curves:
            axes.plot(times, one.values, color=one.color, linewidth=1.4, label=one.name)
        for number, (color, segments) in enumerate(rows):
            spans = [(start, end - start) for start, end in segments]
            place = (-_ROW * (number + 0.9), 0.75 * _ROW)
            axes.broken_barh(spans, place, facecolor=color, edgecolor=PAPER, linewidth=0.8)
        axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(-_ROW * len(rows), 1.02))
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        axes.margins(x=0)
        figure.legend(*axes.get_legend_handles_labels(), **LEGEND, ncols=3)
        return as_graphic(figure, name, title)


def lending(
    name: str,
    title: str,
    weights: Sequence[Sequence[float]],
    span: tuple[float, float],
    truth: Sequence[tuple[float, float, str]] = (),
) -> Graphic:
    """Who lends to whom: the adjacency of a graph over time as a picture, with the instances along both axes.

    Args:
        weights: T rows of T; row i has the weights, at least 0, of what step i receives from each step.
        span: seconds of the first and of the last edge of the steps.
        truth: start, end and label of the instances; equal labels have equal colours.
    """
    labels = list(dict.fromkeys(label for _, _, label in truth))
    colors = [BLUE, ORANGE, GREEN, PURPLE, RED, SKY, GREY]
    with new_figure(WIDTH - UPRIGHT - 8, left=UPRIGHT, legend=-(-len(labels) // 3)) as (figure, axes):
        axes.imshow(weights, cmap="Greys", vmin=0, extent=(span[0], span[1], span[1], span[0]), interpolation="nearest")
        axes.grid(False)
        beside = 0.012 * (span[1] - span[0])
        for start, end, label in truth:
            look: dict[str, Any] = {
                "color": colors[labels.index(label) % len(colors)],
                "linewidth": 3.5,
                "solid_capstyle": "butt",
            }
            axes.plot([start, end], [span[0] - beside] * 2, **look)
            axes.plot([span[0] - beside] * 2, [start, end], **look)
        limits = (span[0] - 2 * beside, span[1]) if truth else span
        axes.set(xlabel="lender, seconds", ylabel="receiver, seconds", xlim=limits, ylim=limits[::-1])
        patches = [Patch(color=colors[n % len(colors)], label=label) for n, label in enumerate(labels)]
        if patches:
            figure.legend(handles=patches, **LEGEND, ncols=3, handlelength=1, handleheight=1)
        return as_graphic(figure, name, title)
