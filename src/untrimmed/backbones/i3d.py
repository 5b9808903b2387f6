"""I3D: Inception-v1 with its filters inflated to three dimensions (Carreira and Zisserman, CVPR 2017).

One network each for pictures and for optical flow. Both see squares of 224 pixels from the middle of frames whose
shorter side is 256, with values in [-1, 1]: colours, or flow cut to 20 pixels. A snippet's features are the 1024
means over space that the last average pooling (2 x 7 x 7, stride 1) gives, averaged over time; of two streams, those
of both side by side: 2048, as VSGN and ACGNet take them. Settings of Fig. 3 and section 2.4 of the paper.

Layers are named so that the widely used PyTorch state dicts load: ``Conv3d_1a_7x7.conv3d.weight``,
``Mixed_3b.b0.bn.running_mean``, ``logits.conv3d.bias``.

Convolutions and poolings pad like TensorFlow's ``SAME``: an output of ``ceil(size / stride)``, and where the padding
is odd the larger half behind. Pooling pads with minus infinity; others pad with 0, which is the same behind a ReLU.

Departures of the extractor
- Flow is DIS (``dis-medium``) by default. The published weights saw TV-L1, some twenty times slower: ``flow="tvl1"``.
- Flow is computed at the network's resolution, from frame i to i + 1; the last frame has that of the one before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import cv2
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
    middle,
    read_options,
)
from untrimmed.backbones.weights import find_weights, load_weights, read_state
from untrimmed.errors import InputError, nearest
from untrimmed.grid import exact_fps
from untrimmed.video.flow import make_flow, to_unit

STREAMS = {"rgb": 3, "flow": 2}
"""Stream -> channels of its frames."""

_SIZE, _SHORT_SIDE = 224, 256
_REVISION = 1
"""Raised with every change that changes the features."""


def same_padding(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[int]:
    """What ``F.pad`` takes so that every axis comes out as ``ceil(size / stride)``: last axis first, before, after."""
    padding: list[int] = []
    for size, width, step in zip(reversed(sizes), reversed(kernel), reversed(stride), strict=True):
        missing = max((-(-size // step) - 1) * step + width - size, 0)
        padding += [missing // 2, missing - missing // 2]
    return padding


class MaxPool(nn.Module):
    """Maximum over a neighbourhood with TensorFlow's ``SAME`` padding.

    Args:
        kernel, stride: of time, height and width.
    """

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same with sizes ``ceil(size / stride)``."""
        padded = F.pad(maps, same_padding(maps.shape[2:], self.kernel, self.stride), value=-math.inf)
        return F.max_pool3d(padded, self.kernel, self.stride)


class Unit(nn.Module):
    """Convolution, batch normalisation and ReLU, or the bare convolution with a bias.

    Args:
        channels_in, channels_out: of the convolution.
        kernel: its side, the same on all axes.
        stride: the same on all axes.
        bare: without normalisation and ReLU.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, bare: bool = False):
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(channels_in, channels_out, kernel, stride, bias=bare)
        self.bn = None if bare else nn.BatchNorm3d(channels_out, eps=1e-3, momentum=0.01)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C_out, ceil(T / stride), ceil(H / stride), ceil(W / stride))."""
        result: Tensor = self.conv3d(F.pad(maps, same_padding(maps.shape[2:], self.kernel, self.stride)))
        return result if self.bn is None else F.relu(self.bn(result))


class Mixed(nn.Module):
    """An Inception block: four branches side by side.

    Args:
        channels_in: C.
        widths: of the 1x1 branch; of reduction and convolution of the two 3x3x3 branches; of the pooling branch.
    """

    def __init__(self, channels_in: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = Unit(channels_in, widths[0])
        self.b1a = Unit(channels_in, widths[1])
        self.b1b = Unit(widths[1], widths[2], 3)
        self.b2a = Unit(channels_in, widths[3])
        self.b2b = Unit(widths[3], widths[4], 3)
        self.b3a = MaxPool((3, 3, 3), (1, 1, 1))
        self.b3b = Unit(channels_in, widths[5])

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, sum of the branches, T, H, W)."""
        return torch.cat(
            (self.b0(maps), self.b1b(self.b1a(maps)), self.b2b(self.b2a(maps)), self.b3b(self.b3a(maps))), dim=1
        )


class I3D(nn.Module):
    """The network of one stream.

    Args:
        channels: of its frames: 3 for pictures, 2 for flow.
        classes: of the logits; 400 in Kinetics.
    """

    ENDPOINTS = (
        "Conv3d_1a_7x7",
        "MaxPool3d_2a_3x3",
        "Conv3d_2b_1x1",
        "Conv3d_2c_3x3",
        "MaxPool3d_3a_3x3",
        "Mixed_3b",
        "Mixed_3c",
        "MaxPool3d_4a_3x3",
        "Mixed_4b",
        "Mixed_4c",
        "Mixed_4d",
        "Mixed_4e",
        "Mixed_4f",
        "MaxPool3d_5a_2x2",
        "Mixed_5b",
        "Mixed_5c",
    )
    """The layers whose maps can be asked for, in order."""

    def __init__(self, channels: int = 3, classes: int = 400) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(channels, 64, 7, 2)
        self.MaxPool3d_2a_3x3 = MaxPool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        self.MaxPool3d_3a_3x3 = MaxPool((1, 3, 3), (1, 2, 2))
        self.Mixed_3b = Mixed(192, (64, 96, 128, 16, 32, 32))
        self.Mixed_3c = Mixed(256, (128, 128, 192, 32, 96, 64))
        self.MaxPool3d_4a_3x3 = MaxPool((3, 3, 3), (2, 2, 2))
        self.Mixed_4b = Mixed(480, (192, 96, 208, 16, 48, 64))
        self.Mixed_4c = Mixed(512, (160, 112, 224, 24, 64, 64))
        self.Mixed_4d = Mixed(512, (128, 128, 256, 24, 64, 64))
        self.Mixed_4e = Mixed(512, (112, 144, 288, 32, 64, 64))
        self.Mixed_4f = Mixed(528, (256, 160, 320, 32, 128, 128))
        self.MaxPool3d_5a_2x2 = MaxPool((2, 2, 2), (2, 2, 2))
        self.Mixed_5b = Mixed(832, (256, 160, 320, 32, 128, 128))
        self.Mixed_5c = Mixed(832, (384, 192, 384, 48, 128, 128))
        self.logits = Unit(1024, classes, bare=True)

    def maps(self, clips: Tensor, names: Sequence[str] = ("Mixed_4f", "Mixed_5c")) -> dict[str, Tensor]:
        """The maps of some layers; what comes after the last of them is not computed.

        Args:
            clips: (B, channels, T, H, W) in [-1, 1].
            names: of :attr:`ENDPOINTS`.

        Returns:
            Name -> (B, C, ceil(T / t), ceil(H / s), ceil(W / s)); for Mixed_4f C = 832, t = 4, s = 16; for Mixed_5c
            C = 1024, t = 8, s = 32.

        Raises:
            ValueError: for another name.
        """
        left = set(names)
        if unknown := left - set(self.ENDPOINTS):
            raise ValueError(f"I3D has no layer {min(unknown)!r}: {nearest(min(unknown), self.ENDPOINTS, 16)}")
        found = {}
        for name in self.ENDPOINTS:
            if not left:
                break
            clips = getattr(self, name)(clips)
            if name in left:
                found[name] = clips
                left.remove(name)
        return found

    def pool(self, maps: Tensor) -> Tensor:
        """The last average pooling of maps of Mixed_5c, (B, 1024, T', 1, 1) for pictures of 224 pixels."""
        return F.avg_pool3d(maps, [min(2, maps.shape[2]), min(7, maps.shape[3]), min(7, maps.shape[4])], 1)

    def features(self, clips: Tensor) -> Tensor:
        """(B, channels, T, H, W) in [-1, 1] -> (B, 1024)."""
        return self.pool(self.maps(clips, ("Mixed_5c",))["Mixed_5c"]).mean((2, 3, 4))

    def forward(self, clips: Tensor) -> Tensor:
        """(B, channels, T, H, W) in [-1, 1] -> class logits (B, K), averaged over time."""
        logits: Tensor = self.logits(self.pool(self.maps(clips, ("Mixed_5c",))["Mixed_5c"]))
        return logits.mean((2, 3, 4))


def load_i3d(path: Path, stream: str) -> I3D:
    """The network of a stream with the weights of a file, ready to be applied; as many classes as the file has.

    Raises:
        InputError: if the file is no state dict of such a network.
    """
    state = read_state(path)
    bias = state.get("logits.conv3d.bias")
    network = I3D(STREAMS[stream], 400 if bias is None else len(bias))
    load_weights(network, state, path)
    return network.eval()


@dataclass(frozen=True)
class Options:
    """Options of the extractor.

    Args:
        fps: frames a second that are looked at, above 0.
        stride: frames from one snippet to the next.
        window: frames in a snippet, at least 9.
        streams: ``("rgb",)``, ``("flow",)`` or both.
        flow: estimator, see :func:`untrimmed.video.flow.make_flow`.
        revision: of the computation; not to be chosen.
    """

    fps: Fraction = Fraction(25)
    stride: int = 8
    window: int = 16
    streams: tuple[str, ...] = ("rgb",)
    flow: str = "dis-medium"
    revision: int = _REVISION

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", exact_fps(self.fps))
        object.__setattr__(self, "streams", tuple(self.streams))
        # Below 9 frames the last layer has one step in time, and its pooling of 2 nothing to pool.
        check_least("i3d", self, {"stride": 1, "window": 9})
        for stream in self.streams:
            if stream not in STREAMS:
                raise InputError(f"backbone 'i3d': stream '{stream}' is not known: {nearest(stream, STREAMS)}")
        if not self.streams or len(set(self.streams)) < len(self.streams):
            raise InputError(f"backbone 'i3d': streams are {list(self.streams)}, expected rgb, flow or rgb,flow")
        if self.revision != _REVISION:
            raise InputError(
                f"backbone 'i3d': these features are of revision {self.revision}, this program computes revision "
                f"{_REVISION}; extract the videos again"
            )
        if "flow" in self.streams:
            make_flow(self.flow)


class I3DBackbone(SnippetNetwork):
    """The extractor; see the module. Made by :func:`untrimmed.backbones.make_backbone`.

    Args:
        options: of it.
        networks: stream -> network, for the streams of the options, ready to be applied.
        checksums: stream -> that of its weights.
        files: of the weights, in the order of the streams.
        device: to compute on.
        batch: snippets at once; None: as many as suit the device.
    """

    name = "i3d"
    short_side = _SHORT_SIDE

    def __init__(
        self,
        options: Options,
        networks: Mapping[str, I3D],
        checksums: Mapping[str, str],
        files: Sequence[Path],
        device: torch.device,
        batch: int | None = None,
    ) -> None:
        checksum = "+".join(checksums[stream] for stream in options.streams)
        super().__init__(options, [str(file) for file in files], checksum, device, batch, _SIZE)
        self.networks = {stream: networks[stream].to(device) for stream in options.streams}

    @classmethod
    def from_options(
        cls,
        options: Mapping[str, Any],
        weights: Sequence[str | Path],
        device: str,
        expected: str | None,
        batch: int | None = None,
    ) -> Self:
        """From the options of a spec; ``weights`` has a file for each stream in order, or none.

        Raises:
            InputError: for wrong options or weights.
        """
        chosen = Options(**read_options(Options, "i3d", options))
        if weights and len(weights) != len(chosen.streams):
            raise InputError(
                f"backbone 'i3d': {len(weights)} files of weights for the streams {', '.join(chosen.streams)}; give "
                "one for each, in this order"
            )
        sums = expected.split("+") if expected else [None] * len(chosen.streams)
        if len(sums) != len(chosen.streams):
            raise InputError(f"backbone 'i3d': {len(sums)} checksums for {len(chosen.streams)} streams")
        where = device_of(device)
        networks, checksums, files = {}, {}, []
        for number, stream in enumerate(chosen.streams):
            given = Path(weights[number]) if weights else None
            file, checksums[stream] = find_weights("i3d", stream, given, sums[number])
            networks[stream] = load_i3d(file, stream)
            files.append(file)
        return cls(chosen, networks, checksums, files, where, batch)

    def spec(self) -> dict[str, Any]:
        """The spec that makes this backbone, every option that matters with its value."""
        spec = super().spec()
        if "flow" not in self.options.streams:
            del spec["options"]["flow"]
        return spec

    @property
    def channels(self) -> int:
        return 1024 * len(self.options.streams)

    def _looks(self, frames: Iterable[tuple[float, NDArray[np.uint8]]]) -> Iterator[Look]:
        if "flow" not in self.options.streams:
            yield from super()._looks(frames)
            return
        estimate = make_flow(self.options.flow)
        before: tuple[NDArray[Any], NDArray[np.uint8]] | None = None
        flow = np.zeros((_SIZE, _SIZE, 2), np.float32)
        for _, image in frames:
            grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
            if before is not None:
                flow = middle(to_unit(estimate(before[1], grey)), _SIZE)
                yield self._look(before[0], flow)
            before = middle(image, _SIZE), grey
        if before is not None:
            yield self._look(before[0], flow)

    def _look(self, picture: NDArray[Any], flow: NDArray[Any]) -> Look:
        return tuple(picture if stream == "rgb" else flow for stream in self.options.streams)

    @torch.inference_mode()
    def _rows(self, snippets: Sequence[Sequence[Look]]) -> NDArray[np.float32]:
        parts = []
        for number, (stream, network) in enumerate(self.networks.items()):
            clips = clips_of(snippets, number, self.device)
            parts.append(network.features(clips.div_(127.5).sub_(1) if stream == "rgb" else clips))
        rows: NDArray[np.float32] = torch.cat(parts, dim=1).cpu().numpy()
        return rows
