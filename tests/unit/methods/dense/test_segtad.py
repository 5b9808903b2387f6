"""SegTAD: its loss and its scores by loops, a table of known labels, its switches, and what must change nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from untrimmed.data.batch import Batch, Sample, Targets, collate
from untrimmed.data.load_window import load_window
from untrimmed.data.windows import Window, rescaled, sliding
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.layers.align import AlignPattern, sgalign
from untrimmed.layers.matching import pad_instances
from untrimmed.layers.proposal_grid import LengthLinear
from untrimmed.losses import total
from untrimmed.methods.catalog import method_config
from untrimmed.methods.dense.segtad import Config, SegTAD, Wires, _draw
from untrimmed.methods.protocol import Method, Raw
from untrimmed.segments import tiou_scalar
from untrimmed.timemap import TimeMap
from untrimmed.training.loop import Training
from untrimmed.training.optim import GradientStep
from untrimmed.training.settings import OptimSettings, TrainSettings
from untrimmed.types import Instances, Video

CHANNELS, CLASSES = 5, 3
SMALL = {
    "channels": 8,
    "dilations": (1, 2),
    "grid_step": 2,
    "proposal_channels": 6,
    "bins": 4,
    "bin_samples": 2,
    "seeds": 6,
    "proposal_neighbours": 2,
    "neighbours": 3,
}
Rows = list[tuple[float, float, int]]


def model(seed: int = 0, **changes: Any) -> SegTAD:
    torch.manual_seed(seed)
    return SegTAD(Config(**{**SMALL, **changes}), CHANNELS, CLASSES)


def sample(steps: int, seed: int, instances: Rows, shown: int | None = None) -> Sample:
    """A window, of whose steps the first ``shown`` show something."""
    shown = shown or steps
    features = torch.randn(CHANNELS, steps, generator=torch.Generator().manual_seed(seed))
    clip = torch.zeros(steps, dtype=torch.uint8)
    clip[:shown] = 1
    targets = Targets(
        torch.tensor([each[:2] for each in instances], dtype=torch.float32).view(-1, 2),
        torch.tensor([each[2] for each in instances], dtype=torch.int64),
    )
    return Sample(features * clip, clip, targets, TimeMap.linear(shown, 0.0, shown / 2), f"v{seed}")


def mixed_batch() -> Batch:
    return collate(
        [
            sample(24, 1, [(3.0, 9.0, 0), (4.5, 7.5, 2), (14.0, 20.0, -1)]),
            sample(17, 2, []),
            sample(24, 3, [(0.0, 6.0, 1), (9.0, 11.0, 2)], shown=13),
        ]
    )


def spread(raw: Raw, seed: int = 0) -> Raw:
    """Raw with logits spread out, as they are in a trained network."""
    make = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(value.shape, generator=make) * 2 if name != "features" else value
        for name, value in raw.items()
    }


def slow_grid(steps: int, config: Config) -> list[tuple[int, int]]:
    eta, longest = config.grid_step, config.max_proposal or steps
    return [
        (i, i + j) for i in range(0, steps, eta) for j in range(eta, steps + 1, eta) if i + j <= steps and j <= longest
    ]


def test_it_is_a_method() -> None:
    assert isinstance(model(), Method)


def test_defaults_are_those_of_the_paper() -> None:
    given = Config().model_dump()
    paper = {
        "channels": 256,
        "neighbours": 4,
        "proposal_channels": 256,
        "bins": 32,
        "bin_samples": 4,
        "context": 0.5,
        "strides": (2, 2, 2),
        "branches": ("atrous", "graph", "global"),
        "dilations": (1, 10, 20, 30),
        "segmentation": "classes",
        "grid_step": 8,
        "max_proposal": None,
        "pdn": "graph",
        "pdn_layers": 3,
        "proposal_neighbours": 4,
        "similarity": "tiou",
        "seeds": 50,
        "balanced": False,
        "tiou_positive": 0.5,
        "weight_det": 1.0,
        "weight_aux": 1.0,
    }
    assert {name: given[name] for name in paper} == paper
    network = model(channels=12)
    assert network.ssn.pag.graph is not None
    assert tuple(network.ssn.pag.graph.linear.weight.shape) == (12, 24)  # W of Eq. 1: 2 C' x C'


@torch.no_grad()
def test_shapes_of_raw() -> None:
    network, batch = model(), mixed_batch()
    shapes = {name: tuple(value.shape) for name, value in network(batch).items()}
    common = {"edges": (3, 2, 24), "frames": (3, CLASSES + 1, 24)}
    assert shapes == {**common, "features": (3, 8, 24)}
    shapes = {name: tuple(value.shape) for name, value in network.eval()(batch).items()}
    assert shapes == {**common, "scores": (3, 2, 12 * 13 // 2)}


# --- the equations, by loops --------------------------------------------------------------------------------------


def slow_head(features: Tensor, head: torch.nn.Module) -> list[float]:
    """Eqs. 6 and 7: ``w2 ReLU(conv of kernel 3)``, step by step, without the sigmoid."""
    conv, out = head.conv, head.out
    steps = features.shape[-1]
    values = []
    for t in range(steps):
        hidden = conv.bias.clone()  # type: ignore[union-attr,operator]
        for tap in range(3):
            if 0 <= t + tap - 1 < steps:
                hidden = hidden + conv.weight[:, :, tap] @ features[:, t + tap - 1]  # type: ignore[union-attr,index,operator]
        values.append(float(out.weight[0, :, 0] @ hidden.relu() + out.bias[0]))  # type: ignore[union-attr,index,operator]
    return values


@torch.no_grad()
def test_classes_start_and_end_are_equations_3_6_and_7() -> None:
    network, batch = model(), mixed_batch()
    raw = network(batch)
    assert network.frames is not None
    for b in range(3):
        features = raw["features"][b]
        for t in range(24):
            expected = network.frames.weight[:, :, 0] @ features[:, t] + network.frames.bias
            torch.testing.assert_close(raw["frames"][b, :, t], expected, rtol=1e-4, atol=1e-5)
        for row, head in enumerate((network.start, network.end)):
            assert raw["edges"][b, row].tolist() == pytest.approx(slow_head(features, head), abs=1e-5)


def slow_mean(features: Tensor, shown: int, count: int) -> Tensor:
    """Of each of the first ``shown`` steps, the mean of itself and the ``count - 1`` steps nearest to it."""
    result = torch.zeros_like(features)
    for t in range(shown):
        others = sorted((float((features[:, t] - features[:, o]).square().sum()), o) for o in range(shown) if o != t)
        chosen = [t, *(o for _, o in others[: count - 1])]
        result[:, t] = features[:, chosen].mean(1)
    return result


def slow_out(out: torch.nn.Module, row: Tensor, length: int) -> Tensor:
    """Eq. 9 without the sigmoid; weights between those of the powers of two around the length, if they depend on it."""
    if isinstance(out, torch.nn.Linear):
        return out.weight @ row + out.bias
    assert isinstance(out, LengthLinear)
    low = math.floor(math.log2(length))
    share = math.log2(length) - low
    added = out.added[low] * (1 - share) + out.added[low + 1] * share
    return (out.common.weight + added[:, :-1]) @ row + out.common.bias + added[:, -1]


def slow_scores(network: SegTAD, features: Tensor, proposals: list[tuple[int, int]], shown: int) -> Tensor:
    """PDN on all proposals of one window: aligned features, Eq. 1 with the full matrix of attention, Eq. 9."""
    config, pdn = network.config, network.pdn
    owner, segments = torch.zeros(len(proposals), dtype=torch.int64), torch.tensor(proposals, dtype=torch.float32)
    rows = torch.zeros(len(proposals), config.proposal_channels)
    parts = [(features, pdn.align)]
    if pdn.align_mean is not None:
        parts.append((slow_mean(features, shown, config.semantic_neighbours), pdn.align_mean))
    for source, layer in parts:
        pattern = AlignPattern(segments, layer.weight.shape[0], 0.5, config.bin_samples)
        rows += torch.einsum("nck,kco->no", sgalign(source[None], pattern, owner), layer.weight) + layer.bias
    rows = rows.relu()
    matrix = torch.zeros(len(proposals), len(proposals))
    for i, own in enumerate(proposals):
        ranked = sorted(
            (-tiou_scalar(*own, *other), j) for j, other in enumerate(proposals) if j != i and tiou_scalar(*own, *other)
        )
        for _, j in ranked[: config.proposal_neighbours]:
            matrix[i, j] = torch.nn.functional.cosine_similarity(rows[i], rows[j], dim=0)
    for layer in pdn.layers:
        weight, bias = layer.linear.weight, layer.linear.bias  # type: ignore[union-attr]
        rows = (torch.cat((rows, matrix @ rows - rows), 1) @ weight.T + bias).relu()  # type: ignore[union-attr,operator]
    return torch.stack([slow_out(pdn.out, row, end - start) for row, (start, end) in zip(rows, proposals, strict=True)])


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [
        {"length_input": False},
        {},
        {"length_input": False, "semantic": True, "semantic_bins": 3},
        {"semantic": True, "bin_samples": None, "bins": 2},
    ],
)
def test_scores_of_proposals_are_equations_1_and_9(changes: dict[str, Any]) -> None:
    network, batch = model(**changes), mixed_batch()
    if isinstance(network.pdn.out, LengthLinear):
        network.pdn.out.added.normal_()
    features = network(batch)["features"]
    network.ssn.norm.mean.zero_()  # forget the training batch
    network.ssn.norm.variance.fill_(1)
    network.eval()
    features = network.ssn(batch.features, batch.mask)
    scores = network(batch)["scores"]
    grid = slow_grid(24, network.config)
    for b, shown in enumerate((24, 17, 13)):
        there = [m for m, (_, end) in enumerate(grid) if end <= shown]
        expected = slow_scores(network, features[b], [grid[m] for m in there], shown)
        torch.testing.assert_close(scores[b].T[there], expected, rtol=1e-4, atol=1e-5)
        gone = [m for m in range(len(grid)) if m not in there]
        assert not scores[b].T[gone].any()


def test_without_length_a_proposal_and_its_enlargement_look_the_same() -> None:
    """What alignment averages away: of features that do not vary, every proposal reads the same; told their lengths,
    the network learns to tell them apart, also beside features much larger than one."""
    segments = torch.tensor([[20.0, 21.0], [20.0, 28.0], [16.0, 32.0]])
    features, owner = 20 * torch.ones(1, 8, 48), torch.zeros(3, dtype=torch.int64)
    mask, none = torch.ones(1, 48, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.int64)
    patterns = AlignPattern(segments, 4), AlignPattern(segments, 4)
    wires = Wires(*patterns, segments[:, 1] - segments[:, 0], owner, none, none.bool())
    scores = model(pdn="conv", length_input=False).pdn(features, mask, wires)
    torch.testing.assert_close(scores, scores[:1].expand(3, -1))
    network = model(pdn="conv", length_input=True).pdn
    torch.testing.assert_close(network(features, mask, wires)[0], network(features, mask, wires)[2])
    target = torch.tensor([[0.05, 0.0], [0.4, 0.0], [0.9, 1.0]])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        (network(features, mask, wires).sigmoid() - target).square().sum().backward()
        optimiser.step()
    torch.testing.assert_close(network(features, mask, wires).sigmoid(), target, rtol=0, atol=0.1)


def slow_loss(raw: Raw, batch: Batch, config: Config) -> dict[str, tuple[float, float]]:
    """Eq. 11 written out, over all proposals: sum and count of each term."""
    found: dict[str, tuple[float, float]] = {}

    def add(name: str, value: float, count: float = 1) -> None:
        old = found.get(name, (0.0, 0.0))
        found[name] = (old[0] + value, old[1] + count)

    def cross_entropy(logit: float, label: bool) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -math.log(p) if label else -math.log(1 - p)

    for b, targets in enumerate(batch.targets):
        rows = list(zip(targets.segments.tolist(), targets.labels.tolist(), strict=True))
        shown = int(batch.mask[b].sum())
        firsts = {min(t for t in range(24) if s <= t + 0.5 < e) for (s, e), _ in rows}
        lasts = {max(t for t in range(24) if s <= t + 0.5 < e) for (s, e), _ in rows}
        for t in range(shown):
            here = [(e - s, label) for (s, e), label in rows if s <= t + 0.5 < e]
            named = sorted(each for each in here if each[1] >= 0)
            p = raw["frames"][b, :, t].softmax(0).tolist()
            if named or not here:
                add("segmentation", -math.log(p[named[0][1] if named else CLASSES]))
            for row, (name, steps) in enumerate((("start", firsts), ("end", lasts))):
                add(name, cross_entropy(float(raw["edges"][b, row, t]), t in steps))
        for m, proposal in enumerate(slow_grid(24, config)):
            if proposal[1] > shown:
                continue
            overlap = max((tiou_scalar(*proposal, *segment) for segment, _ in rows), default=0.0)
            s1 = 1 / (1 + math.exp(-float(raw["scores"][b, 0, m])))
            add("overlap", (s1 - overlap) ** 2)
            add("action", cross_entropy(float(raw["scores"][b, 1, m]), overlap > config.tiou_positive))
    return found


@torch.no_grad()
@pytest.mark.parametrize("max_proposal", [None, 6.0])
def test_the_loss_is_equation_11(max_proposal: float | None) -> None:
    network, batch = model(max_proposal=max_proposal).eval(), mixed_batch()
    raw = spread(network(batch))
    terms = network.loss(raw, batch)
    expected = slow_loss(raw, batch, network.config)
    assert set(terms) == set(expected)
    for name, term in terms.items():
        assert (float(term.sum), float(term.count)) == pytest.approx(expected[name], rel=1e-4), name


@torch.no_grad()
def test_a_hand_made_video_has_the_losses_of_the_table() -> None:
    # Eight steps, an action of class 1 on [2, 6); proposals at multiples of 2; every logit is 0, but for those named.
    network = model().eval()
    batch = collate([sample(8, 0, [(2.0, 6.0, 1)])])
    raw = {name: torch.zeros_like(value) for name, value in network(batch).items()}
    table = {  # tIoU of each proposal with the action
        (0, 2): 0, (0, 4): 1 / 3, (0, 6): 2 / 3, (0, 8): 1 / 2, (2, 4): 1 / 2,
        (2, 6): 1, (2, 8): 2 / 3, (4, 6): 1 / 2, (4, 8): 1 / 3, (6, 8): 0,
    }  # fmt: skip
    assert slow_grid(8, network.config) == list(table)
    half = math.log(2)
    terms = {name: float(term.sum / term.count) for name, term in network.loss(raw, batch).items()}
    assert terms == pytest.approx(
        {
            "segmentation": math.log(4),  # three classes and background
            "start": half,
            "end": half,
            "overlap": sum((0.5 - overlap) ** 2 for overlap in table.values()) / 10,
            "action": half,
        },
        rel=1e-5,
    )
    raw["frames"][0, [3, 3, 1, 1, 1, 1, 3, 3], torch.arange(8)] = 50  # background, then class 1, then background
    raw["edges"][:] = -50
    raw["edges"][0, 0, 2] = raw["edges"][0, 1, 5] = 50  # the first and the last step of the action
    for m, overlap in enumerate(table.values()):
        raw["scores"][0, 0, m] = torch.logit(torch.tensor(float(overlap)), 1e-6)
        raw["scores"][0, 1, m] = 50 if overlap > 0.5 else -50
    perfect = network.loss(raw, batch)
    assert {name: float(term.sum) for name, term in perfect.items()} == pytest.approx(
        dict.fromkeys(perfect, 0), abs=1e-4
    )
    first = network.decode(raw, batch)[0]
    assert first.segments[0].tolist() == [2, 6]
    assert (int(first.labels[0]), float(first.scores[0])) == (1, pytest.approx(1, abs=1e-4))


@torch.no_grad()
def test_weights_are_lambdas() -> None:
    network, batch = model(weight_det=3.0, weight_aux=5.0), mixed_batch()
    weights = {name: term.weight for name, term in network.loss(network(batch), batch).items()}
    assert weights == {"segmentation": 1.0, "start": 5.0, "end": 5.0, "overlap": 3.0, "action": 3.0}


# --- sampling -----------------------------------------------------------------------------------------------------


def seeds_of(network: SegTAD, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """The nodes that the loss draws as seeds."""
    kept: list[Tensor] = []
    grid = network._proposals(batch.mask)[0]
    original = type(grid).neighbourhoods

    def watch(self: Any, seeds: Tensor, *rest: Any) -> Any:
        kept.append(seeds)
        return original(self, seeds, *rest)

    monkeypatch.setattr(type(grid), "neighbourhoods", watch)
    network.loss(network(batch), batch)
    return kept[0]


@torch.no_grad()
def test_half_of_the_seeds_are_positive_and_what_is_missing_is_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batch = model(seeds=8, grid_step=1), mixed_batch()
    grid = network._proposals(batch.mask)[0]
    seeds = seeds_of(network, batch, monkeypatch)
    assert len(seeds.unique()) == len(seeds) == 3 * 8
    assert all(grid.segments[seed % len(grid), 1] <= (24, 17, 13)[seed // len(grid)] for seed in seeds.tolist())
    instances = pad_instances([each.segments for each in batch.targets], [each.labels for each in batch.targets])
    positive = (network._overlaps(grid, instances)[0] > 0.5).flatten()[seeds]
    of_window = [positive[seeds // len(grid) == b] for b in range(3)]
    assert [int(each.sum()) for each in of_window] == [4, 0, 4]
    # A window that an action fills has few negatives: positives fill up; and there are never more seeds than proposals.
    few = collate([sample(4, 0, [(0.0, 4.0, 0)])])
    assert len(seeds_of(network, few, monkeypatch)) == 8
    assert len(seeds_of(network, collate([sample(2, 0, [])]), monkeypatch)) == 3


def test_seeds_are_drawn_at_random_without_replacement_by_weight() -> None:
    torch.manual_seed(0)
    rows, weight = 6000, torch.tensor([1.0, 1.0, 2.0, 9.0, 4.0])
    allowed = torch.tensor([True, True, True, False, True])
    nodes = _draw(weight.expand(rows, -1), allowed.expand(rows, -1), torch.full((rows,), 2)) % 5
    pairs = dict.fromkeys(itertools.combinations((0, 1, 2, 4), 2), 0.0)
    for pair in nodes.view(rows, 2).sort(1).values.tolist():
        pairs[tuple(pair)] += 1 / rows
    total_weight = 8.0
    for (a, b), share in pairs.items():
        wa, wb = float(weight[a]), float(weight[b])
        expected = wa / total_weight * wb / (total_weight - wa) + wb / total_weight * wa / (total_weight - wb)
        assert share == pytest.approx(expected, abs=0.03)
    counts = torch.tensor([0, 9, 1])
    few = _draw(weight.expand(3, -1), allowed.expand(3, -1), counts)
    assert (few // 5).tolist() == [1] * 4 + [2]
    assert sorted((few[:4] % 5).tolist()) == [0, 1, 2, 4]


@torch.no_grad()
def test_the_training_loss_is_over_the_sampled_nodes_each_as_often_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batch = model(), mixed_batch()
    grid = slow_grid(24, network.config)
    nodes = [5, 0, 5, len(grid) + 3, 2 * len(grid), 5, 2 * len(grid) + 1, 0]
    monkeypatch.setattr(network, "_sample", lambda *given: torch.tensor(nodes))
    raw = network(batch)
    once = torch.tensor(sorted(set(nodes)))
    present = network._proposals(batch.mask)[0].present(batch.mask)
    found = network.pdn(raw["features"], batch.mask, network._wire(once, present, batch.mask))
    logits = dict(zip(once.tolist(), found.tolist(), strict=True))
    squares = entropies = 0.0
    for node in nodes:
        targets = batch.targets[node // len(grid)].segments.tolist()
        overlap = max((tiou_scalar(*grid[node % len(grid)], *segment) for segment in targets), default=0.0)
        s1, s2 = (1 / (1 + math.exp(-value)) for value in logits[node])
        squares += (s1 - overlap) ** 2
        entropies -= math.log(s2 if overlap > 0.5 else 1 - s2)
    terms = network.loss(raw, batch)
    for name, expected in (("overlap", squares), ("action", entropies)):
        assert (float(terms[name].sum), float(terms[name].count)) == pytest.approx((expected, len(nodes)), rel=1e-4)


@torch.no_grad()
def test_balanced_seeds_come_from_short_actions_as_from_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = collate([sample(64, 0, [(2.0, 5.0, 0), (10.0, 60.0, 1)])])
    shares = {}
    for balanced in (False, True):
        network = model(grid_step=1, seeds=12, balanced=balanced)
        grid = network._proposals(batch.mask)[0]
        short = drawn = 0
        for _ in range(20):
            segments = grid.segments[seeds_of(network, batch, monkeypatch)].tolist()
            near = [tiou_scalar(*each, 2.0, 5.0) > 0.5 for each in segments]
            far = [tiou_scalar(*each, 10.0, 60.0) > 0.5 for each in segments]
            short, drawn = short + sum(near), drawn + sum(near) + sum(far)
        shares[balanced] = short / drawn
    assert shares[False] < 0.1
    assert 0.3 < shares[True] < 0.7


@torch.no_grad()
def test_negative_seeds_come_from_short_proposals_as_from_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 steps and no action, lengths 1 and 2 to 63 and 64: drawn from proposals hardly any is below 8; drawn by
    length as many are as from 8 on; and by the root of the length some share between."""
    shares = {}
    batch = collate([sample(64, seed, []) for seed in range(20)])
    powers = {"proposals": 0.0, "between": 0.5, "lengths": 1.0}
    for way in powers:
        torch.manual_seed(0)
        network = model(grid_step=1, seeds=50, negative_seeds=way)
        grid = network._proposals(batch.mask)[0]
        lengths = grid.lengths[seeds_of(network, batch, monkeypatch) % len(grid)]
        shares[way] = float((lengths < 8).float().mean())
        monkeypatch.undo()
    for way, power in powers.items():
        weight = torch.tensor([(65 - j) / j**power for j in range(1, 65)])
        # Drawn without replacement, so a little less than the weights say.
        assert shares[way] == pytest.approx(float(weight[:7].sum() / weight.sum()), abs=0.03), way
    assert shares["lengths"] > 1.5 * shares["between"] > 2 * shares["proposals"]


@torch.no_grad()
def test_a_sample_of_everything_scores_as_all_proposals_do() -> None:
    network, batch = model().eval(), mixed_batch()
    raw = network(batch)
    features = network.ssn(batch.features, batch.mask)
    grid = network._proposals(batch.mask)[0]
    present = grid.present(batch.mask)
    nodes = present.flatten().nonzero()[:, 0]
    found = network.pdn(features, batch.mask, network._wire(nodes, present, batch.mask))
    torch.testing.assert_close(found, raw["scores"].movedim(1, -1).reshape(-1, 2)[nodes])


@torch.no_grad()
def test_seeds_are_scored_as_in_inference_but_for_the_third_layer() -> None:
    """Two hops hold all that two layers of a seed look at."""
    network, batch = model(pdn_layers=2).eval(), mixed_batch()
    raw, features = network(batch), network.ssn(batch.features, batch.mask)
    grid = network._proposals(batch.mask)[0]
    present = grid.present(batch.mask)
    seeds = torch.tensor([5, 40, 2 * len(grid) + 3])
    nodes, counted = grid.neighbourhoods(seeds, present, 2)
    once = nodes[counted].unique()
    found = network.pdn(features, batch.mask, network._wire(once, present, batch.mask))
    found = found[torch.searchsorted(once, seeds)]
    torch.testing.assert_close(found, raw["scores"].movedim(1, -1).reshape(-1, 2)[seeds], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_sampling_follows_torchs_random_numbers() -> None:
    network, batch = model(), mixed_batch()
    raw = network(batch)

    def values(seed: int) -> float:
        torch.manual_seed(seed)
        return float(network.loss(raw, batch)["overlap"].sum)

    assert values(1) == values(1) != values(2)


# --- decoding -----------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("class_agnostic", [False, True])
def test_detections_by_a_loop(class_agnostic: bool) -> None:
    network, batch = model(class_agnostic=class_agnostic, score_threshold=0.01).eval(), mixed_batch()
    raw = spread(network(batch))
    grid = slow_grid(24, network.config)
    for b, found in enumerate(network.decode(raw, batch)):
        expected = []
        for m, (start, end) in enumerate(grid):
            if end > int(batch.mask[b].sum()):
                continue
            score = float(raw["scores"][b, 0, m].sigmoid() * raw["scores"][b, 1, m].sigmoid())
            likely = raw["frames"][b, :, start:end].softmax(0).mean(1).tolist()[:CLASSES]
            ranked = sorted(((p, k) for k, p in enumerate(likely)), reverse=True)[:2]
            expected += [(score, start, end, -1)] if class_agnostic else [(score * p, start, end, k) for p, k in ranked]
        expected = sorted((each for each in expected if each[0] >= 0.01), reverse=True)
        assert expected
        assert found.labels.dtype == torch.int64
        assert (found.scores.diff() <= 0).all()
        assert torch.equal(found.centers, found.segments.mean(1))
        rows = zip(found.scores.tolist(), *found.segments.T.tolist(), found.labels.tolist(), strict=True)
        got = sorted(rows, reverse=True)
        assert len(got) == len(expected)
        for left, right in zip(got, expected, strict=True):
            assert left == pytest.approx(right, rel=1e-4)


@torch.no_grad()
def test_nothing_is_dropped_before_suppression_but_what_scores_low() -> None:
    """A window of 224 steps has 17,450 proposals of up to 100 steps; each is given once for each of two classes."""
    network = model(grid_step=1, max_proposal=100, labels_per_proposal=2, score_threshold=0.0).eval()
    batch = collate([sample(224, 1, [])])
    grid = network._proposals(batch.mask)[0]
    raw = {"scores": torch.zeros(1, 2, len(grid)), "frames": torch.zeros(1, CLASSES + 1, 224)}
    (found,) = network.decode(raw, batch)
    assert len(found.scores) == 2 * len(grid) == 2 * 17_450
    assert found.scores.tolist() == pytest.approx([0.25 / (CLASSES + 1)] * len(found.scores))


@torch.no_grad()
def test_curves_are_probabilities_within_the_video() -> None:
    network, batch = model().eval(), mixed_batch()
    raw = spread(network(batch))
    for b, curves in enumerate(network.curves(raw, batch)):
        assert set(curves) == {"class 0", "class 1", "class 2", "action", "start", "end"}
        shown = int(batch.mask[b].sum())
        assert all(values.shape == (24,) and values.dtype == torch.float32 for values in curves.values())
        assert all(((values >= 0) & (values <= 1)).all() and not values[shown:].any() for values in curves.values())
        expected = raw["frames"][b].softmax(0)
        torch.testing.assert_close(curves["class 1"][:shown], expected[1, :shown])
        torch.testing.assert_close(curves["action"][:shown], 1 - expected[-1, :shown])
        torch.testing.assert_close(curves["end"][:shown], raw["edges"][b, 1, :shown].sigmoid())
    binary = model(segmentation="binary", class_agnostic=True).eval()
    assert set(binary.curves(binary(batch), batch)[0]) == {"action", "start", "end"}


def long_and_short() -> Iterator[tuple[str, Video, Window]]:
    """A video of 30 s and one of 10 min, an action in each, rescaled and cut into sliding windows."""
    grid = SnippetGrid(2, 1, 1)
    for name, seconds, action in (("short", 30.0, (9.0, 15.0)), ("long", 600.0, (150.0, 270.0))):
        video = Video(name, duration=seconds, instances=Instances(np.array([action]), ("jump",)))
        length = int(seconds * 2)
        yield f"{name} rescaled", video, rescaled(video, length, grid, 100)[0]
        windows = sliding(video, length, grid, 400, 150, 0.99)
        yield f"{name} sliding", video, max(windows, key=lambda window: len(window.segments))


@torch.no_grad()
@pytest.mark.parametrize(("name", "video", "window"), [pytest.param(*each, id=each[0]) for each in long_and_short()])
def test_detections_map_to_the_right_seconds(name: str, video: Video, window: Window) -> None:
    assert video.duration is not None
    features = ArrayFeatures(
        {video.id: np.zeros((int(video.duration * 2), CHANNELS), dtype=np.float32)}, SnippetGrid(2, 1, 1)
    )
    batch = collate([load_window(window, features, labels=window.rows * 0)])
    network = model(grid_step=1).eval()
    raw = network(batch)
    grid = network._proposals(batch.mask)[0]
    # What a perfect network would say: the proposal nearest to the action has a high score, all others a low one.
    start, end = batch.targets[0].segments[0].round().long()
    raw["scores"] = torch.full_like(raw["scores"], -9.0)
    raw["scores"][0, :, int(grid.number(start, end - start))] = 9.0
    found = network.decode(raw, batch)[0]
    seconds, piece = window.map.segments_to_seconds(found.segments.numpy(), found.centers.numpy())
    assert (piece == 0).all()
    assert ((seconds >= 0) & (seconds <= video.duration)).all()
    # The action lies on whole steps, half seconds in the sliding windows: no rounding but that of float32.
    assert seconds[0].tolist() == pytest.approx(video.instances.segments[0].tolist(), abs=1e-3), name


# --- switches -----------------------------------------------------------------------------------------------------

TABLES: list[dict[str, Any]] = [
    {"segmentation": "none"},
    {"segmentation": "binary"},
    {"branches": ("graph", "global")},
    {"branches": ("atrous", "global")},
    {"branches": ("atrous", "graph")},
    {"dilations": (1, 2, 4, 6)},
    {"pdn": "conv"},
    {"similarity": "center"},
]


@pytest.mark.parametrize("changes", TABLES)
def test_every_row_of_the_tables_is_a_switch_that_trains(changes: dict[str, Any]) -> None:
    batch, network = mixed_batch(), model(**changes)
    same = {name: value for name, value in model().state_dict().items() if name in network.state_dict()}
    same = {name: value for name, value in same.items() if value.shape == network.state_dict()[name].shape}
    network.load_state_dict(same, strict=False)
    total(network.loss(network(batch), batch)).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []
    network.eval()
    assert len(network.decode(network(batch), batch)[0].scores)
    if "segmentation" not in changes:
        assert not torch.allclose(network(batch)["scores"], model().eval()(batch)["scores"])


@pytest.mark.parametrize("segmentation", ["classes", "binary", "none"])
def test_classes_supervise_the_features_only_where_the_switch_says_so(segmentation: str) -> None:
    network, batch = model(segmentation=segmentation), mixed_batch()
    terms = network.loss(network(batch), batch)
    name = "segmentation" if segmentation == "classes" else "labels"
    terms[name].sum.backward(retain_graph=True)
    assert network.frames is not None
    assert network.frames.weight.grad is not None
    assert (network.ssn.fuse.weight.grad is not None) is (segmentation == "classes")
    assert ("segmentation" in terms) is (segmentation != "none")
    if segmentation == "binary":
        terms["segmentation"].sum.backward()
        assert network.ssn.fuse.weight.grad is not None


def test_without_labels_to_give_and_without_their_loss_there_is_no_classifier() -> None:
    network, batch = model(segmentation="none", class_agnostic=True), mixed_batch()
    assert network.frames is None
    assert set(network.loss(network(batch), batch)) == {"start", "end", "overlap", "action"}
    network.eval()
    assert all((found.labels == -1).all() for found in network.decode(network(batch), batch))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"branches": ["graph", "graph"]}, "each at most once"),
        ({"dilations": [0]}, "numbers of at least 1"),
        ({"max_proposal": 4.0, "grid_step": 8}, "at least grid_step = 8"),
        ({"eta": 3}, "eta"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        method_config("segtad", changes)


# --- what must change nothing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"strides": (1, 2, 1)}, {"similarity": "center"}])
@torch.no_grad()
def test_padding_and_company_change_nothing(changes: dict[str, Any]) -> None:
    network = model(**changes).eval()
    one = sample(17, 2, [(3.0, 9.0, 0)])
    alone, batch = collate([one]), collate([sample(24, 1, []), one, sample(9, 3, [])])
    first, second = network(alone), network(batch)
    torch.testing.assert_close(second["frames"][1, :, :17], first["frames"][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second["edges"][1, :, :16], first["edges"][0, :, :16], rtol=1e-4, atol=1e-5)
    left, right = network.decode(first, alone)[0], network.decode(second, batch)[1]
    assert left.segments.amax() == 16
    assert len(left.scores) == len(right.scores)
    for a, b in zip(sorted_rows(left), sorted_rows(right), strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def sorted_rows(found: Any) -> list[tuple[float, ...]]:
    rows = zip(*found.segments.T.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    return sorted((*map(float, row),) for row in rows)


def test_a_window_without_proposals_or_instances_goes_through() -> None:
    network = model(grid_step=8)
    for batch in (collate([sample(1, 0, [(0.0, 1.0, 0)])]), collate([sample(5, 0, [])]), collate([sample(20, 0, [])])):
        network.train()
        loss = total(network.loss(network(batch), batch))
        loss.backward()
        assert torch.isfinite(loss)
        network.eval()
        raw = network(batch)
        assert torch.isfinite(total(network.loss(raw, batch)))
        network.decode(raw, batch)


def test_the_same_seed_gives_the_same_bits() -> None:
    def gradient() -> list[Tensor]:
        network, batch = model(seed=5), mixed_batch()
        total(network.loss(network(batch), batch)).backward()
        return [p.grad for p in network.parameters() if p.grad is not None]

    assert all(torch.equal(left, right) for left, right in zip(gradient(), gradient(), strict=True))


class Feed:
    def steps(self, epoch: int) -> int:
        return 3

    def batches(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        for step in range(first_step, 3):
            yield [collate([sample(16, 10 * epoch + step, [(2.0, 7.0, 1)]), sample(9, 99 - step, [])])]


def stop_after(count: int) -> SimpleNamespace:
    """Callbacks that end the training in its ``count``-th step, as a kill would."""
    left = iter(range(count - 1))

    def step(*_: object) -> None:
        if next(left, None) is None:
            raise KeyError("killed")

    return SimpleNamespace(step=step, epoch=lambda *_: None)


def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(tmp_path: Path) -> None:
    """Batch statistics and drawn seeds too."""
    settings = TrainSettings(epochs=3, ema=0.9, checkpoint_minutes=0.0, optim=OptimSettings(lr=0.01))

    def train(out: Path, callbacks: Any = None, resume: bool = False) -> SegTAD:
        network = model(4)
        step, device = GradientStep(network, settings), torch.device("cpu")
        Training(network, step, Feed(), settings, out, device=device, callbacks=callbacks).fit(resume=resume)
        return network

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyError):
        train(tmp_path / "cut", callbacks=stop_after(5))
    resumed = train(tmp_path / "cut", resume=True)
    assert "ssn.norm.mean" in whole.state_dict()
    for left, right in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(left, right)


@torch.no_grad()
def test_bf16_autocast_stays_near_float32() -> None:
    network, batch = model().eval(), mixed_batch()
    exact = total(network.loss(network(batch), batch))
    with torch.autocast("cpu", torch.bfloat16):
        raw = network(batch)
    rough = total(network.loss({name: value.float() for name, value in raw.items()}, batch))
    assert float(rough) == pytest.approx(float(exact), rel=0.1)


def test_it_learns_a_window_by_heart() -> None:
    network = model(
        strides=(1, 2, 1),
        grid_step=1,
        max_proposal=20.0,
        seeds=24,
        balanced=True,
        channels=16,
        proposal_channels=24,
        bins=8,
    )
    instances = [(6.0, 10.0, 0), (16.0, 24.0, 1), (30.0, 46.0, 2)]
    one = sample(48, 0, instances)
    features = 0.3 * one.features
    for start, end, label in instances:
        features[label, int(start) : int(end)] += 3.0
    batch = collate([Sample(features, one.clip, one.targets, one.map, "v")])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        total(network.loss(network(batch), batch)).backward()
        optimizer.step()
    network.eval()
    found = network.decode(network(batch), batch)[0]
    for start, end, label in instances:
        best = found.segments[found.labels == label][0].tolist()
        assert tiou_scalar(start, end, *best) > 0.7, (label, best)  # one step of the grid beside the shortest is 0.75
