"""ELAN annotation files (``.eaf``), truth only: one XML file a video, times in milliseconds.

The video is what the property ``untrimmed:video`` of the header says; else the name, without suffix, of the first
medium that the file links; else that of the file itself. Every tier is read unless some are chosen; the text of an
annotation is its label, and its tier is kept as the key ``tier``. Annotations that refer to another one (symbolic
tiers) have its time. Subset and duration, which ELAN does not know, are kept as properties too, where ELAN leaves them.

ELAN does not allow overlap within a tier: overlapping instances are spread over several tiers (``actions``,
``actions 2``). Document types and entities are refused: ELAN writes none, and they can harm.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from urllib.parse import quote, unquote
from xml.parsers.expat import ErrorString

from untrimmed.errors import InputError, nearest
from untrimmed.formats import schema
from untrimmed.formats.collect import Collector, counted, losses
from untrimmed.formats.io import atomic_folder, file_name, read_text, shown, write_text
from untrimmed.types import Annotations, Instances, Video

_TIER = "actions"
_FOREVER = 1e9
_VIDEO, _SUBSET, _DURATION = "untrimmed:video", "untrimmed:subset", "untrimmed:duration"
_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_truth(path: str | Path, tiers: Iterable[str] | None = None) -> Annotations:
    """Read an ``.eaf`` file, or all of a folder.

    Args:
        path: file or folder.
        tiers: names of the tiers to read; all if None. A file need not have all of them, but one must.

    Raises:
        InputError: if a file is malformed, a chosen tier is in no file, two files are of the same video, or an
            annotation has no time.
    """
    path = Path(path)
    files = sorted(path.glob("*.eaf")) if os.path.isdir(path) else [path]
    if not files:
        raise InputError(f"{path}: no .eaf file in this folder")
    wanted = None if tiers is None else set(tiers)
    found: set[str] = set()
    seen: dict[str, Path] = {}
    collector = Collector(path)
    for file in files:
        root = _root(file)
        properties = {item.get("NAME", ""): item.text or "" for item in root.iterfind("HEADER/PROPERTY")}
        video_id = properties.get(_VIDEO) or _video_id(root, file)
        if video_id in seen:
            raise InputError(f"{file}: is of video {shown(video_id)}, as {seen[video_id]} is; merge them")
        seen[video_id] = file
        length = properties.get(_DURATION)
        duration = None if length is None else schema.parsed(file, _DURATION, length)
        collector.video(file.name, video_id, subset=properties.get(_SUBSET, ""), duration=duration)
        for tier, label, start, end in _annotations(file, root, wanted):
            collector.add(video_id, start, end, label, {} if tier == _TIER else {"tier": tier})
        found |= {tier.get("TIER_ID", "") for tier in root.iterfind("TIER")}
    for name in (wanted or set()) - found:
        raise InputError(f"{path}: there is no tier {shown(name)}: {nearest(name, found)}")
    return collector.annotations()


def write_truth(annotations: Annotations, path: str | Path) -> tuple[str, ...]:
    """Write an ``.eaf`` file (if the name ends so; for one video) or a new folder of them, one a video.

    Times are rounded to milliseconds. An instance goes to the tier that its key ``tier`` names, else ``actions``.

    Returns:
        What is lost: one sentence each.

    Raises:
        InputError: if a file is named and there are several videos, a time is negative, or a text cannot stand in
            XML.
    """
    if Path(path).suffix == ".eaf":
        if len(annotations) != 1:
            raise InputError(f"{path}: an .eaf file holds 1 video, not {len(annotations)}; name a folder")
        write_text(path, _document(path, next(iter(annotations))))
    else:
        with atomic_folder(path) as folder:
            for video in annotations:
                write_text(folder / file_name(video.id, ".eaf"), _document(path, video))
    return _lost(annotations)


def _root(file: Path) -> ET.Element:
    text = read_text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{file}: declares a document type or entities, which an ELAN file does not; refused")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        line, column = error.position
        raise InputError(f"{file}: line {line} column {column + 1}: {ErrorString(error.code)}") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise InputError(f"{file}: is XML of type {shown(root.tag)}, expected ANNOTATION_DOCUMENT (ELAN)")
    header = root.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise InputError(f"{file}: TIME_UNITS is {shown(units)}, expected milliseconds")
    return root


def _video_id(root: ET.Element, file: Path) -> str:
    medium = root.find("HEADER/MEDIA_DESCRIPTOR")
    url = "" if medium is None else medium.get("MEDIA_URL") or medium.get("RELATIVE_MEDIA_URL") or ""
    name = unquote(url.replace("\\", "/").rpartition("/")[2])
    return name.rpartition(".")[0] or name or file.stem


def _annotations(file: Path, root: ET.Element, wanted: set[str] | None) -> Iterable[tuple[str, str, float, float]]:
    """Tier, label, start, end of every annotation of the chosen tiers."""
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iterfind("TIME_ORDER/TIME_SLOT")}
    items = {item.get("ANNOTATION_ID"): item for item in root.iterfind("TIER/ANNOTATION/*")}
    for tier in root.iterfind("TIER"):
        name = tier.get("TIER_ID", "")
        if wanted is not None and name not in wanted:
            continue
        for item in tier.iterfind("ANNOTATION/*"):
            place = f"tier {shown(name)}, annotation {item.get('ANNOTATION_ID')}"
            owner = _aligned(file, place, item, items)
            times = []
            for reference in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"):
                value = slots.get(owner.get(reference))
                if value is None:
                    raise InputError(
                        f"{file}: {place}: {reference} has no time; align the annotation in ELAN, or leave out the tier"
                    )
                times.append(schema.parsed(file, f"{place}, {reference}", value) / 1000)
            yield name, item.findtext("ANNOTATION_VALUE") or "", times[0], times[1]


def _aligned(file: Path, place: str, item: ET.Element, items: dict[str | None, ET.Element]) -> ET.Element:
    """The annotation whose time an annotation has: itself, or the one at the end of its references."""
    for _ in range(len(items) + 1):
        if item.tag == "ALIGNABLE_ANNOTATION":
            return item
        parent = items.get(item.get("ANNOTATION_REF"))
        if item.tag != "REF_ANNOTATION" or parent is None:
            break
        item = parent
    raise InputError(f"{file}: {place}: refers to no annotation that has a time")


def _document(path: str | Path, video: Video) -> str:
    instances = video.instances
    for text in (video.id, video.subset, *instances.labels):
        if match := _NOT_XML.search(text):
            raise InputError(f"{path}: {shown(text)} holds the character {match[0]!r}, which XML cannot hold")
    if len(instances) and not (instances.segments.min() >= 0 and instances.segments.max() < _FOREVER):
        raise InputError(
            f"{path}: video {shown(video.id)} has a time below 0 or beyond {_FOREVER:g} s, which ELAN cannot hold"
        )
    root = ET.Element("ANNOTATION_DOCUMENT", AUTHOR="", DATE="1970-01-01T00:00:00Z", FORMAT="3.0", VERSION="3.0")
    header = ET.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    medium = {"MEDIA_URL": f"./{quote(video.id, safe='')}.mp4", "MIME_TYPE": "video/mp4"}
    ET.SubElement(header, "MEDIA_DESCRIPTOR", medium)
    if video.subset:
        ET.SubElement(header, "PROPERTY", NAME=_SUBSET).text = video.subset
    if video.duration is not None:
        ET.SubElement(header, "PROPERTY", NAME=_DURATION).text = repr(float(video.duration))
    order = ET.SubElement(root, "TIME_ORDER")
    slots: list[tuple[int, str]] = []
    number = count(1)
    for name, rows in _tiers(path, instances).items():
        tier = ET.SubElement(root, "TIER", LINGUISTIC_TYPE_REF="default-lt", TIER_ID=name)
        for row in rows:
            at = next(number)
            references = {"TIME_SLOT_REF1": f"ts{2 * at - 1}", "TIME_SLOT_REF2": f"ts{2 * at}"}
            milliseconds = [round(seconds * 1000) for seconds in instances.segments[row].tolist()]
            slots.extend(zip(milliseconds, references.values(), strict=True))
            holder = ET.SubElement(tier, "ANNOTATION")
            item = ET.SubElement(holder, "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{at}", **references})
            ET.SubElement(item, "ANNOTATION_VALUE").text = instances.labels[row]
    for time, slot in sorted(slots):
        ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(time))
    linguistic = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "default-lt", "TIME_ALIGNABLE": "true"}
    ET.SubElement(root, "LINGUISTIC_TYPE", linguistic)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _tiers(path: str | Path, instances: Instances) -> dict[str, list[int]]:
    """Tier -> the rows on it, in the order of time, without overlap."""
    tiers: dict[str, list[int]] = {}
    free: dict[str, int] = {}
    for row in sorted(range(len(instances)), key=lambda row: instances.segments[row].tolist()):
        extra = instances.extra[row] if instances.extra else {}
        base = extra.get("tier", _TIER)
        if not isinstance(base, str) or not base or _NOT_XML.search(base):
            raise InputError(f"{path}: tier {shown(base)} cannot be the name of a tier")
        start, end = (round(seconds * 1000) for seconds in instances.segments[row].tolist())
        name = next(
            name
            for name in (base if index == 1 else f"{base} {index}" for index in count(1))
            if free.get(name, 0) <= start
        )
        tiers.setdefault(name, []).append(row)
        free[name] = max(start, end)
    return tiers


def _lost(annotations: Annotations) -> tuple[str, ...]:
    extras = [extra for video in annotations for extra in video.instances.extra]
    only_tiers = all(set(extra) <= {"tier"} for extra in extras)
    kept = ["subset", "duration", "empty", *(["instance extra"] if only_tiers else [])]
    lost = [*losses(annotations, *kept)]
    segments = [segment for video in annotations for segment in video.instances.segments.tolist()]
    rounded = sum(any(abs(time - round(time * 1000) / 1000) > 1e-9 for time in pair) for pair in segments)
    odd = sum(end <= start for start, end in segments)
    if rounded:
        lost.append(f"times finer than a millisecond ({counted(rounded, 'instance')})")
    if odd:
        lost.append(f"{odd} reversed or zero-length instances are written, but ELAN may not show them")
    return tuple(lost)
