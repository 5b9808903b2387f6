"""Options that command line parsers do not know by themselves.

Several numbers: ``--tiou 0.3 0.4 0.5``. Also understood: the option repeated, commas or blanks within one value, and
ranges ``0.5:0.05:0.95`` (first, step, last). A file that is named like a number is written with its folder, ``./0.5``.

An address that may be left out: ``--ray``, ``--ray auto``, ``--ray head:6379``. What follows and does not look like an
address is an argument, so ``--ray videos/`` means a Ray of one's own and the folder ``videos/``. A folder that is named
like an address is written ``./auto``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from untrimmed.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from untrimmed.formats.timing import Timing
    from untrimmed.grid import SnippetGrid
    from untrimmed.types import Annotations

_MOST = 1000
_ADDRESS = re.compile(r"local|auto|ray://.+|[^/\\\s]+:[0-9]+")
RAY = "--ray"
RAY_HELP = (
    "Work on a cluster: a Ray of one's own on this machine (no ADDRESS, or `local`), that which this machine belongs "
    "to (`auto`), or one elsewhere (HOST:PORT or ray://HOST:PORT). Any other word after --ray is an argument."
)

FPS_TABLE_HELP = "JSON of the frames a second of each video, for lists of proposals in frames (turn, ssn)."


def file_stem(video_id: str) -> str:
    """A video's id as part of a file name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in video_id)


class ManyNumbers(TyperCommand):
    """A command whose repeatable options take every number that follows them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as usual, once the numbers are spread."""
        options = [name for param in self.params if getattr(param, "multiple", False) for name in param.opts]
        return super().parse_args(ctx, spread(args, options))


class OptionalAddress(TyperCommand):
    """A command whose option ``--ray`` may stand without an address, which then is ``local``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as usual, once the address is there."""
        return super().parse_args(ctx, with_address(args))


def with_address(args: Sequence[str]) -> list[str]:
    """``["--ray", "videos"]`` to ``["--ray", "local", "videos"]``; an address that is there stays.

    Raises:
        InputError: if ``--ray=VALUE`` has a value that is no address.
    """
    result: list[str] = []
    for place, token in enumerate(args):
        if token == "--":
            return result + list(args[place:])
        name, equals, value = token.partition("=")
        if name == RAY and equals and not _ADDRESS.fullmatch(value):
            raise InputError(f"{RAY}: '{value}' is no address; expected local, auto, HOST:PORT or ray://HOST:PORT")
        result.append(token)
        if token == RAY and not _ADDRESS.fullmatch("".join(args[place + 1 : place + 2])):
            result.append("local")
    return result


def spread(args: Sequence[str], options: Collection[str]) -> list[str]:
    """``["--tiou", "0.3", "0.4"]`` to ``["--tiou", "0.3", "--tiou", "0.4"]`` for each of ``options``."""
    result: list[str] = []
    current, takes_next = "", False
    for place, token in enumerate(args):
        if token == "--":
            return result + list(args[place:])
        name, equals, _ = token.partition("=")
        if takes_next:
            takes_next = False
        elif name in options:
            current, takes_next = name, not equals
        elif current and _is_numbers(token):
            result.append(current)
        else:
            current = ""
        result.append(token)
    return result


def numbers(values: Sequence[str] | None, option: str) -> list[float] | None:
    """The numbers in the values given for an option, in order; None if it was not given.

    Raises:
        InputError: if a part is no finite number or range.
    """
    if not values:
        return None
    parts = [part for value in values for part in value.replace(",", " ").split()]
    if not parts:
        raise InputError(f"{option}: no number given, expected e.g. {option} 0.3 0.4 0.5")
    return [number for part in parts for number in _range(part, option)]


def _range(part: str, option: str) -> list[float]:
    try:
        ends = [Decimal(piece) for piece in part.split(":")]
    except InvalidOperation:
        raise InputError(f"{option}: '{part}' is not a number") from None
    if not all(end.is_finite() and math.isfinite(float(end)) for end in ends):
        raise InputError(f"{option}: '{part}' is not a finite number")
    if len(ends) == 1:
        return [float(ends[0])]
    if len(ends) != 3 or not ends[1] > 0 or ends[2] < ends[0] or (ends[2] - ends[0]) / ends[1] > _MOST:
        raise InputError(f"{option}: '{part}' is not a range FIRST:STEP:LAST, e.g. 0.5:0.05:0.95")
    first, step, last = ends
    return [float(first + step * i) for i in range(int((last - first) / step) + 1)]


def _is_numbers(token: str) -> bool:
    if not any(character.isdigit() for character in token):
        return False
    try:
        numbers([token], "")
    except InputError:
        return False
    return True


def snippet_grid(fps: str | None, stride: int | None, window: int | None, offset: int | None) -> SnippetGrid | None:
    """The grid that ``--fps``, ``--stride``, ``--window`` and ``--offset`` describe; None if none was given.

    Raises:
        InputError: if some of it is missing or wrong.
    """
    from untrimmed.grid import SnippetGrid, exact_fps

    if fps is None and stride is None and window is None and offset is None:
        return None
    if fps is None or stride is None:
        raise InputError("the grid of features needs both --fps and --stride")
    return SnippetGrid(exact_fps(fps), stride, stride if window is None else window, offset or 0)


def timing_from(truth: Annotations | None, fps_table: Path | None) -> Timing:
    """What a truth and ``--fps-table`` say of how long videos are and how many frames a second they have.

    Raises:
        InputError: if the table cannot be read, or the two contradict each other.
    """
    from untrimmed.formats.timing import Timing, read_rates

    return Timing(truth, {} if fps_table is None else read_rates(fps_table))
