"""What a command line names to be detected in: files one by one, or by their folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from untrimmed.errors import InputError
from untrimmed.formats.features import INDEX, FeatureStore
from untrimmed.formats.media import VIDEO_SUFFIXES, is_video, named

FEATURE_SUFFIX = ".npy"


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
