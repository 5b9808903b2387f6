"""Plain text tables."""

from __future__ import annotations

import math
from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], left: int = 1, gap: str = "  ") -> str:
    """Rows of cells as lines: the first ``left`` columns flush left, the others flush right. Rows may be short."""
    width = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width[i]) if i < left else cell.rjust(width[i]) for i, cell in enumerate(row)]
        lines.append(gap.join(cells).rstrip())
    return "\n".join(lines)


def percent(fraction: float) -> str:
    """``0.3096`` -> ``"30.96"``; NaN -> ``"-"``."""
    return "-" if math.isnan(fraction) else f"{100 * fraction:.2f}"


def number_or_none(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if math.isnan(value) else float(value)


def counted(count: int, noun: str) -> str:
    """``"1 video"``, ``"3 videos"``, ``"2 classes"``."""
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")
