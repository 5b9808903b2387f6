"""What counts as a video file, and what a video is called."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

VIDEO_SUFFIXES = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()  # noqa: SIM905
)
"""What counts as a video in a folder; a file that is named itself may have any suffix."""


def is_video(path: Path) -> bool:
    """Whether a path is a file that counts as a video; hidden ones do not."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file()


def named(files: Iterable[Path], stem: Callable[[Path], str] = lambda path: path.stem) -> dict[str, Path]:
    """Video id -> file, for different files in the order given.

    The id is the name without suffix. Files that have the same one are called by their name with suffix, or by as
    much of the end of their path as tells them apart: ``cam.mp4`` in two folders is ``s1/cam.mp4`` and
    ``s2/cam.mp4``.

    Args:
        files: a file that comes twice counts once.
        stem: the name without suffix.
    """
    different: dict[str, Path] = {}
    for file in files:
        different.setdefault(os.path.realpath(file), file)
    groups: dict[str, list[Path]] = {}
    for file in different.values():
        groups.setdefault(stem(file), []).append(file)
    names: dict[Path, str] = {}
    for shared, group in groups.items():
        if len(group) == 1:
            names[group[0]] = shared
            continue
        depth, ends = 0, [""]
        while len(set(ends)) < len(group) or not groups.keys().isdisjoint(ends):
            depth += 1
            ends = ["/".join(Path(os.path.abspath(file)).parts[-depth:]) for file in group]
        names.update(zip(group, ends, strict=True))
    return {names[file]: file for file in different.values()}


def told_apart(files: Mapping[str, Path]) -> str | None:
    """A sentence on the videos that :func:`named` gave more than their name without suffix; None if there are none."""
    longer = [video_id for video_id, file in files.items() if file.suffix and video_id.endswith(file.name)]
    if not longer:
        return None
    shown = ", ".join(longer[:4]) + (", ..." if len(longer) > 4 else "")
    return f"{len(longer)} videos have a name that others have too, and are called by more of their path: {shown}"
