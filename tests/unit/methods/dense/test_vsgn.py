"""VSGN: its loss and its scores by loops, and what must change nothing changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from untrimmed.data.batch import Batch, Sample, Targets, collate
from untrimmed.losses import total
from untrimmed.methods.dense.vsgn import VSGN, Config, CrossScaleGraph
from untrimmed.methods.protocol import Method, Raw
from untrimmed.segments import giou, tiou_scalar
from untrimmed.timemap import Piece, TimeMap
from untrimmed.training.optim import GradientStep, NonFiniteLossError
from untrimmed.training.settings import OptimSettings, TrainSettings

CHANNELS, CLASSES = 6, 3
SMALL = {"channels": 16, "norm_groups": 4, "levels": 3, "neighbours": 4, "anchor_sizes": (6.0, 9.0), "head_blocks": 2}


def model(seed: int = 0, **changes: Any) -> VSGN:
    torch.manual_seed(seed)
    return VSGN(Config(**{**SMALL, **changes}), CHANNELS, CLASSES)


def sample(steps: int, seed: int, instances: list[tuple[float, float, int]], shown: int | None = None) -> Sample:
    """A window of one clip; of its steps the first ``shown`` show something."""
    shown = shown or steps
    features = torch.randn(CHANNELS, steps, generator=torch.Generator().manual_seed(seed))
    clip = torch.zeros(steps, dtype=torch.uint8)
    clip[:shown] = 1
    return Sample(features * (clip > 0), clip, targets(instances), TimeMap.linear(shown, 0.0, shown / 2), f"v{seed}")


def stitched(seed: int = 0, original: int = 20, gap: int = 6, steps: int = 64) -> Sample:
    """A self-stitched window; the instance at seconds [2, 6) is seen in both clips."""
    features = torch.randn(CHANNELS, steps, generator=torch.Generator().manual_seed(seed))
    clip = torch.full((steps,), 2, dtype=torch.uint8)
    clip[:original] = 1
    clip[original : original + gap] = 0
    time_map = TimeMap((Piece(0, original, 0, 10, 1), Piece(original + gap, steps, 0, 10, 2)))
    segments, _, _ = time_map.segments_to_steps([[2.0, 6.0]])
    return Sample(
        features * (clip > 0), clip, targets([(*map(float, each), 1) for each in segments]), time_map, f"s{seed}"
    )


def targets(instances: list[tuple[float, float, int]]) -> Targets:
    return Targets(
        torch.tensor([each[:2] for each in instances], dtype=torch.float32).view(-1, 2),
        torch.tensor([each[2] for each in instances], dtype=torch.int64),
    )


def mixed_batch() -> Batch:
    return collate(
        [
            sample(64, 1, [(3.0, 11.0, 0), (20.5, 33.0, 2), (40.0, 47.0, -1)]),
            sample(50, 2, []),
            stitched(3),
        ]
    )


def spread(raw: Raw, seed: int = 0) -> Raw:
    """Raw with classes and curves spread out, as they are in a trained network."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(value.shape, generator=generator) * 2 if name in ("classes", "curves") else value
        for name, value in raw.items()
    }


def test_it_is_a_method() -> None:
    assert isinstance(model(), Method)


def test_a_training_that_diverges_stops_and_names_the_videos() -> None:
    step = GradientStep(model(), TrainSettings(optim=OptimSettings(lr=1e10)))
    step([mixed_batch()], 0.0)
    with pytest.raises(NonFiniteLossError, match=r"nan.* on the batch with videos v1, v2, s3"):
        step([mixed_batch()], 0.0)


@torch.no_grad()
def test_shapes_of_raw() -> None:
    raw = model()(mixed_batch())
    anchors = 2 * (16 + 8 + 4)
    assert {name: tuple(value.shape) for name, value in raw.items()} == {
        "classes": (3, CLASSES, anchors),
        "located": (3, anchors, 2),
        "adjusted": (3, anchors, 2),
        "curves": (3, 3, 64),
    }


# --- the loss, by loops ------------------------------------------------------------------------------------------


def slow_geometry(clip: list[int], strides: list[int], sizes: tuple[float, ...]) -> list[dict[str, Any]]:
    """Every anchor: its segment, the clip at its centre and the piece around that."""
    anchors = []
    for size in sizes:
        for stride in strides:
            for cell in range(len(clip) // stride):
                center = cell * stride + stride / 2
                half = size * stride / strides[0] / 2
                low = high = int(center)
                while low > 0 and clip[low - 1] == clip[int(center)]:
                    low -= 1
                while high < len(clip) and clip[high] == clip[int(center)]:
                    high += 1
                anchors.append(
                    {"segment": (center - half, center + half), "clip": clip[int(center)], "piece": (low, high)}
                )
    return anchors


def cut(segment: list[float] | tuple[float, float], piece: tuple[int, int]) -> tuple[float, float]:
    return min(max(segment[0], piece[0]), piece[1]), min(max(segment[1], piece[0]), piece[1])


def slow_loss(raw: Raw, batch: Batch, config: Config) -> dict[str, tuple[float, float]]:
    """Eq. 4 written out: sum and count of each term."""
    strides = [4 * 2**level for level in range(config.levels)]
    of_classes = ("cls",) if config.class_loss == "focal" else ("cls_positive", "cls_negative")
    found = dict.fromkeys(("loc", *of_classes, "adj"), (0.0, 0.0))

    def add(name: str, value: float, count: float) -> None:
        old = found.get(name, (0.0, 0.0))
        found[name] = (old[0] + value, old[1] + count)

    for b, each in enumerate(batch.targets):
        instances = list(zip(each.segments.tolist(), each.labels.tolist(), strict=True))
        named = [(segment, label) for segment, label in instances if label >= 0]
        anchors = slow_geometry(batch.clip[b].tolist(), strides, config.anchor_sizes)
        for a, anchor in enumerate(anchors):
            if anchor["clip"] == 0:
                continue
            located = raw["located"][b, a]
            inside = cut(located.tolist(), anchor["piece"])
            of_anchor = [tiou_scalar(*cut(anchor["segment"], anchor["piece"]), *segment) for segment, _ in named]
            of_located = [tiou_scalar(*inside, *segment) for segment, _ in named]
            for name, box, overlaps, threshold in (
                ("loc", located, of_anchor, config.tiou_loc),
                ("adj", raw["adjusted"][b, a], of_located, config.tiou_adj),
            ):
                if named and max(overlaps) >= threshold:
                    target = torch.tensor(named[overlaps.index(max(overlaps))][0])
                    add(name, float(1 - giou(box, target)), 1)
            positives = {named[n][1] for n, overlap in enumerate(of_located) if overlap >= config.tiou_cls}
            unnamed = any(
                tiou_scalar(*inside, *segment) >= config.tiou_cls for segment, label in instances if label < 0
            )
            if unnamed and not positives:
                continue
            if config.class_loss == "softmax":
                best = named[of_located.index(max(of_located))][1] if positives else CLASSES
                chance = float(raw["classes"][b, :, a].softmax(0)[best])
                add("cls_positive" if positives else "cls_negative", -math.log(chance), 1)
                continue
            for k in range(CLASSES):
                p = float(raw["classes"][b, k, a].sigmoid())
                if k in positives:
                    add("cls", -config.focal_alpha * (1 - p) ** config.focal_gamma * math.log(p), 0)
                else:
                    add("cls", -(1 - config.focal_alpha) * p**config.focal_gamma * math.log(1 - p), 0)
            add("cls", 0, bool(positives))
        for row, name in enumerate(("action", "start", "end")):
            for step, clip in enumerate(batch.clip[b].tolist()):
                if clip == 0:
                    continue
                label = False
                for (start, end), _ in instances:
                    reach = max(config.boundary_region * (end - start), config.boundary_least)
                    low, high = [(start, end), (start - reach, start + reach), (end - reach, end + reach)][row]
                    label |= min(step + 1, high) - max(step, low) > 0.5
                logit = float(raw["curves"][b, row, step])
                kind = "positive" if label else "negative"
                add(f"{name}_{kind}", math.log1p(math.exp(-logit if label else logit)), 1)
    return found


@pytest.mark.parametrize("class_loss", ["focal", "softmax"])
@torch.no_grad()
def test_the_loss_is_equation_4(class_loss: str) -> None:
    network, batch = model(class_loss=class_loss), mixed_batch()
    raw = spread(network(batch))
    # Segments near the instances, so that all stages have positives.
    raw["located"] = raw["located"] + torch.randn(raw["located"].shape) * 1.5
    terms = network.loss(raw, batch)
    expected = slow_loss(raw, batch, network.config)
    assert set(terms) == set(expected)
    for name, term in terms.items():
        assert (float(term.sum), float(term.count)) == pytest.approx(expected[name], rel=1e-4, abs=1e-4), name
    for name in {"loc", "cls", "cls_positive", "adj"} & set(expected):
        assert expected[name][1] > 0, name


@torch.no_grad()
@pytest.mark.parametrize(("changes", "action"), [({}, 5.0), ({"weight_action": 1.0}, 2.5)])
def test_weights_are_lambdas_and_half_for_each_side_of_a_curve(changes: dict[str, Any], action: float) -> None:
    network = model(weight_cls=2.0, weight_adj=3.0, weight_scr=5.0, **changes)
    batch = mixed_batch()
    assert {name: term.weight for name, term in network.loss(network(batch), batch).items()} == {
        "loc": 1.0,
        "cls": 2.0,
        "adj": 3.0,
        "action_positive": action,  # counts twice, as in BSN
        "action_negative": action,
        "start_positive": 2.5,
        "start_negative": 2.5,
        "end_positive": 2.5,
        "end_negative": 2.5,
    }


@torch.no_grad()
def test_the_loss_of_the_curves_is_that_of_bsn() -> None:
    network, batch = model(), collate([sample(64, 1, [(16.25, 28.25, 0)])])
    raw = spread(network(batch))
    terms = {name: term for name, term in network.loss(raw, batch).items() if name.endswith(("positive", "negative"))}
    curves = []
    for row, reach in ((0, (16, 28)), (1, (15, 18)), (2, (27, 30))):  # more than half inside
        p = raw["curves"][0, row].sigmoid().double()
        inside = torch.zeros(64, dtype=torch.bool)
        inside[slice(*reach)] = True
        ratio = 64 / int(inside.sum())
        loss = -(ratio / 2 * inside * p.log() + ratio / (ratio - 1) / 2 * ~inside * (1 - p).log())
        curves.append(float(loss.mean()))
    assert float(total(terms)) == pytest.approx(2 * curves[0] + curves[1] + curves[2], rel=1e-5)


@torch.no_grad()
def test_the_loss_over_micro_batches_adds_up() -> None:
    network, batch = model(keep_best=True), mixed_batch()
    raw = network(batch)
    whole = network.loss(raw, batch)
    for name, term in whole.items():
        parts = [network.loss(*part(raw, batch, row))[name] for row in range(3)]
        assert float(term.sum) == pytest.approx(sum(float(each.sum) for each in parts), rel=1e-4)
        assert float(term.count) == sum(float(each.count) for each in parts)


def part(raw: Raw, batch: Batch, row: int) -> tuple[Raw, Batch]:
    rows = slice(row, row + 1)
    return {name: value[rows] for name, value in raw.items()}, Batch(
        batch.features[rows], batch.clip[rows], batch.targets[rows], batch.maps[rows], batch.video_ids[rows]
    )


@torch.no_grad()
def test_keeping_the_best_gives_a_short_instance_a_positive() -> None:
    # 2 steps long and off the centres: no anchor of 6 or more reaches 0.6.
    batch = collate([sample(64, 1, [(17.2, 19.2, 0)])])
    counts = {
        keep: float(network.loss(network(batch), batch)["loc"].count)
        for keep in (False, True)
        for network in [model(keep_best=keep)]
    }
    assert counts == {False: 0, True: 1}


@torch.no_grad()
def test_an_anchor_on_two_instances_of_different_classes_is_a_positive_of_both() -> None:
    network = model()
    batch = collate([sample(64, 1, [(16.0, 28.0, 0), (16.0, 28.0, 2)])])
    raw = network(batch)
    raw["located"] = torch.tensor([16.0, 28.0]).expand_as(raw["located"])
    raw["classes"] = torch.full_like(raw["classes"], 20.0)
    raw["classes"][:, 1] = -20.0
    assert float(network.loss(raw, batch)["cls"].sum) == pytest.approx(0, abs=1e-4)


@torch.no_grad()
def test_instances_without_label_alone_give_neither_positives_nor_negatives_near_them() -> None:
    network = model()
    batch = collate([sample(64, 1, [(16.0, 28.0, -1)])])
    raw = network(batch)
    raw["located"] = torch.tensor([16.0, 28.0]).expand_as(raw["located"])
    raw["classes"] = torch.full_like(raw["classes"], 5.0)
    terms = network.loss(raw, batch)
    assert [float(terms[name].count) for name in ("loc", "cls", "adj")] == [0, 0, 0]
    assert float(terms["cls"].sum) == 0


def test_a_batch_without_instances_has_a_loss_and_a_gradient() -> None:
    network = model(keep_best=True)
    batch = collate([sample(40, 1, [])])
    loss = total(network.loss(network(batch), batch))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_gradients_reach_every_parameter() -> None:
    network = model(keep_best=True)
    batch = mixed_batch()
    total(network.loss(network(batch), batch)).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


# --- decoding ----------------------------------------------------------------------------------------------------


def interpolate(curve: list[float], position: float) -> float:
    low = math.floor(position - 0.5)
    share = position - 0.5 - low
    return curve[low] * (1 - share) + (curve[low + 1] * share if share else 0.0)


def slow_decode(raw: Raw, batch: Batch, config: Config, row: int) -> list[tuple[float, ...]]:
    strides = [4 * 2**level for level in range(config.levels)]
    start_curve, end_curve = raw["curves"][row, 1:].sigmoid().tolist()
    found = []
    clip = batch.clip[row].tolist()
    for a, anchor in enumerate(slow_geometry(clip, strides, config.anchor_sizes)):
        if anchor["clip"] == 0:
            continue
        if config.predictions == "original" and 2 in clip and anchor["clip"] != 1:
            continue
        if config.predictions == "upscaled" and 2 in clip and anchor["clip"] != 2:
            continue
        low, high = anchor["piece"]
        start, end = cut(raw["adjusted"][row, a].tolist(), (low, high))
        if end <= start:
            continue
        edge = [
            interpolate(curve, min(max(position, low + 0.5), high - 0.5))
            for curve, position in ((start_curve, start), (end_curve, end))
        ]
        for k in range(raw["classes"].shape[1]):
            score = float(raw["classes"][row, k, a].sigmoid()) * edge[0] * edge[1]
            if score >= config.score_threshold:
                found.append((score, start, end, k, sum(anchor["segment"]) / 2))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("predictions", ["both", "original", "upscaled"])
@torch.no_grad()
def test_scores_by_a_loop(predictions: str) -> None:
    network, batch = model(predictions=predictions), mixed_batch()
    raw = spread(network(batch))
    for row, found in enumerate(network.decode(raw, batch)):
        expected = slow_decode(raw, batch, network.config, row)
        assert expected
        rows = zip(found.scores, *found.segments.T, found.labels, found.centers, strict=True)
        got = sorted(((*map(float, each),) for each in rows), reverse=True)
        assert len(got) == len(expected)
        for left, right in zip(got, expected, strict=True):
            assert left == pytest.approx(right, rel=1e-4, abs=1e-4)


@torch.no_grad()
def test_decoding_gives_all_that_reach_the_threshold_in_falling_order() -> None:
    batch = mixed_batch()
    few, every = model(score_threshold=0.05), model(score_threshold=0.0)
    raw = spread(few(batch))
    for found, whole in zip(few.decode(raw, batch), every.decode(raw, batch), strict=True):
        assert 0 < len(found.scores) < len(whole.scores)
        assert found.scores.tolist() == [score for score in whole.scores.tolist() if score >= 0.05]
        assert (found.scores.diff() <= 0).all()


@torch.no_grad()
def test_class_agnostic_detections_have_no_label() -> None:
    network = model(class_agnostic=True)
    batch = mixed_batch()
    raw = network(batch)
    assert raw["classes"].shape[1] == 1
    terms = network.loss(raw, batch)
    assert torch.isfinite(total(terms))
    assert all((found.labels == -1).all() and len(found.labels) for found in network.decode(spread(raw), batch))


@torch.no_grad()
def test_every_detection_lies_in_the_piece_of_its_centre_and_both_clips_lead_to_the_same_seconds() -> None:
    network = model()
    batch = collate([stitched(3)])
    found = network.decode(spread(network(batch)), batch)[0]
    seconds, owner = batch.maps[0].segments_to_seconds(found.segments.numpy(), found.centers.numpy())
    assert set(owner.tolist()) == {0, 1}
    assert ((seconds >= 0) & (seconds <= 10)).all()
    for piece, (first, last) in enumerate(((0, 20), (26, 64))):
        mine = found.segments[torch.from_numpy(owner == piece)]
        assert ((mine >= first) & (mine <= last)).all()


@torch.no_grad()
def test_decoding_takes_the_mean_of_two_raws() -> None:
    batch = mixed_batch()
    network = model()
    raws = [spread(each(batch), seed) for seed, each in enumerate((network, model(1)))]
    fused = {name: (raws[0][name] + raws[1][name]) / 2 for name in raws[0]}
    assert all(len(found.scores) for found in network.decode(fused, batch))


# --- what must change nothing ------------------------------------------------------------------------------------


def outputs(network: VSGN, batch: Batch, row: int) -> list[Tensor]:
    raw = network(batch)
    clip = torch.nn.functional.pad(batch.clip, (0, -batch.clip.shape[1] % 16))
    allowed = network._anchors(clip).clip[row] > 0
    return [
        raw["classes"][row][:, allowed],
        raw["located"][row][allowed],
        raw["adjusted"][row][allowed],
        raw["curves"][row][:, clip[row] > 0],
    ]


def in_double(batch: Batch) -> Batch:
    return replace(batch, features=batch.features.double())


@pytest.mark.parametrize("changes", [{}, {"edges": "cross"}, {"graph_levels": (2,)}])
@torch.no_grad()
def test_padding_and_company_change_nothing(changes: dict[str, Any]) -> None:
    # Pieces that end and begin at every remainder of four steps; one of two steps; one that touches the next.
    windows = [stitched(3, original=20 + n, gap=6 + m, steps=61 + m) for n in range(4) for m in range(4)]
    windows += [sample(150, 1, []), sample(30, 2, []), sample(2, 4, []), stitched(5, original=21, gap=0)]
    # In double precision, in which rounding cannot hide what differs.
    network, batch = model(**changes).double(), in_double(collate(windows))
    for row, window in enumerate(windows):
        alone = outputs(network, in_double(collate([window])), 0)
        for left, right in zip(alone, outputs(network, batch, row), strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


@torch.no_grad()
def test_curves_are_interpolated_between_the_cells_of_their_piece() -> None:
    network = model(levels=1)
    window = stitched(3, original=22, gap=0, steps=64)
    finest: list[Tensor] = []
    network.scr.register_forward_hook(lambda *given: finest.append(given[2]))
    curves = network(collate([window]))["curves"][0]
    for start, end, first, last in ((0, 22, 0, 4), (22, 64, 5, 15)):  # cell 5 is centred on 22
        for step in range(start, end):
            position = min(max((step + 0.5) / 4 - 0.5, first), last)
            low = math.floor(position)
            cells = finest[0][0, :, [low, min(low + 1, last)]]
            expected = cells[:, 0] + (cells[:, 1] - cells[:, 0]) * (position - low)
            torch.testing.assert_close(curves[:, step], expected)


def test_a_window_of_a_single_step_goes_through() -> None:
    network = model()
    batch = collate([sample(1, 1, [(0.0, 1.0, 0)])])
    assert torch.isfinite(total(network.loss(network(batch), batch)))
    network.decode(network(batch), batch)


def test_centres_of_anchors_of_odd_sizes_are_whole() -> None:
    anchors = model(anchor_sizes=(5.1, 7.3 * 2**0.5))._anchors(torch.ones(1, 4096, dtype=torch.uint8))
    one_size = [cell * stride + stride // 2 for stride in (4, 8, 16) for cell in range(4096 // stride)]
    assert anchors.centers.tolist() == 2 * one_size
    assert (anchors.clip == 1).all()


def test_levels_without_graph_have_none_and_edges_matter() -> None:
    batch = collate([stitched(3)])
    chosen = model(graph_levels=(2,))
    assert [isinstance(level, CrossScaleGraph) for level in chosen.encoder] == [False, True, False]
    assert not any(isinstance(level, CrossScaleGraph) for level in model(graph_levels=()).encoder)
    raws = {edges: model(edges=edges)(batch)["located"] for edges in ("half", "free", "cross")}
    assert not torch.allclose(raws["half"], raws["free"])
    assert not torch.allclose(raws["half"], raws["cross"])


def test_a_level_without_graph_is_a_convolution_of_stride_2() -> None:
    network = model(graph_levels=(2,))
    assert {name: tuple(value.shape) for name, value in network.encoder[0].named_parameters()} == {
        "conv.weight": (16, 16, 3),
        "conv.bias": (16,),
    }
    clip = torch.ones(1, 64, dtype=torch.uint8)
    clip[:, 42:] = 0
    features = torch.randn(1, CHANNELS, 64) * clip
    levels = network._encode(features, clip, [clip[:, stride // 2 :: stride] > 0 for stride in network.strides])
    stem = torch.zeros(16, 34)  # with a step of zeros before the first
    stem[:, 1:22] = F.relu(network.stem(features))[0, :, :21]  # the 21st cell of 2 steps, centred on 41, is the last
    weight, bias = network.encoder[0].conv.weight, network.encoder[0].conv.bias
    for cell in range(16):
        window = stem[:, 2 * cell : 2 * cell + 3]
        expected = F.relu((weight * window).sum((1, 2)) + bias) * (4 * cell + 2 < 42)
        torch.testing.assert_close(levels[0][0, :, cell], expected)


def test_clips_exchange_features_through_the_graph_alone() -> None:
    window = stitched(3, original=20, gap=24, steps=96)
    changed = Sample(
        torch.cat((window.features[:, :44], window.features[:, 44:] + 1), 1),
        window.clip,
        window.targets,
        window.map,
        window.video_id,
    )
    for levels, exchange in (((), False), ((1,), True)):
        network = model(graph_levels=levels, levels=1)
        first, second = (
            network._encode(each.features[None], each.clip[None], [each.clip[None, 2::4] > 0])[0]
            for each in (window, changed)
        )
        assert torch.equal(first[..., :5], second[..., :5]) is not exchange


def test_the_same_seed_gives_the_same_bits() -> None:
    def gradient() -> list[Tensor]:
        network, batch = model(seed=5, keep_best=True), mixed_batch()
        total(network.loss(network(batch), batch)).backward()
        return [p.grad for p in network.parameters() if p.grad is not None]

    assert all(torch.equal(left, right) for left, right in zip(gradient(), gradient(), strict=True))


@torch.no_grad()
def test_bf16_autocast_stays_near_float32() -> None:
    network, batch = model(keep_best=True), mixed_batch()
    with torch.no_grad():
        exact = total(network.loss(network(batch), batch))
        with torch.autocast("cpu", torch.bfloat16):
            raw = network(batch)
        assert raw["located"].dtype == raw["adjusted"].dtype == torch.float32
        rough = total(network.loss({name: value.float() for name, value in raw.items()}, batch))
    assert float(rough) == pytest.approx(float(exact), rel=0.1)


@torch.no_grad()
def test_classification_starts_at_its_prior() -> None:
    network = model()
    probability = network(mixed_batch())["classes"].sigmoid()
    assert 0.001 < float(probability.mean()) < 0.05


def test_it_learns_a_window_by_heart() -> None:
    network = model(keep_best=True)
    features = torch.zeros(CHANNELS, 64)
    instances = [(6.0, 14.0, 0), (22.0, 32.0, 1), (44.0, 60.0, 2)]
    for start, end, label in instances:
        features[label, int(start) : int(end)] = 3.0
    features += 0.3 * torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    one = Sample(features, torch.ones(64, dtype=torch.uint8), targets(instances), TimeMap.linear(64, 0, 64), "v")
    batch = collate([one])
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    for _ in range(70):
        optimizer.zero_grad()
        total(network.loss(network(batch), batch)).backward()
        optimizer.step()
    found = network.decode(network(batch), batch)[0]
    for start, end, label in instances:
        best = found.segments[found.labels == label][0].tolist()
        assert tiou_scalar(start, end, *best) > 0.75, (label, best)


@torch.no_grad()
def test_softmax_scores_leave_the_background_out_and_share_one_among_the_classes() -> None:
    network, batch = model(class_loss="softmax"), mixed_batch()
    raw = spread(network(batch))
    assert raw["classes"].shape[1] == CLASSES + 1
    raw["curves"][:] = 50.0  # curves of one: the score is that of the class
    found = network.decode(raw, batch)
    strides = [4 * 2**level for level in range(network.config.levels)]
    anchors = slow_geometry(batch.clip[0].tolist(), strides, network.config.anchor_sizes)
    usable = torch.tensor([anchor["clip"] > 0 for anchor in anchors])
    best = raw["classes"].softmax(1)[0, :CLASSES, usable].max()
    assert found[0].labels.max() < CLASSES
    assert float(found[0].scores[0]) == pytest.approx(float(best), rel=1e-5)
    raw["classes"][:, CLASSES] = 60.0
    assert all(len(each.scores) == 0 for each in network.decode(raw, batch))
