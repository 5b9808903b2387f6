"""``untrimmed train`` and ``untrimmed configs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[str, typer.Argument(help="A config file, or the name of a shipped one (`untrimmed configs`).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes of the config, such as train.epochs=5.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("run"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in that folder.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    videos: Annotated[
        Path | None, typer.Option(help="Folder of the video files, to link them in the report.", show_default=False)
    ] = None,
) -> None:
    """Train a method; then detect in the test subset, score it and write a report.

    The folder holds config.yaml, model.safetensors, log.jsonl, results.json, metrics.json and report.html.
    Ctrl-C or SIGTERM stops after the step in hand; --resume goes on to the same bits. On several GPUs or processes:
    torchrun --nproc-per-node 2 -m untrimmed train ...
    """
    from contextlib import ExitStack

    from untrimmed.cli.progress import TrainingBar
    from untrimmed.pipeline.detector import best_device
    from untrimmed.pipeline.recipe import load
    from untrimmed.pipeline.run_report import write_run_report
    from untrimmed.pipeline.train import REPORT_FILE
    from untrimmed.pipeline.train import train as run
    from untrimmed.training.loop import InterruptedTraining
    from untrimmed.training.processes import joined

    recipe = load(config, overrides or ())
    where = best_device(device)
    with joined() as processes, ExitStack() as stack:
        if processes.world > 1 and where.type == "cuda":
            where = best_device(f"cuda:{processes.local}")
        bar = stack.enter_context(TrainingBar(recipe.train.epochs)) if processes.first else None
        log = bar.log if bar else _nothing
        try:
            result = run(recipe, out, device=where, resume=resume, callbacks=bar, log=log, processes=processes)
        except InterruptedTraining:
            start = f"torchrun --standalone --nproc-per-node {processes.world} -m " if processes.world > 1 else ""
            log(f"stopped; go on with: {start}untrimmed train {config} ... --out {out} --resume")
            raise
        if not processes.first:
            return
    if result.detections is None:
        typer.echo(f"the run is in {out}; the recipe names no test subset, so there are no results and no report")
        return
    if result.evaluation is not None:
        typer.echo(f"{result.evaluation}\n")
    write_run_report(out, videos)
    typer.echo(f"the run is in {out}; look at {out / REPORT_FILE}")


def _nothing(text: str) -> None:
    """What the other processes say: the first speaks for all."""


def configs() -> None:
    """List the shipped configs, each with what its paper published."""
    from untrimmed.config import header, shipped

    files = shipped()
    width = max(map(len, files))
    for name, file in files.items():
        said = header(file)
        typer.echo(f"{name:{width}} {said['']}")
        if "Published" in said:
            typer.echo(f"{'':{width}} published: {said['Published']}")
