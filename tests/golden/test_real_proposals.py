"""Real lists of proposals: TURN's and TAG's on THUMOS14, and SSN's on ActivityNet v1.2."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from untrimmed.evaluation import evaluate_proposals
from untrimmed.formats import read_annotations, read_detections, ssn, write_detections
from untrimmed.formats.timing import Timing, read_rates
from untrimmed.types import Annotations, Video

TIOUS = (0.5, 0.7, 0.9)


@pytest.mark.parametrize(
    ("name", "count", "recall"),
    [("turn", 61_823, (0.8755, 0.7388, 0.1954)), ("tag", 53_144, (0.7433, 0.5229, 0.1644))],
)
def test_recall_on_thumos14(
    shared_data: Path, tmp_path: Path, name: str, count: int, recall: tuple[float, ...]
) -> None:
    folder = shared_data / "proposals"
    truth = read_annotations(shared_data / "thumos14" / "annotations.json")
    timing = Timing(truth, read_rates(folder / "thumos14_test_fps.json"))
    found = read_detections(folder / f"{name}_thumos14_test.txt.gz", timing=timing)
    assert (len(found), len(found.video_ids)) == (count, 213)
    scores = evaluate_proposals(found, truth, tious=TIOUS)
    assert scores.counts["instances"] == 3358
    assert scores.recall.tolist() == pytest.approx(recall, abs=5e-4)
    assert scores.odd["proposals_beyond_the_video"] == scores.odd["videos_without_proposals"] == 0
    # Through our own format the scores are the same, and back in frames the list is what it was.
    write_detections(found, tmp_path / "p.json.gz")
    assert evaluate_proposals(read_detections(tmp_path / "p.json.gz"), truth, tious=TIOUS).at == scores.at
    write_detections(found, tmp_path / "again.txt", "turn", timing=timing)
    original = gzip.decompress((folder / f"{name}_thumos14_test.txt.gz").read_bytes()).decode()
    assert (tmp_path / "again.txt").read_text() == original


def test_the_list_of_ssn_comes_back_as_it_was(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "proposals" / "ssn_tag_activitynet12_val.txt.gz"
    groups = ssn.read_list(path)
    assert len(groups) == 2383
    ssn.write_list(groups, tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_text() == gzip.decompress(path.read_bytes()).decode()


def test_what_we_say_of_proposals_in_a_list_is_what_ssn_says(shared_data: Path, tmp_path: Path) -> None:
    """Class, tIoU and covered share are computed anew from truth and proposals, and agree to the rounding of the times
    they are computed from."""
    path = shared_data / "proposals" / "ssn_tag_activitynet12_val.txt.gz"
    groups = ssn.read_list(path)
    # Lengths are not in the list; any will do, as all of it are fractions.
    lengths = Timing(Annotations.of(Video(group.video_id, duration=100.0) for group in groups))
    truth = read_annotations(path, timing=lengths)
    assert truth.instance_count == sum(len(group.truth) for group in groups)
    write_detections(read_detections(path, timing=lengths), tmp_path / "ours.txt", "ssn", timing=Timing(truth))
    ours = np.concatenate([group.proposals for group in ssn.read_list(tmp_path / "ours.txt")])
    theirs = np.concatenate([group.proposals for group in groups])
    assert len(ours) == len(theirs) == 120_148
    np.testing.assert_allclose(ours[:, 3:], theirs[:, 3:], atol=1e-9)
    # Some touch an instance by less than the rounding, or one that has no length after it.
    other = ours[:, 0] != theirs[:, 0]
    assert other.sum() == 40
    assert not ours[other, :2].any()
    assert (theirs[other, 1] < 0.02).all()
    differences = np.abs(ours[:, 1:3] - theirs[:, 1:3])
    assert (np.quantile(differences, 0.5, axis=0) <= 1.1e-4).all()
    assert (np.quantile(differences, 0.99, axis=0) < 0.01).all()
