"""Segments of several sources, one below the other on one line of time, as a figure (GCM, Fig. 5 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal
from unicodedata import east_asian_width

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from untrimmed.report.drawing import FAINT, FIGURE_WIDTH, GREEN, INK, PAPER, Graphic, drawing_area, finished

Look = Literal["full", "pale", "open"]
_LEFT, _LINE, _BAR = 44.0, 29.0, 0.34
_LETTERS = 62
"""Letters that fit the width."""
_MARGIN, _MOST = 0.15, 1.5
"""What is shown beside what is drawn, as a share of it; and beside the instance at most, in lengths of it."""


@dataclass(frozen=True)
class Bar:
    """A segment with two texts above it.

    Args:
        start, end: seconds.
        label: at the left; cut to what room is left.
        facts: at the right.
        look: filled, pale, or an outline.
    """

    start: float
    end: float
    label: str = ""
    facts: str = ""
    look: Look = "full"


@dataclass(frozen=True)
class Lane:
    """What one source has, a line each; if it has nothing, a text says so."""

    name: str
    color: str
    bars: Sequence[Bar]
    nothing: str = "nothing shown"


def timelines(
    name: str,
    title: str,
    truth: Bar,
    lanes: Sequence[Lane],
    others: Sequence[tuple[float, float]] = (),
) -> Graphic:
    """An instance, and below it what others have there.

    Shown is everything that is drawn, but at most one and a half lengths of the instance on either side; a bar that
    goes on has an arrowhead at the edge.

    Args:
        truth: the instance; its end is above its start.
        lanes: one or more.
        others: further segments of the truth, pale beside the instance.
    """
    span = _span(truth, [bar for lane in lanes for bar in lane.bars])
    lines = 1 + sum(max(1, len(lane.bars)) for lane in lanes)
    with drawing_area(_LINE * lines, left=_LEFT) as (figure, axes):
        for edge in (truth.start, truth.end):
            axes.axvline(edge, color=GREEN, linewidth=0.8, linestyle=(0, (2, 2)))
        for start, end in others:
            _bar(axes, 0, Bar(start, end, look="pale"), GREEN, span)
        line, places = 0, []
        for lane in (Lane("truth", GREEN, [truth]), *lanes):
            places.append(line)
            if line:
                axes.axhline(line, color=FAINT, linewidth=0.8)
            for bar in lane.bars:
                _bar(axes, line, bar, lane.color, span)
                _texts(axes, line, bar.label, bar.facts, span)
                line += 1
            if not lane.bars:
                _texts(axes, line, lane.nothing, "", span)
                line += 1
        axes.set(xlim=span, ylim=(lines, 0), xlabel="seconds")
        _ticks(axes, span)
        axes.set_yticks([place + 0.5 for place in places], ["truth", *(lane.name for lane in lanes)])
        axes.spines.left.set_visible(False)
        axes.grid(False)
        return finished(figure, name, title)


def one_line(text: str, most: int | None = None) -> str:
    """A text without line breaks, tabs and other signs that are not seen; cut with an ellipsis to the width of ``most``
    letters (a Chinese one is as wide as two)."""
    seen = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    widths = list(accumulate(2 if east_asian_width(letter) in "WF" else 1 for letter in seen))
    if most is None or not widths or widths[-1] <= most:
        return seen
    return seen[: sum(width < most for width in widths)].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _span(truth: Bar, bars: Sequence[Bar]) -> tuple[float, float]:
    length = truth.end - truth.start
    first, last = min(truth.start, *(bar.start for bar in bars)), max(truth.end, *(bar.end for bar in bars))
    first, last = max(first, truth.start - _MOST * length), min(last, truth.end + _MOST * length)
    beside = _MARGIN * (last - first)
    return first - beside, last + beside


def _ticks(axes: Axes, span: tuple[float, float]) -> None:
    """A few seconds to read, none so near to an edge that it would be cut off."""
    edge = 0.07 * (span[1] - span[0])
    every = map(float, MaxNLocator(6).tick_values(*span))
    axes.set_xticks([tick for tick in every if span[0] + edge <= tick <= span[1] - edge])
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)


def _bar(axes: Axes, line: int, bar: Bar, color: str, span: tuple[float, float]) -> None:
    start, end = max(bar.start, span[0]), min(bar.end, span[1])
    looks: dict[Look, dict[str, Any]] = {
        "full": {"facecolor": color, "edgecolor": color},
        "pale": {"facecolor": (color, 0.35), "edgecolor": color, "linewidth": 0.8},
        "open": {"facecolor": "none", "edgecolor": color, "linestyle": (0, (3, 2))},
    }
    if end > start:
        middle = line + 0.72
        axes.broken_barh([(start, end - start)], (middle - _BAR / 2, _BAR), **{"linewidth": 1.2, **looks[bar.look]})
        arrow: dict[str, Any] = {"color": PAPER if bar.look == "full" else INK, "markersize": 4, "linestyle": ""}
        beside = 4 / FIGURE_WIDTH * (span[1] - span[0])
        if bar.start < span[0]:
            axes.plot([start + beside], [middle], marker="<", **arrow)
        if bar.end > span[1]:
            axes.plot([end - beside], [middle], marker=">", **arrow)


def _texts(axes: Axes, line: int, left: str, right: str, span: tuple[float, float]) -> None:
    room = _LETTERS - len(right) - 2
    for place, text, align in ((span[0], one_line(left, room), "left"), (span[1], right, "right")):
        if text:
            axes.text(place, line + 0.48, text, fontsize=9, ha=align, va="bottom")
