"""The diagnosis page in a real browser: nothing fetched, nothing cut off, no two texts of a figure on each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.evaluation import diagnose
from untrimmed.report import diagnosis as report
from untrimmed.types import Annotations, Detections, Instances, Video

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTHS = (390, 1024, 1800)


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
def test_nothing_is_cut_off_or_fetched(
    page_file: Path, seen: Callable[[Path, int, str], int], width: int, scheme: str
) -> None:
    assert seen(page_file, width, scheme) == 18


def test_every_table_opens(browser: Any, page_file: Path) -> None:
    page = browser.new_context(viewport={"width": 390, "height": 900}).new_page()
    page.goto(page_file.as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    assert page.locator("details[open]").count() == page.locator("details").count() == 19
    assert page.evaluate("document.documentElement.scrollWidth") == 390
