"""The diagnosis page in a real browser: nothing fetched, nothing cut off, no two texts of a figure on each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.evaluation import diagnose
from untrimmed.report import diagnosis as report
from untrimmed.types import Annotations, Detections, Instances, Video

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTHS = (390, 1024, 1800)

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


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(0)
    videos, rows = [], []
    for number in range(300):
        starts = generator.uniform(0, 200, 5)
        segments = np.stack([starts, starts + generator.exponential(60, 5)], axis=1)
        labels = [f"class {generator.integers(40)}" for _ in starts]
        extra = [
            {"context-size": int(size), "context-distance": int(size % 4), "agreement": float(generator.random())}
            for size in generator.integers(0, 7, 5)
        ]
        videos.append(Video(f"v{number}", "validation", 240.0, None, Instances(segments, labels, extra)))
        for (start, end), label in zip(segments, labels, strict=True):
            shifts = generator.normal(0, 0.1 * (end - start), (3, 2))
            rows += [(f"v{number}", label, start + a, end + b, float(generator.random())) for a, b in shifts]
    folder = tmp_path_factory.mktemp("page")
    return report.write(diagnose(Detections.of(rows), Annotations.of(videos)), folder, "Diagnosis of invented.json")[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_off_or_fetched(browser: Any, page_file: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("figure").count() == 18
    assert page.evaluate(COLLISIONS) == []
    assert page.evaluate(SMALLEST) >= 8
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    dark = sum(map(int, paper[4:-1].split(", "))) < sum(map(int, ink[4:-1].split(", ")))
    assert dark == (scheme == "dark")
    context.close()


def test_every_table_opens(browser: Any, page_file: Path) -> None:
    page = browser.new_context(viewport={"width": 390, "height": 900}).new_page()
    page.goto(page_file.as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    assert page.locator("details[open]").count() == page.locator("details").count() == 19
    assert page.evaluate("document.documentElement.scrollWidth") == 390
