"""How annotations and detections show themselves in a notebook: a small HTML table with a line of time for each row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

ROWS = 20
"""Rows that are shown; the caption says how many there are."""

_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e")
_WIDTH, _HEIGHT = 260, 12


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells are HTML, caption and header are text."""
    head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{cell}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f"<table><caption style='text-align:left'>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def timeline(spans: Iterable[tuple[float, float, str, int]], end: float) -> str:
    """A line of time from 0 to ``end`` seconds with a bar for each span, as SVG.

    Args:
        spans: start, end, name and number of the colour of each; starts and ends in seconds.
        end: of the line; above 0, or nothing is drawn.
    """
    if not end > 0:
        return ""
    bars = []
    for start, stop, name, number in spans:
        left = max(0.0, min(start / end, 1.0)) * _WIDTH
        width = max(1.0, (min(stop / end, 1.0)) * _WIDTH - left)
        bars.append(
            f"<rect x='{left:.1f}' y='0' width='{width:.1f}' height='{_HEIGHT}' "
            f"fill='{_COLOURS[number % len(_COLOURS)]}' fill-opacity='0.75'>"
            f"<title>{escape(name, quote=True)} {start:.2f} to {stop:.2f} s</title></rect>"
        )
    return (
        f"<svg width='{_WIDTH}' height='{_HEIGHT}' role='img'>"
        f"<rect x='0' y='{_HEIGHT - 2}' width='{_WIDTH}' height='2' fill='#8888'/>{''.join(bars)}</svg>"
    )


def counted(count: int, what: str) -> str:
    """``1 video``, ``2 videos``."""
    return f"{count} {what}{'' if count == 1 else 's'}"
