"""Normalisation over sets of steps, and the layout it serves."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from untrimmed.layers.conv import SegmentNorm, Tower, masked, pad_steps
from untrimmed.layers.pyramid import PackedLevels


def norm(groups: int, channels: int) -> SegmentNorm:
    torch.manual_seed(0)
    layer = SegmentNorm(groups, channels)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


def test_one_set_of_all_steps_is_group_normalisation() -> None:
    layer = norm(3, 12)
    features = torch.randn(2, 12, 17) * 3 + 5
    expected = F.group_norm(features, 3, layer.weight, layer.bias)
    torch.testing.assert_close(layer(features, torch.ones(2, 1, 17)), expected, rtol=1e-4, atol=1e-5)


def test_sets_are_normalised_apart_and_steps_in_none_are_zero() -> None:
    layer = norm(2, 6)
    features = torch.randn(1, 6, 12) * 4 - 2
    sets = torch.zeros(1, 3, 12)  # the third set is empty
    sets[0, 0, 1:4] = 1
    sets[0, 1, [4, 7, 11]] = 1
    found = layer(features, sets)
    for row in (0, 1):
        steps = sets[0, row].nonzero()[:, 0]
        expected = F.group_norm(features[:, :, steps], 2, layer.weight, layer.bias)
        torch.testing.assert_close(found[:, :, steps], expected, rtol=1e-4, atol=1e-5)
    assert found[:, :, sets[0].sum(0) == 0].abs().sum() == 0


def test_normalisation_has_the_right_gradient() -> None:
    layer = norm(2, 4).double()
    features = torch.randn(1, 4, 5, dtype=torch.float64, requires_grad=True)
    sets = torch.tensor([[[1, 1, 1, 0, 0], [0, 0, 0, 1, 0]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda each: layer(each, sets), features)


def test_normalisation_under_autocast_computes_in_float32() -> None:
    layer = norm(2, 4)
    features = (torch.randn(1, 4, 50) + 100).bfloat16()
    sets = torch.ones(1, 1, 50)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(features, sets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, layer(features.float(), sets))


@pytest.mark.parametrize("lengths", [(8, 4, 2), (5,)])
def test_a_tower_on_levels_side_by_side_is_the_tower_on_each(lengths: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    tower = Tower(6, depth=3, groups=2)
    for layer in tower.norms:
        nn.init.normal_(layer.bias)  # type: ignore[arg-type]
    masks = [torch.rand(2, length) < 0.7 for length in lengths]
    levels = [masked(torch.randn(2, 6, length), mask) for length, mask in zip(lengths, masks, strict=True)]
    layout = PackedLevels(masks)
    together = layout.values(tower(layout.join(levels), layout.sets))
    alone = [tower(level, mask[:, None].float()) for level, mask in zip(levels, masks, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone, -1))


def test_steps_are_padded_to_a_multiple() -> None:
    assert pad_steps(torch.ones(2, 3, 5), 4).shape == (2, 3, 8)
    assert pad_steps(torch.ones(2, 5, dtype=torch.uint8), 4).sum() == 10
    whole = torch.ones(1, 8)
    assert pad_steps(whole, 4) is whole
