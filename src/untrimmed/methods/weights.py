"""Which weights on disk still fit a method.

A network may change while the names and shapes of its weights stay as they were: old weights would then load, and mean
something else. So what is written says its format, and what was written before a method changed is refused.
"""

from __future__ import annotations

from pathlib import Path

from untrimmed.errors import InputError

FORMAT = 2
"""Of the weights that are written now; 1 more whenever the network of a method that was released changes."""

_SINCE = {"vsgn": 2}
"""Method -> the first format that holds the weights of its network as it is now; 1 for a method that is not here."""


def check_format(method: str, written: int, source: str | Path, way_on: str) -> None:
    """Refuse weights that were written for another network.

    Args:
        method: name of the method.
        written: format of the weights.
        source: the file that holds them.
        way_on: what to do about weights that are too old, for the message.

    Raises:
        InputError: if the network changed since, or the format is of a later version of this program.
    """
    if written > FORMAT:
        raise InputError(
            f"{source}: was written by a later version of untrimmed (format {written}, this one reads up to {FORMAT}); "
            "update untrimmed"
        )
    since = _SINCE.get(method, 1)
    if written < since:
        raise InputError(
            f"{source}: holds weights of method {method} from before its network changed (format {written}, expected "
            f"{since} or later), which mean nothing to the network of today: {way_on}"
        )
