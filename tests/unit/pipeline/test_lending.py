"""Who lends to one proposal, against a loop; the figure of it, and `untrimmed graph`."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from untrimmed import cli
from untrimmed.data.proposals import ProposalSet, VideoProposals
from untrimmed.errors import InputError
from untrimmed.formats import write_annotations, write_detections
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.methods.catalog import make_method
from untrimmed.pipeline.detector import Detector
from untrimmed.pipeline.lending import lending
from untrimmed.pipeline.recipe import recipe_of
from untrimmed.report.lenders import Lender, Lending, lenders_figure
from untrimmed.segments import tiou_scalar
from untrimmed.types import Annotations, Detections, Instances, Video

GRID = SnippetGrid(10, 5, 5)
CLASSES = ("jump", "wave")
SPANS = [(2.0, 10.0), (4.0, 8.0), (2.5, 10.0), (12.0, 15.0), (40.0, 48.0), (20.0, 21.0), (1.0, 30.0), (30.0, 33.0)]
SSN = {"name": "ssn", "dropout": 0.0, "context": {"name": "gcm", "hidden": 8, "semantic": 3}}
CBR = {"name": "cbr", "proposals": "given", "hidden": 8, "context": {"name": "gcm", "hidden": 8}}


def detector(tmp_path: Path, method: dict[str, Any]) -> Detector:
    data = {"annotations": str(tmp_path / "truth.json"), "features": str(tmp_path / "features"), "proposals": "p.json"}
    recipe = recipe_of({"data": data, "windows": {"kind": "whole"}, "method": method}, "")
    torch.manual_seed(0)
    made = make_method(method["name"], {key: value for key, value in method.items() if key != "name"}, 5, 2).eval()
    return Detector(made, recipe, CLASSES, 5, None, None, GRID)


def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)


def judging(made: Detector) -> Detector:
    scores = np.linspace(0.9, 0.3, len(SPANS))
    return made.judging(ProposalSet({"v": VideoProposals(np.array(SPANS), scores)}, "made up"))


def by_loop(row: int, semantic: int) -> dict[tuple[float, float], tuple[set[str], float]]:
    """Neighbours of one proposal, the kinds of their edges and their weights, for SSN's maxima."""
    features = rows()
    pooled = [features[math.floor(2 * start) : math.ceil(2 * end)].max(0).tolist() for start, end in SPANS]

    def cosine(a: list[float], b: list[float]) -> float:
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    others = [each for each in range(len(SPANS)) if each != row]
    alike = sorted(others, key=lambda each: -cosine(pooled[row], pooled[each]))[:semantic]
    found: dict[tuple[float, float], tuple[set[str], float]] = {}
    start, end = SPANS[row]
    for each in others:
        first, last = SPANS[each]
        overlap, kinds = tiou_scalar(start, end, first, last), set()
        if overlap > 0.7:
            kinds.add("contextual")
        if overlap == 0 and abs(start + end - first - last) / 2 < (end - start) + (last - first):
            kinds.add("surrounding")
        if overlap == 0 and each in alike:
            kinds.add("semantic")
        if kinds:
            found[first, last] = kinds, cosine(pooled[row], pooled[each])
    return found


@pytest.mark.parametrize("at", [9.0, 13.0, 45.0, 14.9])
def test_lenders_are_those_of_the_rules(tmp_path: Path, at: float) -> None:
    covering = [number for number, (start, end) in enumerate(SPANS) if start <= at <= end]
    row = covering[0]  # the best score
    features = ArrayFeatures({"v": rows()}, GRID)
    told = lending(judging(detector(tmp_path, SSN)), features, "v", tmp_path, at=at, most=99)
    assert (told.start, told.end) == pytest.approx(SPANS[row])
    expected = by_loop(row, 3)
    assert told.degree == len(told.lenders) == len(expected)
    for each in told.lenders:
        kinds, weight = expected[round(each.start, 3), round(each.end, 3)]
        assert set(each.kinds) == kinds
        assert each.weight == pytest.approx(weight, abs=1e-5)
    assert [each.weight for each in told.lenders] == sorted((each.weight for each in told.lenders), reverse=True)
    for kind, count in told.counts.items():
        assert count == sum(kind in kinds for kinds, _ in expected.values())
    few = lending(judging(detector(tmp_path, SSN)), features, "v", tmp_path, at=at, most=1)
    assert few.lenders == told.lenders[:1]
    assert few.degree == told.degree


@pytest.mark.parametrize("method", [SSN, CBR], ids=["ssn", "cbr"])
def test_without_a_time_it_is_the_proposal_of_the_surest_detection(tmp_path: Path, method: dict[str, Any]) -> None:
    features, made = ArrayFeatures({"v": rows()}, GRID), judging(detector(tmp_path, method))
    told = lending(made, features, "v", tmp_path)
    [(_, found)] = made.candidates(features, ["v"])
    best = int(found.scores.argmax())
    assert told.found is not None
    assert told.found[:2] == pytest.approx(tuple(found.segments[best]), abs=1e-4)
    assert told.found[2:] == (CLASSES[found.labels[best]], pytest.approx(found.scores[best]))


def test_what_cannot_be_told(tmp_path: Path) -> None:
    features = ArrayFeatures({"v": rows()}, GRID)
    with pytest.raises(InputError, match=r"'v': no proposal that covers 49 s"):
        lending(judging(detector(tmp_path, SSN)), features, "v", tmp_path, at=49.0)
    alone = {"name": "ssn"}
    with pytest.raises(InputError, match="method ssn has no graph of proposals"):
        lending(judging(detector(tmp_path, alone)), features, "v", tmp_path)
    plain = {**SSN, "context": {"name": "gcm", "aggregate": "none"}}
    with pytest.raises(InputError, match="has no graph"):
        lending(judging(detector(tmp_path, plain)), features, "v", tmp_path)


def test_the_figure_shows_each_lender_under_its_first_kind() -> None:
    lenders = (Lender(1, 5, ("contextual",), 0.9), Lender(7, 9, ("surrounding", "semantic"), -0.25))
    told = Lending(
        "<a>", 2.0, 6.0, (2.2, 6.1, "j<ump", 0.75), lenders, {"contextual": 4, "surrounding": 1, "semantic": 1}, 6
    )
    picture = lenders_figure("p", told, [(2.0, 6.5, "wave"), (20.0, 21.0, "jump")], 30.0)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture.inline)
    for text in ("truth", "proposal", "truth: wave", "j&lt;ump 0.75", "contextual (4)", "0.90", "-0.25, semantic"):
        assert text in texts, texts
    assert "semantic (1)" not in texts
    assert "<a>" not in picture.file
    assert told.text().splitlines()[0] == "<a>: the proposal of 2.00 to 6.00 s"
    assert "  6 lend to it: 4 contextual, 1 surrounding, 1 semantic" in told.text()


def test_the_command_draws_and_says_it(tmp_path: Path) -> None:
    made = detector(tmp_path, SSN)
    made.save(tmp_path / "model.safetensors")
    truth = Annotations.of([Video("v", "test", 50.0, instances=Instances([[2, 9.5]], ("jump",)))])
    write_annotations(truth, tmp_path / "truth.json")
    with FeatureWriter(tmp_path / "features", backbone={"name": "made up"}) as writer:
        writer.add("v", rows(), GRID, 50.0)
    write_detections(Detections.of([("v", None, *span, 0.5) for span in SPANS]), tmp_path / "p.json")
    words = ["graph", str(tmp_path / "model.safetensors"), "--video", "v", "--at", "9", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli.app, [*words, "--proposals", str(tmp_path / "p.json"), "--most", "2"])
    assert done.exit_code == 0, done.exception
    assert "v: the proposal of 2.00 to 10.00 s" in done.stdout
    assert (tmp_path / "out" / "v-proposal.svg").is_file()
    bare = CliRunner().invoke(cli.app, words)
    assert isinstance(bare.exception, InputError)
    assert "give those of the videos to detect in (--proposals FILE)" in str(bare.exception)
