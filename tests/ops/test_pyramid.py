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
    third = F.relu(decoder.smooth[2](encoded[2]))
    second = F.relu(decoder.lateral[1](encoded[1])) + F.relu(decoder.deconv[1](third))
    second = F.relu(decoder.smooth[1](second))
    first = (F.relu(decoder.lateral[0](encoded[0])) + F.relu(decoder.deconv[0](second))) * masks[0][:, None]
    first = F.relu(decoder.smooth[0](first)) * masks[0][:, None]
    for left, right in zip(found, (first, second, third), strict=True):
        torch.testing.assert_close(left, right)


def test_the_decoder_by_hand() -> None:
    # Two levels of one channel. The smoothing of the coarse one negates, so only its negative step gets past the ReLU
    # and may reach the fine one; all else passes on what it gets. A coarse step i goes to the fine step 2 i.
    decoder = TopDown(1, 2)
    weights = {"lateral.0": 1.0, "deconv.0": 1.0, "smooth.0": 1.0, "smooth.1": -1.0}
    assert {name.rpartition(".")[0] for name, _ in decoder.named_parameters()} == set(weights)
    with torch.no_grad():
        for name, weight in weights.items():
            layer = decoder.get_submodule(name)
            layer.weight.copy_(torch.tensor([[[0.0, weight, 0.0]]]))
            layer.bias.zero_()
    masks = [torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)]
    fine, coarse = decoder([torch.tensor([[[1.0, 2.0, -3.0, 4.0]]]), torch.tensor([[[5.0, -7.0]]])], masks)
    assert coarse.tolist() == [[[0.0, 7.0]]]
    assert fine.tolist() == [[[1.0, 2.0, 7.0, 4.0]]]


def test_one_level_is_only_smoothed() -> None:
    decoder = TopDown(3, 1)
    encoded, mask = torch.randn(1, 3, 1), torch.ones(1, 1, dtype=torch.bool)
    assert torch.equal(decoder([encoded], [mask])[0], F.relu(decoder.smooth[0](encoded)))
    assert len(decoder.lateral) == len(decoder.deconv) == 0
