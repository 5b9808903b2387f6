"""The files that a command line names: one by one, or by their folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from untrimmed.errors import InputError
from untrimmed.report.timeline import VIDEO_SUFFIXES

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
    known = (*VIDEO_SUFFIXES, FEATURE_SUFFIX)
    if place.is_dir():
        files = sorted(file for file in place.rglob("*") if file.suffix.lower() in known and file.is_file())
        if not files:
            raise InputError(f"{place}: no video ({', '.join(VIDEO_SUFFIXES)}) or features (.npy) in this folder")
        return files
    if not place.is_file():
        raise InputError(f"{place}: no such file or folder")
    if place.suffix.lower() not in known:
        raise InputError(f"{place}: expected a video ({', '.join(VIDEO_SUFFIXES)}) or features (.npy)")
    return [place]
