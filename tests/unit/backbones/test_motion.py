"""Motion features: against slow loops, and what they must and must not see."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from untrimmed.backbones import make_backbone
from untrimmed.backbones.histograms import _solve, camera_motion, edge_histograms, flow_histograms, without_camera
from untrimmed.backbones.motion import Motion, _shares
from untrimmed.errors import InputError

Image = NDArray[np.uint8]


def frames(images: list[Image]) -> Iterator[tuple[float, Image]]:
    return ((number / 15, image) for number, image in enumerate(images))


def scene(count: int, speed: float = 0.0, pan: float = 0.0, size: tuple[int, int] = (96, 128)) -> list[Image]:
    """A textured square that moves right before a texture that pans."""
    height, width = size
    rng = np.random.default_rng(0)
    back = (rng.integers(0, 120, (height, 3 * width)).repeat(1, 0)).astype(np.float32)
    kernel = np.ones(5) / 5
    back = np.apply_along_axis(lambda row: np.convolve(row, kernel, "same"), 1, back)
    square = rng.integers(120, 255, (32, 32)).astype(np.float32)
    images = []
    for number in range(count):
        shift = width + round(pan * number)
        grey = back[:, shift : shift + width].copy()
        left = 30 + round(speed * number)
        grey[32:64, left : left + 32] = square
        images.append(np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8))
    return images


def slow_edges(grey: Image, cell: int, bins: int) -> NDArray[np.float64]:
    height, width = grey.shape
    out = np.zeros((-(-height // cell), -(-width // cell), bins))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            dx = float(grey[y, x + 1]) - float(grey[y, x - 1])
            dy = float(grey[y + 1, x]) - float(grey[y - 1, x])
            place = (math.atan2(dy, dx) % math.pi) / math.pi * bins
            low = int(place) % bins
            share = place - int(place)
            out[y // cell, x // cell, low] += math.hypot(dx, dy) * (1 - share)
            out[y // cell, x // cell, (low + 1) % bins] += math.hypot(dx, dy) * share
    return out


def test_edge_histograms_equal_a_slow_loop() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (21, 26)).astype(np.uint8)
    out = np.zeros((3, 4, 10), np.float32)
    edge_histograms(grey, 8, 8, out)
    expected = slow_edges(grey, 8, 8)
    np.testing.assert_allclose(out[..., :8].sum(-1), expected.sum(-1), rtol=1e-5)
    # Directions are approximated to a thousandth of a turn, which moves a sixtieth of a weight to the next bin.
    assert np.abs(out[..., :8] - expected).max() < 0.02 * expected.max()
    assert (out[..., 8:] == 0).all()


def test_flow_histograms_equal_a_slow_loop() -> None:
    rng = np.random.default_rng(2)
    flow = rng.normal(size=(9, 10, 2)).astype(np.float32)
    flow[:4, :4] = 0.1
    out = np.zeros((3, 3, 25), np.float32)
    flow_histograms(flow, 4, 8, 0.4, out)
    length = np.hypot(flow[..., 0], flow[..., 1])
    for row in range(3):
        for column in range(3):
            part = length[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert out[row, column, 8] == (part < 0.4).sum()
            assert out[row, column, :8].sum() == pytest.approx(part[part >= 0.4].sum(), rel=1e-4)
    right = np.zeros((4, 4, 2), np.float32)
    right[..., 0] = 1.0
    single = np.zeros((1, 1, 25), np.float32)
    flow_histograms(right, 4, 8, 0.4, single)
    assert single[0, 0, 0] == 16
    assert single[0, 0, 1:].sum() == 0


def test_normal_equations_are_solved() -> None:
    rng = np.random.default_rng(0)
    for rows in (3, 4, 50, 1):
        place = np.c_[np.ones(rows), rng.normal(size=(rows, 2))]
        normal, target = place.T @ place + 1e-3 * np.eye(3), rng.normal(size=(3, 2))
        expected = np.linalg.solve(normal, target)
        np.testing.assert_allclose(_solve(normal.copy(), target.copy()), expected, rtol=1e-9)


def test_kernels_compile_without_scipy(tmp_path: Path) -> None:
    """numba compiles linear algebra only with SciPy, which is not among the requirements."""
    code = (
        "import sys; sys.modules['scipy'] = None\n"
        "import numpy as np; from untrimmed.backbones.histograms import camera_motion\n"
        "assert camera_motion(np.ones((4, 4, 2), np.float32), 1, 1).shape == (3, 2)"
    )
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_cameras_motion_is_found_and_taken_off_though_something_else_moves() -> None:
    height, width = 60, 80
    y, x = np.mgrid[:height, :width]
    u, v = (x - width / 2) / height, (y - height / 2) / height
    truth = np.array([[2.0, -1.0], [0.5, 0.3], [-0.2, 0.8]])
    flow = (truth[0] + u[..., None] * truth[1] + v[..., None] * truth[2]).astype(np.float32)
    flow[20:40, 20:45] += np.array([5.0, 3.0], np.float32)
    found = camera_motion(flow, 2, 5)
    np.testing.assert_allclose(found, truth, atol=0.05)
    left = without_camera(flow, found, 20.0)
    assert np.abs(left[:15]).max() < 0.1
    np.testing.assert_allclose(left[30, 30], [5.0, 3.0], atol=0.1)
    assert np.hypot(*np.moveaxis(without_camera(flow, found, 2.0), -1, 0)).max() <= 2.0 + 1e-4


def test_rows_come_for_whole_snippets_alone() -> None:
    backbone = Motion(short_side=96)
    for count, rows in ((0, 0), (1, 1), (5, 1), (6, 1), (8, 1), (9, 2), (15, 4)):
        assert len(list(backbone.stream(frames(scene(count))))) == rows, count
        assert rows == max(backbone.grid.count(count), min(count, 1))


def test_features_are_finite_bounded_and_as_wide_as_said() -> None:
    rows = np.stack(list(Motion(short_side=96).stream(frames(scene(12, speed=2)))))
    assert rows.dtype == np.float32
    assert rows.shape == (3, Motion().channels)
    assert np.isfinite(rows).all()
    assert rows.min() >= 0
    assert rows.max() <= 1


def test_a_snippet_depends_on_its_own_frames_and_the_one_before() -> None:
    images = scene(15, speed=2)
    whole = list(Motion(short_side=96).stream(frames(images)))
    later = list(Motion(short_side=96).stream(frames(images[2:])))
    changed = [*images[:9], *[np.zeros_like(images[0])] * 6]
    np.testing.assert_array_equal(whole[1], list(Motion(short_side=96).stream(frames(changed)))[1])
    assert not np.array_equal(whole[2], list(Motion(short_side=96).stream(frames(changed)))[2])
    assert len(later) == 3


def test_what_moves_is_seen_and_a_panning_camera_is_not() -> None:
    def motion(speed: float, pan: float) -> float:
        rows = np.stack(list(Motion(short_side=96).stream(frames(scene(12, speed, pan)))))
        bins = rows[:, 12 * 8 : 12 * 17].reshape(len(rows), 12, 9)
        return float((bins[:, :, :8] ** 2).sum())

    assert motion(2.0, 0.0) > 4 * motion(0.0, 0.0)
    everything_moves_alike = motion(-2.0, 2.0)
    assert everything_moves_alike < 0.6 * motion(2.0, 0.0)


def test_pooling_is_linear_between_the_centres_of_places() -> None:
    weights = _shares(12, 0.0, 1.0, 3)
    np.testing.assert_allclose(weights[:, 2:10].sum(axis=0), 1.0, rtol=1e-6)
    assert weights[0].argmax() in (1, 2)
    assert (_shares(12, 0.5, 1.0, 2)[:, :4] == 0).all()


def test_specs_make_the_backbone_they_came_from() -> None:
    backbone = make_backbone({"name": "motion", "options": {"fps": "12", "stride": 2, "window": 4, "rows": 2}})
    assert backbone == make_backbone(backbone.spec())
    assert backbone.grid.seconds_per_step == pytest.approx(1 / 6)
    assert backbone.channels == 2 * 3 * 33 + 12


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "motoin"}, "did you mean 'motion'"),
        ({"name": "motion", "options": {"strid": 2}}, "did you mean 'stride'"),
        ({"name": "motion", "options": {"stride": 0}}, "stride is 0"),
        ({"name": "motion", "options": {"short_side": 8}}, "short_side is 8"),
        ({"name": "motion", "options": {"region": [0.5, 0.2, 0, 1]}}, "region is"),
        ({"name": "motion", "options": {"revision": 99}}, "revision 99"),
        ({"name": "motion", "option": {}}, "unknown key 'option'"),
        ({"name": "motion", "weights_sha256": "ab"}, "expected ab"),
        (3, "backbone is 3"),
    ],
)
def test_wrong_specs(spec: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_backbone(spec)  # type: ignore[arg-type]
