"""What every figure stands on: colours, a style, an empty area of the common width, and the way to clean SVG text.

A graphic exists in two forms. ``inline`` is for a page: text and axes take their colours from CSS variables
(``--ink``, ``--faint``, ``--paper``), so that one figure serves a light and a dark page, the ids are prefixed with
the figure's name, so that many figures can share a page, and the size is the page's choice. ``file`` stands alone:
fixed colours on white and a size of its own.

Text stays text (searchable, small files) in the reader's own sans-serif; it is laid out with the metrics of DejaVu
Sans, which is wider than the fonts that replace it, so nothing overlaps where the reader has another one. Figures
are 360 units wide: at one unit a pixel they fit a telephone, where the smallest text is 9 pixels high.

The colours of data are those of Okabe and Ito (2008), which people with any common colour blindness tell apart; they
are readable on white and on near-black.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

GREEN, BLUE, SKY, ORANGE, RED, PURPLE, GREY = (
    "#009e73",
    "#0072b2",
    "#56b4e9",
    "#e69f00",
    "#d55e00",
    "#cc79a7",
    "#8c8f94",
)

INK, FAINT, PAPER = "#24292f", "#d0d4d9", "#fffffe"
_VARIABLES = {INK: f"var(--ink, {INK})", FAINT: f"var(--faint, {FAINT})", PAPER: f"var(--paper, {PAPER})"}
_HALO = f"paint-order: stroke; stroke: {PAPER}; stroke-width: 4px; "
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
FIGURE_WIDTH, UPRIGHT = 360.0, 46.0
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "svg.fonttype": "none",
    "svg.hashsalt": "untrimmed",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.labelsize": 9.5,
    "xtick.major.size": 0,
    "ytick.color": INK,
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
    """One line or one kind of bar: a name for the legend, its values in order, a colour (lying bars: one a value)."""

    name: str
    values: Sequence[float]
    color: str | Sequence[str]


@contextmanager
def drawing_area(plot: float, *, left: float, below: int = 1, legend: int = 0) -> Iterator[tuple[Figure, Axes]]:
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
        figure = Figure(figsize=(FIGURE_WIDTH / 72, height / 72))
        FigureCanvasSVG(figure)
        box = (left / FIGURE_WIDTH, bottom / height, (FIGURE_WIDTH - left - 8) / FIGURE_WIDTH, plot / height)
        yield figure, figure.add_axes(box)


def finished(figure: Figure, name: str, title: str) -> Graphic:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The reader's own fonts draw the text, and may well have what DejaVu Sans lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
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
