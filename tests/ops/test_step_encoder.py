"""A convolution over steps before a method, by a loop, padded and not."""

from __future__ import annotations

import pytest
import torch

from untrimmed.layers.conv import StepEncoder, masked


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_it_is_a_convolution_and_relu_of_what_is_shown(kernel: int) -> None:
    torch.manual_seed(0)
    layer = StepEncoder(3, 4, kernel).double()
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    features = masked(torch.randn(2, 3, 7, dtype=torch.float64), mask)
    found = layer(features, mask)
    assert layer.bias is not None
    for window in range(2):
        for step in range(7):
            expected = layer.bias.clone()
            for tap in range(kernel):
                at = step + tap - kernel // 2
                if 0 <= at < 7:
                    expected = expected + layer.weight[:, :, tap] @ features[window, :, at]
            expected = expected.relu() if mask[window, step] else torch.zeros(4, dtype=torch.float64)
            torch.testing.assert_close(found[window, :, step], expected)
    torch.testing.assert_close(layer(features[1:, :, :4], mask[1:, :4])[0], found[1, :, :4])
