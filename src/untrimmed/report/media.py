"""Where a page finds the video files."""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from untrimmed.errors import InputError
from untrimmed.formats.media import is_video, named


def video_files(video_ids: Sequence[str], place: str | Path) -> dict[str, Path]:
    """The file of each video.

    Args:
        video_ids: the videos.
        place: a video file (for a single video, or the one whose stem is its id), or a folder that is searched for
            files named ``<id>.<suffix>``, also below it; files with one name are called as extraction calls them.

    Returns:
        video id -> file; videos without a file are absent.

    Raises:
        InputError: if the place does not exist or holds none of the videos.
    """
    place = Path(place)
    if place.is_dir():
        inside = sorted(file for file in place.rglob("*") if is_video(file))
        files = {file.stem: file for file in inside} | named(inside)
    elif place.is_file():
        files = {place.stem: place}
        if len(video_ids) == 1:
            files = {video_ids[0]: place}
    else:
        raise InputError(f"{place}: no such video file or folder")
    found = {video_id: files[video_id] for video_id in video_ids if video_id in files}
    if not found:
        first = f" (the first is '{video_ids[0]}')" if video_ids else ""
        raise InputError(
            f"{place}: holds none of the {len(video_ids)} videos of the results{first}; "
            "expected files named <video id>.mp4 or the like"
        )
    return found


def video_sources(
    video_ids: Sequence[str], place: str | Path, page: str | Path, *, embed: bool = False
) -> dict[str, str]:
    """Where the page finds each video.

    Args:
        video_ids, place: as for :func:`video_files`.
        page: file of the page; links are relative to its folder.
        embed: put the content of the files into the page instead of linking them.

    Returns:
        video id -> URL; videos without a file are absent.

    Raises:
        InputError: as :func:`video_files`.
    """
    return {video_id: link(file, page, embed=embed) for video_id, file in video_files(video_ids, place).items()}


def link(file: Path, page: str | Path, *, embed: bool = False) -> str:
    """The URL by which a page finds a file: relative to the page's folder, or with the content inside."""
    if embed:
        return f"data:{media_type(file)};base64,{base64.b64encode(file.read_bytes()).decode()}"
    folder = Path(page).resolve().parent
    # As bytes: a name need not be text.
    return quote(os.fsencode(os.path.relpath(file.resolve(), folder).replace(os.sep, "/")))


def media_type(file: Path) -> str:
    """What a server calls the content of a video file, told from its name."""
    return mimetypes.guess_type(file.name)[0] or "video/mp4"
