"""A report of 200 videos and 40,000 detections: quick to open, smooth to scroll, by the browser's own measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.evaluation import evaluate
from untrimmed.formats.curves import Curves
from untrimmed.report.sections import diagnosis_section, score_facts, score_section
from untrimmed.report.viewer import ResultSet, render
from untrimmed.types import Annotations, Detections, Instances, Video

pytestmark = [pytest.mark.browser, pytest.mark.slow]

VIDEOS, EACH, CLASSES = 200, 200, 20

WATCH = """
window.long = [];
new PerformanceObserver((list) => {
    for (const one of list.getEntries()) window.long.push([one.startTime, one.duration]);
}).observe({ type: 'longtask', buffered: true });
"""

SCROLL = """async () => {
    const frames = (count) => new Promise((done) => {
        const step = () => (count-- > 0 ? requestAnimationFrame(step) : done());
        step();
    });
    const list = document.getElementById('list');
    const begun = performance.now();
    while (list.scrollTop < list.scrollHeight - list.clientHeight - 1) { list.scrollTop += 150; await frames(1); }
    for (let y = 0; y < document.documentElement.scrollHeight; y += 200) { scrollTo(0, y); await frames(1); }
    for (let y = document.documentElement.scrollHeight; y > 0; y -= 200) { scrollTo(0, y); await frames(1); }
    await frames(10);
    return begun;
}"""


BUSY = """async () => {
    const begun = performance.now();
    await new Promise(done => setTimeout(() => { while (performance.now() < begun + 130); setTimeout(done, 100); }));
    return begun;
}"""


def longest(page: Any, begun: float) -> float:
    """The longest task since then, in milliseconds; 0 if none took more than 50."""
    return max((duration for start, duration in page.evaluate("window.long") if start >= begun), default=0.0)


def whole_report() -> str:
    """A report with everything in it: truth, two minutes of video each, curves, scores and diagnosis."""
    generator = np.random.default_rng(0)
    labels = [f"class {number}" for number in range(CLASSES)]
    videos, rows, curves = [], [], {}
    for number in range(VIDEOS):
        starts = np.sort(generator.uniform(0, 110, 12))
        segments = np.stack([starts, starts + generator.uniform(1, 9, 12)], axis=1)
        names = tuple(labels[place] for place in generator.integers(CLASSES, size=12))
        videos.append(Video(f"video {number:03}", "test", 120.0, instances=Instances(segments, names)))
        picks = generator.integers(12, size=EACH)
        shifts = generator.normal(0, 0.8, (EACH, 2))
        for pick, (a, b) in zip(picks, shifts, strict=True):
            start = max(segments[pick, 0] + a, 0.0)
            end = max(segments[pick, 1] + b, start + 0.2)
            label = names[pick] if generator.random() < 0.6 else labels[generator.integers(CLASSES)]
            rows.append((f"video {number:03}", label, start, end, float(generator.beta(1, 3))))
        values = {name: generator.random(256).round(3).astype(np.float32) for name in ("start", "end", "action")}
        curves[f"video {number:03}"] = Curves(0.0, 120 / 256, values)
    truth, found = Annotations.of(videos), Detections.of(rows)
    assert len(found) == VIDEOS * EACH
    scores = evaluate(found, truth, subset="all", resamples=100)
    return render(
        [ResultSet(found, curves=curves)],
        truth,
        title="At scale",
        facts=score_facts(scores),
        sections=[score_section(scores), diagnosis_section(found, truth, None, None)],
    )


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scale") / "report.html"
    file.write_text(whole_report())
    return file


def test_it_opens_in_two_seconds_and_scrolls_without_long_tasks(browser: Any, page_file: Path) -> None:
    times, worst = [], []
    for _ in range(3):
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        page = context.new_page()
        page.add_init_script(WATCH)
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready]")
        # Until the first picture is on the screen, with the script done: both by the browser's clock.
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        times.append(max(paint, loaded) / 1000)
        page.wait_for_timeout(300)
        worst.append(longest(page, page.evaluate(SCROLL)))
        assert page.locator("#list button").count() == VIDEOS
        page.locator("#diagnosis > summary").click()
        page.wait_for_timeout(300)
        worst[-1] = max(worst[-1], longest(page, page.evaluate(SCROLL)))
        assert longest(page, page.evaluate(BUSY)) >= 120, "the browser measures no long tasks"
        context.close()
    print(f"opened in {min(times):.2f} s, longest task while scrolling {min(worst):.0f} ms")
    # The best of three: the machine may be busy with something else, which is not the page's doing.
    assert min(times) <= 2.0, times
    assert min(worst) <= 100.0, worst


def test_the_slider_and_the_next_video_answer_at_once(browser: Any, page_file: Path) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.wait_for_selector("html[data-ready]")
    taken = """(action) => { const begun = performance.now(); action(); document.body.offsetHeight;
        return performance.now() - begun; }"""
    move = "() => { threshold.value = %s; threshold.dispatchEvent(new Event('input')); }"
    steps = [page.evaluate(f"({taken})({move % value})") for value in (0.0, 0.1, 0.2, 0.3, 0.0)]
    steps += [page.evaluate(f"({taken})(() => next.click())") for _ in range(5)]
    context.close()
    assert np.median(steps) <= 100.0, steps
