"""``untrimmed demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes of the config, such as train.epochs=5.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of it all.")] = Path("demo"),
    method: Annotated[str, typer.Option(help="The method to train; it needs a config demo/METHOD.")] = "vsgn",
    seed: Annotated[int, typer.Option(min=0, help="Of the training.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render and extract.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
) -> None:
    """See it all work: render videos, extract features, train, detect in unseen videos, score, report.

    Takes some minutes on a laptop. Run again, it goes on where it was interrupted.
    """
    from rich.progress import Progress

    from untrimmed.cli.progress import TrainingBar
    from untrimmed.demo.run import run_demo
    from untrimmed.pipeline.detector import best_device
    from untrimmed.pipeline.recipe import load

    epochs = load(f"demo/{method}", overrides or ()).train.epochs
    with TrainingBar(epochs) as bar:
        rendering = Progress(console=bar.console, transient=True, disable=not bar.console.is_terminal)
        task = rendering.add_task("rendering", total=None)
        result = run_demo(
            out,
            method=method,
            seed=seed,
            overrides=tuple(overrides or ()),
            processes=workers,
            device=best_device(device),
            callbacks=bar,
            log=bar.log,
            progress=lambda done, total: rendering.update(task, completed=done, total=total),
        )
    typer.echo(str(result.evaluation))
    typer.echo(f"\n{method} against a linear classifier per snippet (A - B)\n{result.comparison}")
    typer.echo("\n" + ", ".join(f"{name} {value:.0f} s" for name, value in result.seconds.items()))
    typer.echo(f"look at {result.report}")
