"""What counts as a video file."""

from __future__ import annotations

from pathlib import Path

VIDEO_SUFFIXES = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()  # noqa: SIM905
)
"""What counts as a video in a folder; a file that is named itself may have any suffix."""


def is_video(path: Path) -> bool:
    """Whether a path is a file that counts as a video; hidden ones do not."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file()
