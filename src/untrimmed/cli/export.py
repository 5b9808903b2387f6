"""``untrimmed export``: a trained model as one ONNX file."""

from __future__ import annotations

from pathlib import Path

import typer


def export(
    run: Path = typer.Argument(help="A run folder, or a model file."),
    onnx: Path = typer.Option(..., help="The file to write."),
) -> None:
    r"""Export a trained model to ONNX, for any number of windows of any length.

    `untrimmed detect FILE.onnx clip.mp4` uses it through onnxruntime. Needs: pip install 'untrimmed\[onnx]'.
    """
    from untrimmed.pipeline.detector import load_model
    from untrimmed.pipeline.export import export_onnx

    path = export_onnx(load_model(run), onnx)
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
