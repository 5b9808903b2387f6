"""Optical flow: known motions are found, and the scales that networks expect are kept."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.video.flow import METHODS, make_flow, to_levels, to_unit
from untrimmed.video.tvl1 import _LAMBDA, _TAU, _THETA, _round


def scene(height: int = 96, width: int = 128) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two frames of a smooth texture and the flow between them, which bends over the picture."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.normal(size=(height + 40, width + 40)).astype(np.float32), (0, 0), 2.5)
    texture = (texture - texture.min()) / np.ptp(texture) * 255
    y, x = np.mgrid[:height, :width].astype(np.float32)
    flow = np.stack([2 * np.sin(y / 30) + 1.5, 1.5 * np.cos(x / 40) - 1], axis=-1).astype(np.float32)
    back_x, back_y = x, y
    for _ in range(20):
        back_x, back_y = (
            axis - cv2.remap(flow[..., part].copy(), back_x, back_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for part, axis in ((0, x), (1, y))
        )
    first, second = (
        cv2.remap(texture, at_x + 20, at_y + 20, cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
        for at_x, at_y in ((x, y), (back_x, back_y))
    )
    return first, second, flow


@pytest.mark.parametrize(
    ("method", "scale", "most"),
    [
        ("dis-ultrafast", None, 0.7),
        ("dis-ultrafast", 1, 0.3),
        ("dis-fast", None, 0.5),
        ("dis-medium", None, 0.2),
        ("tvl1", None, 0.1),
    ],
)
def test_a_known_motion_is_found(method: str, scale: int | None, most: float) -> None:
    first, second, truth = scene()
    flow = make_flow(method, finest_scale=scale)(first, second)
    assert flow.shape == (96, 128, 2)
    assert flow.dtype == np.float32
    assert np.linalg.norm(flow - truth, axis=-1)[8:-8, 8:-8].mean() < most


@pytest.mark.parametrize("method", METHODS)
def test_nothing_moves_between_equal_frames(method: str) -> None:
    first, _, _ = scene()
    assert np.abs(make_flow(method)(first, first)).max() < 1e-3
    assert np.abs(make_flow(method)(np.full_like(first, 7), np.full_like(first, 7))).max() < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_the_same_bits_whatever_the_threads(method: str) -> None:
    first, second, _ = scene()
    threads = cv2.getNumThreads()
    try:
        flows = []
        for number in (1, 2, 4):
            cv2.setNumThreads(number)
            flows.append(make_flow(method)(first, second))
            assert cv2.getNumThreads() == number
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(flows[0], flows[1])
    np.testing.assert_array_equal(flows[0], flows[2])


def test_one_estimator_keeps_nothing_between_calls() -> None:
    first, second, _ = scene()
    for method in METHODS:
        estimate = make_flow(method)
        alone = estimate(first, second)
        estimate(second, first)
        np.testing.assert_array_equal(estimate(first, second), alone)


def test_small_pictures() -> None:
    for size in ((1, 1), (5, 9), (17, 33)):
        assert make_flow("tvl1")(np.zeros(size, np.uint8), np.zeros(size, np.uint8)).shape == (*size, 2)


def test_names() -> None:
    with pytest.raises(InputError, match="did you mean 'dis-fast'"):
        make_flow("dis-fas")
    with pytest.raises(InputError, match="no finest scale"):
        make_flow("tvl1", finest_scale=1)


def test_scales_of_two_stream_networks() -> None:
    flow = np.array([-50, -20, -10, 0, 10, 20, 50], dtype=np.float32)
    np.testing.assert_allclose(to_unit(flow), [-1, -1, -0.5, 0, 0.5, 1, 1])
    np.testing.assert_array_equal(to_levels(flow), [0, 0, 64, 128, 191, 255, 255])
    assert to_unit(flow).dtype == np.float32
    assert to_levels(flow).dtype == np.uint8
    rng = np.random.default_rng(0).uniform(-20, 20, 1000)
    assert np.abs(to_levels(rng.astype(np.float32)) / 127.5 - 1 - rng / 20).max() <= 1 / 255 + 1e-5
    np.testing.assert_allclose(to_unit(np.float32([4]), bound=8), [0.5])


def slow_round(
    flow: np.ndarray, dual: np.ndarray, constant: np.ndarray, slope: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The three formulas in whole arrays, by the operators' definitions (divergence is minus the transposed gradient).

    Unlike the kernel, which goes over the picture in place, nothing here is updated half-way: the same, because
    thresholding is per pixel and the dual is read before it is written.
    """
    rho = constant + (slope * flow).sum(-1)
    steep = (slope**2).sum(-1)
    reach = _LAMBDA * _THETA
    move = np.where(rho < -reach * steep, reach, np.where(rho > reach * steep, -reach, -rho / np.maximum(steep, 1e-9)))
    moved = flow + move[..., None] * slope
    divergence = dual[..., 0] + dual[..., 1]
    divergence[:, 1:] -= dual[:, :-1, :, 0]
    divergence[1:] -= dual[:-1, :, :, 1]
    new = moved + _THETA * divergence
    gradient = np.zeros_like(dual)
    gradient[:, :-1, :, 0] = new[:, 1:] - new[:, :-1]
    gradient[:-1, :, :, 1] = new[1:] - new[:-1]
    length = np.sqrt((gradient**2).sum(-1, keepdims=True))
    return new, (dual + _TAU / _THETA * gradient) / (1 + _TAU / _THETA * length)


def test_a_round_of_tvl1_equals_its_formulas() -> None:
    rng = np.random.default_rng(0)
    flow, constant = rng.normal(size=(7, 9, 2)), rng.normal(size=(7, 9)) * 3
    slope, dual = rng.normal(size=(7, 9, 2)) * 4, rng.normal(size=(7, 9, 2, 2)) * 0.2
    wanted, wanted_dual = slow_round(flow, dual, constant, slope)
    kept, kept_dual = flow.astype(np.float32), dual.astype(np.float32)
    planes = [np.ascontiguousarray(part, dtype=np.float32) for part in (constant, slope[..., 0], slope[..., 1])]
    changed = _round(kept, kept_dual, *planes)
    np.testing.assert_allclose(kept, wanted, atol=1e-5)
    np.testing.assert_allclose(kept_dual, wanted_dual, atol=1e-5)
    assert changed == pytest.approx(((wanted - flow) ** 2).sum(-1).mean(), rel=1e-4)
