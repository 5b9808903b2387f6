"""The viewer in a real browser, opened from a file: it seeks, filters, compares, zooms and obeys the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from untrimmed.report.media import video_sources
from untrimmed.report.viewer import ResultSet, View, render
from untrimmed.types import Annotations, Detections, Instances, Video

pytestmark = pytest.mark.browser

Until = Callable[[Any, str], None]
INK = """() => {
    const canvas = document.getElementById('curve-canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, at) => at % 4 === 3 && value > 0).length;
}"""


CALLS = """async () => {
    const count = { frames: 0, calls: 0 };
    const ask = window.plain ??= window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (action) => ask((time) => { count.calls += 1; action(time); });
    while (count.frames < 40) { await new Promise(ask); count.frames += 1; }
    return count.calls / count.frames;
}"""


def live(page: Any) -> dict[str, list[str]]:
    rows = page.locator("#live tr").all()
    return {row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in rows}


def test_a_click_on_a_segment_seeks_the_video(page: Any, until: Until) -> None:
    until(page, "player.readyState > 0")
    assert page.evaluate("player.duration") == pytest.approx(20.0, abs=0.2)
    page.get_by_role("button", name="jump, 0:12.5 to 0:16.0, truth").click()
    until(page, "Math.abs(player.currentTime - 12.5) < 0.06")
    assert page.locator("#now").inner_text() == "0:12.5 of 0:20.0"
    here = page.locator("button.here")
    assert here.count() == 2
    assert page.locator("#chosen").inner_text() == "jump, 0:12.5 to 0:16.0, truth, missed by theirs"


def test_a_click_on_a_lane_seeks_to_its_place_and_the_playhead_follows(page: Any, until: Until) -> None:
    until(page, "player.readyState > 0")
    strip = page.locator(".found-strip").first
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    page.mouse.click(box["x"] + 0.51 * box["width"], box["y"] + box["height"] - 2)
    until(page, "Math.abs(player.currentTime - 10.2) < 0.1")
    head = page.locator("#playhead").bounding_box()
    assert head["x"] == pytest.approx(box["x"] + 0.51 * box["width"], abs=3)
    page.keyboard.press("Space")
    until(page, "player.currentTime > 10.6")
    page.keyboard.press("Space")
    assert page.evaluate("player.paused")
    moved = page.locator("#playhead").bounding_box()
    assert moved["x"] > head["x"] + 5


def test_playing_draws_once_a_frame_however_long_it_plays(page: Any, until: Until) -> None:
    until(page, "player.readyState > 0")
    page.locator("#play").click()
    for time in (5, 10, 2):
        page.evaluate(f"player.currentTime = {time}")
        until(page, f"Math.abs(player.currentTime - {time}) < 2 && !player.seeking")
        page.wait_for_timeout(700)
    assert 0.5 < page.evaluate(CALLS) <= 1.1
    page.locator("#play").click()
    page.wait_for_timeout(100)
    assert page.evaluate(CALLS) == 0


def counts(page: Any) -> dict[str, int]:
    words = [one.inner_text().split() for one in page.locator("#kinds label").all()]
    return {" ".join(each[:-1]): int(each[-1]) for each in words}


def test_kinds_are_named_coloured_and_counted(page: Any) -> None:
    assert counts(page) == {
        "true positive": 3,
        "double detection": 1,
        "wrong label": 1,
        "localization": 1,
        "confusion": 1,
        "background": 1,
        "missed instance": 3,
        "found instance": 0,
        "instance not judged": 0,
    }
    wrong = page.get_by_role("button", name="wave, 0:12.6 to 0:16.0, score 0.7, wrong label, mine")
    assert "kind-2" in wrong.get_attribute("class")
    assert page.get_by_role("button", name="wave, 0:17.0 to 0:19.0, truth, missed by mine").count() == 1


def test_what_is_not_judged_is_counted_as_that(browser: Any, tmp_path: Path) -> None:
    instances = Instances([[1, 3], [5, 9], [20, 25]], ("x", "Ambiguous", "x"))
    truth = Annotations.of([Video("a", "test", 40.0, instances=instances), Video("b", "test", 9.0)])
    rows = [("a", "x", 1.0, 3.0, 0.9), ("a", "X", 1.0, 3.0, 0.8), ("a", "X", 30.0, 33.0, 0.7), ("b", "x", 1, 2, 0.6)]
    file = tmp_path / "page.html"
    file.write_text(render([ResultSet(Detections.of(rows))], truth, title="T", view=View(threshold=0.2, most=2)))
    opened = browser.new_page()
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.locator("#list button").first.click()
    some = {"true positive", "not scored", "missed instance", "found instance", "instance not judged"}
    assert {name: count for name, count in counts(opened).items() if name in some} == {
        "true positive": 1,
        "not scored": 2,
        "missed instance": 1,
        "found instance": 1,
        "instance not judged": 1,
    }
    assert opened.get_by_role("button", name="X, 0:01.0 to 0:03.0, score 0.8, not scored").count() == 1
    opened.get_by_role("checkbox", name="not scored").uncheck()
    assert opened.locator("button.found").count() == 1
    opened.get_by_role("checkbox", name="instance not judged").uncheck()
    assert opened.locator("button.truth").count() == 2
    opened.get_by_role("button", name="x, 0:20.0").click()
    opened.locator("#end").fill("24")
    opened.locator("#end").press("Tab")
    assert counts(opened)["missed instance"] == 0
    assert counts(opened)["found instance"] == 1
    assert counts(opened)["instance not judged"] == 2
    opened.close()


def test_the_list_says_at_which_score_it_counts(page: Any) -> None:
    row = page.locator("#list button").first.inner_text()
    page.locator("#threshold").fill("0.65")
    assert page.locator("#list button").first.inner_text() == row
    assert page.get_by_text("missed and false at score 0.2", exact=False).is_visible()


def test_threshold_kinds_and_classes_filter(page: Any) -> None:
    assert page.locator("button.found").count() == 8
    page.locator("#threshold").fill("0.05")
    assert page.locator("button.found").count() == 9
    page.get_by_role("checkbox", name="background").uncheck()
    assert page.locator("button.found").count() == 7
    page.get_by_role("checkbox", name="missed instance").uncheck()
    assert page.locator("button.truth").count() == 0
    page.get_by_role("checkbox", name="missed instance").check()
    page.locator("#class-filter summary").click()
    page.get_by_role("checkbox", name="jump", exact=True).first.uncheck()
    assert page.locator("button.found").count() == 5
    assert page.locator("button.truth").count() == 2
    page.get_by_role("button", name="Hide all").click()
    assert "Nothing to show here" in page.locator("#rows").inner_text()
    page.get_by_role("button", name="Show all").click()
    assert page.locator("button.truth").count() == 3


def test_precision_and_recall_follow_the_slider(page: Any) -> None:
    assert live(page)["This video A"] == ["0.333", "0.667", "4", "1"]
    assert live(page)["All videos A"] == ["0.429", "0.750", "4", "1"]
    page.locator("#threshold").fill("0.65")
    assert live(page)["All videos A"] == ["0.667", "0.500", "1", "2"]
    assert live(page)["All videos B"] == ["0.500", "0.250", "1", "3"]
    assert page.locator("#threshold-value").inner_text() == "0.65"


def test_the_numbers_do_not_depend_on_how_many_are_drawn(browser: Any, shown: Any, tmp_path: Path) -> None:
    numbers = []
    for most in (2, 300):
        file = tmp_path / f"most {most}.html"
        file.write_text(
            render([ResultSet(shown.results[0])], shown.truth, title="T", view=View(threshold=0.2, most=most))
        )
        opened = browser.new_page()
        opened.goto(file.as_uri())
        opened.wait_for_selector("html[data-ready]")
        opened.get_by_label("Order").select_option("file")
        opened.locator("#list button").first.click()
        assert opened.locator("button.found").count() == (2 if most == 2 else 6)
        numbers.append([live(opened), opened.locator("#kinds").inner_text()])
        opened.locator("#threshold").fill("0.55")
        numbers[-1].append(live(opened))
        opened.close()
    assert numbers[0] == numbers[1]
    assert numbers[0][0]["This video"] == ["0.333", "0.667", "4", "1"]


def test_two_results_side_by_side(page: Any) -> None:
    assert page.locator(".lane").first.locator(".tag").all_inner_texts() == ["", "A", "B"]
    page.get_by_label("B: theirs").uncheck()
    assert page.locator("button.found").count() == 6
    page.get_by_label("B: theirs").check()
    page.get_by_label("A: mine").uncheck()
    assert page.locator("button.found").count() == 2
    assert page.locator("#list button").first.inner_text().count("AP") == 2


def test_colour_by_class(page: Any) -> None:
    page.locator("#class-filter summary").click()
    page.get_by_label("Colour by").select_option("class")
    assert page.locator(".kind-2:not(.swatch)").count() == 0
    colours = page.locator("button.found").evaluate_all("all => all.map(one => one.style.getPropertyValue('--color'))")
    assert len(set(colours)) == 2


def test_another_video_without_a_file(page: Any) -> None:
    page.get_by_role("button", name="Next video").click()
    assert page.locator("#video-name").inner_text() == "second"
    assert page.locator("#no-video").inner_text() == "No video file is linked. The times below hold all the same."
    assert not page.locator("#player").is_visible()
    page.locator("button.truth").click()
    assert page.locator("#now").inner_text() == "0:01.0 of 0:08.0"
    page.locator("#list button").first.click()
    assert page.locator("#player").is_visible()


def test_a_file_that_cannot_be_played_is_named(browser: Any, tmp_path: Path, until: Until) -> None:
    (tmp_path / "no film.avi").write_bytes(b"RIFF no film at all")
    found = ResultSet(Detections.of([("v", "x", 1.0, 2.0, 0.5)]))
    sources = video_sources(["v"], tmp_path / "no film.avi", tmp_path / "page.html")
    (tmp_path / "page.html").write_text(render([found], title="T", view=View(sources=sources)))
    opened = browser.new_page()
    opened.goto((tmp_path / "page.html").as_uri())
    until(opened, "!document.getElementById('no-video').hidden")
    assert "cannot be loaded or played: no film.avi. Is it" in opened.locator("#no-video").inner_text()
    assert "H.264" in opened.locator("#no-video").inner_text()
    opened.close()


def test_videos_are_sorted_and_searched(page: Any) -> None:
    names = page.locator("#list .id")
    assert names.all_text_contents() == ["first", "second"]
    page.get_by_label("Order").select_option("false")
    assert names.all_text_contents() == ["first", "second"]
    page.get_by_label("Order").select_option("name")
    page.get_by_label("Search").fill("SEC")
    assert names.all_text_contents() == ["second"]
    page.get_by_label("Search").fill("")
    page.get_by_label("Order").select_option("worst")
    assert names.all_text_contents() == ["first", "second"]


def test_n_and_p_step_through_the_errors_and_into_the_next_video(page: Any) -> None:
    page.locator("#next-error").click()
    seen = [page.locator("#chosen").inner_text()]
    for _ in range(7):
        page.keyboard.press("n")
        seen.append(page.locator("#chosen").inner_text())
    assert [text.split(",")[-2 if "score" in text else -1].strip() for text in seen] == [
        "double detection",
        "missed by theirs",
        "background",
        "missed by theirs",
        "wrong label",
        "localization",
        "confusion",
        "missed by mine",
    ]
    page.keyboard.press("n")
    assert page.locator("#video-name").inner_text() == "second"
    page.keyboard.press("p")
    assert page.locator("#chosen").inner_text() == seen[-1]


def test_zoom_and_pan(page: Any) -> None:
    truth = page.get_by_role("button", name="jump, 0:12.5 to 0:16.0, truth")
    whole = truth.bounding_box()
    truth.click()
    page.keyboard.press("+")
    page.keyboard.press("+")
    zoomed = truth.bounding_box()
    assert zoomed["width"] == pytest.approx(4 * whole["width"], rel=0.02)
    assert page.locator("#axis span").first.inner_text() != "0:00"
    page.locator("#pan").fill("0")
    away = truth.bounding_box()
    assert away["x"] > page.locator("#axis").bounding_box()["x"] + page.locator("#axis").bounding_box()["width"]
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Whole video").click()
    assert truth.bounding_box()["x"] == pytest.approx(whole["x"], abs=1)
    box = page.locator("#rows").bounding_box()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 20)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    assert truth.bounding_box()["width"] > 2 * whole["width"]
    before = truth.bounding_box()["x"]
    page.locator("#axis").scroll_into_view_if_needed()
    axis = page.locator("#axis").bounding_box()
    page.mouse.move(axis["x"] + 300, axis["y"] + 8)
    page.mouse.down()
    page.mouse.move(axis["x"] + 350, axis["y"] + 8, steps=4)
    page.mouse.up()
    assert truth.bounding_box()["x"] == pytest.approx(before + 50, abs=2)


def test_arrows_seek_and_walk(page: Any) -> None:
    page.locator("#show-help").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowLeft")
    assert page.locator("#now").inner_text().startswith("0:01.9")
    page.locator("#rows [tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#chosen").inner_text().startswith("wave, 0:02.0 to 0:0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("wave, 0:02.2")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_curves_are_drawn_under_the_lanes(page: Any) -> None:
    both = page.evaluate(INK)
    assert both > 500
    page.locator("#curve-names").get_by_label("start").uncheck()
    one = page.evaluate(INK)
    assert 200 < one < both
    page.locator("#curve-names").get_by_label("jump").uncheck()
    assert page.evaluate(INK) == 0
    page.get_by_role("button", name="Next video").click()
    assert not page.locator("#curves").is_visible()


def test_names_with_markup_are_shown_as_text(browser: Any, tmp_path: Path) -> None:
    nasty = '</script><img src=x onerror="document.title=1"><b>'
    truth = Annotations.of([Video(nasty, nasty, 9.0, instances=Instances([[1, 2]], (nasty,)))])
    found = Detections.of([(nasty, nasty, 1.0, 2.0, 0.5)])
    file = tmp_path / "nasty.html"
    file.write_text(
        render([ResultSet(found, nasty), ResultSet(found, nasty)], truth, title=nasty, facts=[(nasty, nasty)])
    )
    opened = browser.new_page()
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.locator("button.truth").click()
    assert opened.locator("img").count() == 0
    assert opened.locator("b").count() == 0
    assert opened.title() == nasty
    assert opened.locator("#video-name").inner_text() == nasty
    assert opened.locator(".lane .name").first.inner_text() == nasty
    assert opened.locator("#label").input_value() == nasty
    opened.close()


def test_without_truth_there_are_lanes_and_nothing_is_judged(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "plain.html"
    file.write_text(render([ResultSet(Detections.of([("v", None, 1.0, 2.0, 0.5)]))], title="T"))
    opened = browser.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-ready]")
    assert opened.locator("button.found").count() == 1
    assert opened.locator("#kinds").count() == 0
    opened.locator("button.found").click()
    opened.get_by_role("button", name="Accept as truth").click()
    assert opened.locator("#wrong").inner_text() == "Name the class."
    opened.locator("#label").fill("clap")
    opened.get_by_role("button", name="Accept as truth").click()
    assert opened.get_by_role("button", name="clap, 0:01.0 to 0:02.0, truth, added").count() == 1
    assert errors == []
    opened.close()


def test_a_video_inside_the_page_plays(browser: Any, shown: Any, tmp_path: Path, until: Until) -> None:
    file = tmp_path / "embedded.html"
    inside = video_sources(["first"], shown.folder / "videos", file, embed=True)
    file.write_text(render([ResultSet(shown.results[0])], title="T", view=View(sources=inside)))
    opened = browser.new_page()
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-ready]")
    until(opened, "player.readyState > 0 && player.duration > 19")
    opened.close()


def test_a_page_without_videos_says_so(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "empty.html"
    file.write_text(render([ResultSet(Detections.empty())], title="T"))
    opened = browser.new_page()
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-ready]")
    assert opened.get_by_text("There is no video to show.").is_visible()
    opened.close()


@pytest.mark.parametrize("width", [390, 1024, 1800])
def test_nothing_is_wider_than_the_window(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
