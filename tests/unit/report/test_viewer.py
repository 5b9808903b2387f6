"""The viewer's page: what is in it, and that names cannot break out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from untrimmed.formats.curves import Curves
from untrimmed.report import bundle
from untrimmed.report.viewer import ResultSet, View, render
from untrimmed.report.viewer_data import CURVES
from untrimmed.types import Annotations, Detections, Instances, Video

NASTY = '</script><img src=x onerror="alert(1)">'


def content(page: str, name: str = "index") -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found, name
    return json.loads(found.group(1))


def truth() -> Annotations:
    return Annotations.of(
        [
            Video("a", "test", 20.0, instances=Instances([[1, 3], [5, 9]], ("wave", NASTY))),
            Video("unseen", "test", 5.0),
        ]
    )


def found() -> Detections:
    rows = [("a", "jump", 2.0, 4.0, 0.3), ("a", "wave", 1.0, 3.0, 0.9), ("a", "wave", 1.1, 3.0, 0.8)]
    return Detections.of(rows, video_ids=["a", "empty"])


def test_detections_and_truth_are_in_the_page_with_their_labels_and_kinds() -> None:
    page = render([ResultSet(found())], truth(), title="T", view=View(threshold=0.2))
    index, block = content(page), content(page, "video-0")
    assert index["labels"] == sorted(["wave", "jump", NASTY])
    wave, jump = index["labels"].index("wave"), index["labels"].index("jump")
    # "jump" is no class of the truth and is not scored; the second "wave" finds what is found already.
    assert block["sets"] == [[[wave, 1.0, 3.0, 0.9, 0], [wave, 1.1, 3.0, 0.8, 1], [jump, 2.0, 4.0, 0.3, -1]]]
    assert block["truth"] == [[wave, 1.0, 3.0, [0.9]], [index["labels"].index(NASTY), 5.0, 9.0, [None]]]
    first, second = index["videos"]
    assert (first["duration"], first["sure"], first["subset"]) == (20.0, True, "test")
    assert first["sets"] == [[0.5, 1, 1]]
    assert (second["id"], second["duration"], second["sure"], second["sets"]) == ("empty", 1.0, False, [None])
    assert content(page, "video-1") == {"truth": [], "sets": [[]], "rest": [[]], "curves": [None]}
    assert content(page, "annotations")["database"].keys() == {"a", "unseen"}


def test_precision_and_recall_of_every_threshold() -> None:
    index = content(render([ResultSet(found())], truth(), title="T"))
    sweep = index["sweeps"][0]
    row = sweep["labels"].index(index["labels"].index("wave"))
    at = {cut: index["cuts"].index(cut) for cut in (0.0, 0.8, 0.85, 0.9, 0.95)}
    assert [sweep["right"][row][at[cut]] for cut in at] == [1, 1, 1, 1, 0]
    assert [sweep["wrong"][row][at[cut]] for cut in at] == [1, 1, 0, 0, 0]
    assert sum(sweep["instances"]) == 2


def test_without_a_threshold_the_page_starts_at_the_best_f1() -> None:
    assert content(render([ResultSet(found())], truth(), title="T"))["threshold"] == pytest.approx(0.81)
    assert content(render([ResultSet(found())], title="T"))["threshold"] == 0.2


def test_two_result_files_side_by_side() -> None:
    other = Detections.of([("a", "wave", 4.0, 5.0, 0.9), ("b", "wave", 0.0, 1.0, 0.9)])
    page = render([ResultSet(found(), "A"), ResultSet(other, "B")], truth(), title="T")
    index, block = content(page), content(page, "video-0")
    assert index["sets"] == ["A", "B"]
    assert [one["id"] for one in index["videos"]] == ["a", "empty", "b"]
    assert [len(rows) for rows in block["sets"]] == [3, 1]
    assert block["truth"][0][3] == [0.9, None]


def test_markup_in_names_stays_text(balanced: Callable[[str], list[str]]) -> None:
    page = render(
        [ResultSet(Detections.of([(NASTY, NASTY, 0.0, 1.0, 0.5)]), NASTY)] * 2,
        Annotations.of([Video(NASTY, NASTY, 2.0, instances=Instances([[0, 1]], (NASTY,)))], NASTY),
        title=NASTY,
        facts=[(NASTY, NASTY)],
        notes=[NASTY],
    )
    assert NASTY not in page
    assert "img" not in balanced(page)
    assert content(page)["labels"] == [NASTY]


def test_without_truth_and_with_proposals() -> None:
    page = render([ResultSet(Detections.of([("a", None, 0.0, 7.5, 0.5)]))], title="T", view=View(durations={"a": 30.0}))
    index = content(page)
    assert index["labels"] == ["(no label)"]
    assert index["has_truth"] is False
    assert index["scored"] is False
    assert index["videos"][0]["duration"] == 30.0


def test_what_is_left_out_is_said() -> None:
    rows = Detections.of([("a", "x", 0.0, 1.0, score) for score in (0.1, 0.9, 0.5)])
    page = render([ResultSet(rows)], title="T", view=View(most=2))
    assert [item[3] for item in content(page, "video-0")["sets"][0]] == [0.9, 0.5]
    assert "Only the 2 detections of the highest scores" in page
    assert "are left out" not in render([ResultSet(rows)], title="T", view=View(most=3))


def test_what_is_left_out_is_counted() -> None:
    page = render([ResultSet(found())], truth(), title="T", view=View(most=1))
    index, block = content(page), content(page, "video-0")
    wave = index["labels"].index("wave")
    assert [row[3] for row in block["sets"][0]] == [0.9]
    jump = index["labels"].index("jump")
    assert block["rest"] == [[[jump, -1, index["cuts"].index(0.3), 1], [wave, 1, index["cuts"].index(0.8), 1]]]
    assert index["unscored"] == 1
    assert content(render([ResultSet(found())], title="T", view=View(most=1)), "video-0")["rest"] == [[]]


def test_ambiguous_segments_have_no_finders() -> None:
    both = Annotations.of([Video("a", "test", 20.0, instances=Instances([[1, 3], [5, 9]], ("wave", "Ambiguous")))])
    block = content(render([ResultSet(found())], both, title="T"), "video-0")
    assert [row[3] for row in block["truth"]] == [[0.9], []]


def test_annotating_shows_every_video_and_class_of_the_truth() -> None:
    classes = Annotations(truth().videos, extra={"classes": ["clap", "wave"]})
    index = content(render([], classes, title="T", view=View(annotate=True)))
    assert [one["id"] for one in index["videos"]] == ["a", "unseen"]
    assert index["labels"] == sorted(["clap", "wave", NASTY])
    assert index["sets"] == []


def test_corrections_are_kept_under_a_name_that_only_the_truth_decides() -> None:
    first = content(render([ResultSet(found())], truth(), title="T"))["key"]
    assert content(render([ResultSet(Detections.empty(["a"]))], truth(), title="Other"))["key"] == first
    changed = Annotations.of([Video("a", "test", 20.0)])
    assert content(render([ResultSet(found())], changed, title="T"))["key"] != first


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    page = render([ResultSet(Detections.empty(["a"]))], title="T")
    assert "http:" not in page
    assert "https:" not in page
    assert " src=" not in page
    assert "default-src 'none'" in page
    assert re.findall(r"<link[^>]*>", page) == ['<link rel="icon" href="data:,">']


def test_curves_are_folded_and_limited_to_what_occurs() -> None:
    names = {f"class {number}": np.full(5000, 0.5, np.float32) for number in range(40)} | {
        "start": np.tile(np.float32([0.0, 0.7]), 2500),
        "wave": np.ones(5000, np.float32),
    }
    curves = {"a": Curves(0.5, 0.1, names)}
    rows = [("a", f"class {number}", 0.0, 1.0, 0.5) for number in range(40)]
    page = render([ResultSet(Detections.of(rows), curves=curves)], truth(), title="T")
    kept = content(page, "video-0")["curves"][0]
    assert list(kept["curves"])[:2] == ["start", "wave"]
    assert len(kept["curves"]) == CURVES
    assert kept["step"] == pytest.approx(0.3)
    assert kept["curves"]["start"][:3] == [700, 700, 700]


def test_the_script_is_one_module_without_imports_and_without_a_name_twice() -> None:
    text = bundle.script()
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    names = re.findall(r"^(?:async )?(?:const|let|function|class) (\w+)", text, re.MULTILINE)
    assert len(names) > 100
    assert sorted(names) == sorted(set(names))
    assert text.index("// ---- data.js") < text.index("// ---- state.js") < text.index("// ---- main.js")
