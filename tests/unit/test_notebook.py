"""What annotations and detections show in a notebook."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from untrimmed.notebook import ROWS, timeline
from untrimmed.types import Annotations, Detections, Instances, Video


def parse(page: str) -> ElementTree.Element:
    """Well-formed, or an error."""
    return ElementTree.fromstring(page)


def test_annotations() -> None:
    segments = np.array([[1.0, 2.0], [4.0, 8.0]])
    video = Video("<v>", "training", 10.0, instances=Instances(segments, ("jump", "a & b")))
    page = parse(Annotations.of([video, Video("w", "test")])._repr_html_())
    assert page.findtext("caption") == "2 videos, 2 instances, 2 labels"
    cells = [cell.text for cell in page.findall("./tbody/tr/td")]
    assert cells == ["<v>", "training", "10.0 s", "2", None, "w", "test", None, "0", None]
    bars = page.findall(".//svg/rect")[1:]
    assert [(float(bar.get("x", "")), float(bar.get("width", ""))) for bar in bars] == [(26.0, 26.0), (104.0, 104.0)]
    assert bars[1].findtext("title") == "a & b 4.00 to 8.00 s"
    assert bars[0].get("fill") != bars[1].get("fill")


def test_detections_show_the_surest() -> None:
    rows = [("v", "jump" if number % 2 else None, number, number + 1.0, number / 50) for number in range(30)]
    page = parse(Detections.of(rows, ["u"])._repr_html_())
    assert page.findtext("caption") == f"30 detections in 2 videos; the {ROWS} surest"
    found = page.findall("./tbody/tr")
    assert len(found) == ROWS
    assert [cell.text for cell in found[0]][:5] == ["v", "jump", "29.00 s", "30.00 s", "0.580"]
    assert found[1][1].text == "(proposal)"
    assert parse(Detections.empty(["v"])._repr_html_()).findtext("caption") == "0 detections in 1 video"


def test_a_line_without_length_is_empty_and_bars_stay_inside() -> None:
    assert timeline([(0, 1, "a", 0)], 0.0) == ""
    bar = parse(timeline([(-5.0, 50.0, "a", 0)], 10.0)).findall("rect")[1]
    assert (bar.get("x"), bar.get("width")) == ("0.0", "260.0")
