"""Any video model of ``transformers`` as a backbone: VideoMAE, V-JEPA 2, TimeSformer, ViViT and their kin.

``weights`` names the model: a local folder as ``save_pretrained`` writes it, with ``config.json`` and
``model.safetensors`` or its shards, or a name on the hub, from where these are fetched. Only safetensors are read.
Pictures are prepared here, without torchvision: the shorter side at the model's size, the square in the middle, mean
and deviation of ``preprocessor_config.json`` if the folder has one (else ImageNet's). A snippet's features are the
mean of the last hidden states over all tokens.

Needs the extra ``untrimmed[hub]``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from untrimmed.backbones.snippets import (
    Look,
    SnippetNetwork,
    check_least,
    clips_of,
    device_of,
    read_options,
)
from untrimmed.backbones.weights import checksum, weights_folder
from untrimmed.errors import InputError
from untrimmed.grid import exact_fps

_CONFIG, _STATISTICS = "config.json", "preprocessor_config.json"
_WHOLE, _SHARDS = "model.safetensors", "model-*-of-*.safetensors"
_FETCHED = (_CONFIG, _STATISTICS, _WHOLE, f"{_WHOLE}.index.json", _SHARDS)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_REVISION = 1
"""Raised with every change that changes the features."""


@dataclass(frozen=True)
class Options:
    """Options of the extractor.

    Args:
        fps: frames a second that are looked at, above 0; models are trained on 4 to 12.
        stride: frames from one snippet to the next; None: as many as a snippet has.
        window: frames in a snippet; None: as many as the model was made for.
        model: name on the hub; None for a local folder, which its checksum tells.
        revision: of the computation; not to be chosen.
    """

    fps: Fraction = Fraction(8)
    stride: int | None = None
    window: int | None = None
    model: str | None = None
    revision: int = _REVISION

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", exact_fps(self.fps))
        check_least("hub", self, {name: 1 for name in ("stride", "window") if getattr(self, name) is not None})
        if self.revision != _REVISION:
            raise InputError(f"backbone 'hub': revision is {self.revision}, this program computes {_REVISION}")


class HubBackbone(SnippetNetwork):
    """The extractor; see the module. Made by :func:`untrimmed.backbones.make_backbone`.

    Args:
        options: of it.
        folder: with the model's files.
        device: to compute on.
        batch: snippets at once; None: as many as suit the device.

    Raises:
        InputError: if transformers is not installed, the folder holds no video model that can be read, or the model
            does not take snippets of that window.
    """

    name = "hub"
    few = 4

    def __init__(self, options: Options, folder: Path, device: torch.device, batch: int | None = None) -> None:
        self.model = _load(folder).to(device)
        config = self.model.config
        frames = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
        size = getattr(config, "image_size", None) or getattr(config, "crop_size", None)
        if not isinstance(frames, int) or not isinstance(size, int):
            raise InputError(f"{folder}: a model of type {config.model_type}, expected one that takes video clips")
        window = options.window or frames
        known = replace(options, window=window, stride=options.stride or window)
        super().__init__(known, (str(folder),), _checksum(folder), device, batch, size)
        self.short_side = size
        mean, deviation = _statistics(folder)
        self._mean, self._deviation = (torch.tensor(each, device=device)[:, None] for each in (mean, deviation))
        if window != frames:
            self._try_window(folder, frames)

    @classmethod
    def from_options(
        cls,
        options: Mapping[str, Any],
        weights: Sequence[str | Path],
        device: str,
        expected: str | None,
        batch: int | None = None,
    ) -> Self:
        """From the options of a spec; ``weights`` has the folder or the name of the model.

        Raises:
            InputError: for wrong options or weights.
        """
        chosen = Options(**read_options(Options, "hub", options))
        if len(weights) > 1:
            raise InputError(f"backbone 'hub': {len(weights)} models, expected one")
        where = device_of(device)
        given = str(weights[0]) if weights else chosen.model
        if given is None:
            return cls(chosen, _by_checksum(expected), where, batch)
        if not Path(given).is_dir():
            chosen = replace(chosen, model=given)
            return cls(chosen, _fetch(given), where, batch)
        return cls(chosen, Path(given), where, batch)

    @property
    def channels(self) -> int:
        return int(self.model.config.hidden_size)

    def _try_window(self, folder: Path, frames: int) -> None:
        """Refuse a window that the model was not made for, unless it can take it: some have positions for any."""
        nothing = (np.zeros((self.short_side, self.short_side, 3), np.uint8),)
        try:
            self._rows([[nothing] * self.options.window])
        except (RuntimeError, ValueError, IndexError) as error:
            reason = str(error).split("\n")[0]
            raise InputError(
                f"backbone 'hub': window is {self.options.window}, but the model in {folder} takes snippets of "
                f"{frames} frames ({reason})"
            ) from None

    @torch.inference_mode()
    def _rows(self, snippets: Sequence[Sequence[Look]]) -> NDArray[np.float32]:
        clips = clips_of(snippets, 0, self.device).div_(255).transpose(1, 2)
        pixels = (clips - self._mean[..., None]) / self._deviation[..., None]
        extra = {"skip_predictor": True} if self.model.config.model_type == "vjepa2" else {}
        found = self.model(**{self.model.main_input_name: pixels}, **extra).last_hidden_state
        rows: NDArray[np.float32] = found.mean(1).float().cpu().numpy()
        return rows


def _load(folder: Path) -> Any:
    try:
        from transformers import AutoModel
    except ImportError:
        raise InputError("backbone 'hub' needs transformers: pip install 'untrimmed[hub]'") from None
    for name, there in ((_CONFIG, (folder / _CONFIG).is_file()), (_WHOLE, bool(_weights(folder)))):
        if not there:
            raise InputError(f"{folder}: has no {name}; expected a folder as transformers' save_pretrained writes it")
    try:
        return AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{folder}: not a model that transformers can read ({reason})") from None


def _fetch(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError("backbone 'hub' needs transformers: pip install 'untrimmed[hub]'") from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FETCHED)))
    except Exception as error:  # its errors have no common base: names, networks, access
        reason = str(error).split("\n")[0]
        raise InputError(
            f"'{name}': no such folder, and it cannot be had from the hub ({type(error).__name__}: {reason})"
        ) from None


def _by_checksum(expected: str | None) -> Path:
    if expected is None:
        raise InputError("backbone 'hub' needs a model: name a folder, or a model on the hub, with --weights")
    for folder in sorted(weights_folder().glob("*/")):
        if _weights(folder) and _checksum(folder) == expected:
            return folder
    raise InputError(
        f"backbone 'hub': no model with the checksum {expected} in a folder in {weights_folder()}; put it there, or "
        "name its folder"
    )


def _weights(folder: Path) -> list[Path]:
    """The file of weights, or the shards they are cut into; none if there are none."""
    whole = folder / _WHOLE
    return [whole] if whole.is_file() else sorted(folder.glob(_SHARDS))


def _checksum(folder: Path) -> str:
    """That of the weights: of one file its SHA-256, of shards the SHA-256 of theirs, one after the other."""
    sums = [checksum(file) for file in _weights(folder)]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def _statistics(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of the colours that the model takes, in [0, 1]."""
    file = folder / _STATISTICS
    if not file.is_file():
        return _MEAN, _DEVIATION
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        mean, deviation = values.get("image_mean", _MEAN), values.get("image_std", _DEVIATION)
        return [float(value) for value in mean], [float(value) for value in deviation]
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not a preprocessor's settings ({error})") from None
