"""From windows to numbers, with torch's own interpolation as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from untrimmed.data.load_window import Standardise, load_window, resample
from untrimmed.data.stitching import SelfStitching
from untrimmed.data.windows import Window, rescaled, whole
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.types import Instances, Video

GRID = SnippetGrid(fps=10, stride=4, window=16)


class Counted(ArrayFeatures):
    """Features that remember what was read."""

    reads: list[tuple[int, int]]

    def window(self, video_id: str, start: int, stop: int) -> np.ndarray:
        self.__dict__.setdefault("reads", []).append((start, stop))
        return super().window(video_id, start, stop)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def stitched(length: int = 30) -> tuple[Window, Counted]:
    clip = Video("v", instances=Instances([(3, 6), (7, 7.5)], ("run", "jump")))
    features = Counted({"v": normal(length, 5)}, GRID)
    (window,) = SelfStitching(length=100, short=0.4, gap=5).inference(clip, length, GRID)
    return window, features


@given(st.integers(1, 60), st.integers(1, 200), st.integers(0, 2**32))
def test_interpolation_is_torchs(count: int, steps: int, seed: int) -> None:
    rows = normal(count, 3, seed=seed)
    tensor = torch.from_numpy(rows).double().T[None]
    oracle = F.interpolate(tensor, size=steps, mode="linear", align_corners=False)[0].T.numpy()
    ours = resample(rows, steps)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, oracle, atol=1e-6)


def test_interpolation_straight_from_the_formula() -> None:
    rows = normal(7, 2)
    for steps in (1, 3, 7, 20):
        for step, row in enumerate(resample(rows, steps)):
            place = min(max((step + 0.5) * 7 / steps - 0.5, 0.0), 6.0)
            low = int(place)
            high = min(low + 1, 6)
            np.testing.assert_allclose(row, rows[low] + (place - low) * (rows[high] - rows[low]), atol=1e-6)


def test_as_many_steps_as_snippets_are_a_copy_without_rounding() -> None:
    rows = normal(9, 4)
    np.testing.assert_array_equal(resample(rows, 9), rows)


def test_a_stitched_window_is_original_zeros_and_up_scaled() -> None:
    window, features = stitched()
    sample = load_window(window, features, labels=[0, 1, 0, 1])
    rows = features.arrays["v"]
    assert sample.features.shape == (5, 100)
    got = sample.features.T.numpy()
    np.testing.assert_array_equal(got[:30], rows)
    assert not got[30:35].any()
    np.testing.assert_array_equal(got[35:], resample(rows, 65))
    assert sample.clip.tolist() == [1] * 30 + [0] * 5 + [2] * 65
    assert sample.targets.labels.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(sample.targets.segments.numpy(), window.segments, rtol=1e-6)
    assert (sample.video_id, sample.map) == ("v", window.map)
    assert features.reads == [(0, 30)]  # once for both parts


def test_the_features_lie_where_the_time_map_says() -> None:
    length = 30
    centres = GRID.steps_to_seconds(np.arange(length) + 0.5)
    clock = ArrayFeatures({"v": centres[:, None]}, GRID)
    clip = Video("v")
    windows = [
        *whole(clip, length, GRID),
        *rescaled(clip, length, GRID, 77),
        *rescaled(clip, length, GRID, 11),
        *SelfStitching(length=100, short=0.4, gap=5).inference(clip, length, GRID),
        *SelfStitching(length=20, short=0.4, gap=5).inference(clip, length, GRID),
    ]
    for window in windows:
        shown = load_window(window, clock).features[0].numpy()
        expected = window.map.to_seconds(np.arange(window.length) + 0.5)
        # Beyond the centre of its outermost snippets a clip has nothing to interpolate with: it is held there.
        for part, piece in zip(window.parts, window.map.pieces, strict=True):
            inside = slice(part.first, part.stop)
            half = GRID.seconds_per_step / 2
            np.testing.assert_allclose(
                shown[inside], np.clip(expected[inside], piece.start + half, piece.end - half), atol=1e-5
            )
        assert not shown[np.isnan(expected)].any()


def test_inference_has_no_targets() -> None:
    window, features = stitched()
    assert len(load_window(window, features).targets) == 0


def test_labels_must_be_one_per_target() -> None:
    window, features = stitched()
    with pytest.raises(InputError, match=r"video 'v': numbers.shape = \(2,\), expected \(4,\), one label per target"):
        load_window(window, features, labels=[0, 1])


def test_gaps_stay_zero_under_standardisation() -> None:
    window, features = stitched()
    shift = Standardise(np.full(5, 3.0), np.full(5, 2.0))
    got = load_window(window, features, standardise=shift).features.T.numpy()
    np.testing.assert_allclose(got[:30], (features.arrays["v"] - 3) / 2, rtol=1e-6)
    assert not got[30:35].any()
    np.testing.assert_allclose(got[35:], resample((features.arrays["v"] - 3) / 2, 65), atol=1e-6)
    np.testing.assert_array_equal(features.arrays["v"], normal(30, 5))  # what is stored is not touched


def test_statistics_are_those_of_all_snippets_at_once() -> None:
    offset = np.array([0.0, 1e4, -50.0], dtype=np.float32)
    arrays = {f"v{index}": normal(length, 3, seed=index) + offset for index, length in enumerate((5000, 1, 9000, 37))}
    features = ArrayFeatures({**arrays, "other": np.full((10, 3), 9e9)}, GRID)
    measured = Standardise.measure(features, arrays)
    stacked = np.concatenate(list(arrays.values())).astype(np.float64)
    np.testing.assert_allclose(measured.mean, stacked.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(measured.std, stacked.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(measured(features.window("v0", 0, 3)).mean(), 0, atol=3)


def test_a_channel_that_never_varies_is_left_at_its_scale() -> None:
    rows = np.stack([np.full(100, 0.1), np.zeros(100), np.arange(100)], axis=1)
    measured = Standardise.measure(ArrayFeatures({"v": rows}, GRID), ["v"])
    assert measured.std.tolist()[:2] == [1, 1]
    np.testing.assert_allclose(measured(rows.astype(np.float32))[:, :2], 0, atol=1e-7)


def test_statistics_need_snippets_and_fit_their_channels() -> None:
    features = ArrayFeatures({"v": normal(4, 3)}, GRID)
    with pytest.raises(InputError, match="no snippet to measure mean and std on"):
        Standardise.measure(features, [])
    with pytest.raises(InputError, match="features of 4 channels, but the mean and std were measured on 3"):
        Standardise.measure(features, ["v"])(normal(2, 4))
    with pytest.raises(InputError, match=r"self.mean.shape = \(3,\), self.std.shape = \(2,\)"):
        Standardise(np.zeros(3), np.ones(2))
    for std in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="must be finite, and std above 0"):
            Standardise(np.zeros(2), np.array([1.0, std]))
