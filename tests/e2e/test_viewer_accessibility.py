"""The viewer for everybody: an audit with axe-core in both schemes, narrow and wide, and the way by keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from untrimmed.evaluation import evaluate
from untrimmed.report.sections import diagnosis_section, score_facts, score_section
from untrimmed.report.viewer import ResultSet, View, render
from untrimmed.types import Annotations

pytestmark = pytest.mark.browser

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def whole_page(shown: Any) -> Path:
    """The small page with scores and diagnosis."""
    part = Annotations.of(shown.truth.videos[name] for name in ("first", "second"))
    mine, theirs = shown.results
    scores = evaluate(mine, part, subset="all", resamples=50)
    file = shown.folder / "whole.html"
    file.write_text(
        render(
            [ResultSet(mine, "mine"), ResultSet(theirs, "theirs")],
            shown.truth,
            title="A page",
            facts=score_facts(scores),
            sections=[score_section(scores), diagnosis_section(mine, part, None, None)],
            served=True,
            view=View(sources={"first": "videos/first.mp4"}, threshold=0.2),
        )
    )
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1024, 1800])
def test_axe_finds_nothing_serious(browser: Any, whole_page: Path, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(whole_page.as_uri())
    page.wait_for_selector("html[data-ready]")
    page.evaluate("document.querySelectorAll('#bench details, .folded').forEach((one) => { one.open = true; })")
    page.locator("button.truth").first.click()
    found = axe.Axe().run(page, options={"runOnly": {"type": "tag", "values": RULES}}).response
    assert len(found["passes"]) > 20
    bad = [
        f"{one['impact']} {one['id']}: {node['target']} {node['failureSummary'][:300]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
    context.close()
    assert bad == []


def test_tab_reaches_everything_in_the_order_of_reading(browser: Any, whole_page: Path) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(whole_page.as_uri())
    page.wait_for_selector("html[data-ready]")
    seen: list[str] = []
    for _ in range(70):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "(() => { const e = document.activeElement; return e.id || e.dataset.key || e.className || e.tagName; })()"
        )
        seen.append(name)
        if name == "export-json":
            break
    order = ["search", "sort", "player", "play", "zoom-in", "next-error", "threshold", "label", "export-json"]
    places = [seen.index(name) for name in order]
    assert places == sorted(places), seen
    assert sum(name.startswith(("truth ", "found ")) for name in seen) == 1, "the lanes are one stop of the Tab key"
    page.close()


def test_what_happens_is_announced(browser: Any, whole_page: Path) -> None:
    page = browser.new_page()
    page.goto(whole_page.as_uri())
    page.wait_for_selector("html[data-ready]")
    # A screen reader says what changes within an element of this role that is there from the start.
    said, wrong = page.locator("#said[role=status]"), page.locator("#wrong[role=alert]")
    assert said.inner_text() == ""
    page.get_by_role("button", name="jump, 0:12.5 to 0:16.0, truth").click()
    page.keyboard.press("Delete")
    assert said.inner_text() == "jump deleted, 0:12.5 to 0:16.0"
    page.keyboard.press("Control+z")
    assert said.inner_text() == "Undone: jump deleted, 0:12.5 to 0:16.0"
    page.get_by_role("button", name="jump, 0:12.5 to 0:16.0, truth").click()
    page.locator("#end").fill("1")
    page.locator("#end").press("Tab")
    assert wrong.inner_text() == "The end must come after the start."
    assert page.locator("#end").get_attribute("aria-invalid") == "true"
    page.close()
