"""The data types: checked when built, frozen, and whole again after a trip to another process."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrimmed.errors import InputError
from untrimmed.types import Annotations, Detections, Instances, Video

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["v1", "v2", "v3"]),
        st.sampled_from(["run", "jump", None]),
        st.floats(-10, 100),
        st.floats(-10, 100),
        st.floats(-5, 5),
    ),
    max_size=12,
)


def instances() -> Instances:
    return Instances(np.array([[0, 2], [1, 5], [4, 4]]), ("run", "jump", "run"), ({"a": 1}, {}, {"b": [2]}))


def annotations() -> Annotations:
    return Annotations.of(
        [
            Video("v1", "validation", 12.5, Fraction(25), instances(), {"url": "x"}),
            Video("v2", "test", None, None, Instances(np.array([[0.0, 1.0]]), ("swim",))),
            Video("v3", "test"),
        ],
        version="1.0",
        extra={"taxonomy": []},
    )


def detections() -> Detections:
    return Detections.of(
        [("v1", "run", 0, 1, 0.5), ("v2", "jump", 2, 3, 0.25), ("v1", None, 4, 3, 1.0)], video_ids=["v0", "v1"]
    )


class TestInstances:
    def test_it_holds_what_it_was_given(self) -> None:
        these = instances()
        assert len(these) == 3
        assert these.segments.dtype == np.float64
        assert these.segments.tolist() == [[0, 2], [1, 5], [4, 4]]

    def test_reversed_and_zero_length_segments_are_kept(self) -> None:
        assert Instances([[5, 3], [2, 2]], ("a", "b")).segments.tolist() == [[5, 3], [2, 2]]

    def test_select_takes_row_numbers_masks_and_nothing(self) -> None:
        these = instances()
        assert these.select([2, 0]).labels == ("run", "run")
        assert these.select([2, 0]).segments.tolist() == [[4, 4], [0, 2]]
        assert these.select([2, 0]).extra == ({"b": [2]}, {"a": 1})
        assert these.select(np.array([False, True, False])).labels == ("jump",)
        assert these.select([-1]).labels == ("run",)
        for nothing in ([], np.array([], dtype=np.int64), np.zeros(3, dtype=bool)):
            assert len(these.select(nothing)) == 0
        assert len(Instances.empty().select(np.zeros(0, dtype=bool))) == 0
        assert Instances([[0, 1]], ("a",)).select([0]).extra == ()

    @pytest.mark.parametrize("nothing", [[], np.empty((0, 2)), np.empty((0,))])
    def test_none_may_be_written_in_any_way(self, nothing: Any) -> None:
        assert Instances(nothing, ()).segments.shape == (0, 2)

    @pytest.mark.parametrize(
        ("segments", "labels", "message"),
        [
            ([[0, 1]], ("a", "b"), r"2 labels for self.segments.shape = \(1, 2\)"),
            ([[0, 1, 2]], ("a",), r"table.shape = \(1, 3\), expected \(N, 2\)"),
            ([0, 1], ("a",), r"table.shape = \(2,\), expected \(N, 2\)"),
            ([[0, 1], [2, math.nan]], ("a", "b"), r"segment 1 is \[2.0, nan\], expected two finite numbers"),
            ([[-math.inf, 1]], ("a",), "segment 0 is"),
            ([[0, 1]], (7,), "label 7 is a int, expected text"),
            ([["a", "b"]], ("a",), r"segments are \[\['a', 'b'\]\], expected pairs of numbers"),
            ([[0, 1], [2]], ("a", "b"), "expected pairs of numbers"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, segments: Any, labels: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            Instances(segments, labels)

    def test_extra_must_be_one_per_instance(self) -> None:
        with pytest.raises(InputError, match="1 extra mappings"):
            Instances([[0, 1], [1, 2]], ("a", "b"), ({},))

    def test_the_callers_array_is_not_shared(self) -> None:
        table = np.array([[0.0, 1.0]])
        these = Instances(table, ("a",))
        table[0, 0] = 9
        assert these.segments[0, 0] == 0
        with pytest.raises(ValueError, match="read-only"):
            these.segments[0, 0] = 5
        assert table.flags.writeable

    def test_a_frozen_array_is_not_copied_again(self) -> None:
        these = Instances([[0, 1]], ("a",))
        assert Instances(these.segments, ("b",)).segments is these.segments


class TestVideo:
    def test_labels_are_the_sorted_set(self) -> None:
        assert Video("v", instances=instances()).labels == ("jump", "run")
        assert Video("v").labels == ()

    def test_the_frame_rate_becomes_exact(self) -> None:
        assert Video("v", fps=29.97).fps == Fraction(30000, 1001)  # type: ignore[arg-type]

    @pytest.mark.parametrize("duration", [0, 1.5, np.float32(2.0), np.int64(3), None])
    def test_durations_that_mean_something(self, duration: Any) -> None:
        assert Video("v", duration=duration).duration == duration

    @pytest.mark.parametrize("duration", [-1, math.nan, math.inf, "12", [1]])
    def test_durations_that_mean_nothing(self, duration: Any) -> None:
        with pytest.raises(InputError, match=r"video v: duration is .*, expected seconds, at least 0"):
            Video("v", duration=duration)

    @pytest.mark.parametrize("name", ["", None, 5])
    def test_a_name_is_needed(self, name: Any) -> None:
        with pytest.raises(InputError, match=r"Video: id is .*, expected a text that is not empty"):
            Video(name)

    def test_a_subset_is_text(self) -> None:
        with pytest.raises(InputError, match="video v: subset is None, expected text"):
            Video("v", subset=None)  # type: ignore[arg-type]

    def test_it_is_frozen(self) -> None:
        with pytest.raises(FrozenInstanceError):
            Video("v").id = "w"  # type: ignore[misc]


class TestAnnotations:
    def test_it_lists_labels_subsets_and_counts(self) -> None:
        truth = annotations()
        assert len(truth) == 3
        assert [video.id for video in truth] == ["v1", "v2", "v3"]
        assert truth.labels == ("jump", "run", "swim")
        assert truth.subsets == ("test", "validation")
        assert truth.instance_count == 4

    def test_a_subset_keeps_the_rest_of_the_file(self) -> None:
        test = annotations().subset("test")
        assert list(test.videos) == ["v2", "v3"]
        assert (test.version, dict(test.extra)) == ("1.0", {"taxonomy": []})
        assert test.labels == ("swim",)

    def test_an_unknown_subset_gets_a_suggestion(self) -> None:
        with pytest.raises(InputError, match=r"no video is in subset 'tset': did you mean 'test'\?"):
            annotations().subset("tset")

    def test_a_video_may_occur_once_and_under_its_own_name(self) -> None:
        with pytest.raises(InputError, match="video v occurs twice"):
            Annotations.of([Video("v"), Video("v")])
        with pytest.raises(InputError, match="video 'v' is filed under 'w'"):
            Annotations({"w": Video("v")})

    def test_the_callers_dict_is_not_shared(self) -> None:
        videos = {"v": Video("v")}
        truth = Annotations(videos)
        videos["w"] = Video("w")
        assert len(truth) == 1
        with pytest.raises(TypeError):
            truth.videos["w"] = Video("w")  # type: ignore[index]


class TestDetections:
    @given(ROWS)
    def test_rows_come_back_in_order(self, rows: list[tuple[str, str | None, float, float, float]]) -> None:
        found = Detections.of(rows)
        back = [
            (
                found.video_ids[found.video[row]],
                None if found.label[row] < 0 else found.labels[found.label[row]],
                *found.segments[row].tolist(),
                float(found.scores[row]),
            )
            for row in range(len(found))
        ]
        assert back == rows

    @given(ROWS, st.data())
    def test_select_is_the_rows(self, rows: list[Any], data: st.DataObject) -> None:
        found = Detections.of(rows, video_ids=["v1"])
        wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5)) if rows else []
        again = found.select(wanted)
        assert again.video_ids == found.video_ids
        assert again.labels == found.labels
        assert again.scores.tolist() == [rows[row][4] for row in wanted]
        assert again.segments.tolist() == [list(rows[row][2:4]) for row in wanted]
        mask = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
        masked = found.select(np.array(mask, dtype=bool))
        assert masked.scores.tolist() == [row[4] for row, keep in zip(rows, mask, strict=True) if keep]

    def test_of_video(self) -> None:
        assert detections().of_video("v1").scores.tolist() == [0.5, 1.0]
        assert len(detections().of_video("v0")) == 0
        with pytest.raises(InputError, match="no detections for video 'v9': there are: v0, v1, v2"):
            detections().of_video("v9")

    def test_empty_remembers_what_was_looked_at(self) -> None:
        none = Detections.empty(["v1"], ["run"])
        assert (len(none), none.video_ids, none.labels) == (0, ("v1",), ("run",))
        assert len(none.of_video("v1")) == 0

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"scores": [1.0]}, r"scores.shape = \(1,\) for self.segments.shape = \(3, 2\)"),
            ({"scores": [1.0, math.nan, 0.0]}, "score of row 1 is nan, expected a finite number"),
            ({"scores": [1.0, 0.0, math.inf]}, "score of row 2 is inf"),
            ({"video": [0, 1]}, r"video has shape \(2,\)"),
            ({"video": [0, 1, 3]}, r"video holds 0\.\.3, expected 0\.\.2"),
            ({"video": [-1, 1, 1]}, r"video holds -1\.\.1, expected 0\.\.2"),
            ({"label": [0, 1, 2]}, r"label holds 0\.\.2, expected -1\.\.1"),
            ({"label": [-2, 0, 0]}, r"label holds -2\.\.0, expected -1\.\.1"),
            ({"segments": [[0, 1], [2, 3], [4, math.nan]]}, "Detections: segment 2 is"),
            ({"labels": ("run", "run")}, "labels holds a name twice"),
            ({"video_ids": ("v1", "v2", "v1")}, "video_ids holds a name twice"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            replace(detections(), **change)

    def test_columns_are_read_only(self) -> None:
        scores = np.array([0.1, 0.2, 0.3])
        found = replace(detections(), scores=scores)
        scores[0] = 7
        assert found.scores[0] == 0.1
        for column in (found.video, found.label, found.segments, found.scores):
            with pytest.raises(ValueError, match="read-only"):
                column[0] = 0


def same(left: Any, right: Any) -> bool:
    """Equal in every field, arrays by value."""
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right)) and left.dtype == right.dtype
    if isinstance(left, tuple):
        return len(left) == len(right) and all(same(one, two) for one, two in zip(left, right, strict=True))
    if hasattr(left, "__dataclass_fields__"):
        return all(same(getattr(left, name), getattr(right, name)) for name in left.__dataclass_fields__)
    if hasattr(left, "items"):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@pytest.mark.parametrize("send", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
@pytest.mark.parametrize("value", [instances(), Video("v"), annotations(), detections(), Detections.empty()])
def test_a_worker_process_gets_the_same_and_read_only(send: Callable[[Any], Any], value: Any) -> None:
    there = send(value)
    assert type(there) is type(value)
    assert same(there, value)
    for name in ("segments", "scores"):
        if hasattr(there, name):
            assert not getattr(there, name).flags.writeable
