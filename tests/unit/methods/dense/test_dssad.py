"""D-SSAD: its network, loss and scores by loops, what it draws, contexts, and what must change nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from proposal_worlds import check_resuming
from untrimmed.data.batch import Batch, Sample, Targets, collate
from untrimmed.errors import InputError
from untrimmed.losses import total
from untrimmed.methods.catalog import method_config
from untrimmed.methods.dense.dssad import DSSAD, Config
from untrimmed.methods.plugins.context import Apart, MakeContext
from untrimmed.methods.protocol import Method, Raw
from untrimmed.segments import tiou_scalar
from untrimmed.timemap import Piece, TimeMap

CHANNELS, CLASSES = 5, 3
SMALL = {"base_channels": 6, "base_layers": 1, "base_kernel": 5, "channels": 8, "loss_unit": 16.0}
STRIDES = (4, 8, 16)
"""Of the levels of the small network."""
Rows = list[tuple[float, float, int]]


def model(seed: int = 0, context: MakeContext = Apart, **changes: Any) -> DSSAD:
    torch.manual_seed(seed)
    network = DSSAD(Config(**{**SMALL, **changes}), CHANNELS, CLASSES, context)
    with torch.no_grad():
        for name, parameter in network.named_parameters():  # biases that are 0 would hide where they are missing
            if name.endswith("bias"):
                parameter.normal_(std=0.2)
    return network


def sample(steps: int, seed: int, instances: Rows, shown: int | None = None) -> Sample:
    """A window, of whose steps the first ``shown`` show something."""
    shown = shown or steps
    features = torch.randn(CHANNELS, steps, generator=torch.Generator().manual_seed(seed))
    clip = torch.zeros(steps, dtype=torch.uint8)
    clip[:shown] = 1
    return Sample(features * clip, clip, targets(instances), TimeMap.linear(shown, 0.0, shown / 2), f"v{seed}")


def two_pieces(seed: int) -> Sample:
    """Two clips with a gap between them, which ends and begins within cells of all levels."""
    features = torch.randn(CHANNELS, 61, generator=torch.Generator().manual_seed(seed))
    clip = torch.full((61,), 2, dtype=torch.uint8)
    clip[:22], clip[22:27] = 1, 0
    time_map = TimeMap((Piece(0, 22, 0, 11, 1), Piece(27, 61, 0, 11, 2)))
    return Sample(features * (clip > 0), clip, targets([(3.0, 9.0, 1), (32.0, 51.0, 1)]), time_map, f"s{seed}")


def targets(instances: Rows) -> Targets:
    return Targets(
        torch.tensor([each[:2] for each in instances], dtype=torch.float32).view(-1, 2),
        torch.tensor([each[2] for each in instances], dtype=torch.int64),
    )


def mixed_batch() -> Batch:
    return collate(
        [
            sample(48, 1, [(3.0, 9.0, 0), (4.5, 7.5, 2), (20.0, 33.0, 1), (36.0, 44.0, -1)]),
            sample(33, 2, []),
            sample(48, 3, [(0.0, 6.0, 1), (9.0, 21.0, 2)], shown=23),
        ],
        multiple=16,
    )


def spread(raw: Raw, seed: int = 0) -> Raw:
    """Raw with numbers spread out, as they are in a trained network."""
    make = torch.Generator().manual_seed(seed)
    wide = {name: torch.randn(value.shape, generator=make) * 2 for name, value in raw.items()}
    wide["confidence"] = wide["confidence"] / 4 + 0.4
    return wide


def slow_anchors(steps: int, shown: Tensor) -> list[tuple[float, float, int]]:
    """Start, end and centre of every anchor of a window; -1 for the centre where nothing is shown."""
    found = []
    for stride in STRIDES:
        for ratio in (0.5, 0.75, 1.0, 1.5, 2.0):
            for cell in range(steps // stride):
                center, width = (cell + 0.5) * stride, ratio * stride
                found.append((center - width / 2, center + width / 2, int(center) if shown[int(center)] else -1))
    return found


def bounds_of(clip: Tensor, center: int) -> tuple[int, int]:
    """The piece of the window that a step lies in."""
    start = end = center
    while start > 0 and clip[start - 1] == clip[center]:
        start -= 1
    while end < len(clip) and clip[end] == clip[center]:
        end += 1
    return start, end


def slow_moved(anchor: tuple[float, float, int], offsets: Tensor) -> tuple[float, float]:
    center, width = (anchor[0] + anchor[1]) / 2, anchor[1] - anchor[0]
    center, width = center + 0.1 * float(offsets[0]) * width, width * math.exp(0.1 * float(offsets[1]))
    return center - width / 2, center + width / 2


def slow_cut(segment: tuple[float, float], bounds: tuple[int, int]) -> tuple[float, float]:
    start, end = (min(max(each, bounds[0]), bounds[1]) for each in segment)
    return start, end


def test_it_is_a_method() -> None:
    assert isinstance(model(), Method)


# --- the network --------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_sizes_are_those_of_the_released_code() -> None:
    """Convolutions of the base, anchor layers, heads and branches, counted by hand."""
    with torch.device("meta"):
        network = DSSAD(Config(), 1024, 20)

    def conv(inputs: int, outputs: int, kernel: int) -> int:
        return (inputs * kernel + 1) * outputs

    base = conv(1024, 512, 9) + conv(512, 512, 9)
    anchor_layers = conv(512, 1024, 3) + 2 * conv(1024, 1024, 3)
    heads = 3 * (conv(1024, 5 * 23, 3) + conv(1024, 5 * 3, 3) + conv(1024, 5 * 21, 3))
    branch = 9 * conv(1024, 1024, 3) + 2 * (1024 * 1024 * 4 + 1024)
    assert sum(each.numel() for each in network.parameters()) == base + anchor_layers + heads + 2 * branch
    with torch.device("meta"):
        alone = DSSAD(Config(branches=False), 1024, 20)
    of_main = base + anchor_layers + 3 * conv(1024, 5 * 24, 3)
    assert sum(each.numel() for each in alone.parameters()) == of_main
    anchors = network._anchors(torch.ones(1, 128, dtype=torch.uint8))
    assert anchors.segments.shape == (1, 140, 2)
    expected = [
        (center - scale * ratio / 2, center + scale * ratio / 2)
        for scale, cells in ((128 / 16, 16), (128 / 8, 8), (128 / 4, 4))
        for ratio in (0.5, 0.75, 1.0, 1.5, 2.0)
        for center in ((cell + 0.5) * 128 / cells for cell in range(cells))
    ]
    assert anchors.segments[0].tolist() == [list(each) for each in expected]
    assert (network.multiple, network.strides) == (32, [8, 16, 32])


@torch.no_grad()
def test_shapes_of_raw() -> None:
    batch = mixed_batch()
    shapes = {name: tuple(value.shape) for name, value in model()(batch).items()}
    count = 5 * (12 + 6 + 3)
    common = {"classes": (3, CLASSES + 1, count), "offsets": (3, 2, count), "confidence": (3, count)}
    assert shapes == {**common, "main_classes": (3, CLASSES + 1, count), "main_offsets": (3, 2, count)}
    assert {name: tuple(value.shape) for name, value in model(branches=False)(batch).items()} == common


def slow_conv(features: list[Tensor], conv: Any, stride: int = 1) -> list[Tensor]:
    """``features[t]`` (C,) -> likewise; zeros beyond both ends."""
    kernel = conv.weight.shape[-1]
    found = []
    for center in range(0, len(features), stride):
        value = conv.bias.clone()
        for tap in range(kernel):
            t = center + tap - kernel // 2
            if 0 <= t < len(features):
                value = value + conv.weight[:, :, tap] @ features[t]
        found.append(value)
    return found


def slow_up(features: list[Tensor], conv: Any) -> list[Tensor]:
    """A deconvolution of kernel 4 and stride 2: cell c gives to cells 2 c - 1 to 2 c + 2."""
    found = [conv.bias.clone() for _ in range(2 * len(features))]
    for c, value in enumerate(features):
        for tap in range(4):
            if 0 <= 2 * c - 1 + tap < len(found):
                found[2 * c - 1 + tap] += conv.weight[:, :, tap].T @ value
    return found


def shown_at(values: list[Tensor], clip: Tensor, stride: int) -> list[Tensor]:
    """Zero where the centre of a cell shows nothing."""
    return [value * float(clip[cell * stride + stride // 2] > 0) for cell, value in enumerate(values)]


def slow_maps(network: DSSAD, features: Tensor, clip: Tensor) -> list[list[Tensor]]:
    current, stride = list(features.T), 1
    for conv in network.base:
        wide = shown_at([value.relu() for value in slow_conv(current, conv)], clip, stride)
        stride *= 2
        pooled = []
        for cell in range(len(wide) // 2):
            seen = [wide[t] for t in range(2 * cell - 1, 2 * cell + 3) if 0 <= t < len(wide)]
            pooled.append(torch.stack(seen).amax(0))
        current = shown_at(pooled, clip, stride)
    maps = []
    for conv in network.anchor_layers:
        stride *= 2
        current = shown_at([value.relu() for value in slow_conv(current, conv, 2)], clip, stride)
        maps.append(current)
    return maps


def slow_branch(branch: Any, maps: list[list[Tensor]], clip: Tensor) -> list[list[Tensor]]:
    outputs: dict[int, list[Tensor]] = {}
    for level in (2, 1, 0):
        stride = STRIDES[level]
        inner = shown_at([value.relu() for value in slow_conv(maps[level], branch.first[level])], clip, stride)
        joined = slow_conv(inner, branch.second[level])
        if level < 2:
            up = slow_up(outputs[level + 1], branch.up[level])
            joined = [(2 * one + other) / 3 for one, other in zip(joined, up, strict=True)]
        joined = shown_at([value.relu() for value in joined], clip, stride)
        outputs[level] = shown_at([value.relu() for value in slow_conv(joined, branch.out[level])], clip, stride)
    return [outputs[level] for level in range(3)]


def slow_heads(heads: Any, maps: list[list[Tensor]]) -> Tensor:
    """(outputs, A): of each cell, the channels of one size after those of another."""
    columns = []
    for conv, cells in zip(heads.convs, maps, strict=True):
        said = slow_conv(cells, conv)
        for size in range(5):
            columns += [value[size * heads.outputs : (size + 1) * heads.outputs] for value in said]
    return torch.stack(columns, dim=1)


@torch.no_grad()
def test_the_maps_of_a_deeper_base_by_loops() -> None:
    network = model(base_layers=2, base_kernel=9, levels=2)
    batch = collate([*windows()[:4], two_pieces(5)], multiple=16)
    maps, _ = network._maps(batch.features, batch.clip)
    for row in range(len(batch)):
        expected = slow_maps(network, batch.features[row], batch.clip[row])
        for left, right in zip(maps, expected, strict=True):
            torch.testing.assert_close(left[row], torch.stack(right, 1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("branches", [True, False])
def test_the_network_by_loops(branches: bool) -> None:
    network, batch = model(branches=branches), collate([*windows()[:4], two_pieces(5)], multiple=16)
    raw = network(batch)
    for row, clip in enumerate(batch.clip):
        slow = slow_maps(network, batch.features[row], clip)
        main = slow_heads(network.main, slow)
        said = {"classes": main[:4], "offsets": main[4:6], "confidence": main[-1]}
        if branches:
            ends = slow_heads(network.proposal_heads, slow_branch(network.proposal, slow, clip))
            named = slow_heads(network.classification_heads, slow_branch(network.classification, slow, clip))
            said = {
                "classes": (main[:4] + named) / 2,
                "offsets": (main[4:6] + ends[:2]) / 2,
                "confidence": ends[2],
                "main_classes": main[:4],
                "main_offsets": main[4:6],
            }
        assert raw.keys() == said.keys()
        for name, value in said.items():
            torch.testing.assert_close(raw[name][row], value, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_anchors_of_padded_windows_and_pieces() -> None:
    network, batch = model(), collate([*windows(), two_pieces(5)], multiple=16)
    anchors = network._anchors(batch.clip)
    for row, clip in enumerate(batch.clip):
        expected = slow_anchors(batch.clip.shape[1], clip > 0)
        assert anchors.there[row].tolist() == [each[2] >= 0 for each in expected]
        for at, (start, end, center) in enumerate(expected):
            assert anchors.segments[0, at].tolist() == [start, end]
            assert float(anchors.centers[at]) == (start + end) / 2
            if center >= 0:
                assert anchors.bounds[row, at].tolist() == list(bounds_of(clip, center))


@torch.no_grad()
def test_scales_of_anchors_can_be_set() -> None:
    anchors = model(anchor_scales=(3.0, 10.0, 20.0), anchor_ratios=(1.0, 2.0))._anchors(torch.ones(1, 16).byte())
    widths = (anchors.segments[0, :, 1] - anchors.segments[0, :, 0]).tolist()
    assert widths == [3.0] * 4 + [6.0] * 4 + [10.0] * 2 + [20.0] * 2 + [20.0] + [40.0]
    assert anchors.centers.tolist() == [2, 6, 10, 14] * 2 + [4, 12] * 2 + [8] * 2


# --- matching, sampling, loss -------------------------------------------------------------------------------------


def slow_match(network: DSSAD, offsets: Tensor, batch: Batch, row: int) -> list[tuple[str, float, int]]:
    """Of every anchor of a window: what it is, the tIoU of the best instance, and the instance it is a positive of."""
    clip, truth = batch.clip[row], batch.targets[row]
    rows = list(zip(truth.segments.tolist(), truth.labels.tolist(), strict=True))
    found = []
    for at, anchor in enumerate(slow_anchors(batch.clip.shape[1], clip > 0)):
        if anchor[2] < 0:
            found.append(("none", 0.0, -1))
            continue
        cut = slow_cut(slow_moved(anchor, offsets[:, at]), bounds_of(clip, anchor[2]))
        each = [tiou_scalar(*cut, *segment) for segment, _ in rows]
        named = [(overlap, -i) for i, (overlap, (_, label)) in enumerate(zip(each, rows, strict=True)) if label >= 0]
        best, number = max(named, default=(0.0, 0))
        unnamed = max((o for o, (_, label) in zip(each, rows, strict=True) if label < 0), default=0.0)
        threshold = network.config.tiou_positive
        kind = "positive" if best >= threshold else "ignored" if unnamed >= threshold else "negative"
        found.append((kind, max(each, default=0.0), -number if kind == "positive" else -1))
    return found


def smooth(error: float) -> float:
    return error**2 / 2 if abs(error) < 1 else abs(error) - 0.5


def slow_terms(
    network: DSSAD, raw: Raw, batch: Batch, negative: dict[str, Tensor]
) -> dict[str, tuple[float, float, float]]:
    """Sum, count and weight of each term, with the negatives (B, A) of each stream."""
    config = network.config
    found: dict[str, list[float]] = {}

    def add(name: str, value: float, weight: float) -> None:
        old = found.setdefault(name, [0.0, 0.0, weight])
        old[0], old[1] = old[0] + value, old[1] + 1

    streams = {"": 2 / 3, "main_": 1 / 3} if config.branches else {"": 1.0}
    for stream, share in streams.items():
        for row in range(len(batch)):
            offsets = raw[f"{stream}offsets"][row]
            anchors = slow_anchors(batch.clip.shape[1], batch.mask[row])
            for at, (kind, overlap, number) in enumerate(slow_match(network, offsets, batch, row)):
                if kind != "positive" and not negative[stream][row, at]:
                    continue
                truth = batch.targets[row]
                label = int(truth.labels[number]) if kind == "positive" else CLASSES
                add(f"{stream}classes", -float(raw[f"{stream}classes"][row, :, at].log_softmax(0)[label]), share)
                if not stream:
                    add("confidence", smooth(float(raw["confidence"][row, at]) - overlap), 10.0)
                if kind == "positive":
                    ends = zip(slow_moved(anchors[at], offsets[:, at]), truth.segments[number].tolist(), strict=True)
                    value = sum(smooth((one - other) / config.loss_unit) for one, other in ends)
                    add(f"{stream}ends", value, 10.0 * share)
    return {name: (value, count, weight) for name, (value, count, weight) in found.items()}


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"branches": False}, {"tiou_positive": 0.3, "loss_unit": 1.0}])
@pytest.mark.parametrize("everything", [False, True])
def test_the_loss_by_loops(changes: dict[str, Any], everything: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all negatives, and with those that the network draws."""
    network, batch = model(**changes, negative_ratio=1e6 if everything else 1.0), mixed_batch()
    raw = spread(network(batch))
    drawn: list[Tensor] = []
    plain = network._negatives

    def watch(*given: Any) -> Tensor:
        drawn.append(plain(*given))
        return drawn[-1]

    monkeypatch.setattr(network, "_negatives", watch)
    terms = network.loss(raw, batch)
    negative = dict(zip(("", "main_"), drawn, strict=False))
    for stream, kept in negative.items():
        for row in range(len(batch)):
            kinds = [kind for kind, *_ in slow_match(network, raw[f"{stream}offsets"][row], batch, row)]
            assert len(set(kinds)) > 1
            allowed = torch.tensor([kind == "negative" for kind in kinds])
            hard = allowed & (raw["confidence"][row] > 0.5)
            assert not (kept[row] & ~allowed).any()
            assert kept[row][hard].all()
            assert not everything or torch.equal(kept[row], allowed)
    expected = slow_terms(network, raw, batch, negative)
    assert terms.keys() == expected.keys()
    for name, term in terms.items():
        got = float(term.sum), float(term.count), term.weight
        assert got == pytest.approx(expected[name], rel=1e-4), name
    assert float(terms["ends"].count) > 3


@pytest.mark.parametrize(
    ("positives", "hard", "easy", "ratio", "expected"),
    [
        (10, 3, 50, 1.0, 10),
        (10, 12, 50, 1.0, 12),  # hard ones are all taken, and then no others
        (10, 3, 50, 2.0, 20),
        (10, 3, 4, 1.0, 7),  # no more than there are
        (0, 0, 50, 1.0, 2),  # no positives: one a window
        (0, 5, 50, 1.0, 5),
        (0, 0, 0, 1.0, 0),
        (3, 0, 50, 0.0, 2),
    ],
)
def test_how_many_negatives_are_drawn(positives: int, hard: int, easy: int, ratio: float, expected: int) -> None:
    network = model(negative_ratio=ratio)
    allowed, sure = torch.zeros(2, 40, dtype=torch.bool), torch.zeros(2, 40, dtype=torch.bool)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    allowed.view(-1)[order[: hard + easy]] = True
    sure.view(-1)[order[:hard]] = True
    sure.view(-1)[order[hard + easy :]] = True  # sure, but not allowed
    found = network._negatives(allowed, sure, positives)
    assert int(found.sum()) == expected
    assert not (found & ~allowed).any()
    assert found[allowed & sure].all()


def test_negatives_are_drawn_evenly_from_torchs_random_numbers() -> None:
    network = model()
    allowed, sure = torch.ones(1, 10, dtype=torch.bool), torch.zeros(1, 10, dtype=torch.bool)
    torch.manual_seed(0)
    drawn = torch.stack([network._negatives(allowed, sure, 3)[0] for _ in range(4000)])
    assert (drawn.sum(1) == 3).all()
    assert drawn.float().mean(0).tolist() == pytest.approx([0.3] * 10, abs=0.03)
    torch.manual_seed(0)
    assert torch.equal(network._negatives(allowed, sure, 3)[0], drawn[0])


def test_matches_are_numbers() -> None:
    """The confidence learns the tIoU of the moved anchor and does not move it."""
    network, batch = model(), mixed_batch()
    raw = {name: value.requires_grad_() for name, value in spread(network(batch)).items()}
    terms = network.loss(raw, batch)
    for name, reached in (
        ("confidence", {"confidence"}),
        ("classes", {"classes"}),
        ("ends", {"offsets"}),
        ("main_ends", {"main_offsets"}),
    ):
        gradients = torch.autograd.grad(terms[name].sum, list(raw.values()), retain_graph=True, allow_unused=True)
        got = {key for key, gradient in zip(raw, gradients, strict=True) if gradient is not None and gradient.any()}
        assert got == reached


def test_a_cut_end_still_has_a_gradient() -> None:
    network, batch = model(), collate([sample(16, 0, [(6.0, 16.0, 0)])])
    raw = {name: torch.zeros_like(value).requires_grad_() for name, value in network(batch).items()}
    network.loss(raw, batch)["ends"].sum.backward()
    # The coarsest anchor of ratio 1.5 reaches from -4 to 20, beyond both ends: it is matched as [0, 16).
    at = 5 * 4 + 5 * 2 + 3
    assert raw["offsets"].grad is not None
    assert raw["offsets"].grad[0, :, at].all()


def test_instances_without_label_give_neither_positives_nor_negatives_on_them() -> None:
    network = model()
    terms = {}
    for label in (0, -1):
        batch = collate([sample(16, 0, [(4.0, 8.0, label)])])
        raw = {name: torch.zeros_like(value) for name, value in network(batch).items()}
        raw["confidence"] += 1  # all negatives are hard
        terms[label] = network.loss(raw, batch)
    # Anchors on [4, 8): of 2, 3, 4, 6 and 8 steps around 6, and [0, 8) and [4, 12), whose tIoU is 0.5.
    assert [float(terms[0][name].count) for name in ("ends", "main_ends")] == [7, 7]
    assert [float(terms[-1][name].count) for name in ("ends", "main_ends")] == [0, 0]
    assert float(terms[0]["classes"].count) - float(terms[-1]["classes"].count) == 7


@pytest.mark.parametrize("branches", [False, True])
def test_a_batch_without_instances_or_features_has_a_loss_and_a_gradient(branches: bool) -> None:
    network = model(branches=branches)
    empty = replace(mixed_batch(), targets=(targets([]),) * 3)
    for batch in (empty, replace(empty, features=torch.zeros_like(empty.features))):
        network.zero_grad()
        terms = network.loss(network(batch), batch)
        assert float(terms["classes"].count) >= 3
        total(terms).backward()
        gradients = [each.grad for each in network.parameters() if each.grad is not None]
        assert gradients
        assert all(torch.isfinite(each).all() for each in gradients)


@pytest.mark.parametrize("branches", [False, True])
def test_gradients_reach_every_parameter(branches: bool) -> None:
    network, batch = model(branches=branches, negative_ratio=1e6), mixed_batch()
    total(network.loss(network(batch), batch)).backward()
    assert [name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()] == []


# --- decoding -----------------------------------------------------------------------------------------------------

DECODINGS: list[dict[str, Any]] = [
    {},
    {"branches": False, "score_threshold": 0.05},
    {"confidence": "sigmoid", "labels_per_anchor": 2, "background_below": 0.9, "confidence_above": 0.1},
    {"background_below": 0.3},
    {"confidence_above": 0.5, "labels_per_anchor": 9},
]


@torch.no_grad()
@pytest.mark.parametrize("changes", DECODINGS)
def test_detections_by_a_loop(changes: dict[str, Any]) -> None:
    network = model(**changes)
    batch = collate([*windows()[:3], two_pieces(5)], multiple=16)
    raw = spread(network(batch))
    config = network.config
    for row, found in enumerate(network.decode(raw, batch)):
        expected = []
        for at, anchor in enumerate(slow_anchors(batch.clip.shape[1], batch.mask[row])):
            *classes, background = raw["classes"][row, :, at].softmax(0).tolist()
            confidence = float(raw["confidence"][row, at])
            if anchor[2] < 0 or background >= (config.background_below or 2):
                continue
            if config.confidence_above is not None and confidence <= config.confidence_above:
                continue
            fit = 1 / (1 + math.exp(-confidence)) if config.confidence == "sigmoid" else min(max(confidence, 0), 1)
            segment = slow_cut(slow_moved(anchor, raw["offsets"][row, :, at]), bounds_of(batch.clip[row], anchor[2]))
            best = sorted(range(CLASSES), key=lambda k: -classes[k])[: config.labels_per_anchor or CLASSES]
            expected += [(classes[k] * fit, k, anchor[2], *segment) for k in best]
        expected = sorted((each for each in expected if each[0] >= config.score_threshold), reverse=True)
        assert expected
        assert (found.scores.diff() <= 0).all()
        assert found.labels.dtype == torch.int64
        columns = found.scores, found.labels, found.centers, *found.segments.T
        got = sorted(zip(*(each.tolist() for each in columns), strict=True), reverse=True)
        assert len(got) == len(expected)
        for left, right in zip(got, expected, strict=True):
            assert left == pytest.approx(right, rel=1e-3, abs=1e-5)


@torch.no_grad()
def test_nothing_is_dropped_by_number_before_suppression() -> None:
    network, batch = model(score_threshold=0.0), collate([sample(160, 1, [])])
    raw = {name: torch.zeros_like(value) for name, value in network(batch).items()}
    assert len(network.decode(raw, batch)[0].scores) == CLASSES * 5 * (40 + 20 + 10)


@torch.no_grad()
def test_a_segment_moved_out_of_its_piece_or_far_too_wide_is_no_detection_or_the_piece() -> None:
    network, batch = model(score_threshold=0.0), collate([sample(16, 0, [])])
    raw = {name: torch.zeros_like(value) for name, value in network(batch).items()}
    raw["offsets"][0, 0] = 1e6
    assert len(network.decode(raw, batch)[0].scores) == 0
    raw["offsets"][0, 0], raw["offsets"][0, 1] = 0, 1e9
    assert network.decode(raw, batch)[0].segments.unique(dim=0).tolist() == [[0, 16]]


@torch.no_grad()
def test_decoding_takes_the_mean_of_two_raws() -> None:
    network, batch = model(), mixed_batch()
    left, right = spread(network(batch), 1), spread(network(batch), 2)
    mean = {name: (left[name] + right[name]) / 2 for name in left}
    assert all(len(each.scores) for each in network.decode(mean, batch))


# --- contexts -----------------------------------------------------------------------------------------------------


class Beside(nn.Module):
    """Adds to every cell half of those beside it, whose segments touch its own, times a number that is learned."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def edges(self, features: Tensor, segments: Tensor, mask: Tensor | None = None) -> Tensor:
        assert mask is not None
        touch = (segments[:, :, None, 0] == segments[:, None, :, 1]) | (
            segments[:, :, None, 1] == segments[:, None, :, 0]
        )
        return (touch & mask[:, None] & mask[..., None]).to(features.dtype)

    def forward(
        self,
        features: Tensor,
        segments: Tensor,
        mask: Tensor | None = None,
        edges: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        assert mask is not None
        self.calls.append((features.detach(), segments, mask))
        matrix = self.edges(features, segments, mask)
        return features + self.weight * (matrix @ features) / 2 + 1  # the host sets what shows nothing back to zero


@torch.no_grad()
@pytest.mark.parametrize("levels", [1, 2, 3, None])
def test_a_context_enhances_the_finest_maps_before_anything_is_said(levels: int | None) -> None:
    batch = collate([sample(48, 1, []), sample(48, 2, [], shown=21)], multiple=16)
    plain, network = model(), model(context=Beside, context_levels=levels)
    network.load_state_dict(plain.state_dict(), strict=False)
    count = levels or 3
    assert len(network.contexts) == count
    before, masks = plain._maps(batch.features, batch.clip)
    after, _ = network._maps(batch.features, batch.clip)
    for level, stride in enumerate(STRIDES):
        cells = [(cell * stride, (cell + 1) * stride) for cell in range(48 // stride)]
        if level >= count:
            assert torch.equal(before[level], after[level])  # coarser maps are made of plain ones
            continue
        ((features, segments, mask),) = network.contexts[level].calls
        assert torch.equal(features.mT, before[level])
        assert segments.tolist() == [[list(each) for each in cells]] * 2
        assert torch.equal(mask, masks[level])
        for row in range(2):
            for cell in range(len(cells)):
                near = [j for j in (cell - 1, cell + 1) if 0 <= j < len(cells) and mask[row, j] and mask[row, cell]]
                expected = before[level][row, :, cell] + 1 + sum(before[level][row, :, j] / 2 for j in near)
                torch.testing.assert_close(after[level][row, :, cell], expected * mask[row, cell])
    left, right = plain(batch), network(batch)
    assert not any(torch.allclose(left[name], right[name]) for name in left)


@torch.no_grad()
def test_every_segment_for_itself_changes_nothing() -> None:
    batch = mixed_batch()
    network = model(context=Apart)
    maps, masks = network._maps(batch.features, batch.clip)
    network.contexts = nn.ModuleList()
    without, _ = network._maps(batch.features, batch.clip)
    assert all(torch.equal(left, right) for left, right in zip(maps, without, strict=True))
    assert all(not (each * ~mask[:, None]).any() for each, mask in zip(maps, masks, strict=True))


def test_a_context_learns_with_its_host() -> None:
    network, batch = model(context=Beside), mixed_batch()
    total(network.loss(network(batch), batch)).backward()
    assert all(each.weight.grad is not None and each.weight.grad.any() for each in network.contexts)


# --- what must change nothing -------------------------------------------------------------------------------------


def windows() -> list[Sample]:
    """Of every remainder of a cell; of a single step; with padding of their own."""
    return [
        sample(48, 1, [(3.0, 9.0, 0)], shown=23),
        sample(30, 2, [(2.0, 29.0, 1)]),
        sample(47, 3, []),
        sample(64, 4, [(8.0, 20.0, 2)]),
        *(sample(steps, steps, []) for steps in (1, 2, 3, 5, 9, 16, 17, 31, 33)),
    ]


@torch.no_grad()
@pytest.mark.parametrize("context", [Apart, Beside])
@pytest.mark.parametrize("changes", [{}, {"branches": False}, {"base_layers": 2, "base_kernel": 9}])
def test_padding_and_company_change_nothing(changes: dict[str, Any], context: MakeContext) -> None:
    each = [*windows(), two_pieces(5)]
    network = model(context=context, **changes).double()

    def in_double(samples: list[Sample]) -> Batch:
        batch = collate(samples)
        return replace(batch, features=batch.features.double())

    together = in_double(each)
    raw = network(together)
    found = network.decode(raw, together)
    for row, one in enumerate(each):
        alone = in_double([one])
        single = network(alone)
        clips = F.pad(alone.clip, (0, -alone.clip.shape[1] % network.multiple))
        here, there = network._anchors(clips), network._anchors(F.pad(together.clip, (0, -64 % network.multiple)))
        for name in raw:
            left, right = single[name][0][..., here.there[0]], raw[name][row][..., there.there[row]]
            torch.testing.assert_close(left, right, rtol=0, atol=1e-6)
        (left_found,) = network.decode(single, alone)
        for left, right in zip(left_found, found[row], strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_loss_of_a_batch_is_the_sum_of_that_of_its_windows() -> None:
    """Where all negatives are taken, as is so in windows with a positive if the ratio is high."""
    network = model(negative_ratio=1e6).double()
    each = [one for one in windows() if len(one.targets)]
    sums: dict[str, list[float]] = {}
    for samples in (each, *([one] for one in each)):
        batch = collate(samples)
        batch = replace(batch, features=batch.features.double())
        for name, term in network.loss(network(batch), batch).items():
            sums.setdefault(name, []).append(float(term.sum))
    for name, (whole, *parts) in sums.items():
        assert whole == pytest.approx(sum(parts), rel=1e-5), name


def test_a_window_of_a_single_step_goes_through() -> None:
    network = model()
    batch = collate([sample(1, 1, [(0.0, 1.0, 0)])])
    loss = total(network.loss(network(batch), batch))
    loss.backward()
    assert torch.isfinite(loss)
    assert len(network.decode(network(batch), batch)[0].scores) == 0


def test_the_same_seed_gives_the_same_bits() -> None:
    def gradient() -> list[Tensor]:
        network, batch = model(seed=5), mixed_batch()
        total(network.loss(network(batch), batch)).backward()
        return [p.grad for p in network.parameters() if p.grad is not None]

    assert all(torch.equal(left, right) for left, right in zip(gradient(), gradient(), strict=True))


def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(tmp_path: Path) -> None:
    """Drawn negatives too."""
    check_resuming(tmp_path, lambda: model(4, context=Beside), (5,))


@torch.no_grad()
def test_bf16_autocast_stays_near_float32() -> None:
    network, batch = model(), mixed_batch()
    plain = network(batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(batch)
        assert all(torch.isfinite(term.sum) for term in network.loss(half, batch).values())
        network.decode(half, batch)
    for name, value in plain.items():
        torch.testing.assert_close(half[name].float(), value, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("branches", [False, True])
def test_it_learns_a_window_by_heart(branches: bool) -> None:
    network = model(branches=branches, channels=16, base_channels=16)
    features = torch.zeros(CHANNELS, 64)
    instances = [(6.0, 14.0, 0), (22.0, 32.0, 1), (44.0, 60.0, 2)]
    for start, end, label in instances:
        features[label, int(start) : int(end)] = 3.0
    features += 0.3 * torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    one = Sample(features, torch.ones(64, dtype=torch.uint8), targets(instances), TimeMap.linear(64, 0, 64), "v")
    batch = collate([one])
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    for _ in range(100):
        optimizer.zero_grad()
        total(network.loss(network(batch), batch)).backward()
        optimizer.step()
    found = network.decode(network(batch), batch)[0]
    for start, end, label in instances:
        best = found.segments[found.labels == label][0].tolist()
        assert tiou_scalar(start, end, *best) > 0.75, (label, best)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anchor_scales": [8.0, 16.0]}, "expected one for each of 3 levels"),
        ({"anchor_ratios": [0.0]}, "expected numbers above 0"),
        ({"anchor_scales": [8.0, -1.0, 2.0]}, "expected numbers above 0"),
        ({"context_levels": 4}, "context_levels is 4, but there are 3 levels"),
        ({"base_kernel": 4}, "base_kernel"),
        ({"branch": True}, "did you mean 'branches'"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        method_config("dssad", changes)
