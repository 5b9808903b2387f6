"""The frame of every HTML page: one file, nothing fetched from elsewhere, light and dark, from telephone to wall.

A report is a *fragment* (sections of headings, figures and tables, from a template that uses the macros of
``templates/parts.html``) and :func:`page` puts one or several of them into a document. Everything that comes from
files of the user is escaped by the templates; only finished fragments and figures are marked safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from untrimmed import __version__
from untrimmed.report.plots import Graphic


@dataclass(frozen=True)
class Grid:
    """A table of finished texts.

    Args:
        header: one text a column.
        rows: as long as the header each.
        left: how many columns from the left are words, flush left; the others are numbers, flush right.
        bars: percent, 0 to 100, of a bar behind the last cell of each row; empty for none.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    bars: Sequence[float] = ()


@dataclass(frozen=True)
class Panel:
    """A figure with its heading, one or two sentences that say how to read it, and its numbers as a table."""

    heading: str
    graphic: Graphic
    caption: str
    grid: Grid

    @property
    def svg(self) -> Markup:
        """The figure, marked as safe to stand in the page."""
        return Markup(self.graphic.inline)


def fragment(template: str, **values: Any) -> str:
    """Fill one of the package's templates; texts are escaped.

    Args:
        template: file name in ``templates``.
        values: what its names stand for.
    """
    return _environment().get_template(template).render(values)


def page(title: str, *fragments: str, lead: str = "", styles: str = "", script: str = "", policy: str = "") -> str:
    """A whole HTML document.

    Args:
        title: plain text, for the tab and the heading.
        fragments: finished HTML, in order.
        lead: plain text under the heading.
        styles: style sheet of the page, besides that of every page.
        script: an ES module.
        policy: the page's Content-Security-Policy.
    """
    return fragment(
        "page.html",
        title=title,
        lead=lead,
        body=Markup("\n").join(Markup(part) for part in fragments),
        styles=Markup(styles),
        script=Markup(script),
        policy=Markup(policy),
        version=__version__,
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("untrimmed.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
