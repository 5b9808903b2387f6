"""One problem of a data set, as the checks report it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One problem.

    Args:
        severity: ``error``, ``warning`` or ``note``.
        what: its kind, the same words for all of a kind.
        video: the id of the video; empty if it concerns the whole data set.
        value: what was found.
        fix: what to do.
    """

    severity: Severity
    what: str
    video: str
    value: str
    fix: str
