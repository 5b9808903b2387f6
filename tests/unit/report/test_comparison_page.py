"""The page of a comparison: every change is counted, the largest are drawn, whatever the names look like."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation import Changes, Comparison, compare, find_changes
from untrimmed.report import comparison as report
from untrimmed.report.drawing import GREEN, Graphic
from untrimmed.report.timelines import Bar, Lane, one_line, timelines
from untrimmed.types import Annotations, Detections, Instances, Video

NASTY = ("<b>&amp; $x$</b>", "</svg><script>alert(1)</script>", "two\nlines\x07", "很长的名字" * 12, "\u202egnol " * 20)
SVG = "{http://www.w3.org/2000/svg}"


def truth() -> Annotations:
    generator = np.random.default_rng(0)
    videos = []
    for number in range(12):
        starts = generator.uniform(0, 180, 6)
        segments = np.stack([starts, starts + generator.uniform(2, 20, 6)], axis=1)
        labels = tuple(NASTY[place] for place in generator.integers(len(NASTY), size=6))
        videos.append(Video(f"v<{number}>", "validation", 240.0, instances=Instances(segments, labels)))
    return Annotations.of(videos, "tiny & new")


def result(seed: int, noise: float) -> Detections:
    generator = np.random.default_rng(seed)
    rows: list[tuple[str, str | None, float, float, float]] = []
    for video in truth():
        for (start, end), label in zip(video.instances.segments.tolist(), video.instances.labels, strict=True):
            for _ in range(3):
                shift = generator.normal(0, noise * (end - start), 2)
                name = label if generator.random() < 0.8 else [*NASTY, None][generator.integers(6)]
                rows.append((video.id, name, start + shift[0], end + shift[1], float(generator.random())))
    return Detections.of(rows)


def both(a: Detections, b: Detections, annotations: Annotations) -> tuple[Comparison, Changes]:
    return compare(a, b, annotations, resamples=20), find_changes(a, b, annotations)


@pytest.fixture(scope="module")
def content() -> tuple[Comparison, Changes]:
    return both(result(1, 0.3), result(2, 0.2), truth())


@pytest.fixture(scope="module")
def html(content: tuple[Comparison, Changes]) -> str:
    return report.page(*content, ("a<1>.json", "b & co"), "a<1>.json and b & co")


def cells(html: str) -> list[str]:
    return [unescape(text) for text in re.findall(r"<td[^>]*>([^<]*)</td>", html)]


def section(html: str, name: str) -> str:
    return re.search(rf'<section aria-labelledby="comparison-{name}">.*?</section>', html, re.DOTALL)[0]


def test_the_page_is_one_sound_self_contained_document(html: str, balanced: Callable[[str], list[str]]) -> None:
    assert html.startswith("<!doctype html>")
    assert "<title>a&lt;1&gt;.json and b &amp; co</title>" in html
    assert "A is a&lt;1&gt;.json, B is b &amp; co." in html
    assert "http" not in html.replace("http://www.w3.org/", "")
    assert "<script" not in html
    assert "src=" not in html
    balanced(html)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]+)"', html)) <= set(ids)


def test_it_is_the_same_each_time(content: tuple[Comparison, Changes]) -> None:
    assert report.page(*content) == report.page(*both(result(1, 0.3), result(2, 0.2), truth()))


def test_the_scores_are_those_that_compare_prints(content: tuple[Comparison, Changes], html: str) -> None:
    printed = str(content[0])
    values = cells(section(html, "scores"))
    for item in (*content[0].mAP.values(), *content[0].averages.values()):
        for text in item.cells:
            assert text in values
            assert text in printed
    assert len(content[0].score_rows[0]) == 6


def test_everything_is_counted(content: tuple[Comparison, Changes], html: str) -> None:
    changes = content[1]
    counts = changes.counts
    tiles = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)<", html))
    assert tiles["gained"] == str(len(changes.gained)) == str(counts["gained"])
    assert tiles["missed by both"] == str(counts["missed_both"])
    changed = section(html, "changes")
    for label, row in changes.per_class.items():
        # What a table shows of a label is all of it; only figures shorten.
        at = changed.index(
            f'<td class="word">{label}'.replace(
                label, re.sub("&", "&amp;", label).replace("<", "&lt;").replace(">", "&gt;")
            )
        )
        assert re.findall(r"<td>([\d,]+)</td>", changed[at:])[: len(row)] == [str(n) for n in row.values()]
    for side in changes.shown:
        assert f"{100 * side.precision:.2f}" in cells(changed)


@pytest.mark.parametrize("kind", ["gained", "lost", "better", "worse"])
def test_the_largest_changes_are_drawn_with_all_that_is_there(
    content: tuple[Comparison, Changes], html: str, kind: str
) -> None:
    every = getattr(content[1], kind)
    assert len(every) > report.MOST
    part = section(html, kind)
    assert f"6 of {len(every)}." in part
    figures = re.findall(r"<figure>.*?</figure>", part, re.DOTALL)
    assert len(figures) == report.MOST
    for figure, one in zip(figures, every, strict=False):
        values = cells(figure)
        svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", figure, re.DOTALL)[0])
        words = [text.text or "" for text in svg.iter(f"{SVG}text")]
        assert f"{one.start:.2f} to {one.end:.2f} s" in words
        for each in (*one.a.detections, *one.b.detections):
            assert any(f"{each.start:.2f} to {each.end:.2f} s, tIoU {each.tiou:.2f}" in text for text in words)
            assert f"{each.tiou:.3f}" in values
            assert f"{each.start:.2f}" in values
        assert svg.get("role") == "img"
        title = svg.find(f"{SVG}title").text or ""
        assert f"{one.start:.2f} to {one.end:.2f} s. A " in title
        assert one_line(one.label) in title
        assert ("B found it" in title) == (kind != "lost")
        caption = unescape(re.search(r"<figcaption>(.*?)</figcaption>", figure, re.DOTALL)[1])
        assert title.endswith(caption)


def test_few_and_no_changes() -> None:
    annotations = Annotations.of([Video("v", "validation", 9.0, instances=Instances([[0, 4], [5, 8]], ("x", "y")))])
    same = Detections.of([("v", "x", 0, 4, 0.9)])
    html = report.page(*both(same, same, annotations))
    assert html.count("<p>None.</p>") == 4
    assert "<figure>" not in html
    more = Detections.of([("v", "x", 0, 4, 0.9), ("v", "y", 5, 8, 0.9)])
    html = report.page(*both(same, more, annotations))
    assert "1 of 1." in section(html, "gained")
    assert "nothing shown" in section(html, "gained")
    assert "1, none drawn." in report.page(*both(same, more, annotations), most=0)


def test_a_test_that_is_none_is_called_so() -> None:
    known = Detections.of(list(result(1, 0.3).rows()))
    known = type(known)(
        **{**{name: getattr(known, name) for name in known.__dataclass_fields__}, "trained_on": tuple(truth().videos)}
    )
    assert "this is no test" in report.page(*both(known, result(2, 0.2), truth()))


def test_it_is_written(content: tuple[Comparison, Changes], tmp_path: Path) -> None:
    file = report.write(*content, tmp_path / "page.html")
    assert file.read_text(encoding="utf-8") == report.page(*content)
    with pytest.raises(InputError, match="nowhere"):
        report.write(*content, tmp_path / "nowhere" / "page.html")


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1800])
def test_nothing_is_cut_off_or_fetched(
    content: tuple[Comparison, Changes],
    tmp_path: Path,
    seen: Callable[[Path, int, str], int],
    width: int,
    scheme: str,
) -> None:
    file = report.write(*content, tmp_path / "page.html", ("a<1>.json" * 20, "b & co"))
    assert seen(file, width, scheme) == 4 * report.MOST


# Lines of time ---------------------------------------------------------------------------------------------------


def drawn(*bars: Bar, others: Any = (), truth: Bar | None = None) -> Graphic:
    return timelines("t", "T", truth or Bar(10, 20, "x", "10 to 20 s"), [Lane("A", GREEN, bars)], others)


def test_bars_that_go_on_have_an_arrowhead() -> None:
    def arrows(*bars: Bar) -> int:
        return len(re.findall(r"<use |<path [^>]*clip-path[^>]*stroke-linejoin: miter", drawn(*bars).inline))

    inside = arrows(Bar(8, 24))
    assert arrows(Bar(-90, 18)) - inside == 1
    assert arrows(Bar(9, 300)) - inside == 1
    assert arrows(Bar(-90, 300)) - inside == 2


def test_what_is_shown_is_no_wider_than_it_must_be() -> None:
    def ends(graphic: Graphic) -> tuple[float, float]:
        root = ElementTree.fromstring(graphic.inline)
        ticks = []
        for text in root.iter(f"{SVG}text"):
            words = (text.text or "").replace("\N{MINUS SIGN}", "-")
            if re.fullmatch(r"-?[\d.]+", words):
                ticks.append(float(words))
        return min(ticks), max(ticks)

    assert 8 <= ends(drawn(Bar(11, 19)))[0] <= 10
    low, high = ends(drawn(Bar(-500, 900)))
    # 10 to 20, one and a half lengths more on either side, and a margin of 0.15 of these 40 seconds.
    assert low >= -11
    assert high <= 41


@pytest.mark.parametrize(("start", "length"), [(0.0, 0.5), (12345.2, 0.7), (3.0, 9000.0), (1e6, 3.0)])
def test_ticks_are_plain_seconds(start: float, length: float) -> None:
    graphic = drawn(Bar(start, start + length), truth=Bar(start, start + length))
    words = [text.text or "" for text in ElementTree.fromstring(graphic.inline).iter(f"{SVG}text")]
    ticks = [float(word) for word in words if re.fullmatch(r"[\d.]+", word)]
    assert 2 <= len(ticks) <= 7
    assert start - length <= ticks[0] < ticks[-1] <= start + 2 * length
    assert not any("e" in word or "+" in word for word in words if word[:1].isdigit())


def test_texts_are_one_line_and_fit() -> None:
    assert one_line("a\n b\t\x07c\u202ed") == "a b c d"
    assert one_line("abcdef", 6) == "abcdef"
    assert one_line("abcdefg", 6) == "abcde…"
    assert one_line("很长的名字", 6) == "很长…"
    assert one_line("很长的", 6) == "很长的"
    assert one_line("", 3) == ""
    assert one_line("abc", 0) == "…"
    words = [
        text.text for text in ElementTree.fromstring(drawn(Bar(9, 21, "w" * 200, "f" * 30)).inline).iter(f"{SVG}text")
    ]
    assert "w" * 29 + "…" in words
