"""C3D: the shapes and key names of the published network, and its features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from untrimmed.backbones import make_backbone
from untrimmed.backbones.c3d import C3D, C3DBackbone
from untrimmed.errors import InputError

WIDTHS = {
    "conv1": (3, 64),
    "conv2": (64, 128),
    "conv3a": (128, 256),
    "conv3b": (256, 256),
    "conv4a": (256, 512),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
}


def test_shapes_and_key_names_are_those_of_the_published_network() -> None:
    with torch.device("meta"):
        network = C3D()
        clips = torch.empty(2, 3, 16, 112, 112)
        assert network.maps(clips).shape == (2, 512, 2, 7, 7)
        assert network.features(clips).shape == (2, 4096)
        assert network.features(clips, "conv5b").shape == (2, 512)
        assert network(clips).shape == (2, 487)
    expected = {f"{name}.weight": (out, entering, 3, 3, 3) for name, (entering, out) in WIDTHS.items()}
    expected |= {f"{name}.bias": (out,) for name, (_, out) in WIDTHS.items()}
    for name, (entering, out) in {"fc6": (8192, 4096), "fc7": (4096, 4096), "fc8": (4096, 487)}.items():
        expected |= {f"{name}.weight": (out, entering), f"{name}.bias": (out,)}
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == expected


def make(options: dict[str, object]) -> C3DBackbone:
    """With small random weights, without going through a file of 300 MB."""
    from untrimmed.backbones.c3d import Options

    torch.manual_seed(0)
    return C3DBackbone(Options(**options), C3D(2).eval(), "0" * 64, Path("c3d.pickle"), torch.device("cpu"))


@torch.inference_mode()
def test_features_are_those_of_the_network_on_prepared_pictures() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (19, 128, 170, 3), dtype=np.uint8)
    backbone = make({"layer": "conv5b", "stride": 3})
    rows = list(backbone.stream((number / 25, image) for number, image in enumerate(images)))
    assert len(rows) == 2
    assert rows[0].shape == (backbone.channels,) == (512,)
    for row, first in zip(rows, (0, 3), strict=True):
        cut = images[first : first + 16, 8:120, 29:141, ::-1].astype(np.float32) - (104, 117, 123)
        clip = torch.from_numpy(cut.astype(np.float32)).permute(3, 0, 1, 2)[None]
        torch.testing.assert_close(torch.from_numpy(row), backbone.network.features(clip, "conv5b")[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "fc9"}, "layer is 'fc9', expected fc6 or conv5b"),
        ({"window": 8}, "window is 8, expected 16"),
        ({"order": "gbr"}, "order is 'gbr'"),
        ({"mean": [1, 2]}, "expected three colours"),
        ({"sride": 2}, "did you mean 'stride'"),
        ({}, "published: c3d.pickle .*MIT"),
    ],
)
def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str) -> None:
    monkeypatch.setenv("UNTRIMMED_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match=message):
        make_backbone({"name": "c3d", "options": options})
