"""Small figures as SVG text, drawn with matplotlib and cleaned so that they sit well in a page.

Every function is pure: numbers in, a :class:`Graphic` out. A graphic exists in two forms. ``inline`` is for a page:
text and axes take their colours from CSS variables (``--ink``, ``--faint``, ``--paper``), so that one figure serves
a light and a dark page, the ids are prefixed with the figure's name, so that many figures can share a page, and the
size is the page's choice. ``file`` stands alone: fixed colours on white and a size of its own.

Text stays text (searchable, small files) in the reader's own sans-serif; it is laid out with the metrics of DejaVu
Sans, which is wider than the fonts that replace it, so nothing overlaps where the reader has another one. Figures
are 360 units wide: at one unit a pixel they fit a telephone, where the smallest text is 9 pixels high.

The colours of data are those of Okabe and Ito (2008), which people with any common colour blindness tell apart; they
are readable on white and on near-black.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import accumulate
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch

GREEN, BLUE, SKY, ORANGE, RED, PURPLE, GREY = (
    "#009e73",
    "#0072b2",
    "#56b4e9",
    "#e69f00",
    "#d55e00",
    "#cc79a7",
    "#8c8f94",
)

_INK, _FAINT, PAPER = "#24292f", "#d0d4d9", "#fffffe"
_VARIABLES = {_INK: f"var(--ink, {_INK})", _FAINT: f"var(--faint, {_FAINT})", PAPER: f"var(--paper, {PAPER})"}
_HALO = f"paint-order: stroke; stroke: {PAPER}; stroke-width: 4px; "
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
WIDTH, UPRIGHT = 360.0, 46.0
_MANY_POINTS = 12
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": _INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": _INK,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "grid.color": _FAINT,
    "grid.linewidth": 0.8,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "svg.fonttype": "none",
    "svg.hashsalt": "untrimmed",
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "xtick.labelsize": 9.5,
    "xtick.major.size": 0,
    "ytick.color": _INK,
    "ytick.labelsize": 9.5,
    "ytick.major.size": 0,
}


LEGEND: dict[str, Any] = {
    "loc": "upper left",
    "bbox_to_anchor": (0, 1),
    "borderaxespad": 0,
    "borderpad": 0.3,
    "columnspacing": 1.4,
}
_DASHED = (0, (4, 3))
_PALE = 0.45
_LUCK = "by chance"
_BESIDE = 0.4
"""How far right of the middle of a bar its range by luck stands."""


@dataclass(frozen=True)
class Graphic:
    """A finished figure.

    Args:
        name: short name, of letters, digits and hyphens; prefix of its ids and stem of its file.
        inline: ``<svg>`` element for a page, coloured through CSS variables.
        file: content of an SVG file of its own.
    """

    name: str
    inline: str
    file: str


@dataclass(frozen=True)
class Series:
    """One line or one kind of bar: a name for the legend, its values in order, a colour (lying bars: one a value)."""

    name: str
    values: Sequence[float]
    color: str | Sequence[str]


def stacked_bars(
    name: str, title: str, ticks: Sequence[str], series: Sequence[Series], xlabel: str, ylabel: str
) -> Graphic:
    """Shares that add up to at most 100, one stacked bar for each tick, first series at the bottom.

    Args:
        series: values in percent, one a tick; NaN is drawn as nothing.
    """
    with new_figure(210, left=UPRIGHT, legend=-(-len(series) // 2)) as (figure, axes):
        below = [0.0] * len(ticks)
        for one in series:
            heights = [0.0 if math.isnan(value) else value for value in one.values]
            axes.bar(ticks, heights, 0.86, below, color=one.color, label=one.name)
            below = [low + height for low, height in zip(below, heights, strict=True)]
        axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, 100), xlim=(-0.6, len(ticks) - 0.4))
        axes.grid(False)
        figure.legend(*axes.get_legend_handles_labels(), **LEGEND, ncols=2, handlelength=1, handleheight=1)
        return as_graphic(figure, name, title)


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
    with new_figure(150, left=UPRIGHT, below=_rows(ticks), legend=1 if level else 0) as (figure, axes):
        known = [0.0 if math.isnan(value) else value for value in values]
        end = _end(1.18, [*known, level[1] if level else 0.0, *(high for _, _, high in spans)])
        axes.bar(range(len(ticks)), known, 0.62 if spans else 0.72, color=color)
        handles = []
        if level is not None:
            handles.append(axes.axhline(level[1], color=_INK, linestyle=_DASHED, linewidth=1.2, label=level[0]))
        if spans:
            places, low, high = zip(*spans, strict=True)
            beside = [place + _BESIDE for place in places]
            handles.append(axes.vlines(beside, low, high, color=GREY, linewidth=5, label=_LUCK))
        if handles:
            figure.legend(handles=handles, **LEGEND, ncols=2)
        words = ["none" if math.isnan(value) else f"{value:.1f}" for value in values]
        _upright(axes, ticks, known, words, end, xlabel, ylabel)
        return as_graphic(figure, name, title)


def waterfall(
    name: str, title: str, ticks: Sequence[str], parts: Sequence[float], xlabel: str, ylabel: str, *, color: str = BLUE
) -> Graphic:
    """Parts of a sum: each bar stands on the end of the one before, so that the last one ends at the total.

    Args:
        ticks: one or more lines of text for each bar.
        parts: one a tick, finite, at least 0.
    """
    with new_figure(165, left=UPRIGHT, below=_rows(ticks)) as (figure, axes):
        tops = list(accumulate(parts))
        axes.bar(range(len(ticks)), parts, 0.72, [0.0, *tops[:-1]], color=color)
        starts = [place + 0.36 for place in range(len(ticks) - 1)]
        axes.hlines(tops[:-1], starts, [start + 0.28 for start in starts], color=_INK, linewidth=0.8)
        words = [signed(part) for part in parts]
        _upright(axes, ticks, tops, words, _end(1.14, tops), xlabel, ylabel)
        return as_graphic(figure, name, title)


def lying_bars(name: str, title: str, labels: Sequence[str], series: Sequence[Series], xlabel: str) -> Graphic:
    """Lying bars, first label on top, with their values at the end.

    Args:
        series: one or two bars for each label; values finite, may be negative. The second is pale.
    """
    each = 30 if len(series) == 1 else 42
    with new_figure(each * len(labels), left=_widest(labels), legend=1) as (figure, axes):
        every = [0.0, *(value for one in series for value in one.values)]
        span = _span(every)
        height = 0.66 if len(series) == 1 else 0.39
        for number, one in enumerate(series):
            shift = 0.0 if len(series) == 1 else (number - 0.5) * 0.4
            places = [place + shift for place in range(len(labels))]
            axes.barh(places, one.values, height, color=one.color, alpha=_PALE if number else 1.0)
            for place, value in zip(places, one.values, strict=True):
                axes.text(max(value, 0.0) + 0.015 * span, place, signed(value), va="center_baseline", fontsize=9)
        axes.axvline(0, color=_INK, linewidth=0.8)
        _lying(axes, labels, (min(0.0, min(every) - 0.05 * span), max(every) + 0.17 * span), xlabel)
        shades = [
            Patch(color=GREY, alpha=_PALE if number else 1.0, label=one.name) for number, one in enumerate(series)
        ]
        figure.legend(handles=shades, **LEGEND, ncols=2)
        return as_graphic(figure, name, title)


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
    with new_figure(44 * len(labels), left=_widest(labels), legend=2 if bands else 1) as (figure, axes):
        places = list(range(len(labels)))
        if bands:
            at, starts, ends = zip(*bands, strict=True)
            widths = [end - start for start, end in zip(starts, ends, strict=True)]
            axes.barh(at, widths, 0.3, starts, color=GREY, alpha=_PALE, linewidth=0, label=_LUCK)
        axes.axvline(level[1], color=_INK, linestyle=_DASHED, linewidth=1.2, label=level[0])
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
        least, most = min(one[0] for one in low), max(one[0] for one in high)
        left = min(least - 0.25 * span, min(every) - 0.03 * span)
        right = max(most + 0.25 * span, max(every) + 0.03 * span)
        _lying(axes, labels, (left, right), xlabel)
        figure.legend(*axes.get_legend_handles_labels(), **LEGEND, ncols=2 if bands else 3)
        return as_graphic(figure, name, title)


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
    with new_figure(170, left=UPRIGHT, legend=-(-len(series) // 3)) as (figure, axes):
        for one, marker in zip(series, "osD^v" * len(series), strict=False):
            axes.plot(x, one.values, color=one.color, marker=marker if few else "", markersize=5.5, label=one.name)
        end = _end(1.12, [value for one in series for value in one.values])
        axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, end))
        if few:
            axes.set_xticks(list(x), [f"{value:g}" for value in x])
        figure.legend(*axes.get_legend_handles_labels(), **LEGEND, ncols=3)
        return as_graphic(figure, name, title)


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


@contextmanager
def new_figure(plot: float, *, left: float, below: int = 1, legend: int = 0) -> Iterator[tuple[Figure, Axes]]:
    """An empty figure of the common width in the house style; the style lasts as long as the block.

    Its margins are counted out here, because matplotlib's own layout draws everything three times over.

    Args:
        plot: height inside the axes.
        left: room for the labels at the left.
        below: rows of the tick labels.
        legend: rows of the legend on top.
    """
    top, bottom = 8 + 15 * legend, 24 + 12.5 * below
    height = top + plot + bottom
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        FigureCanvasSVG(figure)
        box = (left / WIDTH, bottom / height, (WIDTH - left - 8) / WIDTH, plot / height)
        yield figure, figure.add_axes(box)


def as_graphic(figure: Figure, name: str, title: str) -> Graphic:
    """A finished figure, from what was drawn."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    body = _clean(buffer.getvalue(), name)
    width, height = (72 * side for side in figure.get_size_inches())
    view = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{name}-title"'
    head = f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {view}'
    joins = 'stroke-linejoin="round" stroke-linecap="butt"'
    caption = f'<title id="{name}-title">{escape(title)}</title>'
    ground = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    inline = body
    for color, variable in _VARIABLES.items():
        inline = inline.replace(color, variable)
    return Graphic(
        name,
        f"<svg {head} {joins}>{caption}{inline}</svg>",
        f'<svg {head} {joins} width="{1.5 * width:g}" height="{1.5 * height:g}">{caption}{ground}{body}</svg>\n',
    )


def _clean(svg: str, name: str) -> str:
    """What is inside ``<svg>``, without what is of no use in a page: metadata, a style sheet that would leak
    into the page, line breaks, and ids nothing points to; the others get the name as prefix."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><").replace("<defs></defs>", "")
    body = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONTS}", body)
    body = body.replace('<text style="', f'<text style="{_HALO}')
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", body))

    def rename(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    body = re.sub(r" id=\"([^\"]+)\"", rename, body)
    return re.sub(r"(url\(|href=\")#", rf"\g<1>#{name}-", body)
