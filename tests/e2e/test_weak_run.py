"""Learning when actions are from which there are: every host finds more than from labels that mean nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from untrimmed.cli import app
from untrimmed.errors import InputError
from untrimmed.formats import read_annotations, write_annotations
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.grid import SnippetGrid
from untrimmed.pipeline.detector import load_model
from untrimmed.pipeline.recipe import Recipe, recipe_of
from untrimmed.pipeline.run_data import open_run_data
from untrimmed.pipeline.run_report import write_run_report
from untrimmed.pipeline.train import train
from untrimmed.types import Annotations, Instances, Video

CLASSES, CHANNELS, LENGTH = ("jump", "run", "spin"), 8, 60
GRID = SnippetGrid(2, 1, 1)
METHODS: dict[str, dict[str, Any]] = {
    "basnet": {"hidden": 16, "filter_channels": 8, "dropout": 0.2, "class_threshold": 0.15},
    "um": {"hidden": 16, "margin": 8.0, "dropout": 0.2, "class_threshold": 0.2},
    "dgam": {"streams": [{"thresholds": [0.05, 0.1, 0.2, 0.4], "own": 1.0}], "hidden": 16, "warmup_epochs": 2},
}


def make_world(folder: Path) -> None:
    """Videos of noise in which a class is a bump in two channels; training videos have labels only."""
    rng = np.random.default_rng(0)
    videos = []
    with FeatureWriter(folder / "features", backbone={"name": "bumps"}) as writer:
        for number in range(60):
            rows = rng.normal(scale=0.4, size=(LENGTH, CHANNELS)).astype(np.float32)
            segments, labels = [], []
            for slot in rng.permutation(3)[: rng.integers(1, 3)]:
                kind = int(rng.integers(3))
                start = int(20 * slot + rng.integers(2, 8))
                stop = start + int(rng.integers(6, 11))
                rows[start:stop, 2 * kind : 2 * kind + 2] += 2.0
                segments.append((start / 2, stop / 2))
                labels.append(CLASSES[kind])
            subset = "training" if number < 40 else "test"
            video = Video(f"v{number:02d}", subset, LENGTH / 2, instances=Instances(segments, tuple(labels)))
            if subset == "training":
                video = replace(video, instances=Instances.empty(), video_labels=video.labels)
            writer.add(video.id, rows, GRID, LENGTH / 2)
            videos.append(video)
    write_annotations(Annotations.of(videos), folder / "weak.json")
    order = rng.permutation(40).tolist()
    mixed = [replace(video, video_labels=videos[other].labels) for video, other in zip(videos, order, strict=False)]
    write_annotations(Annotations.of([*mixed, *videos[40:]]), folder / "shuffled.json")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Such small networks lose more to threads than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weak")
    make_world(folder)
    return folder


def plan(annotations: Path, name: str, epochs: int = 25, ignored: tuple[str, ...] = (), **method: Any) -> Recipe:
    return recipe_of(
        {
            "data": {
                "annotations": str(annotations),
                "features": str(annotations.parent / "features"),
                "validation": None,
                "ignore_labels": ignored,
            },
            "windows": {"kind": "segments", "length": LENGTH},
            "method": {"name": name, **METHODS[name], **method},
            "train": {"epochs": epochs, "batch_size": 8, "optim": {"name": "adam", "lr": 1e-2}},
            "postprocess": {"nms": [{"method": "hard", "threshold": 0.5}]},
            "evaluate": {"tiou": [0.3, 0.4, 0.5]},
        },
        name,
    )


def trained(world: Path, out: Path, name: str, annotations: str, **method: Any) -> float:
    """The mean mAP over tIoU 0.3:0.1:0.5 on the test videos."""
    result = train(plan(world / annotations, name, **method), out, device=torch.device("cpu"))
    assert result.evaluation is not None
    return float(np.mean(list(result.evaluation.to_dict()["mAP"].values())))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_video_labels_teach_when_actions_are(world: Path, tmp_path: Path, name: str) -> None:
    learned = trained(world, tmp_path / "weak", name, "weak.json")
    nothing = trained(world, tmp_path / "shuffled", name, "shuffled.json")
    assert learned > 0.25
    assert learned > nothing + 0.2


def test_a_model_with_acgnet_is_stored_and_detects(world: Path, tmp_path: Path) -> None:
    enhance = {"name": "acgnet", "threshold": 0.6, "neighbours": 6}
    assert trained(world, tmp_path / "run", "basnet", "weak.json", enhance=enhance) > 0.3
    detector = load_model(tmp_path / "run")
    found = detector.detect(world / "features" / "v50.npy")
    assert len(found)
    ((_, curves),) = detector.curves(detector.features_of(world / "features" / "v50.npy"), ["v50"])
    assert {"attention", *CLASSES} <= set(curves.values)


def test_the_graph_of_a_video_is_drawn(world: Path, tmp_path: Path) -> None:
    enhance = {"name": "acgnet", "threshold": 0.5, "neighbours": 6}
    out, runs = tmp_path / "figures", {"dgam": tmp_path / "with", "basnet": tmp_path / "without"}
    two = [{"thresholds": [0.1]}] * 2
    for name, more in (("dgam", {"streams": two, "enhance": enhance}), ("basnet", {})):
        train(plan(world / "weak.json", name, epochs=1, **more), runs[name], device=torch.device("cpu"))

    def draw(run: Path, *more: str) -> str:
        result = CliRunner().invoke(app, ["graph", str(run), "--out", str(out), *more])
        assert result.exit_code == 0 or isinstance(result.exception, InputError)
        return str(result.exception or result.output)

    assert "2 figures of 1 videos" in draw(runs["dgam"], "--video", "v50")
    assert sorted(file.name for file in out.iterdir()) == ["v50-graph-0.svg", "v50-graph-1.svg"]
    text = (out / "v50-graph-0.svg").read_text(encoding="utf-8")
    labels = read_annotations(world / "weak.json").videos["v50"].labels
    assert all(f">{word}<" in text for word in (*labels, "lender, seconds", "receiver, seconds"))
    assert "has no video 'v99'" in draw(runs["dgam"], "--video", "v99")
    with FeatureWriter(tmp_path / "narrow", backbone={"name": "bumps"}) as writer:
        writer.add("v50", np.ones((LENGTH, 2)), GRID, LENGTH / 2)
    narrow = draw(runs["dgam"], "--video", "v50", "--features", str(tmp_path / "narrow"))
    assert "narrow: has 2 channels, but" in narrow
    assert "was trained on 8" in narrow
    assert "method basnet has no graph" in draw(runs["basnet"])


def test_ignored_labels_count_neither_in_the_scores_of_a_run_nor_on_its_page(world: Path, tmp_path: Path) -> None:
    videos = list(read_annotations(world / "weak.json"))
    both = Instances([(1, 2), (3, 9)], ("jump", "vague"))
    videos[-1] = replace(videos[-1], instances=both)
    write_annotations(Annotations.of(videos), tmp_path / "odd.json")
    (tmp_path / "features").symlink_to(world / "features")
    recipe = plan(tmp_path / "odd.json", "basnet", epochs=1, ignored=("vague",))
    result = train(recipe, tmp_path / "run", device=torch.device("cpu"))
    assert result.detector.classes == CLASSES
    assert result.evaluation is not None
    assert set(result.evaluation.classes) == set(CLASSES)
    page = write_run_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "labelled vague: no class, as if not there" in page


def test_labels_without_segments_are_refused_where_they_would_teach_that_nothing_occurs(
    world: Path, tmp_path: Path
) -> None:
    supervised = plan(world / "weak.json", "basnet").model_copy(update={"method": {"name": "segtad"}})
    with pytest.raises(
        InputError, match=r"labels without segments in 40 videos to train on \(v00, v01, v02, \.\.\.\).*basnet, dgam"
    ):
        train(supervised, tmp_path / "run", device=torch.device("cpu"))
    assert not (tmp_path / "run").exists()


def test_labels_may_be_listed_beside_segments_but_each_needs_one(world: Path, tmp_path: Path) -> None:
    known = [
        replace(video, video_labels=video.labels) for video in read_annotations(world / "weak.json").subset("test")
    ]
    unknown = replace(known[3], video_labels=(*known[3].labels, "other"))
    (tmp_path / "features").symlink_to(world / "features")
    for name, fourth in (("known", known[3]), ("unknown", unknown)):
        videos = [*known[:3], fourth, *known[4:]]
        moved = [replace(video, subset="training") for video in videos[:10]]
        write_annotations(Annotations.of([*moved, *videos[10:]]), tmp_path / f"{name}.json")
    recipe = plan(tmp_path / "known.json", "basnet").model_copy(update={"method": {"name": "segtad"}})
    assert len(open_run_data(recipe).training) == 10
    odd = recipe.model_copy(update={"data": plan(tmp_path / "unknown.json", "basnet").data})
    with pytest.raises(InputError, match=f"in 1 video to train on \\({unknown.id}\\)"):
        open_run_data(odd)
