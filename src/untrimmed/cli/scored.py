"""What the commands that score are given: result files or run folders, a truth, and how to score.

A run folder holds its results, and its config says by which truth and how they are scored: annotations, subset,
protocol, thresholds, groups of length, labels that are no classes. What the command line says comes before that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from untrimmed.cli.values import timing_from
from untrimmed.errors import InputError

if TYPE_CHECKING:
    from untrimmed.evaluation.protocols import Protocol
    from untrimmed.pipeline.recipe import DataSettings, EvaluateSettings
    from untrimmed.types import Annotations, Detections

RESULTS_FILE = "results.json"
CONFIG_FILE = "config.yaml"
PROTOCOL_HELP = (
    "activitynet, thumos14, thumos14-papers (as papers score since 2020) or hacs. Default: thumos14 if the truth has "
    "Ambiguous segments."
)
SUBSET_HELP = "Part of the truth to score, or 'all'. Default: that of the protocol, or the only one with instances."
IGNORE_HELP = "A label of the truth that is no class; may be repeated. Ambiguous never is one."
RESULTS_HELP = "Detections: any format that can be read, or a run folder, whose config says how they are scored."
TRUTH_HELP = "Annotations: any format that can be read. Default: those of the run."
Value = TypeVar("Value")


@dataclass(frozen=True)
class Asked:
    """How to score, as a command line says it; None and empty for what it leaves open."""

    truth: Path | None = None
    protocol: str | None = None
    subset: str | None = None
    tious: Sequence[float] | None = None
    lengths: Sequence[float] | None = None
    ignore: Sequence[str] = ()
    fps_table: Path | None = None


@dataclass(frozen=True)
class Scored:
    """What is scored and how.

    Args:
        detections: of each place.
        truth_file: where the truth is; None if there is none.
        truth: all annotations; None if there are none.
        protocol: with the labels that are no classes.
        subset, tious, lengths: None for the default.
        any_label: whether it is a run whose detections have no labels, which are scored as segments of any.
    """

    detections: tuple[Detections, ...]
    truth_file: Path | None
    truth: Annotations | None
    protocol: Protocol
    subset: str | None
    tious: Sequence[float] | None
    lengths: Sequence[float] | None
    any_label: bool

    @property
    def known_truth(self) -> Annotations:
        """The truth, of a command that cannot do without.

        Raises:
            InputError: if there is none.
        """
        if self.truth is None:
            raise InputError("no truth to score against: name the annotations with --truth, or give a run folder")
        return self.truth


def is_run(place: Path) -> bool:
    """Whether a place is the folder of a run that says how it is scored."""
    return (place / CONFIG_FILE).is_file()


def results_file(place: Path) -> Path:
    """The result file of a place: itself, or that of a run folder.

    Raises:
        InputError: if it is a folder without one.
    """
    if not place.is_dir():
        return place
    if not (place / RESULTS_FILE).is_file():
        why = "the run has no results: its training did not finish, or its config names no test subset"
        raise InputError(f"{place}: {why if is_run(place) else 'neither a result file nor the folder of a run'}")
    return place / RESULTS_FILE


def gather(places: Sequence[Path], asked: Asked, *, what: str | None) -> Scored:
    """Read results and truth, and settle how to score.

    Args:
        places: result files and run folders.
        asked: what the command line says.
        what: what is to be done with the detections, e.g. ``"score"``. None: show them, for which there need be neither
            any, nor a truth.

    Raises:
        InputError: if a file cannot be read or holds no detections, or runs say different things.
    """
    from untrimmed.evaluation.any_label import without_labels
    from untrimmed.evaluation.protocols import protocol_of
    from untrimmed.formats import read_annotations, read_detections

    files = [results_file(place) for place in places]
    runs = {place: settings_of(place) for place in places if is_run(place)}
    truth_file = asked.truth or _agreed(runs, "--truth", lambda place, run: annotations_of(place, run[0]))
    if truth_file is not None and asked.truth is None and not truth_file.exists():
        if what:
            raise InputError(f"{truth_file}: the annotations of the run are not there; name them with --truth")
        truth_file = None
    truth = None if truth_file is None else read_annotations(truth_file)
    timing = timing_from(truth, asked.fps_table)
    detections = tuple(read_detections(file, timing=timing) for file in files)
    for place, found in zip(places, detections, strict=True):
        if what and not len(found):
            raise InputError(f"{place}: holds no detections, nothing to {what}")
    name = asked.protocol or _agreed(runs, "--protocol", lambda _, run: run[1].protocol)
    rules = protocol_of(name, truth, asked.ignore)
    # What a run ignores need not occur in the truth that is given instead of its own.
    ignored = {label for run in runs.values() for label in run[0].ignore_labels}
    tious, lengths = asked.tious, asked.lengths
    if tious is None and asked.protocol is None:
        tious = _agreed(runs, "--tiou", lambda _, run: run[1].tiou)
    if lengths is None and asked.protocol is None:
        lengths = _agreed(runs, "--lengths", lambda _, run: run[1].lengths)
    return Scored(
        detections=detections,
        truth_file=truth_file,
        truth=truth,
        protocol=rules.ignoring(sorted(ignored)),
        subset=asked.subset or _agreed(runs, "--subset", lambda _, run: run[0].test),
        tious=tious,
        lengths=lengths,
        any_label=bool(runs) and all(without_labels(found) for found in detections),
    )


def settings_of(run: Path) -> tuple[DataSettings, EvaluateSettings]:
    """What the config of a run says of its data and its score.

    Raises:
        InputError: if it cannot be read.
    """
    from untrimmed.config import read
    from untrimmed.pipeline.recipe import scoring_of

    file = run / CONFIG_FILE
    return scoring_of(read(file), str(file))


def annotations_of(run: Path, data: DataSettings) -> Path:
    """The annotations of a run, from here or else from the folder of the run."""
    beside = run / data.annotations
    return beside if beside.exists() and not data.annotations.exists() else data.annotations


def _agreed(runs: dict[Path, Any], option: str, read: Callable[[Path, Any], Value]) -> Value | None:
    """What all runs say; None without runs."""
    said = {place: read(place, run) for place, run in runs.items()}
    values = list(dict.fromkeys(said.values()))
    if len(values) > 1:
        words = " and ".join(f"{place} says {value}" for place, value in said.items())
        raise InputError(f"{words}: name one with {option}")
    return values[0] if values else None
