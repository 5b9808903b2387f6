"""One proposal and those that lend to it, on the time line of their video (GCM, Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from untrimmed.report.drawing import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    Graphic,
    drawing_area,
    finished,
)
from untrimmed.report.timelines import one_line
from untrimmed.segments import tiou_scalar

_LINE, _BAR, _LEFT = 17.0, 0.55, 96.0
_COLORS = {"contextual": BLUE, "surrounding": ORANGE, "semantic": PURPLE}


class Lender(NamedTuple):
    """A proposal that lends: seconds, the kinds of edges that chose it, and the weight of Eq. 8."""

    start: float
    end: float
    kinds: tuple[str, ...]
    weight: float


@dataclass(frozen=True)
class Lending:
    """One proposal, what the model makes of it, and who lends to it.

    Attributes:
        video_id: its video.
        start, end: of the proposal, seconds.
        found: the best detection that came of it: start, end, label and score; None if there is none.
        lenders: those of the largest weights, largest first.
        counts: kind of edges -> how many lend by it, all of them.
        degree: how many lend in all.
    """

    video_id: str
    start: float
    end: float
    found: tuple[float, float, str, float] | None
    lenders: tuple[Lender, ...]
    counts: dict[str, int]
    degree: int

    def text(self) -> str:
        """The same in lines."""
        lines = [f"{self.video_id}: the proposal of {self.start:.2f} to {self.end:.2f} s"]
        if self.found is not None:
            start, end, label, score = self.found
            lines.append(f"  became {label or 'a segment'} from {start:.2f} to {end:.2f} s, score {score:.3f}")
        by_kind = ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
        lines.append(f"  {self.degree} lend to it: {by_kind}")
        lines += [
            f"  {each.weight:6.3f}  {each.start:8.2f} to {each.end:8.2f} s  {' and '.join(each.kinds)}"
            for each in self.lenders
        ]
        return "\n".join(lines)


def lenders_figure(
    name: str, lending: Lending, truth: Sequence[tuple[float, float, str]], duration: float | None = None
) -> Graphic:
    """The truth, the proposal, what the model made of it, and a line for each lender with its weight.

    A lender that several kinds of edges chose stands under the first of them, in its colour; its text names all.

    Args:
        name: of the figure.
        lending: what is drawn.
        truth: instances of the video: seconds and label.
        duration: seconds of the video; None: as far as anything reaches.
    """
    shared = [(tiou_scalar(start, end, lending.start, lending.end), label) for start, end, label in truth]
    most, shown = max(shared, default=(0.0, ""))
    actual = f"truth: {one_line(shown, 24)}" if most > 0 else ""
    rows: list[tuple[str, str, float, float, str]] = [("proposal", RED, lending.start, lending.end, actual)]
    if lending.found is not None:
        start, end, label, score = lending.found
        rows.append(("detection", INK, start, end, f"{one_line(label, 24)} {score:.2f}".strip()))
    for kind, color in _COLORS.items():
        own = [each for each in lending.lenders if each.kinds[0] == kind]
        for number, each in enumerate(own):
            also = "".join(f", {other}" for other in each.kinds[1:])
            title = f"{kind} ({lending.counts[kind]})" if not number else ""
            rows.append((title, color, each.start, each.end, f"{each.weight:.2f}{also}"))
    ends = [*(end for _, _, _, end, _ in rows), *(end for _, end, _ in truth), duration or 0.0]
    span = (min(0.0, *(start for _, _, start, _, _ in rows)), max(ends))
    title = f"Who lends to the proposal of {lending.start:.1f} to {lending.end:.1f} s in {lending.video_id}"
    with drawing_area(_LINE * (1 + len(rows)), left=_LEFT) as (figure, axes):
        spans = [(start, end - start) for start, end, _ in truth]
        axes.broken_barh(spans, (0.5 - _BAR / 2, _BAR), facecolor=GREEN, edgecolor=PAPER, linewidth=0.8)
        for edge in (lending.start, lending.end):
            axes.axvline(edge, color=GREY, linewidth=0.8, linestyle=(0, (2, 2)))
        beside = 0.006 * (span[1] - span[0])
        for line, (_, color, start, end, text) in enumerate(rows, 1):
            axes.axhline(line, color=FAINT, linewidth=0.6)
            axes.broken_barh([(start, end - start)], (line + 0.5 - _BAR / 2, _BAR), facecolor=color, edgecolor="none")
            right = end > span[0] + 0.7 * (span[1] - span[0])
            place, align = (start - beside, "right") if right else (end + beside, "left")
            axes.text(place, line + 0.5, text, fontsize=8.5, ha=align, va="center")
        axes.set(xlim=span, ylim=(1 + len(rows), 0), xlabel="seconds")
        named = [(0.5, "truth"), *((line + 0.5, row[0]) for line, row in enumerate(rows, 1) if row[0])]
        axes.set_yticks([place for place, _ in named], [text for _, text in named])
        axes.spines.left.set_visible(False)
        axes.grid(False)
        return finished(figure, name, title)
