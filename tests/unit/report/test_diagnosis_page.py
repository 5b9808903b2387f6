"""The page of a diagnosis: every number finds its place, whatever the data look like."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation import Diagnosis, diagnose
from untrimmed.evaluation.text import percent
from untrimmed.report import diagnosis as report
from untrimmed.report.diagnosis_panels import panels
from untrimmed.report.plots import Graphic
from untrimmed.types import Annotations, Detections, Instances, Video


def truth(keyed: bool = True, classes: int = 3) -> Annotations:
    generator = np.random.default_rng(0)
    videos = []
    for number in range(8):
        starts = generator.uniform(0, 180, 5)
        segments = np.stack([starts, starts + generator.uniform(1, 60, 5)], axis=1)
        labels = [f"class <{generator.integers(classes)}> & $x$" for _ in starts]
        keys = ("context-size", "context-distance", "agreement")
        extra = [dict(zip(keys, (place % 7, place % 4, 0.1 + 0.2 * place), strict=True)) for place in range(5)]
        extra[0]["agreement"] = None
        instances = Instances(segments, labels, extra if keyed else ())
        videos.append(Video(f"v{number}", "validation", 240.0, None, instances))
    return Annotations.of(videos, version="tiny & new")


def found(annotations: Annotations) -> Detections:
    generator = np.random.default_rng(1)
    rows = []
    for video in annotations:
        for (start, end), label in zip(video.instances.segments, video.instances.labels, strict=True):
            for _ in range(4):
                shift = generator.normal(0, 0.15 * (end - start), 2)
                rows.append((video.id, label, start + shift[0], end + shift[1], float(generator.random())))
    rows.append(("nowhere", video.instances.labels[0], 0.0, 1.0, 0.5))
    return Detections.of(rows)


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return diagnose(found(truth()), truth())


@pytest.fixture(scope="module")
def html(diagnosis: Diagnosis) -> str:
    return report.page(diagnosis, "Diagnosis of <mine>.json")


@pytest.fixture(scope="module")
def graphics(diagnosis: Diagnosis) -> tuple[Graphic, ...]:
    return report.figures(diagnosis)


def cells(html: str) -> list[str]:
    return [unescape(text) for text in re.findall(r"<td[^>]*>([^<]*)</td>", html)]


def test_the_page_is_one_sound_self_contained_document(html: str, balanced: Callable[[str], list[str]]) -> None:
    assert html.startswith("<!doctype html>")
    assert "<title>Diagnosis of &lt;mine&gt;.json</title>" in html
    assert "http" not in html.replace("http://www.w3.org/", "")
    assert "<script" not in html
    assert "src=" not in html
    balanced(html)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'aria-labelledby="([^"]+)"', html):
        assert target in ids
    assert "subset validation of tiny &amp; new: 8 videos, 40 instances of 3 classes, 161 detections." in html


def test_every_figure_has_a_heading_a_caption_and_a_table(html: str, graphics: tuple[Graphic, ...]) -> None:
    names = [graphic.name for graphic in graphics]
    keys = ("coverage", "length", "num-instances", "context-size", "context-distance", "agreement")
    assert names == [
        "score-by-tiou",
        "error-profile",
        "error-profile-at",
        "error-gains",
        "sensitivity",
        "accumulated-map",
        *(f"{what}-{key}" for key in keys for what in ("score", "missed")),
    ]
    figures = re.findall(r"<figure>.*?</figure>", html, flags=re.DOTALL)
    assert len(figures) == len(names)
    assert {re.search(r'aria-labelledby="([^"]+)-title"', one)[1] for one in figures} == set(names)
    for one in figures:
        caption = re.search(r"<figcaption>(.*?)</figcaption>", one, flags=re.DOTALL)[1]
        assert 1 <= len(re.findall(r"[.] |[.]$", caption)) <= 2, caption
        assert re.search(r"<h3>.+</h3>", one)
        assert "<td" in one


def test_axes_are_labelled_with_units(graphics: tuple[Graphic, ...]) -> None:
    texts = {graphic.name: graphic.inline for graphic in graphics}
    for name, label in {
        "score-by-tiou": "tIoU threshold",
        "error-profile": "share of the slice (%)",
        "error-gains": "gain of mAP_N (percentage points)",
        "sensitivity": "mAP_N (%)",
        "accumulated-map": "length (s)",
        "score-length": "length (s)",
        "missed-coverage": "missed (%)",
        "score-num-instances": "number of instances (in the video)",
    }.items():
        assert f">{label}</text>" in texts[name]


def test_numbers_stand_in_the_page(diagnosis: Diagnosis, html: str) -> None:
    values = cells(html)
    assert f"{100 * diagnosis.mAP_N.mean():.2f}" in html
    assert f"{100 * diagnosis.evaluation.mAP[diagnosis.at]:.2f}" in html
    for value in diagnosis.evaluation.ap.ravel():
        assert f"{100 * value:.2f}" in values
    for group in diagnosis.evaluation.lengths:
        assert f"{group.instances:,}" in values
    for one in diagnosis.characteristics:
        for bucket in one.buckets:
            assert (f"{100 * bucket.average:.2f}" if bucket.instances else "-") in values
    assert "1 detection in videos that the subset lacks, e.g. nowhere: false positives" in html
    assert "Not known for 8 instances, which are in no bucket." in html


def test_the_page_frames_the_fragment(diagnosis: Diagnosis, html: str) -> None:
    assert report.render(diagnosis).strip() in html


def test_classes_are_sorted_by_ap(diagnosis: Diagnosis, html: str) -> None:
    order = np.argsort(-diagnosis.evaluation.ap.mean(axis=0))
    names = [name for name in cells(html) if name in diagnosis.evaluation.classes]
    assert names == [diagnosis.evaluation.classes[k] for k in order]


def test_one_threshold_has_no_curve_and_no_second_profile() -> None:
    single = diagnose(found(truth()), truth(keyed=False), tious=[0.5])
    names = [graphic.name for graphic in report.figures(single)]
    assert names[:4] == ["error-profile", "error-gains", "sensitivity", "accumulated-map"]
    html = report.page(single)
    assert "points of mAP_N at tIoU 0.5." in html
    assert "mean over tIoU" not in html


def test_sentences_say_what_the_numbers_say(diagnosis: Diagnosis) -> None:
    first, gain, hangs, lengths, classes = report._findings(diagnosis)
    shares = diagnosis.false_positives.shares(diagnosis.at)[0]
    assert f"{100 * shares[0]:.0f} % are right at tIoU 0.5" in first
    gains = diagnosis.false_positives.gains
    assert "points of mAP_N on average over tIoU 0.5:0.95" in gain
    assert f"{100 * gains.mean(axis=0).max():+.1f}" in gain
    assert f"{100 * gains[0].max():+.1f}" in gain
    assert not any(one.matters for one in diagnosis.characteristics)
    assert hangs.startswith("No characteristic stands out")
    assert f"of {100 * diagnosis.contributions.sum():.2f}" in lengths
    assert classes.startswith("The hardest classes are class <")


def test_only_what_is_beyond_luck_is_a_finding(diagnosis: Diagnosis) -> None:
    """With buckets that chance makes as well, no text speaks of what could be won, or of what the score hangs on."""
    html = re.sub(r"<details>.*?</details>", "", report.page(diagnosis), flags=re.DOTALL)
    assert "could be won" not in html
    assert "hangs" not in html
    size = next(one for one in diagnosis.characteristics if one.key == "context-size")
    low, high = (replace(bucket, chance=(0.0, 1.0)) for bucket in size.buckets[:2])
    buckets = (replace(low, average=0.1, chance=(0.4, 0.5)), replace(high, average=0.62, chance=(0.3, 0.6)))
    telling = replace(diagnosis, characteristics=(diagnosis.lengths, replace(size, buckets=buckets)))
    sentence = report._findings(telling)[2]
    assert sentence == (
        f"mAP_N differs by context size, most clearly in bucket 0 ({low.instances} instances): 10.00, where as many "
        "instances drawn at random reach 40.00 to 50.00."
    )
    drawn = panels(telling)
    assert [row[-1] for row in drawn["sensitivity"].grid.rows] == ["no", "yes"]
    assert [row[3] for row in drawn["score-context-size"].grid.rows] == ["40.0 to 50.0", "30.0 to 60.0"]
    assert "by chance" in drawn["score-context-size"].graphic.inline


def test_the_length_table_prefers_the_normalised_score_and_says_why(diagnosis: Diagnosis) -> None:
    grid = report._length_grid(diagnosis)
    assert grid.header[:4] == ("length in s", "instances", "mAP_N, mean", "mAP, mean")
    for row, bucket, group in zip(grid.rows, diagnosis.lengths.buckets, diagnosis.evaluation.lengths, strict=True):
        assert row[2:4] == (percent(bucket.average), percent(group.mAP.mean()))
    assert "a group of few instances comes out low whatever the detector does" in " ".join(
        report.page(diagnosis).split()
    )


def test_the_threshold_shown_may_be_ruled_by_another_error() -> None:
    annotations = Annotations.of([Video("v", "validation", 99.0, None, Instances(np.array([[0.0, 10.0]]), ("run",)))])
    far = Detections.of(
        [
            ("v", "run", 60.0, 70.0, 0.9),
            ("v", "run", 0.0, 6.0, 0.8),
            ("v", "run", 0.0, 5.5, 0.8),
            ("v", "run", 0.0, 10.0, 0.7),
        ]
    )
    # At 0.5 the first to overlap is right, and only background stands before it: 1/2 -> 1. Above 0.6 the two that
    # overlap too little go before the right one as well: 1/4 -> 1/2 without them, 1/3 without background.
    sentence = report._findings(diagnose(far, annotations, tious=[0.5, 0.7, 0.8]))[1]
    assert sentence == (
        "Most would be gained without background errors: +22.2 points of mAP_N on average over tIoU 0.5:0.8, "
        "+50.0 at tIoU 0.5."
    )
    sentence = report._findings(diagnose(far, annotations, tious=[0.5, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]))[1]
    assert sentence == (
        "Most would be gained without localization errors: +21.4 points of mAP_N on average over tIoU 0.5:0.95, "
        "at tIoU 0.5 without background errors, +50.0."
    )


@pytest.mark.parametrize(
    "detections",
    [Detections.empty(), Detections.of([("v", "run", 50.0, 60.0, 0.5)]), Detections.of([("v", "run", 0.0, 9.0, 0.5)])],
    ids=["none", "wrong", "right"],
)
@pytest.mark.parametrize("tious", [[0.5], [0.3, 0.5]])
def test_the_smallest_data(detections: Detections, tious: list[float]) -> None:
    annotations = Annotations.of([Video("v", "validation", None, None, Instances(np.array([[0.0, 10.0]]), ("run",)))])
    html = report.page(diagnose(detections, annotations, tious=tious))
    assert not re.search(r"\bnan\b", html)
    assert "coverage of the instances is not known" in html


def test_nothing_odd_is_said_too() -> None:
    annotations = Annotations.of([Video("v", "validation", 99.0, None, Instances(np.array([[0.0, 10.0]]), ("run",)))])
    html = report.render(diagnose(Detections.of([("v", "run", 0.0, 9.0, 0.5)]), annotations))
    assert "Nothing: every detection has a known class" in html


def test_write(diagnosis: Diagnosis, html: str, graphics: tuple[Graphic, ...], tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "why"
    files = report.write(diagnosis, folder, "Diagnosis of <mine>.json")
    assert sorted(files) == sorted(folder.iterdir())
    assert files[0].read_text(encoding="utf-8") == html
    assert json.loads(files[1].read_text()) == json.loads(json.dumps(diagnosis.to_dict()))
    for graphic in graphics:
        assert (folder / f"{graphic.name}.svg").read_text(encoding="utf-8") == graphic.file


def test_a_folder_that_cannot_be_made(diagnosis: Diagnosis, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be made a folder"):
        report.write(diagnosis, tmp_path / "file")
