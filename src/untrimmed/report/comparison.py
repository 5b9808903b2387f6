"""The page of ``untrimmed compare --report``: the scores of two results, and where one gained over the other.

:func:`page` gives the page and :func:`write` writes it: one self-contained file without any script.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from untrimmed.evaluation.changes import ALIKE, COUNTS, REASONS, Answer, Candidate, Change, Changes
from untrimmed.evaluation.comparison import Comparison
from untrimmed.evaluation.protocols import tiou_name
from untrimmed.evaluation.text import percent
from untrimmed.formats.io import write_text
from untrimmed.report import page as frame
from untrimmed.report.drawing import BLUE, ORANGE
from untrimmed.report.page import Grid, Panel
from untrimmed.report.timelines import Bar, Lane, Look, one_line, timelines

MOST = 6
"""Instances drawn of each kind."""

_NO_LABEL = "(no label)"
_TITLES = {
    "gained": "Gained: found by B, missed by A",
    "lost": "Lost: found by A, missed by B",
    "better": "Better placed: found by both, closer by B",
    "worse": "Worse placed: found by both, closer by A",
}
_WORDS = {
    "found": "found it",
    "wrong label": "overlaps it enough with another label",
    "too little overlap": "overlaps it too little",
    "found another": "overlaps it with a detection that found another instance",
    "low score": "has it only below the score threshold",
    "confusion": "overlaps it too little, and with another label",
    "nothing": "shows nothing there",
}
_COLUMNS = {
    "instances": "instances",
    "found_a": "found by A",
    "found_b": "found by B",
    "gained": "gained",
    "lost": "lost",
    "better": "better placed",
    "worse": "worse placed",
}


def page(
    comparison: Comparison,
    changes: Changes,
    names: tuple[str, str] = ("A", "B"),
    title: str = "Comparison",
    most: int = MOST,
) -> str:
    """The page as one HTML document.

    Args:
        comparison, changes: of the same two results and truth.
        names: what A and B are called, plain text, e.g. their files.
        title: plain text.
        most: instances drawn of each kind, at least 0.
    """
    counts = comparison.counts
    lead = (
        f"{comparison.protocol} protocol, subset {comparison.subset}"
        + (f" of {comparison.version}" if comparison.version else "")
        + f": {counts['videos']:,} videos, {counts['instances']:,} instances of {counts['classes']:,} classes. "
        f"A is {names[0]}, B is {names[1]}."
        + (" A or B was trained on all of these videos: this is no test." if comparison.only_training else "")
    )
    every = {"gained": changes.gained, "lost": changes.lost, "better": changes.better, "worse": changes.worse}
    classes = sorted(changes.per_class.items(), key=lambda item: (item[1]["lost"] - item[1]["gained"], item[0]))
    body = frame.fragment(
        "comparison.html",
        tiou=tiou_name(changes.tiou),
        alike=ALIKE,
        tiles=_tiles(changes),
        scores=_grid(comparison.score_rows),
        class_scores=_grid(comparison.class_rows),
        shown=_shown_grid(changes),
        reasons=_reason_grid(changes),
        counts=changes.counts,
        classes=Grid(
            ("class", *_COLUMNS.values()),
            [(label, *(f"{row[name]:,}" for name in COUNTS)) for label, row in classes],
        ),
        kinds=[
            (name, _TITLES[name], len(found), [_panel(name, n, one) for n, one in enumerate(found[:most], 1)])
            for name, found in every.items()
        ],
        resamples=comparison.resamples,
        seed=comparison.seed,
        notes=[(side.upper(), comparison.notes[side].sentences) for side in "ab"],
    )
    return frame.page(title, body, lead=lead)


def write(
    comparison: Comparison,
    changes: Changes,
    file: str | Path,
    names: tuple[str, str] = ("A", "B"),
    title: str = "Comparison",
    most: int = MOST,
) -> Path:
    """Write the page; arguments as for :func:`page`.

    Args:
        file: replaced if it is there.

    Raises:
        InputError: if it cannot be written.
    """
    write_text(file, page(comparison, changes, names, title, most))
    return Path(file)


def _tiles(changes: Changes) -> list[tuple[str, str, str]]:
    counts = changes.counts
    small = {
        "gained": "B finds, A misses",
        "lost": "A finds, B misses",
        "better": "both find, B is closer",
        "worse": "both find, A is closer",
        "alike": "both find, placed alike",
        "missed_both": "neither finds",
    }
    names = {"better": "better placed", "worse": "worse placed", "alike": "alike", "missed_both": "missed by both"}
    return [(names.get(name, name), f"{counts[name]:,}", text) for name, text in small.items()]


def _grid(rows: Sequence[Sequence[str]]) -> Grid:
    return Grid(rows[0], rows[1:])


def _shown_grid(changes: Changes) -> Grid:
    header = ("", "score threshold", "detections", "right", "wrong", "precision", "recall", "F1")
    rows = [
        (
            side,
            f"{one.threshold:.4g}",
            f"{one.detections:,}",
            f"{one.right:,}",
            f"{one.wrong:,}",
            percent(one.precision) if one.right + one.wrong else "-",
            *map(percent, (one.recall, one.f1)),
        )
        for side, one in zip("AB", changes.shown, strict=True)
    ]
    return Grid(header, rows)


def _reason_grid(changes: Changes) -> Grid:
    a, b = changes.reasons
    rows = [(_WORDS[name], f"{a[name]:,}", f"{b[name]:,}") for name in REASONS]
    return Grid(("the one that missed it", "gained: A missed", "lost: B missed"), rows)


def _panel(kind: str, number: int, one: Change) -> Panel:
    sides = (("A", ORANGE, one.a), ("B", BLUE, one.b))
    label, place = one_line(one.label), _times(one.start, one.end)
    said = " ".join(f"{name} {_said(answer)}." for name, _, answer in sides)
    graphic = timelines(
        f"{kind}-{number}",
        f"{label} in {one_line(one.video)}, {place}. {said}",
        Bar(one.start, one.end, label, place),
        [Lane(name, color, [_drawn(each, answer) for each in answer.detections]) for name, color, answer in sides],
        [(start, end) for _, start, end in one.others],
    )
    rows = [("truth", one.label, f"{one.start:.2f}", f"{one.end:.2f}", "", "", "")]
    rows += [
        (
            name,
            _NO_LABEL if each.label is None else each.label,
            f"{each.start:.2f}",
            f"{each.end:.2f}",
            f"{each.tiou:.3f}",
            f"{each.score:.4g}",
            "found it" if answer.reason == "found" else "missed it" if each.shown else "below the threshold",
        )
        for name, _, answer in sides
        for each in answer.detections
    ]
    rows += [("also in the truth", label, f"{start:.2f}", f"{end:.2f}", "", "", "") for label, start, end in one.others]
    grid = Grid(("", "label", "start (s)", "end (s)", "tIoU", "score", ""), rows, left=2)
    return Panel(f"{number}. {label} in {one_line(one.video)}", graphic, said, grid)


def _said(answer: Answer) -> str:
    words = _WORDS[answer.reason]
    if answer.reason in ("low score", "nothing"):
        return words
    first = answer.detections[0]
    if answer.reason in ("wrong label", "confusion"):
        # The one of another label is drawn after the nearest of its own label.
        first = answer.detections[1 if answer.tiou else 0]
    other = "" if first.label is None else f" ({one_line(first.label)})"
    return f"{words}{other if answer.reason in ('wrong label', 'confusion') else ''}, tIoU {first.tiou:.2f}"


def _drawn(each: Candidate, answer: Answer) -> Bar:
    label = _NO_LABEL if each.label is None else one_line(each.label)
    facts = f"{_times(each.start, each.end)}, tIoU {each.tiou:.2f}, score {each.score:.3g}"
    look: Look = "full" if answer.reason == "found" else "pale" if each.shown else "open"
    return Bar(each.start, each.end, label, facts, look)


def _times(start: float, end: float) -> str:
    return f"{start:.2f} to {end:.2f} s"
