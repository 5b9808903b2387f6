"""A two-stage method from recipe to detection: proposals of a file, of a model that runs first, and of a model file
that carries it. The two methods are as small as methods can be, and are known to these tests only."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from safetensors.numpy import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

import untrimmed.cli
from untrimmed import backbones, config
from untrimmed.data.batch import Batch
from untrimmed.data.proposals import ProposalSet, VideoProposals
from untrimmed.errors import InputError
from untrimmed.formats import read_annotations, read_detections, write_annotations, write_detections
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.formats.features import ArrayFeatures, FeatureStore
from untrimmed.grid import SnippetGrid
from untrimmed.losses import LossTerm
from untrimmed.methods import catalog
from untrimmed.methods.protocol import StepDetections
from untrimmed.pipeline.detect import detect_one
from untrimmed.pipeline.detector import Detector, load_model
from untrimmed.pipeline.proposals import PROPOSALS_FILE, how_to_make, with_file
from untrimmed.pipeline.recipe import DataSettings, Recipe, recipe_of
from untrimmed.pipeline.train import train
from untrimmed.segments import tiou
from untrimmed.training.loop import InterruptedTraining
from untrimmed.types import Annotations, Detections, Instances, Video
from untrimmed.video import VideoWriter

GRID = SnippetGrid(2, 1, 1)
CLASSES = ("jump", "wave")
CPU = torch.device("cpu")


class Config(BaseModel):
    pass


class Runs(nn.Module):
    """Proposes every run of steps whose first channel, times a weight, is above a half."""

    def __init__(self, config: Config, channels: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"action": batch.features[:, 0] * self.weight}

    def loss(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, LossTerm]:
        return {"action": LossTerm((raw["action"] - 1).square().sum() * 0, raw["action"].numel())}

    def decode(self, raw: dict[str, Tensor], batch: Batch) -> list[StepDetections]:
        found = []
        for row in raw["action"]:
            edges = torch.diff((row > 0.5).int(), prepend=torch.zeros(1), append=torch.zeros(1))
            ends = [(edges == sign).nonzero()[:, 0].float() for sign in (1, -1)]
            segments = torch.stack(ends, dim=1)
            scores = 1 / (1 + torch.arange(len(segments)))
            found.append(StepDetections(segments, scores, torch.full((len(segments),), -1), segments.mean(dim=1)))
        return found


class Judge(nn.Module):
    """Says of every proposal, by the mean of its features, which class it is."""

    needs_proposals = True

    def __init__(self, config: Config, channels: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels, classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.proposals is not None
        steps = torch.arange(batch.features.shape[2], device=batch.features.device) + 0.5
        inside = (steps >= batch.proposals.segments[..., :1]) & (steps < batch.proposals.segments[..., 1:])
        weights = inside.float() / inside.sum(dim=-1, keepdim=True).clamp(min=1)
        return {"logits": self.head(weights @ batch.features.transpose(1, 2))}

    def loss(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, LossTerm]:
        assert batch.proposals is not None
        sums, count = [raw["logits"].sum() * 0], 0
        for number, targets in enumerate(batch.targets):
            own = batch.proposals.of_window(number)
            if len(targets) and len(own):
                overlaps, best = tiou(own.segments[:, None], targets.segments[None]).max(dim=1)
                labels = targets.labels[best][overlaps > 0.5]
                logits = raw["logits"][number][batch.proposals.mask[number]][overlaps > 0.5]
                sums.append(nn.functional.cross_entropy(logits, labels, reduction="sum"))
                count += len(labels)
        return {"class": LossTerm(torch.stack(sums).sum(), count)}

    def decode(self, raw: dict[str, Tensor], batch: Batch) -> list[StepDetections]:
        assert batch.proposals is not None
        found = []
        for number in range(len(batch)):
            own = batch.proposals.of_window(number)
            scores, labels = raw["logits"][number][batch.proposals.mask[number]].softmax(dim=-1).max(dim=-1)
            found.append(StepDetections(own.segments, scores, labels, own.segments.mean(dim=1)))
        return found


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sys.modules[__name__].Judge is Judge
    monkeypatch.setitem(catalog.METHODS, "judge", catalog.Entry(f"{__name__}:Judge", "dense"))
    monkeypatch.setitem(catalog.METHODS, "runs", catalog.Entry(f"{__name__}:Runs", "dense"))


def made(number: int, subset: str) -> tuple[Video, np.ndarray]:
    """A video of a minute with four actions; channel 0 says that something happens, 1 and 2 which it is."""
    rng = np.random.default_rng(number)
    starts = np.arange(4) * 14 + rng.integers(1, 6, 4)
    segments = np.stack([starts, starts + rng.integers(3, 7, 4)], axis=1).astype(float)
    labels = [CLASSES[index] for index in rng.integers(0, 2, 4)]
    rows = rng.normal(scale=0.02, size=(120, 3)).astype(np.float32)
    for (start, end), label in zip((segments * 2).astype(int), labels, strict=True):
        rows[start:end, 0] += 1
        rows[start:end, 1 + CLASSES.index(label)] += 1
    return Video(f"{subset}{number}", subset, 60.0, instances=Instances(segments, tuple(labels))), rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotations, features of two kinds, and the truth as proposals."""
    place = tmp_path_factory.mktemp("data")
    videos = [made(10 * i + k, name) for i, name in enumerate(("training", "validation", "test")) for k in range(3)]
    truth = Annotations.of(video for video, _ in videos)
    write_annotations(truth, place / "truth.json")
    with FeatureWriter(place / "features", backbone={"name": "one"}) as writer:
        for video, rows in videos:
            writer.add(video.id, rows, GRID, 60.0)
    with FeatureWriter(place / "other", backbone={"name": "other"}) as writer:
        for video, rows in videos:
            writer.add(video.id, rows[:, :1], GRID, 60.0)
    rows = [(video.id, None, *each, 0.5) for video in truth for each in video.instances.segments.tolist()]
    write_detections(Detections.of(rows), place / "proposals.json")
    return place


def recipe(folder: Path, method: str, **data: Any) -> Recipe:
    values = {
        "data": {
            "annotations": folder / "truth.json",
            "features": folder / "features",
            "standardise": False,
            **data,
        },
        "windows": {"kind": "sliding", "length": 48, "stride": 24, "keep_empty": True},
        "method": {"name": method},
        "train": {"epochs": 30 if method == "judge" else 1, "batch_size": 4, "optim": {"name": "adam", "lr": 0.1}},
        "postprocess": {"nms": [{"method": "hard", "threshold": 0.7}], "keep": 50},
        "evaluate": {"protocol": "activitynet", "tiou": [0.5]},
    }
    return recipe_of(values, "here")


def trained(plan: Recipe, out: Path, **options: Any) -> list[str]:
    said: list[str] = []
    train(plan, out, device=CPU, log=said.append, **options)
    return said


@pytest.fixture
def proposer(folder: Path, tmp_path: Path) -> Path:
    trained(recipe(folder, "runs", features=folder / "features"), tmp_path / "proposer")
    return tmp_path / "proposer"


def run(*words: object) -> Any:
    return CliRunner().invoke(untrimmed.cli.app, [str(word) for word in words])


def test_proposals_of_a_file(folder: Path, tmp_path: Path) -> None:
    said = trained(recipe(folder, "judge", proposals=folder / "proposals.json"), tmp_path / "run")
    assert f"36 proposals of 9 videos from {folder}/proposals.json" in said
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test"]["mAP"]["0.5"] > 0.9
    assert not (tmp_path / "run" / PROPOSALS_FILE).exists()
    model = tmp_path / "moved.safetensors"
    shutil.copy(tmp_path / "run" / "model.safetensors", model)
    features = [folder / "features" / f"test{number}.npy" for number in (20, 21)]
    done = run("detect", model, *features, "--out", tmp_path / "r.json")
    assert done.exit_code != 0
    with pytest.raises(InputError, match=r"was trained on those of a file, .*proposals.json: .*\(--proposals FILE\)"):
        load_model(model).detect(features[0])
    done = run("detect", model, *features, "--out", tmp_path / "r.json", "--proposals", folder / "proposals.json")
    assert done.exit_code == 0, done.output
    kept = read_detections(tmp_path / "run" / "results.json")
    found = read_detections(tmp_path / "r.json")
    assert found.video_ids == ("test20", "test21")
    for video_id in found.video_ids:
        assert list(found.of_video(video_id).rows()) == list(kept.of_video(video_id).rows())


def test_a_proposal_model_runs_first_and_goes_along(folder: Path, proposer: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = trained(recipe(folder, "judge", proposals=proposer), out)
    assert f"proposals of {proposer}: detecting in 9 videos" in said
    kept = read_detections(out / PROPOSALS_FILE)
    assert set(kept.video_ids) == set(read_annotations(folder / "truth.json").videos)
    assert (kept.label == -1).all()
    assert json.loads((out / "metrics.json").read_text())["test"]["mAP"]["0.5"] > 0.9
    shutil.rmtree(proposer)
    model = tmp_path / "moved.safetensors"
    shutil.copy(out / "model.safetensors", model)
    detector = load_model(model)
    assert detector.proposer is not None
    assert type(detector.proposer.method) is Runs
    results = read_detections(out / "results.json")
    for source in (folder / "features" / "test20.npy", np.load(folder / "features" / "test20.npy")):
        found = detector.detect(source, "test20")
        assert len(found) > 0
        np.testing.assert_allclose(found.segments, results.of_video("test20").segments, atol=1e-6)
    told = detect_one(detector, "test21", folder / "features")
    assert told.failed is None
    np.testing.assert_allclose(told.found.scores, results.of_video("test21").scores, atol=1e-6)
    # Given proposals are judged instead.
    other = Detections.of([("test20", None, 0.0, 60.0, 1.0)])
    write_detections(other, tmp_path / "other.json")
    found = with_file(detector, tmp_path / "other.json").detect(folder / "features" / "test20.npy")
    assert 1 <= len(found) <= 5
    assert set(found.rows()) & set(results.of_video("test20").rows()) == set()


class Stop:
    """Presses Ctrl-C in the third epoch."""

    def step(self, epoch: int, *_: Any) -> None:
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)

    def epoch(self, *_: Any) -> None: ...


def test_a_resumed_run_reads_the_proposals_that_it_kept(folder: Path, proposer: Path, tmp_path: Path) -> None:
    plan = recipe(folder, "judge", proposals=proposer)
    trained(plan, tmp_path / "whole")
    out = tmp_path / "cut"

    with pytest.raises(InterruptedTraining):
        trained(plan, out, callbacks=Stop())
    assert not (out / "model.safetensors").exists()
    said = trained(plan, out, resume=True)
    assert f"proposals of {proposer}: those kept in {out / PROPOSALS_FILE}" in said
    whole, again = load_file(tmp_path / "whole" / "model.safetensors"), load_file(out / "model.safetensors")
    assert whole.keys() == again.keys() >= {"proposer.weights.weight"}
    assert all(np.array_equal(whole[name], again[name]) for name in whole)
    assert (tmp_path / "whole" / "results.json").read_bytes() == (out / "results.json").read_bytes()
    # A file that another model made is not taken for it.
    content = json.loads((out / PROPOSALS_FILE).read_text())
    content["proposals_of"]["model_sha256"] = "0"
    (out / PROPOSALS_FILE).write_text(json.dumps(content))
    assert f"proposals of {proposer}: detecting in 9 videos" in trained(plan, out, resume=True)


def test_resuming_with_other_proposals_is_refused(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    shutil.copy(folder / "proposals.json", mine)
    plan = recipe(folder, "judge", proposals=mine)
    trained(plan, tmp_path / "run")
    moved = tmp_path / "moved.json"
    mine.rename(moved)
    trained(recipe(folder, "judge", proposals=moved), tmp_path / "run", resume=True)
    content = json.loads(moved.read_text())
    next(iter(content["results"].values()))[0]["score"] = 0.9
    moved.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"holds a run of another config: data\.proposals"):
        trained(recipe(folder, "judge", proposals=moved), tmp_path / "run", resume=True)


def test_a_proposal_model_of_other_features(folder: Path, tmp_path: Path) -> None:
    proposer = tmp_path / "proposer"
    trained(recipe(folder, "runs", features=folder / "other"), proposer)
    with pytest.raises(
        InputError, match=r"does not fit data.features: the features have 3 channels, but .* on 1; name"
    ):
        trained(recipe(folder, "judge", proposals=proposer), tmp_path / "run")
    plan = recipe(folder, "judge", proposals=proposer, proposal_features=folder / "other")
    shutil.rmtree(tmp_path / "run")
    trained(plan, tmp_path / "run")
    detector = load_model(tmp_path / "run")
    with pytest.raises(
        InputError, match=r"the proposal model in this model cannot use these features: .*--proposals FILE"
    ):
        detector.detect(folder / "features")
    assert "--proposals FILE" in str(detect_one(detector, "test20", folder / "features").failed)
    found = with_file(detector, tmp_path / "run" / PROPOSALS_FILE).detect(folder / "features")
    results = read_detections(tmp_path / "run" / "results.json")
    assert list(found.of_video("test20").rows()) == list(results.of_video("test20").rows())


def test_a_video_is_read_once_for_each_of_two_backbones(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with VideoWriter(clip, fps=10, size=(64, 48)) as writer:
        for number in range(100):
            frame = np.zeros((48, 64, 3), np.uint8)
            frame[:, (number * 5) % 60 : (number * 5) % 60 + 4] = 255 if 30 <= number < 60 else 0
            writer.write(frame)
    slow, fast = (backbones.make_backbone({"name": "motion", "options": {"fps": fps}}) for fps in (5, 10))
    plan = recipe(tmp_path, "judge", proposals=tmp_path / "run")
    torch.manual_seed(0)
    inner = Detector(
        Runs(Config(), slow.channels, 2), recipe(tmp_path, "runs"), CLASSES, slow.channels, None, slow.spec()
    )
    inner.method.weight.data.fill_(1e9)
    analyse_errors = Judge(Config(), fast.channels, 2)
    detector = Detector(analyse_errors, plan, CLASSES, fast.channels, None, fast.spec(), proposer=inner)
    detector.save(tmp_path / "m.safetensors")
    found = load_model(tmp_path / "m.safetensors").detect(clip)
    own = load_model(tmp_path / "m.safetensors").proposer
    assert own is not None
    proposed = own.detect(clip)
    assert len(proposed) > 0
    assert len(found) > 0
    # Proposals were made of other snippets than those they are judged by, and arrive as they are.
    assert {tuple(each) for each in np.round(found.segments, 3)} <= {
        tuple(each) for each in np.round(proposed.segments, 3)
    }
    assert detect_one(load_model(tmp_path / "m.safetensors"), "clip", clip).failed is None


@pytest.mark.parametrize(
    ("method", "data", "message"),
    [
        ("judge", {}, r"method judge judges proposals, and data.proposals is not set; make them with `untrimmed train"),
        ("judge", {"proposals": "none"}, r"judges proposals, and none: there is no such file; make them with `"),
        ("runs", {"proposals": "x"}, r"method runs judges no proposals; leave data.proposals out"),
        ("runs", {"proposals_per_video": 3}, r"leave data.proposals_per_video out \(data.proposals_per_video=null\)"),
        ("judge", {"proposals": "FOLDER/proposals.json", "proposal_features": "x"}, r"data.proposals is a list; leave"),
        ("judge", {"proposals": "FOLDER/truth.json"}, "holds truth, expected results"),
        ("judge", {"proposals": "FOLDER/features"}, "the folder has no model.safetensors"),
    ],
)  # fmt: skip
def test_recipes_that_do_not_fit(folder: Path, tmp_path: Path, method: str, data: dict[str, Any], message: str) -> None:
    values = {name: str(value).replace("FOLDER", str(folder)) for name, value in data.items()}
    with pytest.raises(InputError, match=message):
        trained(recipe(folder, method, **values), tmp_path / "run")


def test_the_command_that_is_named_exists() -> None:
    for file in ("thumos14/annotations.json", "demo/annotations.json", "elsewhere.json"):
        said = how_to_make(DataSettings(annotations=Path(file), features=Path("f")))
        words = said.split("`")[1].split()
        assert words[:2] == ["untrimmed", "train"]
        made = config.read(words[2], [word for word in words[3:] if "=" in word])
        assert str(made["data"]["annotations"]) == file
        plan = recipe_of(made, words[2])
        assert plan.method.get("class_agnostic", True)


def test_proposals_of_another_data_set_or_of_some_videos(folder: Path, tmp_path: Path) -> None:
    rows = [row for row in read_detections(folder / "proposals.json").rows() if not row[0].startswith("training")]
    write_detections(Detections.of(rows), tmp_path / "p.json")
    with pytest.raises(InputError, match=r"3 of the 3 videos of data\.training have no proposals, such as 'training0'"):
        trained(recipe(folder, "judge", proposals=tmp_path / "p.json"), tmp_path / "run")
    every = [row for row in read_detections(folder / "proposals.json").rows() if row[0] != "test21"]
    write_detections(Detections.of(every), tmp_path / "most.json")
    said = trained(recipe(folder, "judge", proposals=tmp_path / "most.json"), tmp_path / "other")
    assert "no proposals, so no detections, in test21 of data.test" in said
    results = read_detections(tmp_path / "other" / "results.json")
    assert len(results.of_video("test21")) == 0
    assert len(results.of_video("test20")) > 0


def test_only_the_best_are_judged(folder: Path, proposer: Path, tmp_path: Path) -> None:
    trained(recipe(folder, "judge", proposals=proposer, proposals_per_video=2), tmp_path / "run")
    assert len(read_detections(tmp_path / "run" / "results.json").of_video("test20")) <= 4
    features = FeatureStore.open(folder / "features")
    found = load_model(tmp_path / "run").detect(folder / "features")
    assert set(found.video_ids) == set(features.ids)
    per_video = np.bincount(found.video, minlength=len(features.ids))
    assert per_video.max() <= 4


def test_given_proposals_must_be_of_the_video(folder: Path, tmp_path: Path) -> None:
    trained(recipe(folder, "judge", proposals=folder / "proposals.json"), tmp_path / "run")
    detector = load_model(tmp_path / "run")
    for rows, message in (
        ([("else", None, 0.0, 1.0, 1.0)], "no proposals of video 'test20'"),
        ([("test20", None, 70.0, 80.0, 1.0)], r"a proposal is \[70, 80\], but the video lasts 60 s"),
        ([("test20", None, 7.0, 6.0, 1.0)], "a proposal ends before it starts"),
        ([], "holds no proposals"),
    ):
        write_detections(Detections.of(rows, ["test20"] if not rows else ()), tmp_path / "p.json")
        with pytest.raises(InputError, match=message):
            with_file(detector, tmp_path / "p.json").detect(folder / "features" / "test20.npy")
    plain = Detector(Runs(Config(), 3, 2), recipe(folder, "runs"), CLASSES, 3)
    with pytest.raises(InputError, match="method runs judges no proposals; leave --proposals out"):
        with_file(plain, folder / "proposals.json")


def test_no_proposal_in_any_window_of_a_batch() -> None:
    analyse_errors = Detector(Judge(Config(), 3, 2).eval(), recipe(Path(), "judge", proposals="p"), CLASSES, 3)
    features = ArrayFeatures({"a": np.zeros((20, 3), np.float32)}, GRID)
    given = analyse_errors.judging(ProposalSet({"a": VideoProposals.none()}, "p"))
    ((_, found),) = given.stream(features, ["a"])
    assert len(found.scores) == 0
