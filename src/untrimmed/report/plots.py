"""Small figures as SVG text: every function is pure, numbers in, a :class:`Graphic` out; see
:mod:`untrimmed.report.drawing`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from untrimmed.report.drawing import (
    BLUE,
    FIGURE_WIDTH,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    SKY,
    UPRIGHT,
    Graphic,
    Series,
    drawing_area,
    finished,
)

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PURPLE",
    "RED",
    "SKY",
    "Graphic",
    "Series",
    "bars",
    "lending",
    "lines",
    "lying_bars",
    "over_truth",
    "ranges",
    "signed",
    "stacked_bars",
    "waterfall",
]

_LEGEND: dict[str, Any] = {
    "loc": "upper left",
    "bbox_to_anchor": (0, 1),
    "borderaxespad": 0,
    "borderpad": 0.3,
    "columnspacing": 1.4,
}
_MANY_POINTS = 12
_DASHED = (0, (4, 3))
_PALE = 0.45
_LUCK = "by chance"
_BESIDE = 0.4
"""How far right of the middle of a bar its range by luck stands."""
_ROW = 0.11
"""Height of a row of blocks, in units of an axis from 0 to 1."""


def stacked_bars(
    name: str, title: str, ticks: Sequence[str], series: Sequence[Series], xlabel: str, ylabel: str
) -> Graphic:
    """Shares that add up to at most 100, one stacked bar for each tick, first series at the bottom.

    Args:
        series: values in percent, one a tick; NaN is drawn as nothing.
    """
    with drawing_area(210, left=UPRIGHT, legend=-(-len(series) // 2)) as (figure, axes):
        below = [0.0] * len(ticks)
        for one in series:
            heights = [0.0 if math.isnan(value) else value for value in one.values]
            axes.bar(ticks, heights, 0.86, below, color=one.color, label=one.name)
            below = [low + height for low, height in zip(below, heights, strict=True)]
        axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, 100), xlim=(-0.6, len(ticks) - 0.4))
        axes.grid(False)
        figure.legend(*axes.get_legend_handles_labels(), **_LEGEND, ncols=2, handlelength=1, handleheight=1)
        return finished(figure, name, title)


def bars(
    name: str,
    title: str,
    ticks: Sequence[str],
    values: Sequence[float],
    xlabel: str,
    ylabel: str,
    *,
    color: str = BLUE,
    level: tuple[str, float] | None = None,
    chance: Sequence[tuple[float, float]] | None = None,
) -> Graphic:
    """Upright bars with their values written above.

    Args:
        ticks: one or more lines of text for each bar.
        values: one a tick; NaN leaves the place empty and says "none".
        level: name and height of a dashed line across, e.g. the overall value.
        chance: for each bar low and high of what it might be by luck, drawn beside it; NaN for none.
    """
    spans = [(place, *ends) for place, ends in enumerate(chance or ()) if not math.isnan(ends[0])]
    with drawing_area(150, left=UPRIGHT, below=_rows(ticks), legend=1 if level else 0) as (figure, axes):
        known = [0.0 if math.isnan(value) else value for value in values]
        end = _end(1.18, [*known, level[1] if level else 0.0, *(high for _, _, high in spans)])
        axes.bar(range(len(ticks)), known, 0.62 if spans else 0.72, color=color)
        handles: list[Any] = []
        if level is not None:
            handles.append(axes.axhline(level[1], color=INK, linestyle=_DASHED, linewidth=1.2, label=level[0]))
        if spans:
            places, low, high = zip(*spans, strict=True)
            beside = [place + _BESIDE for place in places]
            handles.append(axes.vlines(beside, low, high, color=GREY, linewidth=5, label=_LUCK))
        if handles:
            figure.legend(handles=handles, **_LEGEND, ncols=2)
        words = ["none" if math.isnan(value) else f"{value:.1f}" for value in values]
        _upright(axes, ticks, known, words, end, xlabel, ylabel)
        return finished(figure, name, title)


def waterfall(
    name: str, title: str, ticks: Sequence[str], parts: Sequence[float], xlabel: str, ylabel: str, *, color: str = BLUE
) -> Graphic:
    """Parts of a sum: each bar stands on the end of the one before, so that the last one ends at the total.

    Args:
        ticks: one or more lines of text for each bar.
        parts: one a tick, finite, at least 0.
    """
    with drawing_area(165, left=UPRIGHT, below=_rows(ticks)) as (figure, axes):
        tops = list(accumulate(parts))
        axes.bar(range(len(ticks)), parts, 0.72, [0.0, *tops[:-1]], color=color)
        starts = [place + 0.36 for place in range(len(ticks) - 1)]
        axes.hlines(tops[:-1], starts, [start + 0.28 for start in starts], color=INK, linewidth=0.8)
        words = [signed(part) for part in parts]
        _upright(axes, ticks, tops, words, _end(1.14, tops), xlabel, ylabel)
        return finished(figure, name, title)


def lying_bars(name: str, title: str, labels: Sequence[str], series: Sequence[Series], xlabel: str) -> Graphic:
    """Lying bars, first label on top, with their values at the end.

    Args:
        series: one or two bars for each label; values finite, may be negative. The second is pale.
    """
    each = 30 if len(series) == 1 else 42
    with drawing_area(each * len(labels), left=_widest(labels), legend=1) as (figure, axes):
        every = [0.0, *(value for one in series for value in one.values)]
        span = _span(every)
        height = 0.66 if len(series) == 1 else 0.39
        for number, one in enumerate(series):
            shift = 0.0 if len(series) == 1 else (number - 0.5) * 0.4
            places = [place + shift for place in range(len(labels))]
            axes.barh(places, one.values, height, color=one.color, alpha=_PALE if number else 1.0)
            for place, value in zip(places, one.values, strict=True):
                axes.text(max(value, 0.0) + 0.015 * span, place, signed(value), va="center_baseline", fontsize=9)
        axes.axvline(0, color=INK, linewidth=0.8)
        _lying(axes, labels, (min(0.0, min(every) - 0.05 * span), max(every) + 0.17 * span), xlabel)
        shades = [
            Patch(color=GREY, alpha=_PALE if number else 1.0, label=one.name) for number, one in enumerate(series)
        ]
        figure.legend(handles=shades, **_LEGEND, ncols=2)
        return finished(figure, name, title)


def ranges(
    name: str,
    title: str,
    labels: Sequence[str],
    low: Sequence[tuple[float, str]],
    high: Sequence[tuple[float, str]],
    level: tuple[str, float],
    xlabel: str,
    *,
    chance: Sequence[tuple[float, float]] | None = None,
) -> Graphic:
    """A span from lowest to highest for each label, against a common level.

    Args:
        low, high: for each label the value, finite, and the name of the bucket that has it.
        level: name and value of the dashed line.
        chance: for each label low and high of where both might be by luck, drawn as a band behind; NaN for none.
    """
    bands = [(place, *ends) for place, ends in enumerate(chance or ()) if not math.isnan(sum(ends))]
    with drawing_area(44 * len(labels), left=_widest(labels), legend=2 if bands else 1) as (figure, axes):
        places = list(range(len(labels)))
        if bands:
            at, starts = [band[0] for band in bands], [band[1] for band in bands]
            axes.barh(
                at,
                [end - start for _, start, end in bands],
                0.3,
                starts,
                color=GREY,
                alpha=_PALE,
                linewidth=0,
                label=_LUCK,
            )
        axes.axvline(level[1], color=INK, linestyle=_DASHED, linewidth=1.2, label=level[0])
        axes.hlines(places, [one[0] for one in low], [one[0] for one in high], color=GREY, linewidth=3)
        every = [level[1], *(one[0] for one in (*low, *high)), *(end for band in bands for end in band[1:])]
        span = _span(every)
        for color, side, ends in ((RED, "worst", low), (BLUE, "best", high)):
            axes.plot([one[0] for one in ends], places, linestyle="", marker="o", markersize=8, color=color, label=side)
        for place, (left, right) in enumerate(zip(low, high, strict=True)):
            # Labels grow outwards, so that those of a short range do not meet; a range that is a point has one.
            inwards = min(0.02 * span, 0.4 * (right[0] - left[0]))
            both = [(*left, inwards, "right"), (*right, -inwards, "left")]
            for value, bucket, shift, align in both if left != right else [(*left, 0.0, "center")]:
                axes.text(value + shift, place - 0.2, f"{bucket} {value:.1f}", ha=align, fontsize=9)
        first = min(min(one[0] for one in low) - 0.25 * span, min(every) - 0.03 * span)
        last = max(max(one[0] for one in high) + 0.25 * span, max(every) + 0.03 * span)
        _lying(axes, labels, (first, last), xlabel)
        figure.legend(*axes.get_legend_handles_labels(), **_LEGEND, ncols=2 if bands else 3)
        return finished(figure, name, title)


def lines(
    name: str,
    title: str,
    x: Sequence[float],
    series: Sequence[Series],
    xlabel: str,
    ylabel: str,
) -> Graphic:
    """Lines with points over a common axis that starts at 0 upwards; without the points where there are many.

    Args:
        x: places of the points.
        series: each as long as ``x``, finite.
    """
    few = len(x) <= _MANY_POINTS
    with drawing_area(170, left=UPRIGHT, legend=-(-len(series) // 3)) as (figure, axes):
        for one, marker in zip(series, "osD^v" * len(series), strict=False):
            axes.plot(x, one.values, color=one.color, marker=marker if few else "", markersize=5.5, label=one.name)
        end = _end(1.12, [value for one in series for value in one.values])
        axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, end))
        if few:
            axes.set_xticks(list(x), [f"{value:g}" for value in x])
        figure.legend(*axes.get_legend_handles_labels(), **_LEGEND, ncols=3)
        return finished(figure, name, title)


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
    with drawing_area(120 * (1 + _ROW * len(rows)), left=UPRIGHT, legend=1) as (figure, axes):
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
        figure.legend(*axes.get_legend_handles_labels(), **_LEGEND, ncols=3)
        return finished(figure, name, title)


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
    with drawing_area(FIGURE_WIDTH - UPRIGHT - 8, left=UPRIGHT, legend=-(-len(labels) // 3)) as (figure, axes):
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
            figure.legend(handles=patches, **_LEGEND, ncols=3, handlelength=1, handleheight=1)
        return finished(figure, name, title)


def signed(value: float, decimals: int = 1) -> str:
    """A number with its sign, always, and with the true minus."""
    return f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _upright(
    axes: Axes, ticks: Sequence[str], tops: Sequence[float], words: Sequence[str], end: float, xlabel: str, ylabel: str
) -> None:
    """Axes of upright bars, and a text on top of each."""
    for place, (top, text) in enumerate(zip(tops, words, strict=True)):
        axes.text(place, top + 0.015 * end, text, ha="center", fontsize=9)
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, end), xlim=(-0.6, len(ticks) - 0.4))
    axes.set_xticks(range(len(ticks)), ticks)


def _lying(axes: Axes, labels: Sequence[str], limits: tuple[float, float], xlabel: str) -> None:
    """Axes of what lies, first label on top."""
    axes.set(xlabel=xlabel, xlim=limits, ylim=(len(labels) - 0.5, -0.6))
    axes.set_yticks(range(len(labels)), labels)
    axes.spines.left.set_visible(False)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")


def _end(room: float, values: Sequence[float]) -> float:
    """End of an axis from 0 with room above the largest value; 1 if all are 0."""
    return room * max(values) if max(values) > 0 else 1.0


def _span(values: Sequence[float]) -> float:
    return max(values) - min(values) or 1.0


def _rows(texts: Sequence[str]) -> int:
    return max(text.count("\n") + 1 for text in texts)


def _widest(labels: Sequence[str]) -> float:
    """Room for labels at the left, by the mean width of a letter."""
    return 14 + 5.9 * max(len(row) for label in labels for row in label.split("\n"))
