"""Errors a user can act on.

Everything that is the fault of an input (a file, an option, a video) is raised as an
:class:`UntrimmedError`; the command line prints its message as one line and exits with code 2.
Anything else that escapes, but for an :class:`OSError`, is a defect of the program and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UntrimmedError(Exception):
    """Base of all errors whose message is meant for the user: what was wrong, what was expected, what to do."""


class InputError(UntrimmedError, ValueError):
    """A value, a file or a combination of files that cannot be used as given."""


def nearest(name: str, options: Iterable[str], limit: int = 8) -> str:
    """Say which options there are, and which of them ``name`` probably meant.

    Returns a phrase to append to a message, e.g. ``"did you mean 'test'? (there are: test, validation)"``.
    At most ``limit`` options are listed.
    """
    choices = sorted({str(option) for option in options})
    if not choices:
        return "there are none"
    shown = ", ".join(choices[:limit]) + (f", ... ({len(choices)} in all)" if len(choices) > limit else "")
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{lowered[close[0]]}'? (there are: {shown})"
    return f"there are: {shown}"
