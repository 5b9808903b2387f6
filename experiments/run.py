"""Run a written plan of trainings, one after the other; run again, it goes on where it stopped.

    python experiments/run.py experiments/sbhar_vsgn.yaml --work runs data.annotations=... data.features=...

A plan names its question, the config, the seeds and its rows, each a set of overrides; a row may name a config of its
own. A row with ``of`` decodes the model of another row in another way; one with ``permute_labels`` or, for methods
that learn from labels of whole videos, ``shuffle_labels`` learns from labels that mean nothing; one with ``sliding``
trains nothing: its proposals are windows that slide. In overrides ``{seed}`` stands for the seed. With
``average_recall`` in the plan, proposals are scored too: by average recall at these average numbers a video. Every
finished training appends one line to ``experiments/results/<plan>.jsonl``; one that was stopped resumes from its
checkpoint.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from sliding_windows import best_lengths, durations_of, proposals

from untrimmed.demo.baseline import permute_labels
from untrimmed.evaluation import Evaluation
from untrimmed.evaluation.recall import average_recall
from untrimmed.formats import read_annotations, write_annotations
from untrimmed.pipeline import recipe
from untrimmed.pipeline.detector import best_device
from untrimmed.pipeline.run_data import open_run_data
from untrimmed.pipeline.train import detect_all as detect
from untrimmed.pipeline.train import score, train
from untrimmed.types import Annotations, Detections, Instances

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("overrides", nargs="*", help="for all rows: where the data lies")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--rows", nargs="*", help="only these rows")
    parser.add_argument("--seeds", nargs="*", type=int, help="only these seeds")
    arguments = parser.parse_intermixed_args()
    plan = yaml.safe_load(arguments.plan.read_text(encoding="utf-8"))
    output = RESULTS / f"{arguments.plan.stem}.jsonl"
    done = {(row["row"], row["seed"]) for row in read_rows(output)}
    unknown = set(arguments.rows or ()) - {row["row"] for row in plan["rows"]}
    if unknown:
        parser.error(f"{arguments.plan} has no row {', '.join(sorted(unknown))}")
    for seed in arguments.seeds or plan["seeds"]:
        for row in plan["rows"]:
            if (row["row"], seed) in done or (arguments.rows and row["row"] not in arguments.rows):
                continue
            folder = arguments.work / arguments.plan.stem / f"{row['row'].replace(' ', '_')}_{seed}"
            result = run_row(plan, row, seed, folder, arguments.overrides)
            with output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)


def run_row(plan: dict[str, Any], row: dict[str, Any], seed: int, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Train one row of a plan with one seed, and score what it finds in the test subset; where the plan has none
    (``data.test=null``), it chooses a setting, and the score is that of the held-out videos.

    A row with ``of`` trains nothing: it is another way to decode the model of the row named there. Nor does one with
    ``sliding``: see :func:`run_sliding`.
    """
    changes = [*plan.get("overrides", []), *row.get("overrides", []), f"train.seed={seed}", *overrides]
    changes = [change.replace("{seed}", str(seed)) for change in changes]
    config = row.get("config") or plan["config"]
    plan_recipe = recipe.load(config, changes)
    for key, deal in (("permute_labels", permute_labels), ("shuffle_labels", shuffle_labels)):
        if row.get(key):
            dealt = write_dealt(plan_recipe.data, deal, seed, folder.with_suffix(".json"))
            plan_recipe = recipe.load(config, [*changes, f"data.annotations={dealt}"])
    if row.get("sliding"):
        return run_sliding(plan, row, seed, plan_recipe)
    begun, worked = time.monotonic(), time.process_time()
    numbers: list[int] = plan.get("average_recall", [])
    recalls: dict[str, float] = {}
    if "of" in row:
        from untrimmed.pipeline.detector import load_model

        trained = folder.with_name(f"{row['of'].replace(' ', '_')}_{seed}")
        detector = load_model(trained)
        options = dict(plan_recipe.method)
        detector.method.config = type(detector.method.config).model_validate(  # type: ignore[union-attr]
            {key: value for key, value in options.items() if key != "name"}
        )
        parts = open_run_data(plan_recipe)
        found = detect(detector, parts.features, tuple(parts.test.videos))
        evaluation, seconds = score(found, parts, parts.test, plan_recipe), 0.0
        recalls = recalls_of(found, parts.test, numbers)
    else:
        resume = (folder / "state" / "last.pt").exists()
        result = train(plan_recipe, folder, device=best_device(), resume=resume)
        evaluation, seconds = result.evaluation, time.monotonic() - begun
        if numbers and result.detections is not None:
            recalls = recalls_of(result.detections, open_run_data(plan_recipe).test, numbers)
    return {
        "row": row["row"],
        "seed": seed,
        **(
            scores_of(evaluation)
            if evaluation
            else {"validation_mAP": round(result.metrics["training"]["validation_mAP"], 5)}
        ),
        **({"average_recall": recalls} if recalls else {}),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, torch {torch.__version__}",
    }


def scores_of(evaluation: Evaluation) -> dict[str, Any]:
    """What is kept of the scores of one model."""
    values = evaluation.to_dict()
    return {
        "mAP": {tiou: round(value, 5) for tiou, value in values["mAP"].items()},
        "averages": {name: round(value, 5) for name, value in values["averages"].items()},
        "lengths": {f"up to {group['up_to']} s": group["mAP"] for group in values["lengths"]},
    }


def recalls_of(found: Detections, truth: Annotations, numbers: list[int]) -> dict[str, float]:
    """Average recall over tIoU 0.5:0.05:0.95 at each of some average numbers of proposals a video."""
    return {str(n): round(average_recall(found, truth, largest=n).at(n), 5) for n in numbers}


def run_sliding(plan: dict[str, Any], row: dict[str, Any], seed: int, plan_recipe: recipe.Recipe) -> dict[str, Any]:
    """Sliding windows, for each of the plan's numbers just as many a video; their lengths are chosen on the training
    videos."""
    parts = open_run_data(plan_recipe)
    durations, recalls = durations_of(parts.test), {}
    for number in plan["average_recall"]:
        lengths = best_lengths(parts.training, number)
        recalls |= recalls_of(proposals(durations, lengths, number), parts.test, [number])
    return {"row": row["row"], "seed": seed, "average_recall": recalls}


def write_dealt(
    data: recipe.DataSettings, deal: Callable[[Annotations, int], Annotations], seed: int, path: Path
) -> Path:
    """The annotations with the labels of the training subset dealt out anew; those of the test subset stay."""
    truth = read_annotations(data.annotations)
    dealt = deal(truth.subset(data.training), seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_annotations(replace(truth, videos={**truth.videos, **dealt.videos}), path)
    return path


def shuffle_labels(truth: Annotations, seed: int) -> Annotations:
    """Every video with the labels of another one, drawn at random, and without segments."""
    videos = list(truth)
    order = np.random.default_rng(seed).permutation(len(videos)).tolist()
    return Annotations.of(
        replace(video, instances=Instances.empty(), video_labels=videos[other].labels)
        for video, other in zip(videos, order, strict=True)
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows that are there already."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
