"""The files that a command line names: one by one, or by their folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from untrimmed.errors import InputError
from untrimmed.formats.media import VIDEO_SUFFIXES, is_video

FEATURE_SUFFIX = ".npy"


def find_sources(places: Sequence[Path]) -> dict[str, Path]:
    """Video id (stem of the file) -> file, for files given and for all videos and features in folders given.

    Raises:
        InputError: if a place does not exist, a folder holds neither, a file is of another kind, or two files have
            the same stem.
    """
    found: dict[str, Path] = {}
    for place in places:
        for file in _files(place):
            other = found.setdefault(file.stem, file)
            if other != file:
                raise InputError(f"{other} and {file}: both would be video '{file.stem}'; detect in them separately")
    return found


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        files = sorted(file for file in place.rglob("*") if is_video(file) or file.suffix == FEATURE_SUFFIX)
        if not files:
            raise InputError(
                f"{place}: no video ({', '.join(sorted(VIDEO_SUFFIXES))}) or features ({FEATURE_SUFFIX}) in this folder"
            )
        return files
    if not place.is_file():
        raise InputError(f"{place}: no such file or folder")
    return [place]
