"""C3D (Tran et al., ICCV 2015): eight convolutions of 3 x 3 x 3, five poolings, three linear layers.

A snippet is 16 frames; features are ``fc6`` (4096, behind its ReLU) or the mean of the maps ``conv5b`` (512).
Layers are named as in the PyTorch state dict of the Sports-1M weights: ``conv1.weight`` ... ``fc8.bias``. Those were
made with Caffe, so frames are given as it gives them: blue first, 0 to 255, minus a mean colour. The original
subtracts a mean clip, whose colours differ from place to place by little; ``mean`` and ``order`` are options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.backbones.snippets import (
    Look,
    SnippetNetwork,
    check_least,
    clips_of,
    device_of,
    read_options,
)
from untrimmed.backbones.weights import find_weights, load_weights, read_state
from untrimmed.errors import InputError
from untrimmed.grid import exact_fps

_SIZE, _SHORT_SIDE, _WINDOW = 112, 128, 16
_REVISION = 1
"""Raised with every change that changes the features."""

Layer = Literal["fc6", "conv5b"]
CHANNELS: dict[str, int] = {"fc6": 4096, "conv5b": 512}


class C3D(nn.Module):
    """The network.

    Args:
        classes: of its logits; 487 in Sports-1M.
    """

    def __init__(self, classes: int = 487) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, 3, padding=1)
        self.conv2 = nn.Conv3d(64, 128, 3, padding=1)
        self.conv3a = nn.Conv3d(128, 256, 3, padding=1)
        self.conv3b = nn.Conv3d(256, 256, 3, padding=1)
        self.conv4a = nn.Conv3d(256, 512, 3, padding=1)
        self.conv4b = nn.Conv3d(512, 512, 3, padding=1)
        self.conv5a = nn.Conv3d(512, 512, 3, padding=1)
        self.conv5b = nn.Conv3d(512, 512, 3, padding=1)
        self.fc6 = nn.Linear(8192, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, classes)

    def maps(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> the maps of conv5b, (B, 512, T / 8, H / 16, W / 16), behind their ReLU."""
        maps = F.max_pool3d(F.relu(self.conv1(clips)), (1, 2, 2))
        maps = F.max_pool3d(F.relu(self.conv2(maps)), 2)
        maps = F.max_pool3d(F.relu(self.conv3b(F.relu(self.conv3a(maps)))), 2)
        maps = F.max_pool3d(F.relu(self.conv4b(F.relu(self.conv4a(maps)))), 2)
        return F.relu(self.conv5b(F.relu(self.conv5a(maps))))

    def features(self, clips: Tensor, layer: Layer = "fc6") -> Tensor:
        """(B, 3, 16, 112, 112) -> (B, 4096) of ``fc6`` or (B, 512) of ``conv5b``."""
        maps = self.maps(clips)
        if layer == "conv5b":
            return maps.mean((2, 3, 4))
        return F.relu(self.fc6(F.max_pool3d(maps, 2, padding=(0, 1, 1)).flatten(1)))

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, 16, 112, 112) -> class logits (B, K)."""
        logits: Tensor = self.fc8(F.relu(self.fc7(self.features(clips))))
        return logits


def load_c3d(path: Path) -> C3D:
    """The network with the weights of a file, ready to be applied.

    Raises:
        InputError: if the file is no state dict of it.
    """
    state = read_state(path)
    bias = state.get("fc8.bias")
    network = C3D(487 if bias is None else len(bias))
    load_weights(network, state, path)
    return network.eval()


@dataclass(frozen=True)
class Options:
    """Options of the extractor.

    Args:
        fps: frames a second that are looked at, above 0.
        stride: frames from one snippet to the next.
        window: frames in a snippet: 16, which ``fc6`` is made for.
        layer: ``"fc6"`` or ``"conv5b"``.
        order: of the colours: ``"bgr"`` as Caffe, or ``"rgb"``.
        mean: taken off the colours, in that order, 0 to 255.
        revision: of the computation; not to be chosen.
    """

    fps: Fraction = Fraction(25)
    stride: int = 8
    window: int = _WINDOW
    layer: Layer = "fc6"
    order: Literal["bgr", "rgb"] = "bgr"
    mean: tuple[float, float, float] = (104.0, 117.0, 123.0)
    revision: int = _REVISION

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", exact_fps(self.fps))
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        check_least("c3d", self, {"stride": 1})
        for name, values in (
            ("window", (_WINDOW,)),
            ("layer", tuple(CHANNELS)),
            ("order", ("bgr", "rgb")),
            ("revision", (_REVISION,)),
        ):
            if getattr(self, name) not in values:
                expected = " or ".join(map(str, values))
                raise InputError(f"backbone 'c3d': {name} is {getattr(self, name)!r}, expected {expected}")
        if len(self.mean) != 3:
            raise InputError(f"backbone 'c3d': mean is {self.mean}, expected three colours")


class C3DBackbone(SnippetNetwork):
    """The extractor; see the module. Made by :func:`untrimmed.backbones.make_backbone`.

    Args:
        options: of it.
        network: ready to be applied.
        checksum: of its weights.
        file: of them.
        device: to compute on.
        batch: snippets at once; None: as many as suit the device.
    """

    name = "c3d"
    short_side = _SHORT_SIDE

    def __init__(
        self,
        options: Options,
        network: C3D,
        checksum: str,
        file: Path,
        device: torch.device,
        batch: int | None = None,
    ) -> None:
        super().__init__(options, (str(file),), checksum, device, batch, _SIZE)
        self.network = network.to(device)

    @classmethod
    def from_options(
        cls,
        options: Mapping[str, Any],
        weights: Sequence[str | Path],
        device: str,
        expected: str | None,
        batch: int | None = None,
    ) -> Self:
        """From the options of a spec; ``weights`` has one file or none.

        Raises:
            InputError: for wrong options or weights.
        """
        chosen = Options(**read_options(Options, "c3d", options))
        if len(weights) > 1:
            raise InputError(f"backbone 'c3d': {len(weights)} files of weights, expected one")
        where = device_of(device)
        file, checksum = find_weights("c3d", "", Path(weights[0]) if weights else None, expected)
        return cls(chosen, load_c3d(file), checksum, file, where, batch)

    @property
    def channels(self) -> int:
        return CHANNELS[self.options.layer]

    @torch.inference_mode()
    def _rows(self, snippets: Sequence[Sequence[Look]]) -> NDArray[np.float32]:
        clips = clips_of(snippets, 0, self.device)
        if self.options.order == "bgr":
            clips = clips.flip(1)
        clips = clips - torch.tensor(self.options.mean, device=self.device)[:, None, None, None]
        rows: NDArray[np.float32] = self.network.features(clips, self.options.layer).cpu().numpy()
        return rows
