"""What tests of pages share."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

COLLISIONS = """() => [...document.querySelectorAll('figure svg')].flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
    const bad = texts.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1
        || box.top < frame.top - 1 || box.bottom > frame.bottom + 1).map(([text]) => `cut off: ${text}`);
    texts.forEach(([text, a], i) => texts.slice(i + 1).forEach(([other, b]) => {
        // Boxes of letters are taller than the letters: a little overlap of the boxes is none of the text.
        if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
            && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.3 * Math.min(a.height, b.height))
            bad.push(`${text} on ${other}`);
    }));
    return bad.map(what => `${svg.querySelector('title').textContent}: ${what}`);
})"""

SMALLEST = """() => Math.min(...[...document.querySelectorAll('figure svg')].flatMap(svg => {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    return [...svg.querySelectorAll('text')].map(text => scale * parseFloat(getComputedStyle(text).fontSize));
}))"""

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Balanced(HTMLParser):
    """Fails on an element that is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def tags_in_order(html: str) -> list[str]:
    parser = Balanced()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser.seen


@pytest.fixture(scope="session")
def balanced() -> Callable[[str], list[str]]:
    """A function that gives the tags of a document, in order, and fails if they are not properly nested."""
    return tags_in_order


@pytest.fixture
def seen(browser: Any) -> Callable[[Path, int, str], int]:
    """A function that opens a page at a width, light or dark, and gives how many figures it has; fails if anything is
    fetched, cut off or too small, or two texts of a figure lie on each other."""

    def look(file: Path, width: int, scheme: str) -> int:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        assert said == []
        assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(COLLISIONS) == []
        assert page.evaluate(SMALLEST) >= 8
        paper, ink = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        dark = sum(map(int, paper[4:-1].split(", "))) < sum(map(int, ink[4:-1].split(", ")))
        assert dark == (scheme == "dark")
        figures: int = page.locator("figure").count()
        context.close()
        return figures

    return look
