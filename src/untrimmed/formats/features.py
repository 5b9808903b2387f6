"""Snippet features on disk: one ``.npy`` file per video, and an index that says what the rows mean.

::

    features/
        index.json        grid, length and duration of every video; the backbone and the checksum of its weights
        v_001.npy         (T, C) float32 or float16, one row a snippet
        v_002.npy

A folder of plain ``.npy`` files that somebody else computed opens too, once it is told the grid. Nothing is loaded
before it is asked for, and only the rows that are asked for are read (the files are memory-mapped).

Three classes, one reading interface (:class:`Features`): :class:`FeatureStore` reads a folder,
:class:`ArrayFeatures` holds arrays in memory, :class:`~untrimmed.formats.feature_writer.FeatureWriter` writes a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import unquote

import numpy as np
from numpy.typing import ArrayLike, NDArray

from untrimmed._moved import renamed
from untrimmed.errors import InputError, nearest
from untrimmed.formats.io import read_json
from untrimmed.grid import SnippetGrid

INDEX = "index.json"
VERSION = 1
_DTYPES = ("float16", "float32", "float64")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Features(Protocol):
    """What can be asked of features, wherever they are kept."""

    @property
    def ids(self) -> tuple[str, ...]: ...

    @property
    def channels(self) -> int: ...

    @property
    def backbone(self) -> Mapping[str, Any] | None: ...

    def __contains__(self, video_id: object) -> bool: ...

    def length(self, video_id: str) -> int: ...

    def grid(self, video_id: str) -> SnippetGrid: ...

    def duration(self, video_id: str) -> float | None: ...

    def window(self, video_id: str, start: int, stop: int) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class _Entry:
    """One video of a folder; what the index does not say is None and read from the file's header."""

    file: str
    grid: SnippetGrid
    length: int | None = None
    duration: float | None = None


class FeatureStore:
    """The features of a folder, read row by row.

    Use :meth:`open`. The object is small and can be sent to worker processes.

    Attributes:
        folder: where the files are.
        ids: the videos, in the order of the index (sorted, if there is no index).
        backbone: ``{"name", "weights_sha256", "options"}`` of the extractor; None for a folder of plain files.
        channels: features a snippet, C.
    """

    def __init__(
        self,
        folder: Path,
        entries: Mapping[str, _Entry],
        channels: int | None,
        backbone: Mapping[str, Any] | None,
    ) -> None:
        self.folder = folder
        self.backbone = backbone
        self._entries = dict(entries)
        self.channels = self._mapped(next(iter(entries))).shape[1] if channels is None else channels

    @classmethod
    def open(cls, folder: str | Path, grid: SnippetGrid | None = None) -> FeatureStore:
        """Open a folder of features.

        Args:
            folder: written by :class:`FeatureWriter`, or any folder of ``<id>.npy`` files of shape (T, C).
            grid: needed for a folder without index; given for one with an index, it must agree with it.

        Raises:
            InputError: if the folder or its index cannot be used, or the grid is missing or disagrees.
        """
        path = Path(folder)
        if not path.is_dir():
            raise InputError(f"feature folder {path}: there is no such folder")
        if (path / INDEX).is_file():
            return cls._from_index(path, grid)
        files = sorted(path.glob("*.npy"))
        if not files:
            raise InputError(
                f"feature folder {path}: neither {INDEX} nor a .npy file in it; "
                "expected a folder written by `untrimmed extract`, or one .npy file of shape (T, C) per video"
            )
        if grid is None:
            raise InputError(
                f"feature folder {path}: {len(files)} .npy files without {INDEX}, so their times are unknown; "
                "give the grid: fps, and stride and window in frames"
            )
        entries = {unquote(file.stem): _Entry(file.name, grid) for file in files}
        return cls(path, entries, None, None)

    @classmethod
    def _from_index(cls, folder: Path, grid: SnippetGrid | None) -> FeatureStore:
        index = read_index(folder)
        entries = {}
        for video_id, values in index["videos"].items():
            entry = _entry(folder, video_id, values)
            if grid is not None and entry.grid != grid:
                raise InputError(
                    f"feature folder {folder}: the grid of video '{video_id}' is {entry.grid.to_dict()}, "
                    f"but {grid.to_dict()} was asked for; leave the grid out, or extract again with it"
                )
            entries[video_id] = entry
        if not entries:
            raise InputError(f"feature folder {folder}: its {INDEX} lists no video; extract some first")
        return cls(folder, entries, index["channels"], index["backbone"])

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def length(self, video_id: str) -> int:
        """Number of snippets, T.

        Raises:
            InputError: for a video that is not in the folder.
        """
        entry = self._entry(video_id)
        return int(self._mapped(video_id).shape[0]) if entry.length is None else entry.length

    def grid(self, video_id: str) -> SnippetGrid:
        """Where the snippets lie in time.

        Raises:
            InputError: for a video that is not in the folder.
        """
        return self._entry(video_id).grid

    def duration(self, video_id: str) -> float | None:
        """Length of the video in seconds; None where it was not recorded.

        Raises:
            InputError: for a video that is not in the folder.
        """
        return self._entry(video_id).duration

    def window(self, video_id: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``[start, stop)`` of a video, ``(stop - start, C)`` float32.

        Raises:
            InputError: if the video is unknown, the rows are not inside it, its file is not (T, C) as the index
                says, or a value is NaN or infinite.
        """
        mapped = self._mapped(video_id)
        _check_range(video_id, start, stop, len(mapped))
        rows = np.array(mapped[start:stop], dtype=np.float32, order="C")
        _check_finite(f"{self._path(video_id)} (video '{video_id}')", rows, start)
        return rows

    def _entry(self, video_id: str) -> _Entry:
        entry = self._entries.get(video_id)
        if entry is None:
            raise InputError(
                f"feature folder {self.folder}: no features of video '{video_id}': {nearest(video_id, self.ids)}"
            )
        return entry

    def _path(self, video_id: str) -> Path:
        return self.folder / self._entry(video_id).file

    def _mapped(self, video_id: str) -> NDArray[Any]:
        """The file of a video, mapped and compared with what is known of it."""
        entry, path = self._entry(video_id), self._path(video_id)
        where = f"{path} (video '{video_id}')"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise InputError(f"{where}: the file is missing; extract this video again") from None
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{where}: not a readable .npy file ({error}); extract this video again") from None
        if array.ndim != 2 or array.dtype.name not in _DTYPES:
            raise InputError(f"{where}: {array.shape = } of {array.dtype}, expected (T, C) of {', '.join(_DTYPES)}")
        channels = getattr(self, "channels", array.shape[1])
        if array.shape[1] != channels:
            hint = "; it looks transposed" if array.shape[0] == channels else ""
            raise InputError(f"{where}: {array.shape = }, expected (T, {channels}) as in the other files{hint}")
        if entry.length is not None and entry.length != len(array):
            raise InputError(f"{where}: {len(array)} rows, but {INDEX} says {entry.length}; extract this video again")
        return array  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ArrayFeatures:
    """Features held in memory, with the reading interface of :class:`FeatureStore`.

    Args:
        arrays: video id -> (T, C) of numbers, all of one width C; at least one video. Kept as float32.
        common_grid: the grid of every video.
        durations: video id -> seconds, where known.
        backbone: as in an index, if there is one.
        problems: video id -> why its file could be used only in part, a sentence each.

    Raises:
        InputError: for an array that is not (T, C) or holds a value that is not finite.
    """

    arrays: Mapping[str, NDArray[np.float32]]
    common_grid: SnippetGrid
    durations: Mapping[str, float] = field(default_factory=dict)
    backbone: Mapping[str, Any] | None = None
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.arrays:
            raise InputError("ArrayFeatures: no video given")
        kept = {video_id: as_rows(video_id, array, "float32") for video_id, array in self.arrays.items()}
        widths = {array.shape[1] for array in kept.values()}
        if len(widths) > 1:
            raise InputError(f"ArrayFeatures: widths {sorted(widths)} differ between videos, expected one")
        object.__setattr__(self, "arrays", kept)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.arrays)

    @property
    def channels(self) -> int:
        return int(next(iter(self.arrays.values())).shape[1])

    def __contains__(self, video_id: object) -> bool:
        return video_id in self.arrays

    def __len__(self) -> int:
        return len(self.arrays)

    def length(self, video_id: str) -> int:
        return len(self._array(video_id))

    def grid(self, video_id: str) -> SnippetGrid:
        self._array(video_id)
        return self.common_grid

    def duration(self, video_id: str) -> float | None:
        self._array(video_id)
        return self.durations.get(video_id)

    def window(self, video_id: str, start: int, stop: int) -> NDArray[np.float32]:
        array = self._array(video_id)
        _check_range(video_id, start, stop, len(array))
        return array[start:stop].copy()

    def _array(self, video_id: str) -> NDArray[np.float32]:
        if video_id not in self.arrays:
            raise InputError(f"no features of video '{video_id}': {nearest(video_id, self.ids)}")
        return self.arrays[video_id]


def as_rows(video_id: str, values: ArrayLike, dtype: str) -> NDArray[Any]:
    """Features as a contiguous array, (T, C), of a dtype.

    Raises:
        InputError: for another shape, no numbers, or values that are not finite or too large for the dtype.
    """
    array = np.asarray(values)
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "fiu":
        raise InputError(f"video '{video_id}': {array.shape = } of {array.dtype}, expected (T, C) of numbers")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(array, dtype=dtype)
    if dtype == "float16" and np.isinf(rows).any() and np.isfinite(array).all():
        raise InputError(f"video '{video_id}': holds values above 65504, the most of float16; keep float32")
    _check_finite(f"video '{video_id}' as {dtype}", rows, 0)
    return rows


def _check_range(video_id: str, start: int, stop: int, length: int) -> None:
    if not 0 <= start <= stop <= length:
        raise InputError(
            f"video '{video_id}': snippets [{start}, {stop}) were asked for, but it has {length} of them; "
            "the features and the annotation may be of different videos or grids"
        )


def _check_finite(where: str, rows: NDArray[Any], first: int) -> None:
    # The sum is not finite if a value is not; only then is it worth looking for the row.
    if np.isfinite(rows.sum(dtype=np.float64)):
        return
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise InputError(f"{where}: row {first + int(bad[0])} holds NaN or infinity; extract this video again")


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a folder of features, with the keys it must have.

    Raises:
        InputError: if it is none, or of another version.
    """
    path = folder / INDEX
    index = read_json(path)
    keys = {"version": int, "backbone": dict, "dtype": str, "channels": int, "videos": dict}
    if not isinstance(index, dict) or not all(isinstance(index.get(key), kind) for key, kind in keys.items()):
        raise InputError(f"{path}: not an index of features, expected an object with {', '.join(keys)}")
    if index["version"] != VERSION:
        raise InputError(f"{path}: version {index['version']}, but this program reads version {VERSION}")
    return index


def _entry(folder: Path, video_id: str, values: Any) -> _Entry:
    where = f"{folder / INDEX}: video '{video_id}'"
    try:
        file, length, duration = values["file"], values["length"], values["duration"]
        grid = SnippetGrid.from_dict(values["grid"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{where}: its entry lacks {error}, expected file, length, duration, grid") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if not isinstance(file, str) or Path(file).name != file:
        raise InputError(f"{where}: file is {file!r}, expected the name of a file in this folder")
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise InputError(f"{where}: length is {length!r}, expected a whole number of snippets")
    if duration is not None and not (isinstance(duration, int | float) and duration >= 0):
        raise InputError(f"{where}: duration is {duration!r}, expected seconds or null")
    return _Entry(file, grid, length, None if duration is None else float(duration))


__getattr__ = renamed(
    __name__,
    {name: f"untrimmed.formats.feature_writer.{name}" for name in ("FeatureWriter", "StorageError")},
)
