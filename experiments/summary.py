"""Sum the rows of an experiment up: a Markdown table, mean and standard deviation over the seeds.

python experiments/summary.py experiments/results/demo_vsgn.jsonl [--tiou 0.3 0.5 0.7]
python experiments/summary.py experiments/results/proposals_sbhar.jsonl --recall
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_OPEN = "up to None s"
"""What rows call the group of the longest instances."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--tiou", nargs="*", default=["0.5"], help="columns besides the averages")
    parser.add_argument("--recall", action="store_true", help="average recall of proposals, instead of mAP")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.results.read_text(encoding="utf-8").splitlines()]
    print(recall_table(rows) if arguments.recall else table(rows, arguments.tiou))


def recall_table(rows: Sequence[Row]) -> str:
    """Average recall at each number of proposals, of the rows that have it; times 100."""
    rows = [row for row in rows if "average_recall" in row]
    numbers = list(rows[0]["average_recall"])
    lines = ["| row | seeds | " + " | ".join(f"AR@{n}" for n in numbers) + " | CPU s |"]
    lines.append("|---" * (len(numbers) + 3) + "|")
    for name in dict.fromkeys(row["row"] for row in rows):
        of_row = [row for row in rows if row["row"] == name]
        cells = [spread([100 * row["average_recall"][n] for row in of_row]) for n in numbers]
        lines.append(f"| {name} | {len(of_row)} | " + " | ".join(cells) + f" | {_longest(of_row)} |")
    return "\n".join(lines)


def table(rows: Sequence[Row], tious: Sequence[str]) -> str:
    """The rows in the order in which they first come; scores times 100."""
    names = list(dict.fromkeys(row["row"] for row in rows))
    averages = list(rows[0]["averages"])
    lengths = list(rows[0]["lengths"])
    titles = dict(zip(lengths, lengths, strict=True))
    if len(lengths) > 1 and lengths[-1] == _OPEN:
        titles[_OPEN] = lengths[-2].replace("up to", "above")
    columns: list[tuple[str, Callable[[Row], float]]] = [(f"mAP@{t}", lambda row, t=t: row["mAP"][t]) for t in tious]
    columns += [(f"mAP {name}", lambda row, name=name: row["averages"][name]) for name in averages]
    columns += [
        (titles[name], lambda row, name=name: statistics.fmean(score for score in row["lengths"][name].values()))
        for name in lengths
        if all(score is not None for row in rows for score in row["lengths"].get(name, {"": None}).values())
    ]
    lines = ["| row | seeds | " + " | ".join(name for name, _ in columns) + " | CPU s |"]
    lines.append("|---" * (len(columns) + 3) + "|")
    for name in names:
        of_row = [row for row in rows if row["row"] == name]
        cells = [spread([100 * value(row) for row in of_row]) for _, value in columns]
        lines.append(f"| {name} | {len(of_row)} | " + " | ".join(cells) + f" | {_longest(of_row)} |")
    return "\n".join(lines)


def _longest(rows: Sequence[Row]) -> str:
    """Processor time of the longest training, if any was measured."""
    seconds = [row["cpu_seconds"] for row in rows if "cpu_seconds" in row]
    return f"{max(seconds):.0f}" if seconds else ""


def spread(values: Sequence[float]) -> str:
    """Mean and, of two values or more, standard deviation."""
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}"


if __name__ == "__main__":
    main()
