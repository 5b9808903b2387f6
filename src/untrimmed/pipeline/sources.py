"""What a user names becomes features: a video, a file or folder of features, an array, a list of files and folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from untrimmed.backbones import Backbone, make_backbone
from untrimmed.errors import InputError
from untrimmed.formats.features import INDEX, ArrayFeatures, Features, FeatureStore
from untrimmed.formats.media import VIDEO_SUFFIXES, is_video, named
from untrimmed.grid import SnippetGrid
from untrimmed.pipeline.extract_job import extract_features
from untrimmed.types import Annotations

FEATURE_SUFFIX = ".npy"


@dataclass
class SourceReader:
    """Opens sources for one model. Folders are opened once, and the network that looks at frames is made once.

    Args:
        backbone: spec of the extractor that the model was trained on; None if it is not known.
        grid: of the model's features; None if it differs from video to video.
        device: the backbone computes on.
    """

    backbone: Mapping[str, Any] | None
    grid: SnippetGrid | None
    device: str
    _backbones: list[Backbone] = field(default_factory=list, init=False, repr=False)
    _stores: dict[Path, FeatureStore] = field(default_factory=dict, init=False, repr=False)

    def open(self, source: str | Path | NDArray[np.float32], video_id: str | None = None) -> Features:
        """Features of one source; computed from its frames if it is a video.

        Args:
            source: a video file, a ``.npy`` file of features, an array of them, (T, C), or a folder of features.
            video_id: how the video is called; by default the stem of the file, or ``"video"``. A folder knows its
                videos itself.

        Raises:
            InputError: if the source cannot be read.
        """
        if isinstance(source, np.ndarray):
            return ArrayFeatures({video_id or "video": source}, self._known_grid("an array of features"))
        path = Path(source)
        if path.is_dir():
            return self._store(path)
        if path.suffix == FEATURE_SUFFIX and (path.parent / INDEX).is_file():
            return self._stored(path, video_id)
        name = video_id or path.stem
        if path.suffix == FEATURE_SUFFIX:
            grid = self._known_grid(str(path))
            try:
                rows = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise InputError(f"{path}: no readable .npy file of features ({error})") from None
            return ArrayFeatures({name: rows}, grid)
        if self.backbone is None:
            raise InputError(
                f"{path}: the model was trained on features whose extractor is not known, so it cannot read videos; "
                "give it features (.npy) of the same kind"
            )
        rows, grid, info = extract_features(path, self._extractor(self.backbone))
        durations = {} if info.duration is None else {name: info.duration}
        problems = {name: info.problems} if info.problems else {}
        return ArrayFeatures({name: rows}, grid, durations, self.backbone, problems)

    def _store(self, folder: Path) -> FeatureStore:
        """A folder of features; one without an index has the grid of the model's features."""
        if folder not in self._stores:
            grid = None if (folder / INDEX).is_file() else self._known_grid(str(folder))
            self._stores[folder] = FeatureStore.open(folder, grid)
        return self._stores[folder]

    def _stored(self, path: Path, video_id: str | None) -> ArrayFeatures:
        """The features of one file of a folder, with what the index beside it says."""
        store, stored = self._store(path.parent), unquote(path.stem)
        name, duration = video_id or stored, store.duration(stored)
        durations = {} if duration is None else {name: duration}
        rows = store.window(stored, 0, store.length(stored))
        return ArrayFeatures({name: rows}, store.grid(stored), durations, store.backbone)

    def _extractor(self, spec: Mapping[str, Any]) -> Backbone:
        if not self._backbones:
            self._backbones.append(make_backbone(spec, device=self.device))
        return self._backbones[0]

    def _known_grid(self, what: str) -> SnippetGrid:
        if self.grid is None:
            raise InputError(
                f"{what}: the model's features have no common grid, so times are unknown; give a "
                f"folder of features with {INDEX}"
            )
        return self.grid


def problems_of(features: Features) -> Mapping[str, tuple[str, ...]]:
    """Video id -> why its file could be used only in part, where features were computed of one that could not."""
    return features.problems if isinstance(features, ArrayFeatures) else {}


def open_features(folder: Path, grid: SnippetGrid | None, annotations: Annotations | None = None) -> FeatureStore:
    """A feature folder; a clear message where it lacks videos of the annotations.

    Raises:
        InputError: listing the missing videos and what to do.
    """
    store = FeatureStore.open(folder, grid)
    missing = [video.id for video in annotations or () if video.id not in store]
    if missing:
        shown = ", ".join(missing[:5]) + (f", ... ({len(missing)} in all)" if len(missing) > 5 else "")
        raise InputError(
            f"feature folder {folder}: has no features of {shown}; extract them, or take these videos out of the "
            "annotations (`untrimmed check TRUTH --features DIR` lists them all)"
        )
    return store


def find_sources(places: Sequence[Path]) -> dict[str, Path]:
    """Video id -> its video, its ``.npy`` file, or the folder of features whose index lists it.

    Places are files, and folders that are searched for all of these. The id of a file is its name without suffix, or
    more of its path where two have the same, see :func:`untrimmed.formats.media.named`.

    Raises:
        InputError: if a place does not exist or a folder holds nothing; if a folder of features has a video of the
            same id as another, or as a file.
    """
    loose: list[Path] = []
    found: dict[str, Path] = {}
    for place in places:
        for video_id, folder in _indexed(place, loose):
            _add(found, video_id, folder)
    for video_id, file in named(loose, _stem).items():
        _add(found, video_id, file)
    return found


def videos_among(sources: Mapping[str, Path]) -> dict[str, Path]:
    """Those of :func:`find_sources` that are videos."""
    return {name: path for name, path in sources.items() if path.is_file() and path.suffix != FEATURE_SUFFIX}


def _indexed(place: Path, loose: list[Path]) -> Iterator[tuple[str, Path]]:
    """The videos of the folders of features in a place, each with its folder; other files go to ``loose``."""
    if place.is_dir():
        files = sorted(file for file in place.rglob("*") if is_video(file) or file.suffix == FEATURE_SUFFIX)
        if not files:
            raise InputError(
                f"{place}: no video ({', '.join(sorted(VIDEO_SUFFIXES))}) or features ({FEATURE_SUFFIX}) in this folder"
            )
        folders = dict.fromkeys(file.parent for file in files if _has_index(file))
        loose += [file for file in files if not _has_index(file)]
        for folder in folders:
            yield from ((video_id, folder) for video_id in FeatureStore.open(folder).ids)
    elif not place.is_file():
        raise InputError(f"{place}: no such file or folder")
    else:
        loose.append(place)


def _has_index(file: Path) -> bool:
    return file.suffix == FEATURE_SUFFIX and (file.parent / INDEX).is_file()


def _stem(file: Path) -> str:
    # In the names of files of features, odd characters of ids are percent-encoded.
    return unquote(file.stem) if file.suffix == FEATURE_SUFFIX else file.stem


def _add(found: dict[str, Path], video_id: str, path: Path) -> None:
    other = found.setdefault(video_id, path)
    if other != path:
        raise InputError(f"{other} and {path}: both hold video '{video_id}'; detect in them separately")
