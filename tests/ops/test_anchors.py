"""Anchors, offsets and pieces against loops written from their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from untrimmed.layers.anchors import (
    MAX_LOG_SCALE,
    apply_offsets,
    clip_segments,
    pieces,
    pyramid_anchors,
)


def test_anchors_of_a_pyramid_by_a_loop() -> None:
    expected = []
    for size in (4.0, 6.0):
        for level, stride in enumerate((4, 8, 16)):
            for cell in range(48 // stride):
                center = cell * stride + stride / 2
                length = size * 2**level
                expected.append([center - length / 2, center + length / 2])
    assert pyramid_anchors(48, (4, 8, 16), (4.0, 6.0)).tolist() == expected


def test_the_paper_s_anchors_are_as_many_as_it_says_levels() -> None:
    anchors = pyramid_anchors(1280, (4, 8, 16, 32, 64), (32.0, 48.0))
    lengths = (anchors[:, 1] - anchors[:, 0]).unique().tolist()
    assert len(anchors) == 2 * (320 + 160 + 80 + 40 + 20)
    assert lengths == [32, 48, 64, 96, 128, 192, 256, 384, 512, 768]


def test_offsets_by_hand() -> None:
    moved = apply_offsets(torch.tensor([[10.0, 20.0]]), torch.tensor([[0.5, math.log(2)]]))
    assert moved[0].tolist() == pytest.approx([10.0, 30.0])


def test_offsets_that_are_far_too_large_stay_finite() -> None:
    moved = apply_offsets(torch.tensor([[10.0, 20.0]]), torch.tensor([[0.0, 500.0]]))
    assert (moved[0, 1] - moved[0, 0]).item() == pytest.approx(10 * math.exp(MAX_LOG_SCALE))


def test_offsets_have_the_right_gradient() -> None:
    torch.manual_seed(1)
    anchors = torch.tensor([[0.0, 4.0], [30.0, 36.0]], dtype=torch.float64)
    offsets = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda each: apply_offsets(anchors, each), offsets)


def slow_pieces(clip: list[int]) -> list[list[float]]:
    found = []
    for step, kind in enumerate(clip):
        start, end = step, step + 1
        while start > 0 and clip[start - 1] == kind:
            start -= 1
        while end < len(clip) and clip[end] == kind:
            end += 1
        found.append([float(start), float(end)] if kind else [0.0, 0.0])
    return found


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(st.lists(st.sampled_from([0, 1, 2]), min_size=n, max_size=n), min_size=1, max_size=3)
    )
)
@settings(max_examples=60, deadline=None)
def test_pieces_by_a_loop(clips: list[list[int]]) -> None:
    assert pieces(torch.tensor(clips, dtype=torch.uint8)).tolist() == [slow_pieces(clip) for clip in clips]


def test_segments_are_cut_to_their_bounds() -> None:
    segments = torch.tensor([[-2.0, 3.0], [4.0, 12.0], [20.0, 30.0], [2.0, 5.0]])
    bounds = torch.tensor([[0.0, 10.0]]).expand(4, 2)
    assert clip_segments(segments, bounds).tolist() == [[0, 3], [4, 10], [10, 10], [2, 5]]
