"""Features that others computed: their files into a folder for :class:`untrimmed.formats.features.FeatureStore`.

What comes in
- A folder with one file a video, named by its id: ``.npy``, ``.npz``, ``.csv`` (with or without a header), ``.pt``,
  ``.pth`` (a tensor, read with ``weights_only``), ``.h5``, ``.hdf5``; or one HDF5 file with a data set or group a
  video. Files with several arrays must have one that is called ``features`` or ends in it, or the name is told.
- ``(T, C)`` or ``(C, T)``: the axis that is the same in all videos, or in more than the other, is C; a video with
  another C is left out. Where both are the same, as in features rescaled to a fixed length, a usual width decides, or
  it must be told. Axes of length 1 are dropped.
- Ids with or without the ``v_`` of ActivityNet's files, where the annotations are given.

When it is
- Given a grid: every video has it.
- Given none: the T rows of a video are taken to cover its whole duration evenly, row i the time
  ``[i, i + 1) * duration / T``. For features rescaled to a fixed length that is what they are; for others it is a
  guess, and a warning says so. Durations come from the annotations.
"""

from __future__ import annotations

import csv
import importlib
import pickle
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.formats.feature_writer import FeatureWriter, StorageError
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations

Layout = Literal["auto", "TC", "CT"]

_WIDTHS = frozenset({200, 256, 400, 408, 512, 768, 1024, 1280, 1408, 2048, 2304, 3072, 4096})
"""Numbers of channels that extractors in the field have."""
_SAMPLE = 64
"""Videos from whose shapes the layout is told."""
_NAMES = ("features", "feats", "feature")
_HDF5 = (".h5", ".hdf5")

Array = NDArray[Any]


class FeatureWarning(UserWarning):
    """Something about foreign features had to be assumed."""


@dataclass
class Imported:
    """What became of an import.

    Attributes:
        done: videos that were written.
        failed: why, for each that could not be used.
        absent: videos of the annotations without features.
        extra: features of videos that the annotations do not have; they were left out.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)


def import_features(
    source: str | Path,
    out: str | Path,
    *,
    annotations: Annotations | None = None,
    grid: SnippetGrid | None = None,
    layout: Layout = "auto",
    key: str | None = None,
    name: str = "imported",
    dtype: str = "float32",
    progress: Callable[[int, int], None] = lambda done, all: None,
) -> Imported:
    """Copy foreign features into a folder with an index.

    Args:
        source: folder of files, or one HDF5 file.
        out: the folder to write.
        annotations: say which videos there are and how long they are; needed where no grid is given.
        grid: of all videos; None: rows cover each video evenly, see the module.
        layout: ``"TC"``, ``"CT"``, or ``"auto"`` to tell it from the shapes.
        key: of the array in files that hold several.
        name: what computed the features; kept in the index, so that those of two sources are not mixed up.
        dtype: to keep them in, ``"float32"`` or ``"float16"``.
        progress: is told after every video how many of how many are done.

    Returns:
        What was done, and what was left out and why.

    Raises:
        InputError: if there is nothing to import, ``out`` is the source, the layout cannot be told, or times are not
            known.
    """
    if Path(out).resolve() == Path(source).resolve():
        raise InputError(f"{out}: is the folder to import from; its files would be overwritten, so choose another")
    files = _open(Path(source), key)
    found = Imported()
    pairs = _pairs(files, annotations, found)
    if not pairs:
        raise InputError(f"{source}: none of its {len(files)} features belongs to a video of the annotations")
    transpose, width = _layout(source, files, list(files)[:_SAMPLE], layout)
    durations = {video.id: video.duration for video in annotations or ()}
    if grid is None:
        _warn_of_times(source, files, pairs, durations, transpose)
    backbone = {"name": "imported", "options": {"from": name}}
    with FeatureWriter(out, backbone=backbone, dtype=dtype) as writer:
        for number, (stored, video_id) in enumerate(pairs.items()):
            try:
                rows = _rows(files[stored](), transpose)
                if width is not None and rows.shape[1] != width:
                    hint = "; it looks transposed" if len(rows) == width else ""
                    raise InputError(f"{rows.shape[1]} channels, where most have {width}{hint}")
                duration = durations.get(video_id)
                writer.add(video_id, rows, grid or even_grid(video_id, len(rows), duration), duration)
                found.done.append(video_id)
            except StorageError:
                raise
            except InputError as error:
                found.failed[video_id] = str(error)
            progress(number + 1, len(pairs))
    if not found.done:
        raise InputError(f"{source}: not one video could be used; the first: {next(iter(found.failed.values()))}")
    return found


def even_grid(video_id: str, length: int, duration: float | None) -> SnippetGrid:
    """The grid on which ``length`` rows cover a video evenly: row i is ``[i, i + 1) * duration / length``.

    Raises:
        InputError: without a duration or without rows.
    """
    if not duration or not length:
        raise InputError(
            f"video '{video_id}': {length} rows and a duration of {duration} s, so their times are unknown; give the "
            "grid (--fps, --stride, --window), or annotations with durations"
        )
    return SnippetGrid(length / Fraction(repr(float(duration))), 1, 1)


def _pairs(files: Mapping[str, Any], annotations: Annotations | None, found: Imported) -> dict[str, str]:
    """Name of the features -> id of the video."""
    if annotations is None:
        return {name: name for name in files}
    wanted = {video.id for video in annotations}
    pairs = {}
    for name in files:
        other = name[2:] if name.startswith("v_") else f"v_{name}"
        video_id = name if name in wanted else other if other in wanted else None
        if video_id is None:
            found.extra.append(name)
        else:
            pairs[name] = video_id
    found.absent = sorted(wanted - set(pairs.values()))
    return pairs


def _layout(source: str | Path, files: Mapping[str, Any], names: list[str], layout: Layout) -> tuple[bool, int | None]:
    """Whether the arrays are (C, T), and the C that most have; None if none can be read."""
    shapes = []
    for name in names:
        try:
            shapes.append(_squeezed(files[name]()).shape)
        except InputError:
            continue  # it is met again, and reported, when its turn comes
    if not shapes:
        return layout == "CT", None
    (first, alike), (second, alike_too) = (Counter(each).most_common(1)[0] for each in zip(*shapes, strict=True))
    if layout != "auto":
        transposed = layout == "CT"
    elif 2 * max(alike, alike_too) <= len(shapes):
        raise InputError(f"{source}: no axis of the arrays is the same in most videos; are they of one extractor?")
    elif alike != alike_too:
        transposed = alike > alike_too
    elif (first in _WIDTHS) != (second in _WIDTHS):
        transposed = first in _WIDTHS
    else:
        raise InputError(
            f"{source}: arrays of shape {shapes[0]} may be (T, C) or (C, T); say which with --layout TC or CT"
        )
    return transposed, first if transposed else second


def _warn_of_times(
    source: str | Path,
    files: Mapping[str, Callable[[], Array]],
    pairs: Mapping[str, str],
    durations: Mapping[str, float | None],
    transpose: bool,
) -> None:
    lengths, steps = [], []
    for name, video_id in islice(pairs.items(), _SAMPLE):
        duration = durations.get(video_id)
        try:
            length = len(_rows(files[name](), transpose))
        except InputError:
            continue  # as above
        if duration and length:
            lengths.append(length)
            steps.append(duration / length)
    if not steps:
        return
    if len(set(lengths)) == 1 and len(lengths) > 1:
        warnings.warn(
            FeatureWarning(f"{source}: every video has {lengths[0]} rows; taken as rescaled to that length"),
            stacklevel=3,
        )
        return
    low, high = min(steps), max(steps)
    doubt = "; they differ much, so a grid given by hand is safer" if high > 1.2 * low else ""
    warnings.warn(
        FeatureWarning(
            f"{source}: no grid was given; each video's rows were taken to cover it evenly, {low:.3g} to {high:.3g} s "
            f"a row{doubt}"
        ),
        stacklevel=3,
    )


def _rows(array: Array, transpose: bool) -> Array:
    squeezed = _squeezed(array)
    return squeezed.T if transpose else squeezed


def _squeezed(array: Array) -> Array:
    """Without the axes of length 1 beyond two."""
    shape = array.shape
    while array.ndim > 2 and 1 in array.shape:
        array = array.squeeze(array.shape.index(1))
    if array.ndim != 2:
        raise InputError(f"an array of shape {shape}, expected (T, C) or (C, T); average crops or clips first")
    return array


def _open(source: Path, key: str | None) -> dict[str, Callable[[], Array]]:
    """Name of a video -> what reads its array."""
    if source.is_file() and source.suffix.lower() in _HDF5:
        return _open_hdf5(source, key)
    if not source.is_dir():
        raise InputError(f"{source}: expected a folder of features, or a file in HDF5 ({' or '.join(_HDF5)})")
    readers: dict[str, Callable[[], Array]] = {}
    for path in sorted(source.iterdir()):
        kind = path.suffix.lower()
        if kind not in _READERS or not path.is_file():
            continue
        name = unquote(path.name[: -len(kind)])
        if name in readers:
            raise InputError(f"{source}: two files for video '{name}'; keep one")
        readers[name] = _reader(path, key)
    if not readers:
        raise InputError(f"{source}: no file of features in this folder ({', '.join(_READERS)})")
    return readers


def _reader(path: Path, key: str | None) -> Callable[[], Array]:
    def read() -> Array:
        try:
            return _READERS[path.suffix.lower()](path, key)
        except InputError:
            raise
        except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, pickle.PickleError) as error:
            reason = str(error).split("\n")[0]
            raise InputError(f"{path}: cannot be read as features ({reason})") from None

    return read


def _chosen(where: str, names: list[str], key: str | None) -> str:
    """The name of the array that holds the features."""
    if key is not None and key in names:
        return key
    if key is None and len(names) == 1:
        return names[0]
    likely = [name for name in names if name.lower().endswith(_NAMES)]
    if key is None and len(likely) == 1:
        return likely[0]
    raise InputError(f"{where}: holds the arrays {', '.join(names[:6])}; say which with --key")


def _read_npy(path: Path, key: str | None) -> Array:
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _read_npz(path: Path, key: str | None) -> Array:
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays[_chosen(str(path), list(arrays), key)])


def _read_csv(path: Path, key: str | None) -> Array:
    with path.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.reader(file) if line]
    try:
        [float(value) for value in lines[0]]
    except ValueError:
        lines = lines[1:]
    except IndexError:
        raise InputError(f"{path}: the file is empty") from None
    for number, line in enumerate(lines):
        if len(line) != len(lines[0]):
            raise InputError(f"{path}: row {number} has {len(line)} values, the first has {len(lines[0])}")
    return np.array(lines, dtype=np.float32)


def _read_torch(path: Path, key: str | None) -> Array:
    # Only who has such files needs torch here; by name, because this floor imports without it.
    torch = importlib.import_module("torch")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, Mapping):
        content = content[_chosen(str(path), [str(name) for name in content], key)]
    if not isinstance(content, torch.Tensor):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a tensor")
    return np.asarray(content.detach().float().numpy())


def _read_hdf5(path: Path, key: str | None) -> Array:
    with _h5py(path).File(path, "r") as file:
        names = list(_data_sets(file))
        return np.asarray(file[_chosen(str(path), names, key)])


def _open_hdf5(path: Path, key: str | None) -> dict[str, Callable[[], Array]]:
    """A file with a data set, or a group with one, for each video."""
    h5py = _h5py(path)
    try:
        with h5py.File(path, "r") as file:
            places = {}
            for name, item in file.items():
                if isinstance(item, h5py.Dataset):
                    places[name] = name
                else:
                    places[name] = f"{name}/{_chosen(f'{path}: {name}', list(_data_sets(item)), key)}"
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5 ({error})") from None
    if not places:
        raise InputError(f"{path}: holds nothing")

    def reader(place: str) -> Callable[[], Array]:
        def read() -> Array:
            with h5py.File(path, "r") as file:
                return np.asarray(file[place])

        return read

    return {name: reader(place) for name, place in places.items()}


def _data_sets(group: Any) -> Iterator[str]:
    """The paths of all data sets in a group."""
    for name, item in group.items():
        if hasattr(item, "items"):
            yield from (f"{name}/{inner}" for inner in _data_sets(item))
        else:
            yield name


def _h5py(path: Path) -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise InputError(f"{path}: HDF5 needs h5py: pip install 'untrimmed[h5]'") from None


_READERS: dict[str, Callable[[Path, str | None], Array]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}
