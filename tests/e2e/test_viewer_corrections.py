"""Corrections in the page: by pointer and keyboard, undone, kept over a reload, and exported as files that work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from untrimmed.formats import read_annotations, write_annotations
from untrimmed.formats.activitynet import truth_content
from untrimmed.formats.check import check
from untrimmed.report.viewer import ResultSet, View, render
from untrimmed.types import Annotations, Detections, Instances, Video

pytestmark = pytest.mark.browser

Until = Callable[[Any, str], None]


def truths(page: Any) -> list[str]:
    return sorted(one.get_attribute("aria-label").split(", missed")[0] for one in page.locator("button.truth").all())


def fill(page: Any, **fields: object) -> None:
    for name, value in fields.items():
        page.locator(f"#{name}").fill(str(value))
        page.locator(f"#{name}").press("Tab")


def exported(page: Any, tmp_path: Path, button: str = "Export JSON") -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    target = tmp_path / download.value.suggested_filename
    download.value.save_as(target)
    return target


ORIGINAL = ["jump, 0:12.5 to 0:16.0, truth", "wave, 0:02.0 to 0:04.0, truth", "wave, 0:17.0 to 0:19.0, truth"]


def test_a_boundary_is_dragged_and_undone(page: Any) -> None:
    page.get_by_role("button", name=ORIGINAL[0]).click()
    page.locator(".handle.end").scroll_into_view_if_needed()
    handle, axis = page.locator(".handle.end").bounding_box(), page.locator("#axis").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - axis["width"] * 2 / 20, y, steps=5)
    assert page.locator(".ghost").count() == 1
    page.mouse.up()
    end = float(page.locator("#end").input_value())
    assert end == pytest.approx(14.0, abs=0.1)
    assert page.locator("button.mended").count() == 1
    assert "end moved to 0:1" in page.locator("#said").inner_text()
    page.keyboard.press("Control+z")
    assert truths(page) == ORIGINAL
    page.keyboard.press("Control+Shift+z")
    assert float(page.locator("#end").input_value()) == end


def test_a_drag_is_given_up_with_escape(page: Any) -> None:
    page.get_by_role("button", name=ORIGINAL[0]).click()
    page.locator(".handle.start").scroll_into_view_if_needed()
    handle = page.locator(".handle.start").bounding_box()
    page.mouse.move(handle["x"] + 7, handle["y"] + 5)
    page.mouse.down()
    page.mouse.move(handle["x"] - 60, handle["y"] + 5, steps=3)
    page.keyboard.press("Escape")
    page.mouse.up()
    assert truths(page) == ORIGINAL


def test_an_instance_is_drawn_into_an_empty_lane(page: Any) -> None:
    lane = page.locator(".lane[data-label=jump] .truth-strip")
    lane.scroll_into_view_if_needed()
    box = lane.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 8, steps=4)
    page.mouse.up()
    assert "jump, 0:06.0 to 0:08.0, truth, added" in truths(page)
    assert page.locator("#chosen").inner_text().endswith("truth, added")


def test_fields_correct_the_selected_instance_and_refuse_nonsense(page: Any) -> None:
    page.get_by_role("button", name=ORIGINAL[1]).click()
    fill(page, label="clap", start=2.5)
    assert "clap, 0:02.5 to 0:04.0, truth, corrected" in truths(page)
    fill(page, end=1)
    assert page.locator("#wrong").inner_text() == "The end must come after the start."
    fill(page, end=200)
    assert page.locator("#wrong").inner_text() == "Times lie between 0 and 20 s."
    fill(page, end=3.25)
    assert page.locator("#wrong").inner_text() == ""
    assert "clap, 0:02.5 to 0:03.3, truth, corrected" in truths(page)


def test_keys_correct_too(page: Any, until: Until) -> None:
    until(page, "player.readyState > 0")
    page.get_by_role("button", name=ORIGINAL[0]).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    assert "jump, 0:13.5 to 0:16.0, truth, corrected" in truths(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("e")
    assert "jump, 0:13.5 to 0:14.5, truth, corrected" in truths(page)
    page.keyboard.press("l")
    page.keyboard.type("hop")
    page.keyboard.press("Enter")
    assert "hop, 0:13.5 to 0:14.5, truth, corrected" in truths(page)
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    assert "hop, 0:14.5 to 0:16.5, truth, added" in truths(page)
    page.get_by_role("button", name="hop, 0:14.5 to 0:16.5").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Delete")
    assert len(truths(page)) == 3
    for _ in range(5):
        page.keyboard.press("Control+z")
    assert truths(page) == ORIGINAL
    assert page.locator("#work").inner_text() == "No corrections yet."


def test_an_accepted_detection_corrects_the_instance_it_overlaps_or_becomes_a_new_one(page: Any) -> None:
    page.get_by_role("button", name="wave, 0:02.2 to 0:04.1, score 0.9").click()
    page.keyboard.press("a")
    assert "wave, 0:02.2 to 0:04.1, truth, corrected" in truths(page)
    assert len(truths(page)) == 3
    page.locator("#threshold").fill("0.05")
    page.get_by_role("button", name="jump, 0:07.0 to 0:08.0").click()
    page.get_by_role("button", name="Accept as truth").click()
    assert "jump, 0:07.0 to 0:08.0, truth, added" in truths(page)
    assert page.get_by_role("button", name="jump, 0:07.0 to 0:08.0, score 0.1, accepted").count() == 1
    page.get_by_role("button", name=ORIGINAL[2]).click()
    page.get_by_role("button", name="Delete", exact=True).click()
    assert len(truths(page)) == 3


@contextmanager
def opened_page(browser: Any, file: Path, script: str = "") -> Iterator[Any]:
    """A page in a browser of its own; fails on an error of its script."""
    context = browser.new_context(accept_downloads=True, viewport={"width": 1200, "height": 1000})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.add_init_script(script)
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-ready]")
    yield opened
    context.close()
    assert problems == []


def test_an_accepted_detection_leaves_a_neighbour_that_it_merely_touches(browser: Any, tmp_path: Path) -> None:
    truth = Annotations.of([Video("a", "test", 30.0, instances=Instances([[5, 9]], ("x",)))])
    found = Detections.of([("a", "x", 8.8, 13.0, 0.9), ("a", "x", 5.0, 8.0, 0.8)])
    (tmp_path / "page.html").write_text(render([ResultSet(found)], truth, title="T", view=View(threshold=0)))
    with opened_page(browser, tmp_path / "page.html") as page:
        page.get_by_role("button", name="x, 0:08.8 to 0:13.0, score").click()
        page.keyboard.press("a")
        assert truths(page) == ["x, 0:05.0 to 0:09.0, truth", "x, 0:08.8 to 0:13.0, truth, added"]
        assert page.locator("#said").inner_text() == "Accepted: x, 0:08.8 to 0:13.0"
        page.get_by_role("button", name="x, 0:05.0 to 0:08.0, score").click()
        page.keyboard.press("a")
        assert truths(page) == ["x, 0:05.0 to 0:08.0, truth, corrected", "x, 0:08.8 to 0:13.0, truth, added"]
        assert page.locator("#said").inner_text() == "Accepted: x, 0:05.0 to 0:08.0, in place of 0:05.0 to 0:09.0"


def test_undo_does_not_move_the_selection_to_another_instance(page: Any) -> None:
    page.get_by_role("button", name=ORIGINAL[1]).click()
    page.keyboard.press("Delete")
    page.get_by_role("button", name=ORIGINAL[2]).click()
    chosen = page.locator("#chosen").inner_text()
    page.keyboard.press("Control+z")
    assert truths(page) == ORIGINAL
    assert page.locator("#chosen").inner_text() == chosen
    page.keyboard.press("Delete")
    assert truths(page) == ORIGINAL[:2]


def test_what_is_deleted_while_it_is_dragged_stays_deleted(page: Any) -> None:
    page.get_by_role("button", name=ORIGINAL[2]).click()
    page.locator(".handle.end").scroll_into_view_if_needed()
    handle = page.locator(".handle.end").bounding_box()
    page.mouse.move(handle["x"] + 7, handle["y"] + 8)
    page.mouse.down()
    page.mouse.move(handle["x"] - 60, handle["y"] + 8, steps=3)
    page.keyboard.press("Delete")
    page.mouse.up()
    assert page.locator(".ghost").count() == 0
    assert truths(page) == ORIGINAL[:2]


def test_a_dense_video_is_kept_and_a_full_storage_takes_less_of_the_undo(browser: Any, tmp_path: Path) -> None:
    segments = [[float(start), start + 0.5] for start in range(200)]
    truth = Annotations.of([Video("long", "test", 200.0, instances=Instances(segments, ("x",) * 200))])
    (tmp_path / "page.html").write_text(render([ResultSet(Detections.empty(["long"]))], truth, title="T"))
    full = """const set = Storage.prototype.setItem;
        Storage.prototype.setItem = function (key, value) {
            if (value.length > 5000) throw new DOMException("full", "QuotaExceededError");
            set.call(this, key, value);
        };"""
    with opened_page(browser, tmp_path / "page.html", full) as page:
        page.locator("[data-key='truth 0']").dispatch_event("click")
        for number in range(60):
            page.evaluate(f"start.value = {number / 1000 + 0.1}; start.dispatchEvent(new Event('change'))")
        assert "kept in this browser" in page.locator("#work").inner_text()
        page.get_by_role("button", name="Undo").click()
        page.reload()
        page.wait_for_selector("html[data-ready]")
        page.locator("[data-key='truth 0']").dispatch_event("click")
        assert page.locator("#start").input_value() == "0.158"
        for _ in range(5):
            page.get_by_role("button", name="Undo").click()
        assert page.locator("#start").input_value() == "0.153"


def test_what_is_changed_back_is_no_correction(page: Any) -> None:
    page.get_by_role("button", name=ORIGINAL[1]).click()
    fill(page, start=1.5)
    fill(page, start=2)
    assert truths(page) == ORIGINAL
    assert page.locator("#work").inner_text() == "No corrections yet."


def test_a_reload_keeps_the_work_and_its_undo(page: Any, shown: Any) -> None:
    page.get_by_role("button", name=ORIGINAL[1]).click()
    fill(page, label="clap")
    page.locator("button.truth").first.focus()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.get_by_label("Order").select_option("file")
    page.locator("#list button").first.click()
    assert "clap, 0:02.0 to 0:04.0, truth, corrected" in truths(page)
    assert page.locator("#work").inner_text() == "1 video corrected; not exported yet, kept in this browser."
    assert page.locator("#list .mended").first.text_content() == "corrected"
    page.get_by_role("button", name="Undo").click()
    assert truths(page) == ORIGINAL
    page.get_by_role("button", name="Redo").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Discard all").click()
    assert truths(page) == ORIGINAL
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("#work").inner_text() == "No corrections yet."


def test_a_browser_that_keeps_nothing_says_so(browser: Any, shown: Any) -> None:
    context = browser.new_context()
    opened = context.new_page()
    opened.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); };")
    opened.goto(shown.page.as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.locator("button.truth").first.click()
    fill(opened, label="clap")
    assert "NOT kept by this browser" in opened.locator("#work").inner_text()
    context.close()


def test_the_export_is_the_whole_truth_with_the_corrections(page: Any, shown: Any, tmp_path: Path) -> None:
    page.get_by_role("button", name=ORIGINAL[1]).click()
    fill(page, start=1.75)
    page.get_by_role("button", name="wave, 0:12.6 to 0:16.0, score 0.7").click()
    page.keyboard.press("a")
    page.get_by_role("button", name=ORIGINAL[0]).click()
    page.locator("#delete").click()
    file = exported(page, tmp_path)
    corrected = read_annotations(file)
    rows = list(
        zip(
            corrected.videos["first"].instances.labels,
            corrected.videos["first"].instances.segments.tolist(),
            strict=True,
        )
    )
    # The end that nobody touched keeps its exact value, finer than the page shows.
    assert rows == [("wave", [1.75, 4.0001]), ("wave", [12.6, 16.0]), ("wave", [17.0, 19.0])]
    before, after = truth_content(shown.truth), json.loads(file.read_text())
    assert after["version"] == "a truth"
    for untouched in ("second", "elsewhere"):
        assert after["database"][untouched] == before["database"][untouched]
    assert check(corrected).count("error") == 0
    assert page.locator("#work").inner_text() == "1 video corrected; exported."


def test_the_elan_file_is_read_back(page: Any, tmp_path: Path) -> None:
    page.get_by_role("button", name=ORIGINAL[1]).click()
    fill(page, label='a <b> & "c"', end=13.0)
    file = exported(page, tmp_path, "Export ELAN (this video)")
    assert file.name == "first.eaf"
    video = read_annotations(file).videos["first"]
    assert (video.subset, video.duration) == ("test", 20.0)
    rows = sorted(zip(video.instances.segments.tolist(), video.instances.labels, strict=True))
    assert rows == [([2.0, 13.0], 'a <b> & "c"'), ([12.5, 16.0], "jump"), ([17.0, 19.0], "wave")]


@pytest.mark.parametrize("video", ["a clip", "other/name"])
def test_the_elan_file_names_the_file_that_the_page_plays(browser: Any, tmp_path: Path, video: str) -> None:
    found = ResultSet(Detections.of([(video, "x", 1.0, 2.0, 0.5)]))
    (tmp_path / "page.html").write_text(
        render([found], title="T", view=View(sources={video: "films%20of%20us/a%20clip.avi"}))
    )
    with opened_page(browser, tmp_path / "page.html") as page:
        page.locator("button.found").click()
        page.keyboard.press("a")
        file = exported(page, tmp_path, "Export ELAN (this video)")
    assert 'MEDIA_URL="./a%20clip.avi" MIME_TYPE="video/*"' in file.read_text()
    made = read_annotations(file).videos
    assert list(made) == [video]
    assert made[video].subset == "training"


def test_undo_opens_the_video_it_changes(page: Any) -> None:
    page.get_by_role("button", name=ORIGINAL[1]).click()
    fill(page, label="clap")
    page.get_by_role("button", name="Next video").click()
    page.get_by_role("button", name="Undo").click()
    assert page.locator("#video-name").inner_text() == "first"
    assert truths(page) == ORIGINAL
    page.get_by_role("button", name="Previous video").focus()
    page.keyboard.press("Control+Shift+z")
    assert "clap, 0:02.0 to 0:04.0, truth, corrected" in truths(page)


def test_a_detection_beyond_the_end_is_cut_when_accepted(browser: Any, tmp_path: Path) -> None:
    truth = Annotations.of([Video("a", "test", 9.06666, instances=Instances([[7, 9.06666]], ("x",)))])
    file = tmp_path / "page.html"
    file.write_text(
        render([ResultSet(Detections.of([("a", "y", -0.5, 9.5, 0.5)]))], truth, title="T", view=View(threshold=0))
    )
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.locator("button.found").click()
    opened.keyboard.press("a")
    opened.locator("button.truth:not(.mended)").click()
    fill(opened, label="z")
    assert opened.locator("#wrong").inner_text() == ""
    made = read_annotations(exported(opened, tmp_path)).videos["a"].instances
    assert list(zip(made.labels, made.segments.tolist(), strict=True)) == [("y", [0, 9.066]), ("z", [7, 9.06666])]
    context.close()


def test_corrections_of_another_page_of_the_same_truth_are_exported_too(
    browser: Any, shown: Any, tmp_path: Path
) -> None:
    other = tmp_path / "other.html"
    other.write_text(render([ResultSet(Detections.empty(["elsewhere"]))], shown.truth, title="T"))
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.goto(other.as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.locator("button.truth").click()
    fill(opened, label="hop")
    opened.goto(shown.page.as_uri())
    opened.wait_for_selector("html[data-ready]")
    assert opened.locator("#work").inner_text().startswith("1 video corrected; not exported")
    made = json.loads(exported(opened, tmp_path).read_text())["database"]["elsewhere"]["annotations"]
    assert made == [{"by": "hand", "label": "hop", "segment": [1.0, 2.0]}]
    context.close()


@pytest.mark.parametrize("name", ["constructor", "__proto__", "toString", "video 1/2 & 3"])
def test_any_name_will_do(browser: Any, tmp_path: Path, name: str) -> None:
    truth = Annotations.of([Video("other", "test", 9.0, instances=Instances([[1, 2]], ("x",)))])
    file = tmp_path / "page.html"
    file.write_text(render([ResultSet(Detections.of([(name, name, 3.0, 4.0, 0.5)]))], truth, title="T"))
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-ready]")
    assert opened.locator("#work").inner_text() == "No corrections yet."
    opened.locator("button.found").click()
    opened.keyboard.press("a")
    assert truths(opened) == [f"{name}, 0:03.0 to 0:04.0, truth, added"]
    opened.reload()
    opened.wait_for_selector("html[data-ready]")
    assert truths(opened) == [f"{name}, 0:03.0 to 0:04.0, truth, added"]
    made = read_annotations(exported(opened, tmp_path))
    assert made.videos[name].instances.labels == (name,)
    assert made.videos["other"].instances.labels == ("x",)
    context.close()


def test_two_tabs_do_not_overwrite_each_other(browser: Any, shown: Any) -> None:
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(2)]
    for tab in tabs:
        tab.goto(shown.page.as_uri())
        tab.wait_for_selector("html[data-ready]")
        tab.get_by_label("Order").select_option("file")
        tab.locator("#list button").first.click()
    tabs[0].get_by_role("button", name=ORIGINAL[1]).click()
    fill(tabs[0], label="clap")
    tabs[1].get_by_role("button", name="clap, 0:02.0").wait_for()
    tabs[1].get_by_role("button", name=ORIGINAL[0]).click()
    fill(tabs[1], label="hop")
    tabs[0].get_by_role("button", name="hop, 0:12.5").wait_for()
    assert "clap, 0:02.0 to 0:04.0, truth, corrected" in truths(tabs[0])
    context.close()


def test_annotating_from_nothing(browser: Any, tmp_path: Path) -> None:
    begun = Annotations.of([Video("v", "training", 9.0)], extra={"classes": ["clap", "wave"]})
    file = tmp_path / "annotate.html"
    file.write_text(render([], begun, title="T", view=View(annotate=True)))
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-ready]")
    assert opened.locator(".lane").evaluate_all("all => all.map(one => one.dataset.label)").count("clap") == 1
    fill(opened, label="clap", start=1, end=2.5)
    opened.get_by_role("button", name="Add as truth").click()
    opened.keyboard.press("Escape")
    fill(opened, label="new one", start=3, end=4)
    opened.get_by_role("button", name="Add as truth").click()
    assert truths(opened) == ["clap, 0:01.0 to 0:02.5, truth, added", "new one, 0:03.0 to 0:04.0, truth, added"]
    made = read_annotations(exported(opened, tmp_path))
    assert made.videos["v"].instances.labels == ("clap", "new one")
    assert made.videos["v"].duration == 9.0
    assert check(made).count("error") == 0
    context.close()


def test_what_is_accepted_without_truth_can_be_trained_on(browser: Any, tmp_path: Path) -> None:
    found = Detections.of([("a", "x", 1.0, 2.0, 0.5), ("b", "x", 3.0, 4.0, 0.5)])
    (tmp_path / "page.html").write_text(render([ResultSet(found)], title="T", view=View(durations={"a": 7.5})))
    with opened_page(browser, tmp_path / "page.html") as page:
        page.locator("button.found").click()
        page.keyboard.press("a")
        made = read_annotations(exported(page, tmp_path))
        assert [(one.id, one.subset, one.duration) for one in made] == [("a", "training", 7.5)]


def test_the_work_goes_on_in_a_page_with_another_class_and_video(browser: Any, tmp_path: Path) -> None:
    begun = [Video("v", "training", 9.0)]
    file = tmp_path / "annotate.html"
    file.write_text(render([], Annotations.of(begun), title="T", view=View(annotate=True, key="mine")))
    with opened_page(browser, file) as page:
        fill(page, label="clap", start=1, end=2.5)
        page.get_by_role("button", name="Add as truth").click()
        more = Annotations.of([Video("u", "training", 5.0), *begun], extra={"classes": ["clap", "wave"]})
        file.write_text(render([], more, title="T", view=View(annotate=True, key="mine")))
        page.reload()
        page.wait_for_selector("html[data-ready]")
        page.locator("#list button").last.click()
        assert truths(page) == ["clap, 0:01.0 to 0:02.5, truth, added"]


def test_a_video_that_the_truth_lacks_is_added_to_it(browser: Any, tmp_path: Path) -> None:
    truth = Annotations.of([Video("a", "test", 9.0, instances=Instances([[1, 2]], ("x",)))])
    found = Detections.of([("a", "x", 1.0, 2.0, 0.5), ("b", "x", 3.0, 4.0, 0.5)])
    write_annotations(truth, tmp_path / "t.json")
    file = tmp_path / "page.html"
    file.write_text(render([ResultSet(found)], truth, title="T", view=View(durations={"b": 7.5})))
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.get_by_role("button", name="b", exact=False).filter(has_text="0:07").click()
    opened.locator("button.found").click()
    opened.keyboard.press("a")
    made = read_annotations(exported(opened, tmp_path))
    assert made.videos["b"].duration == 7.5
    assert made.videos["b"].instances.segments.tolist() == [[3.0, 4.0]]
    context.close()
