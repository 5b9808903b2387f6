"""One page to watch detections on: the video, a lane of truth and detections per class, and the numbers.

The page works from a file, without a server and without any request: data, style and script are inside, and videos
are linked by relative path (or put inside, if asked for).
"""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np

from untrimmed.errors import InputError
from untrimmed.formats.media import is_video
from untrimmed.types import Annotations, Detections


@dataclass(frozen=True)
class Section:
    """A part of the page below the lanes: figures (SVG texts, trusted) and a table, either may be absent."""

    title: str
    text: str = ""
    figures: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def render(
    detections: Detections,
    annotations: Annotations | None = None,
    *,
    title: str,
    sources: Mapping[str, str] | None = None,
    durations: Mapping[str, float] | None = None,
    facts: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    sections: Sequence[Section] = (),
    threshold: float = 0.2,
    most: int = 300,
) -> str:
    """The page as text.

    Args:
        detections: what was found; a detection without label is shown under "(no label)".
        annotations: the truth, if there is one; only its videos among those of ``detections`` are shown.
        title: heading of the page.
        sources: video id -> URL of its file, see :func:`video_sources`.
        durations: video id -> seconds, for videos whose truth does not say it.
        facts: pairs shown as small cards at the top.
        notes: sentences shown under them.
        sections: what follows the lanes.
        threshold: score at which the slider starts, in [0, 1].
        most: detections kept a video, those of the highest scores; a note says so where some are left out.
    """
    truth_labels = annotations.labels if annotations else ()
    labels = sorted({*truth_labels, *detections.labels})
    if (detections.label < 0).any():
        labels.append("(no label)")
    number = {name: index for index, name in enumerate(labels)}
    columns = np.array([number[name] for name in detections.labels] + [len(labels) - 1])
    videos, cut = [], 0
    for index, video_id in enumerate(detections.video_ids):
        rows = np.flatnonzero(detections.video == index)
        rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
        cut += max(0, len(rows) - most)
        rows = rows[:most]
        found = [
            [int(columns[detections.label[row]]), *_rounded(detections.segments[row]), round(detections.scores[row], 4)]
            for row in rows
        ]
        video = annotations.videos.get(video_id) if annotations else None
        instances = video.instances if video else None
        truth = (
            [
                [number[name], *_rounded(segment)]
                for name, segment in zip(instances.labels, instances.segments, strict=True)
            ]
            if instances
            else []
        )
        known = (video.duration if video else None) or (durations or {}).get(video_id)
        ends = [item[2] for item in (*found, *truth)]
        videos.append(
            {
                "id": video_id,
                "duration": float(known or max([1.0, *ends])),
                "source": (sources or {}).get(video_id),
                "truth": truth,
                "detections": found,
            }
        )
    if cut:
        notes = [
            *notes,
            f"Only the {most} detections of the highest scores are shown of each video; {cut} are left out.",
        ]
    return _template().render(
        title=title,
        css=_text("timeline.css"),
        script=_text("timeline.js"),
        facts=facts,
        notes=notes,
        sections=sections,
        has_truth=annotations is not None,
        data={
            "labels": labels,
            "threshold": threshold,
            "has_truth": annotations is not None,
            "videos": videos,
        },
    )


def video_sources(
    video_ids: Sequence[str], place: str | Path, page: str | Path, *, embed: bool = False
) -> dict[str, str]:
    """Where the page finds each video.

    Args:
        video_ids: the videos.
        place: a video file (for a single video, or the one whose stem is its id), or a folder that is searched for
            files named ``<id>.<suffix>``, also below it.
        page: file of the page; links are relative to its folder.
        embed: put the content of the files into the page instead of linking them.

    Returns:
        video id -> URL; videos without a file are absent.

    Raises:
        InputError: if the place does not exist or holds none of the videos.
    """
    place = Path(place)
    if place.is_dir():
        files = {file.stem: file for file in sorted(place.rglob("*")) if is_video(file)}
    elif place.is_file():
        files = {place.stem: place}
        if len(video_ids) == 1:
            files = {video_ids[0]: place}
    else:
        raise InputError(f"{place}: no such video file or folder")
    found = {video_id: files[video_id] for video_id in video_ids if video_id in files}
    if not found:
        raise InputError(
            f"{place}: holds none of the {len(video_ids)} videos of the results (the first is '{video_ids[0]}'); "
            "expected files named <video id>.mp4 or the like"
        )
    return {video_id: link(file, page, embed=embed) for video_id, file in found.items()}


def link(file: Path, page: str | Path, *, embed: bool = False) -> str:
    """The URL by which a page finds a file: relative to the page's folder, or with the content inside."""
    if embed:
        kind = mimetypes.guess_type(file.name)[0] or "video/mp4"
        return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
    folder = Path(page).resolve().parent
    return quote(os.path.relpath(file.resolve(), folder).replace(os.sep, "/"))


def _rounded(segment: Any) -> list[float]:
    return [round(float(segment[0]), 3), round(float(segment[1]), 3)]


def _text(name: str) -> str:
    return (resources.files("untrimmed.report") / "templates" / name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(_text("timeline.html"))
