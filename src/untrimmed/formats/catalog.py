"""Which formats there are, and which of them a file has: the one place that knows them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from untrimmed.errors import InputError, nearest
from untrimmed.formats import activitynet, bsn, charades, csv, elan, epic, schema, ssn, thumos14, turn, webvtt
from untrimmed.formats.io import check_file, check_new_folder, parse_json, read_text, shown
from untrimmed.formats.timing import UNTIMED, Timing
from untrimmed.types import Annotations, Detections

Losses = tuple[str, ...]


@dataclass(frozen=True)
class Format:
    """What can be read and written in a format; None where it cannot."""

    about: str
    read_truth: Callable[..., Annotations] | None = None
    write_truth: Callable[[Annotations, str | Path], Losses] | None = None
    read_results: Callable[..., Detections] | None = None
    write_results: Callable[..., Losses] | None = None


FORMATS = {
    "activitynet": Format(
        "ActivityNet-style JSON, .json or .json.gz",
        activitynet.read_truth,
        activitynet.write_truth,
        activitynet.read_results,
        activitynet.write_results,
    ),
    "bsn": Format(
        "BSN's and BMN's CSV of proposals, a folder with one file a video",
        read_results=bsn.read_results,
        write_results=bsn.write_results,
    ),
    "charades": Format("Charades CSV", charades.read_truth, charades.write_truth),
    "csv": Format(
        "plain CSV with the columns video, label, start, end[, score]",
        csv.read_truth,
        csv.write_truth,
        csv.read_results,
        csv.write_results,
    ),
    "elan": Format("ELAN, an .eaf file or a folder of them", elan.read_truth, elan.write_truth),
    "epic": Format("EPIC-Kitchens CSV", epic.read_truth, epic.write_truth),
    "ssn": Format(
        "SSN's and P-GCN's list of truth and proposals",
        read_truth=ssn.read_truth,
        read_results=ssn.read_results,
        write_results=ssn.write_results,
    ),
    "thumos14": Format(
        "THUMOS14 text: a folder of truth, or a file of results",
        thumos14.read_truth,
        thumos14.write_truth,
        thumos14.read_results,
        thumos14.write_results,
    ),
    "turn": Format(
        "TURN's list of proposals in frames", read_results=turn.read_results, write_results=turn.write_results
    ),
    "webvtt": Format("WebVTT subtitles, a .vtt file or a folder of them", write_results=webvtt.write_results),
}
"""Name -> what it can do."""

TIMED = frozenset({"bsn", "ssn", "turn"})
"""Those whose times are frames or fractions of the video; they hold proposals."""

_OUTPUT_SUFFIXES = {
    ".json": "activitynet",
    ".csv": "csv",
    ".tsv": "csv",
    ".eaf": "elan",
    ".vtt": "webvtt",
    ".txt": "thumos14",
}


@dataclass(frozen=True)
class Content:
    """What a file was found to hold.

    Args:
        format: its name in :data:`FORMATS`.
        value: truth or results.
        extra: the further keys of a JSON file of results.
        left: what the file holds besides and was not read, one phrase each.
    """

    format: str
    value: Annotations | Detections
    extra: activitynet.ResultsExtra | None = None
    left: tuple[str, ...] = ()


def read(
    path: str | Path,
    format: str | None = None,
    *,
    epic_label: str = "action",
    tiers: Iterable[str] | None = None,
    timing: Timing = UNTIMED,
) -> Content:
    """Read truth or results, whichever the file or folder holds; of a list of SSN, which holds both, the proposals.

    Args:
        path: file or folder.
        format: a name in :data:`FORMATS`; told from the content if None.
        epic_label: what EPIC-Kitchens labels are: ``action``, ``verb`` or ``noun``.
        tiers: the tiers of ELAN files to read; all if None.
        timing: durations and frame rates, for lists of proposals in frames or in fractions of the videos.

    Raises:
        InputError: if the format is unknown or the content malformed.
    """
    path = Path(path)
    if format is not None:
        schema.choice("format", format, FORMATS)
    if format == "webvtt" or path.suffix == ".vtt":
        raise InputError(f"{path}: subtitles are written for players and cannot be read back; give the JSON or CSV")
    if os.path.isdir(path):
        return _read_folder(path, format, tiers, timing)
    text = read_text(path)
    format = format or _told(path, text, timing)
    if format == "activitynet":
        return _read_json(path, parse_json(text, path))
    if format in ("csv", "epic", "charades"):
        table = csv.table_of(text, path)
        if format == "epic":
            return Content(format, epic.truth_of(table, epic_label))
        if format == "charades":
            return Content(format, charades.truth_of(table))
        return Content(format, csv.results_of(table) if csv.is_results(table) else csv.truth_of(table))
    if format == "elan":
        return Content(format, elan.read_truth(path, tiers))
    if format == "ssn":
        left = ("the truth of the list, and the overlaps of its proposals with it",)
        return Content(format, ssn.proposals_of(ssn.groups_of(text, path), path, timing), left=left)
    if format == "turn":
        return Content(format, turn.proposals_of(text, path, timing))
    if format == "bsn":
        return Content(format, bsn.read_results(path, timing))
    if thumos14.is_class_file(path):
        return Content(format, thumos14.read_truth(path))
    return Content(format, thumos14.read_results(path))


def read_annotations(
    path: str | Path,
    format: str | None = None,
    *,
    epic_label: str = "action",
    tiers: Iterable[str] | None = None,
    timing: Timing = UNTIMED,
) -> Annotations:
    """Read truth; arguments and errors as for :func:`read`. Of a list of SSN, the truth.

    Raises:
        InputError: also if it holds results.
    """
    content = read(path, format, epic_label=epic_label, tiers=tiers, timing=timing)
    value = ssn.read_truth(path, timing) if content.format == "ssn" else content.value
    if not isinstance(value, Annotations):
        raise InputError(f"{path}: holds results, expected truth; are the two files swapped?")
    return value


def read_detections(path: str | Path, format: str | None = None, *, timing: Timing = UNTIMED) -> Detections:
    """Read results; arguments and errors as for :func:`read`.

    Raises:
        InputError: also if it holds truth.
    """
    content = read(path, format, timing=timing)
    if isinstance(content.value, Detections):
        return content.value
    lines = content.format == "thumos14" and os.path.isfile(path)
    hint = "; a list of proposals in frames is told by --from turn or a table of frame rates" if lines else ""
    raise InputError(f"{path}: holds truth, expected results; are the two files swapped?{hint}")


def write_annotations(annotations: Annotations, path: str | Path, format: str | None = None) -> Losses:
    """Write truth.

    Args:
        annotations: what to write.
        path: file, or for formats of many files a new folder.
        format: a name in :data:`FORMATS`; told from the suffix if None.

    Returns:
        What the format cannot keep, one phrase each.

    Raises:
        InputError: if the format has no form for truth or for this truth, or the file cannot be written.
    """
    name = output_format(path, format)
    write = FORMATS[name].write_truth
    if write is None:
        raise InputError(f"{path}: {name} has no form for truth; {_able('write_truth')} have one")
    return write(annotations, path)


def write_detections(
    detections: Detections,
    path: str | Path,
    format: str | None = None,
    *,
    extra: activitynet.ResultsExtra | None = None,
    timing: Timing = UNTIMED,
) -> Losses:
    """Write results; arguments and errors as for :func:`write_annotations`.

    Args:
        detections: what to write.
        path: file, or for formats of many files a new folder.
        format: a name in :data:`FORMATS`; told from the suffix if None.
        extra: further keys, which only JSON keeps.
        timing: durations and frame rates, for the formats in frames or in fractions of the videos.
    """
    name, write = _results_form(path, format)
    if name == "activitynet":
        return write(detections, path, extra)
    lost = write(detections, path, timing) if name in TIMED else write(detections, path)
    if extra is not None and extra.top:
        lost += (f"the keys {', '.join(shown(key) for key in extra.top)} of the whole file",)
    if extra is not None and extra.rows:
        lost += ("further keys of the detections",)
    if detections.trained_on is not None:
        lost += ("which videos the model was trained on",)
    return lost


def _read_json(path: Path, content: object) -> Content:
    table = schema.mapping(path, "the top level", content)
    if "database" in table:
        return Content("activitynet", activitynet.truth_of(table, path))
    if "results" in table:
        return Content("activitynet", *activitynet.results_of(table, path))
    raise InputError(f'{path}: has neither the key "database" (truth) nor "results": {nearest("database", table)}')


def _told(path: Path, text: str, timing: Timing) -> str:
    """The format of a file, from its content first.

    A list of TURN may be named like a class of THUMOS14, ``turn_thumos14_test.txt``, and then looks like one. A table
    of frame rates, or whole numbers where the class is none of the 20, tell it.
    """
    if ssn.is_list(text):
        return "ssn"
    if turn.is_list(text, whole=thumos14.is_class_file(path) and not timing.rates):
        return "thumos14" if thumos14.names_known_class(path) else "turn"
    start = text.lstrip()[:1]
    if start in ("{", "[") or ".json" in path.suffixes:
        return "activitynet"
    if start == "<" or path.suffix == ".eaf":
        return "elan"
    if thumos14.is_class_file(path):
        return "thumos14"
    if not start:
        raise InputError(f"{path}: is empty, expected truth or results")
    first = text.lstrip().partition("\n")[0]
    row = first.split()
    if len(row) == 5 and "," not in first and row[3].isdigit():
        return "thumos14"
    if any(mark in first for mark in ",;\t") and (path.suffix != ".txt" or "start" in first.lower()):
        header = csv.table_of(first + "\n", path).header
        if "start_timestamp" in header:
            return "epic"
        if bsn.is_table(header):
            return "bsn"
        return "charades" if "actions" in header else "csv"
    if path.suffix == ".txt":
        return "thumos14"
    raise InputError(
        f"{path}: begins with {shown(first)}, which is none of the known formats: {', '.join(FORMATS)}; "
        "name one with --from"
    )


def _read_folder(path: Path, format: str | None, tiers: Iterable[str] | None, timing: Timing) -> Content:
    tables = bsn.files_of(path)
    found = {
        "elan": any(path.glob("*.eaf")),
        "thumos14": bool(thumos14.class_files(path)),
        "bsn": bool(tables) and bsn.is_table(csv.read_table(tables[0]).header),
    }
    names = [name for name, there in found.items() if there] if format is None else [format]
    if names == ["elan"]:
        return Content("elan", elan.read_truth(path, tiers))
    if names == ["thumos14"]:
        return Content("thumos14", thumos14.read_truth(path))
    if names == ["bsn"]:
        return Content("bsn", bsn.read_results(path, timing))
    if format is not None:
        raise InputError(f"{path}: is a folder, but {format} is a file")
    if names:
        raise InputError(f"{path}: is a folder with files of {' and of '.join(names)}; say which with --from")
    raise InputError(
        f"{path}: is a folder with neither .eaf files (ELAN) nor <Class>_val.txt or <Class>_test.txt (THUMOS14), nor "
        ".csv files with xmin and xmax (proposals of BSN and BMN)"
    )


def check_results_target(path: str | Path, format: str | None = None, *, videos: int = 1) -> None:
    """Refuse where :func:`write_detections` could not write, before any work is done for it.

    Args:
        path: file, or for formats of many files a new folder.
        format: a name in :data:`FORMATS`; told from the suffix if None.
        videos: how many there will be.

    Raises:
        InputError: as :func:`write_detections`, but for what is wrong with the detections.
    """
    name = _results_form(path, format)[0]
    if name == "webvtt":
        webvtt.check_target(path, videos)
    elif name == "bsn":
        check_new_folder(path)
    else:
        check_file(path)


def output_format(path: str | Path, format: str | None = None) -> str:
    """The format that something is written in under a name.

    Raises:
        InputError: if there is no such format, or none is given and the suffix tells none.
    """
    if format is not None:
        return schema.choice("format", format, FORMATS)
    name = Path(path).name.removesuffix(".gz")
    suffix = Path(name).suffix
    if suffix not in _OUTPUT_SUFFIXES:
        raise InputError(
            f"{path}: its format cannot be told from the name, which should end in one of {', '.join(_OUTPUT_SUFFIXES)}"
        )
    return _OUTPUT_SUFFIXES[suffix]


def _results_form(path: str | Path, format: str | None) -> tuple[str, Callable[..., Losses]]:
    name = output_format(path, format)
    write = FORMATS[name].write_results
    if write is None:
        raise InputError(f"{path}: {name} has no form for results; {_able('write_results')} have one")
    return name, write


def _able(what: str) -> str:
    able: list[Any] = [name for name, form in FORMATS.items() if getattr(form, what) is not None]
    return ", ".join(able)
