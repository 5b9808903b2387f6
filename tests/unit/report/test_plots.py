"""Figures are well-formed, self-contained, free of collisions on one page, and draw what they are told."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from untrimmed.report import plots
from untrimmed.report.plots import Graphic, Series

NAN = math.nan
SVG = "{http://www.w3.org/2000/svg}"


def every() -> list[Graphic]:
    two = [Series("mean", [1.0, -2.0], ["#111111", "#222222"]), Series("one", [3.0, 0.5], ["#111111", "#222222"])]
    return [
        plots.stacked_bars("stack", "Stack", ["1G", "2G"], [Series("a", [10.0, NAN], plots.RED)], "slice", "share (%)"),
        plots.bars("bars", "Bars", ["XS\n≤ 3", "S"], [12.34, NAN], "length (s)", "mAP (%)", level=("all 9.9", 9.9)),
        plots.bars("bare", "Bare", ["XS"], [0.0], "length (s)", "mAP (%)"),
        plots.bars("luck", "Bars", ["XS", "S"], [12.0, 0.0], "x", "y", chance=[(10.0, 15.0), (NAN, NAN)]),
        plots.bars("no-luck", "Bars", ["XS"], [12.0], "x", "y", chance=[(NAN, NAN)]),
        plots.ranges("band", "Range", ["x"], [(1.0, "S")], [(5.0, "L")], ("all", 3.0), "x", chance=[(2.0, 9.0)]),
        plots.ranges("no-band", "Range", ["x"], [(1.0, "S")], [(5.0, "L")], ("all", 3.0), "x", chance=[(NAN, NAN)]),
        plots.waterfall("fall", "Fall", ["XS", "S"], [1.25, 2.5], "length (s)", "sum (%)"),
        plots.waterfall("flat", "Flat", ["XS"], [0.0], "length (s)", "sum (%)"),
        plots.lying_bars("lie", "Lie", ["a", "b"], two, "gain (points)"),
        plots.lying_bars("lie1", "Lie", ["a", "b"], two[:1], "gain (points)"),
        plots.ranges("range", "Range", ["x\ny"], [(1.0, "XS")], [(5.0, "XL")], ("all 3.0", 3.0), "mAP (%)"),
        plots.ranges("point", "Range", ["x"], [(1.0, "XS")], [(1.0, "XS")], ("all 1.0", 1.0), "mAP (%)"),
        plots.lines("line", "Line", [0.5, 0.75], [Series("mAP", [40.0, 20.0], plots.BLUE)], "tIoU", "mAP (%)"),
        plots.lines("zero", "Line", [0.5, 0.75], [Series("mAP", [0.0, 0.0], plots.BLUE)], "tIoU", "mAP (%)"),
    ]


GRAPHICS = every()


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("graphic", GRAPHICS, ids=lambda graphic: graphic.name)
def test_well_formed_and_self_contained(graphic: Graphic) -> None:
    for svg in (graphic.inline, graphic.file):
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{SVG}svg"
        assert root.find(f"{SVG}title") is not None
        assert root.find(f"{SVG}metadata") is None
        assert "<style" not in svg
        assert "http" not in svg.replace("http://www.w3.org/", "")
        assert all(re.fullmatch(rf"(url\()?#{graphic.name}-\w+\)?", ref) for ref in re.findall(r"url\(#[^)]*\)", svg))
        targets = set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg))
        assert targets <= set(re.findall(r' id="([^"]+)"', svg))


@pytest.mark.parametrize("graphic", GRAPHICS, ids=lambda graphic: graphic.name)
def test_page_colours_follow_the_page_and_file_colours_are_fixed(graphic: Graphic) -> None:
    assert "var(--ink, #24292f)" in graphic.inline
    assert "var(" not in graphic.file
    assert 'width="100%"' in graphic.file
    root = ElementTree.fromstring(graphic.inline)
    assert root.get("width") is None
    assert root.get("viewBox", "").startswith("0 0 360 ")


@pytest.mark.parametrize("graphic", GRAPHICS, ids=lambda graphic: graphic.name)
def test_all_text_lies_inside(graphic: Graphic) -> None:
    root = ElementTree.fromstring(graphic.inline)
    width, height = map(float, root.get("viewBox", "").split()[2:])
    for text in root.iter(f"{SVG}text"):
        if text.get("x") is None:  # rotated: the place stands in the transform
            continue
        assert 0 <= float(text.get("x", "")) <= width
        assert 0 <= float(text.get("y", "")) <= height


def test_ids_of_two_figures_never_meet() -> None:
    ids = [name for graphic in GRAPHICS for name in re.findall(r' id="([^"]+)"', graphic.inline)]
    assert len(ids) == len(set(ids)) > len(GRAPHICS)


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert every() == GRAPHICS


def test_text_says_the_numbers() -> None:
    named = {graphic.name: words(graphic.file) for graphic in GRAPHICS}
    assert {"12.3", "none", "XS", "≤ 3", "all 9.9", "length (s)", "mAP (%)"} <= set(named["bars"])
    assert {"+1.2", "+2.5"} <= set(named["fall"])
    assert {"+1.0", "−2.0", "+3.0", "+0.5", "mean", "one"} <= set(named["lie"])
    assert {"XS 1.0", "XL 5.0", "worst", "best", "all 3.0"} <= set(named["range"])
    assert named["point"].count("XS 1.0") == 1
    assert {"0.5", "0.75", "mAP"} <= set(named["line"])


def test_bars_are_as_high_as_their_values() -> None:
    heights = []
    for path in re.findall(r'<path d="([^"]*)"[^>]*style="fill: #0072b2"', GRAPHICS[1].inline):
        ys = [float(y) for _, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path)]
        heights.append(max(ys) - min(ys))
    assert len(heights) == 2
    axis = 150.0 / (1.18 * 12.34)
    assert heights == pytest.approx([12.34 * axis, 0.0], abs=1e-3)


def test_what_chance_makes_is_drawn_and_named_where_there_is_any() -> None:
    named = {graphic.name: "by chance" in words(graphic.file) for graphic in GRAPHICS}
    assert [name for name, said in named.items() if said] == ["luck", "band"]
    numbers = {graphic.name: words(graphic.file) for graphic in GRAPHICS}
    assert "15" in numbers["luck"]  # the axis holds the range
    assert "15" not in numbers["no-luck"]


def test_markup_and_mathematics_in_texts_stay_texts() -> None:
    graphic = plots.bars("odd", "<b> & 'x'", ["$a^2$ <i>", "R&B"], [1.0, 2.0], "$x$", "</svg>")
    assert {"$a^2$ <i>", "R&B", "$x$", "</svg>"} <= set(words(graphic.inline))
    assert ElementTree.fromstring(graphic.file).findtext(f"{SVG}title") == "<b> & 'x'"


def test_signed() -> None:
    assert [plots.signed(1.25, 2), plots.signed(-0.3), plots.signed(0.0)] == ["+1.25", "−0.3", "+0.0"]


def test_lines_of_many_points_have_neither_markers_nor_a_tick_each() -> None:
    few = plots.lines("few", "t", range(5), [Series("a", range(5), plots.BLUE)], "x", "y")
    many = plots.lines("many", "t", range(60), [Series("a", range(60), plots.BLUE)], "x", "y")
    assert ">4<" in few.inline
    assert ">59<" not in many.inline
    assert len(many.inline) < 3 * len(few.inline)


def test_curves_over_truth_and_the_graph_of_a_video() -> None:
    times = [0.5, 1.5, 2.5]
    curves = [Series("host", [0.1, 0.9, 0.2], plots.BLUE), Series("with ACGNet", [0.1, 1.0, 0.8], plots.RED)]
    over = plots.over_truth(
        "activation", "Activation <of jump>", [(times, curve) for curve in curves], [(1.0, 2.0)], "activation"
    )
    blocks = plots.over_truth(
        "b", "t", [(times, curves[0])], [(1.0, 2.0)], "a", found=[(plots.BLUE, [(0.5, 1), (2, 3)])]
    )
    marks = [
        blocks.file.count(f"fill: {color}") - over.file.count(f"fill: {color}") for color in (plots.GREEN, plots.BLUE)
    ]
    assert marks == [1, 2]
    graph = plots.lending("graph", "Who lends", [[0, 0.5, 0], [0, 0, 1], [0, 0, 0]], (0.0, 3.0), [(1.0, 2.0, "jump")])
    for graphic, texts in ((over, ("truth", "host", "with ACGNet", "&lt;of jump&gt;")), (graph, ("lender", "jump"))):
        for svg in (graphic.file, graphic.inline):
            assert all(text in svg for text in texts)
            ElementTree.fromstring(svg)
