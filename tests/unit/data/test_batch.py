"""Batches: what fits, what is refused, how windows are stacked."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from untrimmed.data.batch import Batch, Sample, Targets, collate
from untrimmed.errors import InputError
from untrimmed.timemap import TimeMap


def targets(*rows: tuple[float, float, int]) -> Targets:
    table = torch.tensor([row[:2] for row in rows]).reshape(-1, 2)
    return Targets(table, torch.tensor([row[2] for row in rows], dtype=torch.int64))


def sample(name: str, steps: int, channels: int = 3, labels: torch.Tensor | None = None) -> Sample:
    generator = torch.Generator().manual_seed(steps)
    return Sample(
        features=torch.rand(steps, channels, generator=generator).T,
        clip=torch.ones(steps, dtype=torch.uint8),
        targets=targets((0.0, float(steps), 1)),
        map=TimeMap.linear(steps, 0.0, steps * 2.0),
        video_id=name,
        video_labels=labels,
    )


def test_collate_pads_to_the_longest_with_zeros_of_no_clip() -> None:
    short, long = sample("a", 4), sample("b", 6)
    batch = collate([short, long])
    assert len(batch) == 2
    assert batch.features.shape == (2, 3, 6)
    assert batch.features.is_contiguous()
    torch.testing.assert_close(batch.features[0, :, :4], short.features)
    torch.testing.assert_close(batch.features[1], long.features)
    assert batch.features[0, :, 4:].abs().sum() == 0
    assert batch.clip.tolist() == [[1, 1, 1, 1, 0, 0], [1] * 6]
    assert batch.mask.tolist() == [[True] * 4 + [False] * 2, [True] * 6]
    assert batch.maps == (short.map, long.map)
    assert batch.video_ids == ("a", "b")
    assert [each.segments.tolist() for each in batch.targets] == [[[0, 4]], [[0, 6]]]
    assert batch.video_labels is None


@pytest.mark.parametrize(("multiple", "steps"), [(1, 6), (4, 8), (6, 6), (64, 64)])
def test_collate_rounds_the_length_up(multiple: int, steps: int) -> None:
    assert collate([sample("a", 4), sample("b", 6)], multiple).features.shape == (2, 3, steps)


def test_video_labels_are_stacked() -> None:
    hot = [torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])]
    batch = collate([sample("a", 4, labels=hot[0]), sample("b", 4, labels=hot[1])])
    assert batch.video_labels is not None
    assert batch.video_labels.tolist() == [[1, 0], [1, 1]]


def test_windows_that_do_not_go_together_are_named() -> None:
    with pytest.raises(InputError, match="no window given"):
        collate([])
    with pytest.raises(InputError, match="multiple = 0"):
        collate([sample("a", 4)], 0)
    with pytest.raises(InputError, match="video 'b': 5 channels, but video 'a' of the same batch has 3"):
        collate([sample("a", 4), sample("b", 4, channels=5)])
    with pytest.raises(InputError, match="some windows have video labels and some have none"):
        collate([sample("a", 4, labels=torch.zeros(2)), sample("b", 4)])


def test_a_batch_moves_with_all_its_tensors() -> None:
    batch = collate([sample("a", 4, labels=torch.zeros(2)), sample("b", 6, labels=torch.zeros(2))])
    moved = batch.to("meta")
    assert {moved.features.device.type, moved.clip.device.type, moved.targets[1].labels.device.type} == {"meta"}
    assert moved.video_labels is not None
    assert moved.video_labels.device.type == "meta"
    assert moved.maps == batch.maps
    assert batch.to("cpu").features.equal(batch.features)
    assert collate([sample("a", 4)]).to("meta").video_labels is None


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_batch_travels_between_processes() -> None:
    batch = collate([sample("a", 4), sample("b", 6)])
    there = pickle.loads(pickle.dumps(batch))
    assert there.features.equal(batch.features)
    assert there.maps == batch.maps
    loader = DataLoader([sample("a", 4), sample("b", 6)], batch_size=2, collate_fn=collate, num_workers=1)  # type: ignore[arg-type]
    assert next(iter(loader)).features.equal(batch.features)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a GPU")
def test_a_batch_can_be_pinned() -> None:
    assert collate([sample("a", 4)]).pin_memory().features.is_pinned()


def test_half_precision_features_are_allowed() -> None:
    batch = collate([sample("a", 4)])
    assert replace(batch, features=batch.features.bfloat16()).features.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(2, 3, 5)}, r"features has shape \(2, 3, 5\), expected \(2, any, 6\)"),
        ({"features": torch.zeros(3, 6)}, "features has shape"),
        ({"clip": torch.zeros(2, 6)}, r"clip is torch.float32, expected torch.uint8"),
        ({"clip": torch.zeros(6, dtype=torch.uint8)}, "Batch: "),
        ({"targets": ()}, "0 targets for"),
        ({"maps": ()}, "0 maps for"),
        ({"video_ids": ("a",)}, "1 video_ids for"),
        ({"video_labels": torch.zeros(3, 4)}, r"video_labels has shape \(3, 4\), expected \(2, any\)"),
        ({"video_labels": torch.zeros(2, 4, dtype=torch.int64)}, "video_labels is torch.int64"),
    ],
)
def test_a_batch_of_parts_that_do_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    batch = collate([sample("a", 6), sample("b", 6)])
    with pytest.raises(InputError, match=message):
        replace(batch, **change)


def test_targets_and_samples_are_checked() -> None:
    with pytest.raises(InputError, match=r"segments has shape \(2, 2\), expected \(1, 2\)"):
        Targets(torch.zeros(2, 2), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(InputError, match=r"labels is torch.float32, expected torch.int64"):
        Targets(torch.zeros(1, 2), torch.zeros(1))
    with pytest.raises(InputError, match=r"features has shape \(3, 4\), expected \(any, 5\)"):
        replace(sample("a", 4), clip=torch.zeros(5, dtype=torch.uint8))
    assert len(Targets.empty()) == 0
    assert isinstance(collate([replace(sample("a", 4), targets=Targets.empty())]), Batch)
