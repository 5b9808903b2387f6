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
from typing import Any

import matplotlib
from matplotlib.artist import Artist
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

_INK, _FAINT, _PAPER = "#24292f", "#d0d4d9", "#fffffe"
_VARIABLES = {_INK: f"var(--ink, {_INK})", _FAINT: f"var(--faint, {_FAINT})", _PAPER: f"var(--paper, {_PAPER})"}
_HALO = f"paint-order: stroke; stroke: {_PAPER}; stroke-width: 3px; "
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_WIDTH = 360.0
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
    """One line or one kind of bar: a name for the legend, its values in order, a colour."""

    name: str
    values: Sequence[float]
    color: str


def stacked_bars(
    name: str, title: str, ticks: Sequence[str], series: Sequence[Series], xlabel: str, ylabel: str
) -> Graphic:
    """Shares that add up to at most 100, one stacked bar for each tick, first series at the bottom.

    Args:
        series: values in percent, one a tick; NaN is drawn as nothing.
    """
    with _figure(300) as (figure, axes):
        below = [0.0] * len(ticks)
        for one in series:
            heights = [0.0 if math.isnan(value) else value for value in one.values]
            axes.bar(ticks, heights, 0.86, below, color=one.color, label=one.name)
            below = [low + height for low, height in zip(below, heights, strict=True)]
        axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, 100), xlim=(-0.6, len(ticks) - 0.4))
        axes.grid(False)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside upper left",
            ncols=2,
            handlelength=1,
            handleheight=1,
            columnspacing=1.5,
            borderaxespad=0.2,
        )
        return _graphic(figure, name, title)


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
    top: float | None = None,
    line: Series | None = None,
) -> Graphic:
    """Upright bars with their values written above.

    Args:
        values: one a tick; NaN leaves the place empty and says "none".
        level: name and height of a dashed line across, e.g. the overall value.
        top: end of the axis; by default what fits.
        line: a second quantity in the same unit, drawn as a line with points over the bars.
    """
    with _figure(240) as (figure, axes):
        places = range(len(ticks))
        known = [0.0 if math.isnan(value) else value for value in values]
        axes.bar(places, known, 0.72, color=color)
        end = top if top is not None else 1.18 * max([*known, level[1] if level else 0.0, *_finite(line), 1e-9])
        for place, value in zip(places, values, strict=True):
            text = "none" if math.isnan(value) else f"{value:.1f}"
            height = 0.0 if math.isnan(value) else value
            axes.annotate(text, (place, height), (0, 2.5), textcoords="offset points", ha="center", fontsize=9)
        handles: list[Artist] = []
        if level is not None:
            handles.append(axes.axhline(level[1], color=_INK, linestyle=(0, (4, 3)), linewidth=1.2, label=level[0]))
        if line is not None:
            handles += axes.plot(places, line.values, color=line.color, marker="o", markersize=5, label=line.name)
        if handles:
            figure.legend(handles=handles, loc="outside upper left", ncols=2, borderaxespad=0.2)
        axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, end), xlim=(-0.6, len(ticks) - 0.4))
        axes.set_xticks(list(places), ticks)
        return _graphic(figure, name, title)


def lying_bars(
    name: str,
    title: str,
    labels: Sequence[str],
    values: Sequence[float],
    colors: Sequence[str],
    xlabel: str,
    *,
    bars_are: str,
    points: Series | None = None,
) -> Graphic:
    """Lying bars, first on top, with their values written at the end, and perhaps a second value as a point.

    Args:
        values: one a label, finite; may be negative.
        colors: one a label.
        bars_are: what the bars mean, for the legend.
        points: a second value a label, in the same unit.
    """
    with _figure(88 + 30 * len(labels)) as (figure, axes):
        places = list(range(len(labels)))
        axes.barh(places, values, 0.66, color=colors)
        every = [*values, *_finite(points), 0.0]
        span = max(max(every) - min(every), 1e-9)
        handles: list[Artist] = [Patch(color=GREY, label=bars_are)]
        if points is not None:
            handles += axes.plot(
                points.values,
                places,
                linestyle="",
                marker="D",
                markersize=6.5,
                color=points.color,
                markeredgecolor=_INK,
                label=points.name,
            )
        for place, value in zip(places, values, strict=True):
            right = max(value, points.values[place]) if points is not None else value
            axes.annotate(signed(value), (right, place), (7, 0), textcoords="offset points", va="center", fontsize=9.5)
        figure.legend(handles=handles, loc="outside upper left", ncols=2, borderaxespad=0.2)
        axes.axvline(0, color=_INK, linewidth=0.8)
        axes.set(xlabel=xlabel, ylim=(len(labels) - 0.5, -0.5))
        axes.set_xlim(min(0.0, min(every) - 0.05 * span), max(every) + 0.17 * span)
        axes.set_yticks(places, labels)
        axes.spines.left.set_visible(False)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        return _graphic(figure, name, title)


def ranges(
    name: str,
    title: str,
    labels: Sequence[str],
    low: Sequence[tuple[float, str]],
    high: Sequence[tuple[float, str]],
    level: tuple[str, float],
    xlabel: str,
) -> Graphic:
    """A span from lowest to highest for each label, against a common level.

    Args:
        low, high: for each label the value, finite, and the name of the bucket that has it.
        level: name and value of the dashed line.
    """
    with _figure(84 + 40 * len(labels)) as (figure, axes):
        places = list(range(len(labels)))
        axes.hlines(places, [one[0] for one in low], [one[0] for one in high], color=GREY, linewidth=3)
        for color, side, ends in ((RED, "worst", low), (BLUE, "best", high)):
            axes.plot([one[0] for one in ends], places, linestyle="", marker="o", markersize=8, color=color, label=side)
            for place, (value, bucket) in zip(places, ends, strict=True):
                axes.annotate(
                    f"{bucket} {value:.1f}",
                    (value, place),
                    (0, 7),
                    textcoords="offset points",
                    ha="center",
                    fontsize=9,
                )
        axes.axvline(level[1], color=_INK, linestyle=(0, (4, 3)), linewidth=1.2, label=level[0])
        every = [level[1], *(one[0] for one in (*low, *high))]
        pad = 0.14 * max(max(every) - min(every), 1e-9)
        axes.set(xlabel=xlabel, ylim=(len(labels) - 0.5, -0.8), xlim=(min(every) - pad, max(every) + pad))
        axes.set_yticks(places, labels)
        axes.spines.left.set_visible(False)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=3, borderaxespad=0.2, columnspacing=1.2)
        return _graphic(figure, name, title)


def lines(
    name: str,
    title: str,
    x: Sequence[float],
    series: Sequence[Series],
    xlabel: str,
    ylabel: str,
    *,
    mark: tuple[str, float] | None = None,
) -> Graphic:
    """Lines with points over a common axis that starts at 0 upwards.

    Args:
        x: places of the points.
        series: each as long as ``x``.
        mark: name and place of a dotted upright line.
    """
    with _figure(240) as (figure, axes):
        for one, marker in zip(series, "osD^v" * len(series), strict=False):
            axes.plot(x, one.values, color=one.color, marker=marker, markersize=5.5, label=one.name)
        if mark is not None:
            axes.axvline(mark[1], color=_INK, linestyle=(0, (1, 2)), linewidth=1.2, label=mark[0])
        peak = max([value for one in series for value in _finite(one)] or [0.0])
        axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, max(1.12 * peak, 1e-9)))
        axes.set_xticks(list(x), [f"{value:g}" for value in x])
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=3, borderaxespad=0.2, columnspacing=1.2)
        return _graphic(figure, name, title)


def signed(value: float) -> str:
    """One decimal and always a sign, with the true minus."""
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _finite(series: Series | None) -> list[float]:
    return [value for value in series.values if math.isfinite(value)] if series is not None else []


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Axes]]:
    """An empty figure of the common width in the house style; the style lasts as long as the block."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH / 72, height / 72), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def _graphic(figure: Figure, name: str, title: str) -> Graphic:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    body = _clean(buffer.getvalue(), name)
    width, height = (72 * side for side in figure.get_size_inches())
    view = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{name}-title"'
    head = f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {view}'
    joins = 'stroke-linejoin="round" stroke-linecap="butt"'
    caption = f'<title id="{name}-title">{escape(title)}</title>'
    ground = f'<rect width="100%" height="100%" fill="{_PAPER}"/>'
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
