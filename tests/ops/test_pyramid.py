"""The decoder of a feature pyramid, and clips of pooled steps."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from untrimmed.layers.pyramid import TopDown, clip_at


def test_a_pooled_step_has_the_clip_at_its_centre() -> None:
    clip = torch.tensor([[1, 1, 1, 0, 0, 2, 2, 2]], dtype=torch.uint8)
    assert clip_at(clip, 1).tolist() == clip.tolist()
    assert clip_at(clip, 2).tolist() == [[1, 0, 2, 2]]  # steps 1, 3, 5, 7
    assert clip_at(clip, 4).tolist() == [[1, 2]]  # steps 2, 6
    assert clip_at(clip, 8).tolist() == [[0]]  # step 4


def test_the_decoder_is_its_formula() -> None:
    torch.manual_seed(0)
    decoder = TopDown(4, 3)
    masks = [torch.ones(2, 8 // 2**level, dtype=torch.bool) for level in range(3)]
    masks[0][1, 5:] = False
    encoded = [torch.randn(2, 4, 8 // 2**level) for level in range(3)]
    found = decoder(encoded, masks)
    third = F.relu(decoder.lateral[2](encoded[2]))
    second = F.relu(decoder.lateral[1](encoded[1])) + F.relu(decoder.deconv[1](third))
    first = (F.relu(decoder.lateral[0](encoded[0])) + F.relu(decoder.deconv[0](second))) * masks[0][:, None]
    for level, running in enumerate((first, second, third)):
        expected = F.relu(decoder.smooth[level](running)) * masks[level][:, None]
        torch.testing.assert_close(found[level], expected)
