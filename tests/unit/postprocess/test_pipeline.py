"""Settings and their application: to one video, to all videos, in the order that is documented."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from untrimmed.errors import InputError
from untrimmed.postprocess import Nms, PostProcess, apply, nms, process, process_window, vote
from untrimmed.postprocess.pipeline import CandidatesWarning
from untrimmed.types import Detections

VSGN_THUMOS14 = PostProcess(
    nms=(Nms("hard", threshold=0.4), Nms("gaussian", sigma=0.46, class_wise=False)), max_length=50.0, keep=200
)
SETTINGS = [
    PostProcess(),
    PostProcess(nms=(), keep=3),
    PostProcess(floor=0.2, nms=(Nms("linear", threshold=0.3, keep=2),), keep=None),
    PostProcess(floor=0.05, candidates=9, nms=(Nms("hard", threshold=0.3, class_wise=False),), voting=0.6),
    PostProcess(nms=VSGN_THUMOS14.nms, max_length=12.0, keep=6, voting=0.5),
    PostProcess(nms=(Nms("hard", threshold=0.6, extend=1.0),), keep=None, voting=0.5),
]


def detections(seed: int, count: int = 120, videos: int = 4) -> Detections:
    rng = np.random.default_rng(seed)
    start, length = rng.integers(0, 40, count), rng.integers(-1, 15, count)
    return Detections(
        tuple(f"v{i}" for i in range(videos + 1)),  # nothing was found in the last one
        ("jump", "run", "throw"),
        rng.integers(0, videos, count),
        rng.integers(-1, 3, count),
        np.stack((start, start + length), axis=1).astype(float),
        rng.integers(0, 30, count) / 30,
    )


def slow(segments: Any, scores: Any, labels: Any, settings: PostProcess) -> list[tuple[float, ...]]:
    """The documented steps, one after the other, on rows of one video."""
    rows = [i for i in range(len(scores)) if settings.floor is None or scores[i] >= settings.floor]
    rows = [i for i in rows if settings.max_length is None or segments[i][1] - segments[i][0] < settings.max_length]
    rows = sorted(sorted(rows, key=lambda i: (-scores[i], i))[: settings.candidates])
    entered, current = rows, {i: float(scores[i]) for i in rows}
    for step in settings.nms:
        kept = {}
        for label in sorted({int(labels[i]) for i in rows}) if step.class_wise else [None]:
            mine = [i for i in rows if label is None or labels[i] == label]
            found = nms(
                segments[mine],
                [current[i] for i in mine],
                method=step.method,
                threshold=step.threshold,
                sigma=step.sigma,
                floor=settings.floor,
                keep=step.keep,
                extend=step.extend,
            )
            kept.update({mine[row]: score for row, score in zip(found.rows, found.scores.tolist(), strict=True)})
        rows, current = sorted(kept), kept
    rows = sorted(rows, key=lambda i: (-current[i], i))[: settings.keep]
    result = []
    for i in rows:
        segment = segments[i]
        if settings.voting is not None:
            same = [j for j in entered if labels[j] == labels[i]]
            segment = vote([same.index(i)], segments[same], scores[same], threshold=settings.voting)[0]
        result.append((i, *segment.tolist(), current[i], int(labels[i])))
    return result


@pytest.mark.parametrize("settings", SETTINGS)
def test_one_video_takes_the_documented_steps(settings: PostProcess) -> None:
    given = detections(1, 80)
    kept = process(given.segments, given.scores, given.label, settings)
    got = [(*row,) for row in zip(kept.rows, *kept.segments.T, kept.scores, kept.labels, strict=True)]
    assert got == slow(given.segments, given.scores, given.label, settings)
    assert len(got) > 2


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.sampled_from(SETTINGS))
def test_all_videos_equal_each_alone(seed: int, count: int, settings: PostProcess) -> None:
    given = detections(seed, count)
    got = apply(given, settings, note=lambda text: None)
    assert (got.video_ids, got.labels) == (given.video_ids, given.labels)
    parts = []
    for index, video_id in enumerate(given.video_ids):
        mine = given.of_video(video_id)
        kept = process(mine.segments, mine.scores, mine.label, settings)
        parts += [(index, *row) for row in zip(*kept.segments.T, kept.scores, kept.labels, strict=True)]
    assert list(zip(got.video, *got.segments.T, got.scores, got.label, strict=True)) == parts


def test_by_hand() -> None:
    segments = [[0, 4], [1, 5], [1, 5], [20, 90], [6, 8]]
    scores = [0.9, 0.8, 0.7, 0.95, 0.1]
    kept = process(segments, scores, [0, 0, 1, 1, 0], VSGN_THUMOS14)
    # The long one is dropped, the second is suppressed in its class, the third decays across classes: tIoU 0.6.
    assert kept.rows.tolist() == [0, 2, 4]
    np.testing.assert_allclose(kept.scores, [0.9, 0.7 * np.exp(-0.36 / 0.46), 0.1], atol=1e-15)
    assert kept.labels.tolist() == [0, 1, 0]


IN_WINDOWS = PostProcess(
    floor=0.05,
    max_length=12.0,
    nms=(
        Nms("hard", threshold=0.4, per="window"),
        Nms("gaussian", sigma=0.5, class_wise=False, keep=9, per="window"),
        Nms("gaussian", sigma=0.46, class_wise=False),
    ),
    keep=20,
)


def test_suppressions_per_window_come_first_each_window_alone() -> None:
    given = detections(2, 160)  # what are videos there are windows of one video here
    alone = PostProcess(
        floor=0.05, nms=(Nms("hard", threshold=0.4), Nms("gaussian", sigma=0.5, class_wise=False, keep=9)), keep=None
    )
    parts = []
    for name in given.video_ids:
        mine = given.of_video(name)
        kept = process_window(mine.segments, mine.scores, mine.label, IN_WINDOWS)
        expected = slow(mine.segments, mine.scores, mine.label, alone)
        assert [*zip(kept.rows, *kept.segments.T, kept.scores, kept.labels, strict=True)] == expected
        parts.append(kept)
    segments, scores, labels = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("segments", "scores", "labels")
    )
    assert (segments[:, 1] - segments[:, 0] >= 12).any()  # long ones may suppress in their window, then they go
    rest = PostProcess(floor=0.05, max_length=12.0, nms=(Nms("gaussian", sigma=0.46, class_wise=False),), keep=20)
    assert IN_WINDOWS.merged == rest
    assert len(process(segments, scores, labels, IN_WINDOWS.merged).rows) == 20


def test_windows_by_hand() -> None:
    settings = PostProcess(nms=(Nms("hard", threshold=0.4, per="window"), Nms("hard", threshold=0.9)))
    first = process_window([[0, 4], [0, 5], [9, 12]], [0.5, 0.9, 0.3], [0, 0, 0], settings)
    second = process_window([[0, 4.9], [0, 3]], [0.8, 0.7], [0, 1], settings)
    assert (first.rows.tolist(), second.rows.tolist()) == ([1, 2], [0, 1])
    merged = [np.concatenate(each) for each in zip(first[1:], second[1:], strict=True)]
    # Across windows the second suppression alone is done: 4.9 / 5 is above its threshold.
    assert process(*merged, settings.merged).rows.tolist() == [0, 3, 1]


def test_what_is_per_window_is_refused_where_windows_are_not_known() -> None:
    with pytest.raises(InputError, match="not known which window"):
        process([[0, 4]], [0.5], None, IN_WINDOWS)
    with pytest.raises(InputError, match="not known which window"):
        apply(detections(1), IN_WINDOWS)


BSN = PostProcess(nms=(Nms("gaussian", sigma=0.75, threshold=0.65, rise=0.25, class_wise=False),), keep=None)


def test_a_threshold_that_rises_with_length() -> None:
    # Of 100 s: 10 s long, the threshold is 0.675, and tIoU 0.7 decays; 90 s long, it is 0.875, and tIoU 0.8 does not.
    segments = [[0, 10], [0, 7], [10, 100], [10, 82]]
    scores = [0.9, 0.8, 0.85, 0.6]
    kept = process(segments, scores, None, BSN, duration=100.0)
    assert kept.rows.tolist() == [0, 2, 3, 1]
    np.testing.assert_allclose(kept.scores, [0.9, 0.85, 0.6, 0.8 * np.exp(-0.49 / 0.75)], atol=1e-15)
    # Of 1000 s even the longest is short, and both decay.
    assert process(segments, scores, None, BSN, duration=1000.0).scores[-1] == pytest.approx(0.6 * np.exp(-0.64 / 0.75))


def test_durations_are_those_of_each_video() -> None:
    one = [("jump", 0, 10, 0.9), ("jump", 0, 7.7, 0.8)]
    given = Detections.of([(video, *row) for video in ("short", "long") for row in one])
    kept = apply(given, BSN, {"short": 10.0, "long": 1000.0})
    alone = [
        process([[0, 10], [0, 7.7]], [0.9, 0.8], None, BSN, duration).scores.tolist() for duration in (10.0, 1000.0)
    ]
    assert [kept.of_video(video).scores.tolist() for video in ("short", "long")] == alone
    assert alone[0] == [0.9, 0.8]
    assert alone[1] != alone[0]


@pytest.mark.parametrize(("durations", "said"), [({}, "not known"), ({"a": None}, "not known"), ({"a": 0.0}, "0.0")])
def test_a_duration_that_is_needed_and_missing_is_named(durations: dict[str, float | None], said: str) -> None:
    given = Detections.of([("a", "jump", 0, 4, 0.9)])
    with pytest.raises(InputError, match=f"a: its duration is {said}"):
        apply(given, BSN, durations)
    assert len(apply(given, PostProcess(), durations)) == 1


def test_labels_may_be_absent_and_input_is_left_alone() -> None:
    segments, scores = np.array([[0.0, 4.0], [0.5, 4.5]]), np.array([0.5, 0.9])
    before = segments.copy(), scores.copy()
    kept = process(segments, scores, None, PostProcess(voting=0.3))
    assert kept.rows.tolist() == [1, 0]
    assert kept.labels.tolist() == [0, 0]
    assert (segments == before[0]).all()
    assert (scores == before[1]).all()
    assert len(process([], [], [], PostProcess(candidates=3)).rows) == 0


def test_equal_scores_keep_their_order_through_every_limit() -> None:
    segments = np.array([[10.0 * i, 10.0 * i + 1] for i in range(6)])
    scores = np.array([0.5, 0.7, 0.5, 0.7, 0.5, 0.5])
    kept = process(segments, scores, [2, 1, 0, 0, 1, 2], PostProcess(candidates=5, keep=4))
    assert kept.rows.tolist() == [1, 3, 0, 2]


def test_what_a_limit_of_candidates_leaves_out_is_said() -> None:
    given = Detections.of(
        [("full", "jump", i, i + 1, 0.9 - i / 100) for i in range(7)]
        + [("full", "jump", 50, 51, 0.1), ("few", "run", 0, 1, 0.5)]
    )
    settings = PostProcess(floor=0.2, candidates=3, nms=())
    with pytest.warns(CandidatesWarning, match="full: 4 of 7 candidates left out before suppression .the limit is 3."):
        assert len(apply(given, settings)) == 4
    told: list[str] = []
    apply(given, settings, note=told.append)
    apply(given, PostProcess(floor=0.2, candidates=7, nms=()), note=told.append)
    apply(given, PostProcess(floor=0.2, nms=()), note=told.append)
    apply(Detections.empty((), ()), settings, note=told.append)
    assert len(told) == 1
    many = Detections.of([(f"v{i}", "jump", j, j + 1, 0.5) for i in range(8) for j in range(4)])
    apply(many, settings, note=told.append)
    assert told[1].count("1 of 4 candidates") == 5
    assert told[1].endswith("and likewise in 3 more videos")


def test_dict_round_trip() -> None:
    for settings in [*SETTINGS, VSGN_THUMOS14, IN_WINDOWS, BSN]:
        assert PostProcess.from_dict(settings.to_dict()) == settings
    assert PostProcess.from_dict({}) == PostProcess()
    assert PostProcess.from_dict({"nms": []}).nms == ()
    assert VSGN_THUMOS14.to_dict()["nms"] == [
        {"method": "hard", "threshold": 0.4, "class_wise": True},
        {"method": "gaussian", "sigma": 0.46, "class_wise": False},
    ]


def test_the_dict_names_what_is_per_window_alone() -> None:
    assert [step.get("per") for step in IN_WINDOWS.to_dict()["nms"]] == ["window", "window", None]
    assert PostProcess.from_dict({"nms": [{"method": "hard", "threshold": 0.4, "per": "video"}]}).merged.nms


def test_short_form() -> None:
    assert Nms.of("hard:0.4") == Nms("hard", threshold=0.4)
    assert Nms.of("linear:0.3") == Nms("linear", threshold=0.3)
    assert Nms.of("gaussian:0.46:agnostic") == Nms("gaussian", sigma=0.46, class_wise=False)
    assert Nms.of("hard:0.7:+1") == Nms("hard", threshold=0.7, extend=1.0)
    assert Nms.of("linear:0.3:+0.5:agnostic") == Nms.of("linear:0.3:agnostic:+0.5")
    assert Nms.of("linear:0.3:agnostic:+0.5") == Nms("linear", threshold=0.3, class_wise=False, extend=0.5)
    assert Nms.of("gaussian:0.75:0.65") == Nms("gaussian", sigma=0.75, threshold=0.65)
    assert Nms.of("gaussian:0.75:0.65:0.25:agnostic") == BSN.nms[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gausian:0.5", "did you mean 'gaussian'"),
        ("hard", "expected hard:NUMBER"),
        ("hard:0.4:classes", "expected hard:NUMBER, then :agnostic or :"),
        ("hard:0.4:agnostic:x", "expected hard:NUMBER"),
        ("hard:0.4:agnostic:agnostic", "expected hard:NUMBER"),
        ("hard:0.4:+1:+1", "expected hard:NUMBER"),
        ("hard:0.4:+x", "'0.4:\\+x' holds no number"),
        ("hard:x", "'x' holds no number"),
        ("hard:2", "threshold is 2.0"),
        ("gaussian:0.5:0.6:0.3:0.1", "expected gaussian:NUMBER"),
        ("gaussian:0.5:0.8:0.3", r"threshold \+ rise is 1.1"),
        ("gaussian:agnostic", "expected gaussian:NUMBER"),
    ],
)
def test_bad_short_form(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Nms.of(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nsm": []}, "unknown key 'nsm': did you mean 'nms'"),
        ({"nms": [{"method": "hard", "treshold": 0.5}]}, r"nms\[0\]: unknown key 'treshold': did you mean 'threshold'"),
        ({"nms": ["hard"]}, r"nms\[0\]: is 'hard', expected keys and values"),
        ({"nms": "hard"}, "nms is 'hard', expected a list"),
        ({"nms": [{"method": "hard", "threshold": 0.5, "class_wise": 1}]}, "class_wise is 1"),
        ({"nms": [{"method": "hard", "threshold": 0.5, "keep": -1}]}, "keep is -1"),
        ({"nms": [{"method": "hard", "threshold": 0.5, "per": "windw"}]}, "per is 'windw': did you mean 'window'"),
        (
            {"nms": [{"method": "hard", "threshold": 0.5}, {"method": "hard", "threshold": 0.5, "per": "window"}]},
            "per window after one per video",
        ),
        ({"nms": [{"method": "hard", "threshold": 0.5, "extend": "one"}]}, "extend is 'one'"),
        ({"nms": [{"method": "hard", "threshold": 0.5, "rise": 0.1}]}, "only gaussian NMS with a threshold has one"),
        ({"nms": [{"method": "gaussian", "sigma": 0.5, "rise": 0.1}]}, "only gaussian NMS with a threshold has one"),
        ({"nms": [{"method": "gaussian", "threshold": 0.5}]}, "gaussian NMS needs a sigma"),
        ({"nms": [{"method": "hard", "threshold": 0.5, "sigma": 0.5}]}, "hard NMS has no sigma"),
        ({"floor": "low"}, "floor is 'low'"),
        ({"max_length": 0}, "max_length is 0"),
        ({"candidates": 0}, "candidates is 0"),
        ({"keep": 1.5}, "keep is 1.5"),
        ({"voting": 0}, "voting is 0"),
    ],
)
def test_bad_settings(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PostProcess.from_dict(values)


def test_steps_must_be_steps() -> None:
    with pytest.raises(InputError, match="expected Nms"):
        PostProcess(nms=("hard",))  # type: ignore[arg-type]
