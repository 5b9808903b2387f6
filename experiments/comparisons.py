"""Is row A of a plan better than row B? A paired bootstrap over the test videos, seed by seed.

    python experiments/comparisons.py PLAN basnet "basnet shuffled" --work runs data.annotations=... data.features=...

Reads the detections that ``experiments/run.py`` left in its runs, prints a line for every seed and puts it into
``experiments/results/<plan>_comparisons.jsonl``, in place of an earlier one of the same rows and seed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml
from run import RESULTS, read_rows

from untrimmed.evaluation import compare
from untrimmed.formats import read_annotations, read_detections
from untrimmed.formats.io import write_text
from untrimmed.pipeline import recipe
from untrimmed.pipeline.train import RESULTS_FILE


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("a", help="a row")
    parser.add_argument("b", help="another")
    parser.add_argument("overrides", nargs="*", help="where the data lies")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="folder of the runs")
    arguments = parser.parse_intermixed_args()
    plan = yaml.safe_load(arguments.plan.read_text(encoding="utf-8"))
    output = RESULTS / f"{arguments.plan.stem}_comparisons.jsonl"
    for seed in plan["seeds"]:
        found = compared(
            plan, arguments.a, arguments.b, seed, arguments.work / arguments.plan.stem, arguments.overrides
        )
        print(json.dumps(found), flush=True)
        same = ("a", "b", "seed")
        kept = [row for row in read_rows(output) if [row[key] for key in same] != [found[key] for key in same]]
        write_text(output, "".join(json.dumps(row) + "\n" for row in [*kept, found]))


def compared(plan: dict[str, Any], a: str, b: str, seed: int, runs: Path, overrides: list[str]) -> dict[str, Any]:
    """The mean over the thresholds of both rows, the interval of the difference, and P that A is better."""
    config = next(row.get("config") or plan["config"] for row in plan["rows"] if row["row"] == a)
    rules = recipe.load(config, [*plan.get("overrides", []), *overrides])
    truth = read_annotations(rules.data.annotations)
    one, other = (read_detections(runs / f"{row.replace(' ', '_')}_{seed}" / RESULTS_FILE) for row in (a, b))
    assert isinstance(rules.data.test, str)
    result = compare(one, other, truth, rules.evaluate.protocol, subset=rules.data.test, tious=rules.evaluate.tiou)
    *_, values = result.averages.values()
    return {
        "a": a,
        "b": b,
        "seed": seed,
        "mAP_a": round(values.a, 5),
        "mAP_b": round(values.b, 5),
        "low": round(values.low, 5),
        "high": round(values.high, 5),
        "P": round(values.better, 4),
    }


if __name__ == "__main__":
    main()
