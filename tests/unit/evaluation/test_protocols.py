"""Names, thresholds, subsets."""

from __future__ import annotations

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation.protocols import (
    AVERAGES,
    DENSE,
    PROTOCOLS,
    averages_of,
    clean_tious,
    protocol_of,
    tiou_name,
)
from untrimmed.evaluation.subsets import pick_subset
from untrimmed.types import Annotations, Instances, Video


def truth(*subsets: str, label: str = "run") -> Annotations:
    return Annotations.of(
        Video(f"v{i}", subset, instances=Instances(np.array([[0.0, 1.0]]), (label,)))
        for i, subset in enumerate(subsets)
    )


def test_compared_thresholds_are_those_of_the_official_code():
    official = np.linspace(0.5, 0.95, 10)
    assert [PROTOCOLS["activitynet"].compared(tiou) for tiou in DENSE] == official.tolist()
    assert [PROTOCOLS["hacs"].compared(tiou) for tiou in DENSE] == official.tolist()
    assert [PROTOCOLS["thumos14"].compared(tiou) for tiou in DENSE] == list(DENSE)


@pytest.mark.parametrize("noisy", [np.linspace(0.5, 0.95, 10), np.arange(0.5, 1.0, 0.05), list(reversed(DENSE)) * 2])
def test_thresholds_lose_their_noise(noisy):
    assert clean_tious(noisy) == DENSE
    assert [tiou_name(tiou) for tiou in clean_tious(noisy)][:3] == ["0.5", "0.55", "0.6"]


@pytest.mark.parametrize("wrong", [[], [0.0], [-0.5], [1.5], [float("nan")], [0.5, 2.0], [1e-9]])
def test_thresholds_out_of_range(wrong):
    with pytest.raises(InputError, match="tIoU threshold"):
        clean_tious(wrong)


def test_quoted_averages():
    assert list(averages_of((0.1, 0.2, 0.3, 0.4, 0.5))) == ["0.1:0.5"]
    assert averages_of(tuple(t / 10 for t in range(1, 8))).keys() == {"0.1:0.5", "0.3:0.7", "0.1:0.7"}
    assert averages_of(DENSE) == {"0.5:0.05:0.95": list(range(10))}
    assert averages_of((0.3, 0.5)) == {"all": [0, 1]}
    assert averages_of((0.5,)) == {}
    both = clean_tious([*AVERAGES["0.1:0.7"], *DENSE])
    assert list(averages_of(both)) == [*AVERAGES, "all"]


def test_protocol_by_name_itself_or_by_the_truth():
    assert protocol_of("hacs") is PROTOCOLS["hacs"]
    assert protocol_of(PROTOCOLS["hacs"]) is PROTOCOLS["hacs"]
    assert protocol_of(None) is PROTOCOLS["activitynet"]
    assert protocol_of(None, truth("test")) is PROTOCOLS["activitynet"]
    assert protocol_of(None, truth("test", label="Ambiguous")) is PROTOCOLS["thumos14"]
    with pytest.raises(InputError, match="did you mean 'thumos14'"):
        protocol_of("thumos")


def test_subset():
    activitynet = PROTOCOLS["activitynet"]
    both = truth("training", "validation", "validation")
    name, part = pick_subset(both, activitynet, None)
    assert (name, list(part.videos)) == ("validation", ["v1", "v2"])
    assert pick_subset(both, activitynet, "training")[0] == "training"
    assert pick_subset(both, activitynet, "all") == ("all", both)
    plain = truth("", "")
    assert pick_subset(plain, activitynet, None) == ("all", plain)
    assert len(pick_subset(truth("all", "rest"), activitynet, "all")[1]) == 1


def test_subset_that_is_not_there():
    with pytest.raises(InputError, match="'validaton': did you mean 'validation'"):
        pick_subset(truth("validation", "test"), PROTOCOLS["activitynet"], "validaton")
    with pytest.raises(InputError, match="default of protocol thumos14"):
        pick_subset(truth("validation", "training"), PROTOCOLS["thumos14"], None)


def test_subset_without_instances():
    empty = Annotations.of([*truth("training"), Video("e", "testing")])
    with pytest.raises(InputError, match=r"no instances: .*subsets with instances: training"):
        pick_subset(empty, PROTOCOLS["activitynet"], "testing")
    with pytest.raises(InputError, match=r"no instances: nothing to score against$"):
        pick_subset(truth("test", label="Ambiguous"), PROTOCOLS["thumos14"], None)
