"""The state of a training on disk: written whole or not at all, read without unpickling."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from untrimmed.errors import InputError


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, texts and containers of them to ``path``, by way of a temporary file.

    Raises:
        InputError: if the disk is full or the folder cannot be written; an earlier state stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(state, file)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        earlier = any(path.parent.glob("*.pt"))
        way_on = "; the one before it is untouched: make room, then go on with --resume" if earlier else "; make room"
        raise InputError(f"{path}: the checkpoint could not be written ({error}){way_on}") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote; nothing is unpickled but tensors and plain containers.

    Raises:
        InputError: if the file is absent, damaged or holds anything else.
    """
    if not path.is_file():
        raise InputError(f"{path}: no checkpoint to resume from; run without --resume to start anew")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path}: not a checkpoint of this program, or damaged ({error})") from error
    if not isinstance(state, dict):
        raise InputError(f"{path}: holds a {type(state).__name__}, expected the state of a training")
    return state
