"""The frame of a page: self-contained, escaped, and strict about its templates."""

from __future__ import annotations

from collections.abc import Callable

import jinja2
import pytest

from untrimmed import __version__
from untrimmed.report import page as frame
from untrimmed.report.page import Grid, Panel
from untrimmed.report.plots import Graphic

Balanced = Callable[[str], list[str]]


def test_a_page_holds_its_fragments_and_nothing_from_elsewhere(balanced: Balanced) -> None:
    html = frame.page("Title <1>", "<p>one</p>", "<p>two</p>", lead="a & b")
    tags = balanced(html)
    assert tags.count("h1") == 1
    assert "<title>Title &lt;1&gt;</title>" in html
    assert "a &amp; b" in html
    assert html.index("<p>one</p>") < html.index("<p>two</p>")
    assert f"untrimmed {__version__}" in html
    assert "prefers-color-scheme: dark" in html
    assert "http" not in html
    assert "src=" not in html
    assert 'class="lead"' not in frame.page("x")


def test_tables_escape_and_align(balanced: Balanced) -> None:
    grid = Grid(("name", "n", "score"), [("<b>", "1", "2.5"), ("c", "3", "4.5")], bars=[25.0, 100.0])
    template = "{% from 'parts.html' import table %}{{ table(grid, 'A \"name\"', tall=true) }}"
    html = frame._environment().from_string(template).render(grid=grid)
    assert balanced(html).count("tr") == 3
    assert '<td class="word">&lt;b&gt;</td>' in html
    assert "<td>1</td>" in html
    assert '<td class="bar" style="--share: 25.0%">2.5</td>' in html
    assert 'class="scroll tall"' in html
    assert 'aria-label="A &#34;name&#34;"' in html


def test_a_panel_has_heading_figure_caption_and_table(balanced: Balanced) -> None:
    graphic = Graphic("g", "<svg><title>t</title></svg>", "")
    panel = Panel("Heading", graphic, "How to read it.", Grid(("a", "b"), [("x", "1")]))
    html = frame._environment().from_string("{% from 'parts.html' import panel %}{{ panel(one) }}").render(one=panel)
    assert [tag for tag in balanced(html) if tag in ("figure", "h3", "svg", "figcaption", "details", "table")] == [
        "figure",
        "h3",
        "svg",
        "figcaption",
        "details",
        "table",
    ]


def test_a_name_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        frame.fragment("page.html", title="x")
