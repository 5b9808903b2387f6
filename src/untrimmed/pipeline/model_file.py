"""What training leaves for detection, and the one file it is kept in.

``model.safetensors`` holds tensors (weights, statistics of the features) and, in its metadata, the format's version
and a header, JSON. Nothing is unpickled. This module alone knows the header's keys; an ONNX file carries the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import safetensors
import torch
from safetensors.torch import save
from torch import nn

from untrimmed.data.load_window import Standardise
from untrimmed.errors import InputError
from untrimmed.formats.activitynet import ResultsExtra
from untrimmed.formats.io import atomic_write
from untrimmed.grid import SnippetGrid
from untrimmed.methods.catalog import make_method
from untrimmed.methods.weights import FORMAT, check_format, without_retired
from untrimmed.pipeline.recipe import Recipe, recipe_of

MODEL_FILE = "model.safetensors"
SIMULATED = "Trained on simulated features: no result of a real detector."
TRAINED_ON = "videos"
"""Key of :attr:`TrainedModel.training_info` with the ids of the videos it was trained on."""
_KIND = "untrimmed model"
_AGAIN = "train again (`untrimmed train CONFIG ... --out RUN`; the run's config.yaml, if kept, is its CONFIG)"
_WEIGHTS, _STATISTICS, _PROPOSER = "weights.", "statistics.", "proposer."
_HEADER: dict[str, tuple[type, ...]] = {
    "recipe": (dict,),
    "classes": (list,),
    "channels": (int,),
    "backbone": (dict, type(None)),
    "grid": (dict, type(None)),
    "training": (dict,),
}
"""Key of the header -> the types that its value may have."""

Model = TypeVar("Model", bound="TrainedModel")


@dataclass
class TrainedModel:
    """A trained method with all that it needs to be applied.

    Attributes:
        method: the network.
        recipe: what it was trained by.
        classes: class names; label k of the network is ``classes[k]``.
        channels: features a snippet.
        standardise: of its features; None if they are taken as they come.
        backbone: spec of the extractor of its features; None if it is not known.
        grid: of its features; None if it differs from video to video.
        training_info: how the training went.
        proposer: makes the proposals that the method judges; None if it judges none, or was trained on a file of them.
    """

    method: nn.Module
    recipe: Recipe
    classes: tuple[str, ...]
    channels: int
    standardise: Standardise | None = None
    backbone: Mapping[str, Any] | None = None
    grid: SnippetGrid | None = None
    training_info: Mapping[str, Any] = field(default_factory=dict)
    proposer: Self | None = None

    @property
    def device(self) -> torch.device:
        return next(self.method.parameters()).device

    @property
    def simulated(self) -> bool:
        """Whether it, or its proposal model, was trained on simulated features."""
        own = bool((self.backbone or {}).get("simulated", False))
        return own or (self.proposer is not None and self.proposer.simulated)

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """Ids of the videos it was trained on; None for a model file that does not say it."""
        names = self.training_info.get(TRAINED_ON)
        return None if names is None else tuple(names)

    @property
    def results_extra(self) -> ResultsExtra | None:
        """What its result files say beyond detections."""
        return ResultsExtra({"external_data": {"used": True, "details": SIMULATED}}) if self.simulated else None

    def header(self) -> dict[str, Any]:
        """All but network and statistics, as plain values; :func:`read_header` reads them back."""
        return {
            "recipe": self.recipe.to_dict(),
            "classes": list(self.classes),
            "channels": self.channels,
            "backbone": dict(self.backbone) if self.backbone else None,
            "grid": self.grid.to_dict() if self.grid else None,
            "training": dict(self.training_info),
        }

    def save(self, path: Path) -> None:
        """Write the one file, by way of a temporary name; the proposal model is in it.

        Raises:
            InputError: if it cannot be written.
        """
        tensors, header = self._packed()
        try:
            with atomic_write(path, "wb") as file:
                file.write(save(tensors, {"format": f"{_KIND} {FORMAT}", "header": json.dumps(header)}))
        except OSError as error:
            raise InputError(f"{path}: the model could not be written ({error})") from error

    def _packed(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and header of the file; those of the proposal model stand in them under names of their own."""
        tensors = {_WEIGHTS + name: value.detach().cpu().contiguous() for name, value in _unshared(self.method).items()}
        if self.standardise:
            tensors[_STATISTICS + "mean"] = torch.from_numpy(self.standardise.mean)
            tensors[_STATISTICS + "std"] = torch.from_numpy(self.standardise.std)
        header = self.header()
        if self.proposer is not None:
            inner, header["proposer"] = self.proposer._packed()
            tensors |= {_PROPOSER + name: value for name, value in inner.items()}
        return tensors, header


def read_model(kind: type[Model], path: str | Path, device: str | torch.device = "cpu") -> Model:
    """A model from a run folder or a model file, as the class that is asked for.

    Raises:
        InputError: if there is none, the file is no model of this program, or its method's network was another when
            it was trained.
    """
    path = Path(path)
    file = path / MODEL_FILE if path.is_dir() else path
    if not file.is_file():
        hint = f"; the folder has no {MODEL_FILE}: its training did not finish" if path.is_dir() else ""
        raise InputError(f"{path}: no trained model there{hint}")
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{file}: no readable safetensors file ({error})") from None
    name, _, written = metadata.get("format", "").rpartition(" ")
    if name != _KIND or not written.isdigit():
        raise InputError(f"{file}: not a model written by `untrimmed train` (format {metadata.get('format')!r})")
    try:
        header = json.loads(metadata.get("header", ""))
    except ValueError as error:
        raise InputError(f"{file}: the header of the model is damaged ({error}); train again or copy it anew") from None
    return _unpacked(kind, tensors, header, file, int(written), device)


def _unpacked(
    kind: type[Model],
    tensors: Mapping[str, torch.Tensor],
    values: Any,
    file: Path,
    written: int,
    device: str | torch.device,
) -> Model:
    """The model of :meth:`TrainedModel._packed`."""
    header = read_header(values, file, written)
    method = method_of(header)
    weights = {name.removeprefix(_WEIGHTS): value for name, value in tensors.items() if name.startswith(_WEIGHTS)}
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{file}: its weights do not fit method {header['recipe'].method['name']}: {error}") from None
    statistics = {
        name: tensors[_STATISTICS + name].numpy() for name in ("mean", "std") if _STATISTICS + name in tensors
    }
    proposer = None
    if values.get("proposer") is not None:
        inner = {name.removeprefix(_PROPOSER): value for name, value in tensors.items() if name.startswith(_PROPOSER)}
        proposer = _unpacked(kind, inner, values["proposer"], file, written, device)
    known = Standardise(**statistics) if statistics else None
    return kind(method.to(device).eval(), standardise=known, proposer=proposer, **header)


def read_header(header: Any, file: Path, written: int = FORMAT) -> dict[str, Any]:
    """What :meth:`TrainedModel.header` gave, as the arguments of a :class:`TrainedModel`.

    Args:
        header: what the file says; keys that are not known are left out.
        file: that it was read from.
        written: format of the weights, see :mod:`untrimmed.methods.weights`.

    Raises:
        InputError: if a key is missing or its value does not fit, or the weights are those of another network.
    """
    for key, types in _HEADER.items():
        value = header.get(key, ...) if isinstance(header, dict) else ...
        if not isinstance(value, types) or isinstance(value, bool):
            found = "is missing" if value is ... else f"is {str(value)[:60]!r}"
            raise InputError(f"{file}: the header of the model is damaged: '{key}' {found}; train again")
    if header["channels"] < 1 or not all(isinstance(name, str) for name in header["classes"]):
        raise InputError(f"{file}: the header of the model is damaged: 'channels' or 'classes' are none; train again")
    check_format(str(header["recipe"].get("method", {}).get("name")), written, file, _AGAIN)
    return {
        "recipe": recipe_of(without_retired(header["recipe"], written), str(file)),
        "classes": tuple(header["classes"]),
        "channels": header["channels"],
        "backbone": header["backbone"],
        "grid": SnippetGrid.from_dict(header["grid"]) if header["grid"] else None,
        "training_info": header["training"],
    }


def method_of(header: Mapping[str, Any]) -> nn.Module:
    """The method of a header that was read, with fresh weights."""
    options = dict(header["recipe"].method)
    return make_method(options.pop("name"), options, header["channels"], len(header["classes"]))


def _unshared(method: nn.Module) -> dict[str, torch.Tensor]:
    """The weights; safetensors refuses two names for one memory, so a shared one is stored for each name."""
    seen: set[int] = set()
    weights = {}
    for name, value in method.state_dict().items():
        weights[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return weights
