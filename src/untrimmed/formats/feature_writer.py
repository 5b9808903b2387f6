"""Writing a folder of snippet features; see :mod:`untrimmed.formats.features` for what is in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from untrimmed.errors import InputError
from untrimmed.formats.features import INDEX, VERSION, as_rows, read_index
from untrimmed.formats.io import atomic_write, file_name, write_json
from untrimmed.grid import SnippetGrid

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class StorageError(InputError):
    """Features cannot be written where they are to be kept (a full disk), whichever come next."""


class FeatureWriter:
    """Writes a folder that :class:`FeatureStore` opens, one video at a time; an interrupted run goes on later.

    :meth:`add` leaves a whole file and an index that lists it, or neither. As a context manager the writer
    rewrites the index at most once a second and at the end, which tens of thousands of videos need.

    Args:
        folder: made if it is not there. One that holds features of the same backbone is continued.
        backbone: ``{"name": ..., "weights_sha256": ..., "options": {...}}``: what the rows were computed by.
        dtype: of the files: ``"float32"`` or ``"float16"``.

    Raises:
        InputError: if the folder holds features of another backbone, other options or another dtype.
    """

    def __init__(self, folder: str | Path, *, backbone: Mapping[str, Any], dtype: str = "float32") -> None:
        if dtype not in ("float16", "float32"):
            raise InputError(f"features can be kept as float16 or float32, not as {dtype!r}")
        self.folder = Path(folder)
        self.backbone = {"weights_sha256": None, "options": {}, **backbone}
        self.dtype = dtype
        self._channels: int | None = None
        self._videos: dict[str, dict[str, Any]] = {}
        self._between_writes = 0.0
        self._written = 0.0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"feature folder {self.folder}: cannot be made ({error.strerror})") from None
        if (self.folder / INDEX).is_file():
            self._continue(read_index(self.folder))

    def _continue(self, index: dict[str, Any]) -> None:
        for name, there, wanted in (
            ("backbone", index["backbone"], self.backbone),
            ("dtype", index["dtype"], self.dtype),
        ):
            if there != wanted:
                raise InputError(
                    f"feature folder {self.folder}: holds features with {name} {there}, not {wanted}; "
                    "write to another folder, or use the same"
                )
        self._channels = index["channels"]
        self._videos = index["videos"]

    @property
    def done(self) -> set[str]:
        """The videos whose features are in the folder."""
        return set(self._videos)

    def info(self, video_id: str) -> Mapping[str, Any]:
        """The ``info`` a video was added with, empty if it had none.

        Raises:
            InputError: for a video that is not in the folder.
        """
        if video_id not in self._videos:
            raise InputError(f"feature folder {self.folder}: no features of video '{video_id}'")
        info: Mapping[str, Any] = self._videos[video_id].get("info", _NOTHING)
        return info

    def add(
        self,
        video_id: str,
        array: ArrayLike,
        grid: SnippetGrid,
        duration: float | None,
        info: Mapping[str, Any] = _NOTHING,
    ) -> None:
        """Write the features of one video, replacing what was there.

        Args:
            video_id: any text that is not empty; odd characters are percent-encoded in the file's name.
            array: (T, C) finite numbers; C is the same for all videos of a folder.
            grid: where the rows lie in time.
            duration: of the video, in seconds; None if unknown.
            info: further plain values to keep in the index (the source file, problems found in it).

        Raises:
            InputError: if the array does not fit.
            StorageError: if it cannot be written.
        """
        rows = as_rows(video_id, array, self.dtype)
        if self._channels is not None and rows.shape[1] != self._channels:
            raise InputError(
                f"video '{video_id}': {rows.shape = }, but the folder {self.folder} "
                f"holds features of {self._channels} channels"
            )
        if not video_id:
            raise InputError("a video id is empty, expected some text")
        file = file_name(video_id, ".npy")
        try:
            with atomic_write(self.folder / file, "wb") as stream:
                np.save(stream, rows, allow_pickle=False)
        except (OSError, InputError) as error:
            raise StorageError(
                f"video '{video_id}': its features cannot be written to {self.folder / file} ({error}); "
                "the videos before it are safe, run again to go on"
            ) from None
        self._channels = rows.shape[1]
        entry = {"file": file, "length": len(rows), "duration": duration, "grid": grid.to_dict()}
        self._videos[video_id] = entry | ({"info": dict(info)} if info else {})
        if time.monotonic() - self._written >= self._between_writes:
            self.flush()

    def flush(self) -> None:
        """Write the index."""
        index = {
            "version": VERSION,
            "backbone": self.backbone,
            "dtype": self.dtype,
            "channels": self._channels,
            "videos": self._videos,
        }
        write_json(self.folder / INDEX, index)
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        self._between_writes = 1.0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._between_writes = 0.0
        if self._videos:
            self.flush()
