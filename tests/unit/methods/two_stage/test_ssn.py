"""SSN: pooling, heads, losses and decoding against loops over proposals; windows with nothing to judge or learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from proposal_worlds import check_resuming
from untrimmed.data.batch import Batch, Proposals, Sample, Targets, collate
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.layers.anchors import apply_offsets
from untrimmed.losses import total
from untrimmed.methods.catalog import make_method, method_title
from untrimmed.methods.plugins.gcm import GCM
from untrimmed.methods.protocol import Raw
from untrimmed.methods.two_stage.ssn import SSN, Config
from untrimmed.pipeline.proposals import supply
from untrimmed.pipeline.recipe import recipe_of
from untrimmed.segments import tiou_scalar
from untrimmed.timemap import TimeMap
from untrimmed.types import Annotations

CHANNELS, CLASSES = 5, 3
Rows = list[tuple[float, float, int]]
CALM: dict[str, Any] = {"dropout": 0.0}


class Chain(nn.Module):
    """A context for the tests: each segment there hears the one before it, as the edges say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.5))

    def forward(
        self,
        features: Tensor,
        segments: Tensor,
        mask: Tensor | None = None,
        edges: Any = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        assert mask is not None
        edges = self.edges(features, segments, mask) if edges is None else edges
        found = (features + self.weight * features.roll(1, 1) * edges[..., None]) * mask[..., None]
        return found if wanted is None else found.gather(1, wanted[..., None].expand(-1, -1, found.shape[-1]))

    def edges(self, features: Tensor, segments: Tensor, mask: Tensor | None = None) -> Tensor:
        """Only the features of the first kind are positive enough: a graph of others would be another."""
        assert mask is not None
        before = mask.roll(1, 1)
        before[:, 0] = False
        return (features.mean(-1).sigmoid() * before).detach()


def sample(steps: int, seed: int, instances: Rows, proposals: Rows, shown: int | None = None) -> Sample:
    """A window, of whose steps the first ``shown`` show something; of proposals the last number is a class that is
    seen there, or -1."""
    shown = shown or steps
    features = torch.randn(CHANNELS, steps, generator=torch.Generator().manual_seed(seed))
    for start, end, label in instances:
        features[max(label, 0), int(start) : math.ceil(end)] += 3
    clip = torch.zeros(steps, dtype=torch.uint8)
    clip[:shown] = 1
    targets = Targets(
        torch.tensor([each[:2] for each in instances], dtype=torch.float32).view(-1, 2),
        torch.tensor([each[2] for each in instances], dtype=torch.int64),
    )
    segments = torch.tensor([each[:2] for each in proposals], dtype=torch.float32).view(-1, 2)
    given = Proposals(segments, torch.linspace(0.9, 0.1, len(segments)), torch.arange(len(segments)))
    return Sample(features * clip, clip, targets, TimeMap.linear(shown, 0.0, shown / 2), f"v{seed}", proposals=given)


FIRST: Rows = [(4.0, 12.0, 1), (20.0, 30.0, 2), (33.0, 38.0, -1)]
PROPOSALS: Rows = [
    *[(4.5, 12.0, 1), (3.5, 11.5, 1), (20.0, 31.0, 2), (5.0, 7.0, -1), (20.5, 22.0, -1), (11.0, 20.5, -1)],
    *[(13.0, 19.0, -1), (14.0, 18.0, -1), (33.0, 38.0, -1), (0.0, 40.0, -1), (2.0, 10.0, -1)],
]


def full() -> Sample:
    return sample(40, 1, FIRST, PROPOSALS)


def batch_of(*more: Sample) -> Batch:
    return collate([full(), *more])


def odd() -> Batch:
    """Padded; without proposals; without instances; with one proposal that is cut."""
    return batch_of(
        sample(40, 2, [(2.0, 9.0, 0)], [(2.0, 8.0, 0), (10.0, 15.0, -1), (3.0, 4.0, -1)], shown=16),
        sample(12, 3, [(1.0, 5.0, 2)], []),
        sample(20, 4, [], [(1.0, 5.0, -1), (0.0, 20.0, -1)]),
        sample(9, 5, [(0.0, 9.0, 0)], [(0.0, 9.0, 0)]),
    )


def network(settings: dict[str, Any] | None = None, context: Callable[[int], Any] | None = None, seed: int = 0) -> SSN:
    torch.manual_seed(seed)
    options = {} if context is None else {"context": context}
    made = SSN(Config(**(CALM | (settings or {}))), CHANNELS, CLASSES, **options)
    for head in (made.activity, made.completeness, made.offsets):
        nn.init.normal_(head.weight, std=0.3)
        nn.init.normal_(head.bias, std=0.3)
    return made


FORMS: list[dict[str, Any]] = [
    {},
    {"extended": "concat"},
    {"pooling": "stpp", "stpp": ((1,), (1, 2), (1,))},
    {"beside": True, "extended": "concat", "surroundings": 0.25},
    {"hidden": 4, "kernel": 3},
]


# --- pooling and heads against loops -------------------------------------------------------------------------------


def maximum(features: Tensor, start: float, end: float) -> Tensor:
    """Over the steps whose cells the range shares."""
    first, last = max(0, math.floor(start)), min(features.shape[1], math.ceil(end))
    return features[:, first:last].amax(1) if end > start and last > first else torch.zeros(len(features))


def mean(features: Tensor, start: float, end: float) -> Tensor:
    shares = [max(0.0, min(end, i + 1) - max(start, i)) for i in range(features.shape[1])]
    summed = sum(share * features[:, i] for i, share in enumerate(shares))
    return summed / sum(shares) if sum(shares) else torch.zeros(len(features))  # type: ignore[return-value]


def pooled(features: Tensor, start: float, end: float, config: Config) -> tuple[Tensor, Tensor]:
    """x and x' of one proposal; the features are those of the video alone."""
    shown = features.shape[1]
    reach = config.surroundings * (end - start)
    low, high = max(0.0, start - reach), min(float(shown), end + reach)
    if config.pooling == "stpp":
        rows = []
        stages = [(low, start, (start - low) / reach), (start, end, 1.0), (end, high, (high - end) / reach)]
        for (first, last, scale), cuts in zip(stages, config.stpp, strict=True):
            for count in cuts:
                edges = [first + (last - first) * each / count for each in range(count + 1)]
                rows += [mean(features, *edges[each : each + 2]) * scale / sum(cuts) for each in range(count)]
        return mean(features, start, end), torch.cat(rows)
    own = maximum(features, start, end)
    if config.extended == "range":
        return own, maximum(features, low, high)
    return own, torch.cat((maximum(features, low, start), own, maximum(features, end, high)))


def by_loop(net: SSN, batch: Batch, window: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """What the heads say of every proposal of a window, with ``Chain`` or without a context."""
    assert batch.proposals is not None
    shown = int(batch.mask[window].sum())
    features = batch.features[window, :, :shown]
    if net.hidden is not None:
        own_steps = torch.ones(1, shown, dtype=torch.bool)
        features = net.hidden(features[None], own_steps)[0]
    rows = batch.proposals.of_window(window).segments.tolist()
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    pairs = [pooled(features, start, end, net.config) for start, end in rows]
    for number, pair in enumerate(pairs):
        own, extended = pair
        if isinstance(net.context, Chain) and number:
            edge = own.mean().sigmoid()
            assert isinstance(net.context_extended, Chain)
            own = own + net.context.weight * pairs[number - 1][0] * edge
            extended = extended + net.context_extended.weight * pairs[number - 1][1] * edge
        if net.config.beside:
            own, extended = torch.cat((own, pair[0])), torch.cat((extended, pair[1]))
        found.append(
            (net.activity(own), net.completeness(extended), net.offsets(extended).view(CLASSES, 2)),
        )
    return found


@pytest.mark.parametrize("context", [None, Chain])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_is_said_of_a_proposal_is_that_of_the_loop(form: dict[str, Any], context: Any) -> None:
    net, batch = network(form, context).eval(), odd()
    assert batch.proposals is not None
    with torch.no_grad():
        raw = net(batch)
        for window in range(len(batch)):
            expected = by_loop(net, batch, window)
            for row, name in enumerate(("activity", "completeness", "offsets")):
                kept = raw[name][window][batch.proposals.mask[window]]
                assert len(kept) == len(expected)
                for one, wanted in zip(kept, expected, strict=True):
                    torch.testing.assert_close(one, wanted[row], rtol=1e-4, atol=1e-5)
                assert not raw[name][window][~batch.proposals.mask[window]].any()


@pytest.mark.parametrize("context", [None, Chain])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_padding_and_company_change_nothing(form: dict[str, Any], context: Any) -> None:
    net = network(form, context).eval()
    samples = [full(), sample(9, 5, [], [(0.0, 9.0, 0)]), sample(12, 3, [], [])]
    with torch.no_grad():
        together = collate(samples, multiple=64)
        found = net.decode(net(together), together)
        for row, one in enumerate(samples):
            alone = collate([one])
            (left,) = net.decode(net(alone), alone)
            for a, b in zip(left, found[row], strict=True):
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("context", [None, Chain])
def test_what_is_drawn_is_said_as_of_all(context: Any) -> None:
    """A training step judges the segments it draws as evaluation would, with the instances among them."""
    net, batch = network({"extended": "concat"}, context).train(), batch_of(sample(30, 6, [(3.0, 9.0, 0)], []))
    torch.manual_seed(1)
    raw = net(batch)
    assert batch.proposals is not None
    net.eval()
    joined = []
    for window, targets in enumerate(batch.targets):
        own, named = batch.proposals.of_window(window), targets.labels >= 0
        segments = torch.cat((own.segments, torch.zeros(11 - len(own), 2), targets.segments))
        there = torch.cat((torch.arange(11) < len(own), named))
        joined.append((segments, there))
    for window, (segments, there) in enumerate(joined):
        given = Proposals(segments[there], torch.ones(int(there.sum())), torch.arange(int(there.sum())))
        one = (full(), sample(30, 6, [(3.0, 9.0, 0)], []))[window]
        if context is Chain and window:
            continue  # there the first segment follows padding, not the last proposal
        with torch.no_grad():
            said = net(collate([replace(one, proposals=given)]))
        place = there.long().cumsum(0) - 1
        drawn = raw["drawn"][window][raw["there"][window]]
        assert len(drawn) == (8 if window == 0 else 1)
        for name in ("activity", "completeness", "offsets"):
            kept = raw[name][window][raw["there"][window]]
            torch.testing.assert_close(kept, said[name][0][place[drawn]], rtol=1e-5, atol=1e-6)
            assert not raw[name][window][~raw["there"][window]].any()


# --- sampling and losses ---------------------------------------------------------------------------------------------


def kinds_of(batch: Batch, window: int, joined: bool = True) -> dict[str, list[tuple[float, float, int]]]:
    """Segments that may be drawn, by the rules, with the class of the closest instance with a label."""
    assert batch.proposals is not None
    targets = batch.targets[window]
    rows = [(*each, label) for each, label in zip(targets.segments.tolist(), targets.labels.tolist(), strict=True)]
    named = [row for row in rows if row[2] >= 0]
    segments = batch.proposals.of_window(window).segments.tolist() + [list(row[:2]) for row in named if joined]
    found: dict[str, list[tuple[float, float, int]]] = {"foreground": [], "incomplete": [], "background": []}
    for start, end in segments:
        best = max((tiou_scalar(start, end, *row[:2]) for row in rows), default=0.0)
        inside = [max(0.0, min(end, row[1]) - max(start, row[0])) / (end - start) for row in rows]
        closest = max(named, key=lambda row: tiou_scalar(start, end, *row[:2]), default=(0.0, 0.0, -1))
        own = max(0.0, min(end, closest[1]) - max(start, closest[0])) / (end - start)
        if tiou_scalar(start, end, *closest[:2]) > 0.7:
            found["foreground"].append((start, end, closest[2]))
        elif best < 0.3 and own > 0.01:
            found["incomplete"].append((start, end, closest[2]))
        elif best < 0.01 and max(inside, default=0.0) <= 0.01 and end - start > 0.02 * int(batch.mask[window].sum()):
            found["background"].append((start, end, -1))
    return found


def test_a_window_draws_one_one_and_six() -> None:
    net, batch = network().train(), odd()
    assert batch.proposals is not None
    seen: set[tuple[float, float]] = set()
    for seed in range(30):
        torch.manual_seed(seed)
        raw = net(batch)
        for window, targets in enumerate(batch.targets):
            pools = kinds_of(batch, window)
            all_segments = torch.cat((batch.proposals.segments[window], targets.segments, torch.zeros(9, 2)))[
                : batch.proposals.mask.shape[1] + 3
            ]
            for number, (name, first, count) in enumerate(
                (("foreground", 0, 1), ("background", 1, 1), ("incomplete", 2, 6))
            ):
                place = slice(first, first + count)
                there = raw["there"][window, place]
                assert there.all() if pools[name] else not there.any(), (window, number)
                drawn = [tuple(each) for each in all_segments[raw["drawn"][window, place]].tolist()]
                if pools[name]:
                    assert set(drawn) <= {row[:2] for row in pools[name]}
                    seen |= set(drawn) if window == 0 else set()
    pools = kinds_of(batch, 0)
    assert [len(pools[name]) for name in ("foreground", "incomplete", "background")] == [5, 4, 2]
    assert seen == {row[:2] for rows in pools.values() for row in rows}


@torch.no_grad()
def losses_by_loop(
    net: SSN,
    said: Callable[[int, tuple[float, float, int]], tuple[Tensor, Tensor, Tensor]],
    drawn: list[dict[str, Rows]],
) -> dict[str, tuple[float, int]]:
    """Sum and count of each term, from what is said of each segment drawn, window by window."""
    config = net.config
    sums = {"activity": 0.0, "completeness": 0.0, "offsets": 0.0}
    counts = dict.fromkeys(sums, 0)
    instances = {1: (4.0, 12.0), 2: (20.0, 30.0)}
    for window, kinds in enumerate(drawn):
        for row in kinds["foreground"] + kinds["background"]:
            logits = said(window, row)[0].log_softmax(0)
            sums["activity"] -= float(logits[row[2] if row in kinds["foreground"] else CLASSES])
            counts["activity"] += 1
        for row in kinds["foreground"]:
            _, complete, offsets = said(window, row)
            sums["completeness"] += max(0.0, 1 - float(complete[row[2]]))
            counts["completeness"] += 1
            start, end = instances[row[2]]
            center, width = (row[0] + row[1]) / 2, row[1] - row[0]
            wanted = ((start + end) / 2 - center) / width, math.log((end - start) / width)
            for axis in range(2):
                goal = (wanted[axis] - config.offset_mean[axis]) / config.offset_std[axis]
                error = abs(float(offsets[row[2], axis]) - goal)
                sums["offsets"] += error - 0.5 if error > 1 else error**2 / 2
            counts["offsets"] += 1
        hard = sorted((max(0.0, 1 + float(said(window, row)[1][row[2]])) for row in kinds["incomplete"]), reverse=True)
        keep = min(len(hard), max(int(len(hard) * config.hard_share), 1))
        sums["completeness"] += sum(hard[:keep])
        counts["completeness"] += keep
    return {name: (value, counts[name]) for name, value in sums.items()}


@pytest.mark.parametrize("training", [True, False])
def test_losses_are_those_of_the_loop(training: bool) -> None:
    net = network({"offset_mean": (0.01, -0.02), "offset_std": (0.1, 0.3), "hard_share": 0.5}).train(training)
    batch = batch_of(sample(12, 3, [], []), sample(20, 4, [], [(1.0, 5.0, -1), (0.0, 20.0, -1)]))
    assert batch.proposals is not None
    torch.manual_seed(2)
    raw = net(batch)
    terms = net.loss(raw, batch)
    drawn: list[dict[str, Rows]] = [kinds_of(batch, window, joined=False) for window in range(3)]
    if training:
        segments = torch.cat((batch.proposals.segments, torch.zeros(3, 3, 2)), 1)
        segments[0, -3:] = batch.targets[0].segments
        for window in range(3):
            pools, drawn[window] = kinds_of(batch, window), {}
            for name, place in (("foreground", slice(0, 1)), ("background", slice(1, 2)), ("incomplete", slice(2, 8))):
                rows = segments[window][raw["drawn"][window, place][raw["there"][window, place]]].tolist()
                drawn[window][name] = [next(row for row in pools[name] if list(row[:2]) == each) for each in rows]
    shown = [int(each) for each in batch.mask.sum(1)]

    def said(window: int, row: tuple[float, float, int]) -> tuple[Tensor, Tensor, Tensor]:
        own, extended = pooled(batch.features[window, :, : shown[window]], row[0], row[1], net.config)
        return net.activity(own), net.completeness(extended), net.offsets(extended).view(CLASSES, 2)

    expected = losses_by_loop(net, said, drawn)
    assert terms.keys() == expected.keys()
    for name, (value, count) in expected.items():
        assert float(terms[name].sum.detach()) == pytest.approx(value, rel=1e-4), name
        assert float(terms[name].count) == count, name
    assert (terms["completeness"].weight, terms["offsets"].weight) == (0.5, 0.5)
    assert expected["offsets"][1] >= 1


def test_regression_learns_what_decodes() -> None:
    """Offsets at their targets put a foreground proposal onto its instance."""
    net, batch = network().eval(), batch_of()
    with torch.no_grad():
        raw = net(batch)
        goal = net._drawn(raw, batch).offsets
        std, mean_ = (torch.tensor(each) for each in (net.config.offset_std, net.config.offset_mean))
        raw["offsets"] = ((goal - mean_) / std)[:, :, None].expand(-1, -1, CLASSES, -1)
        assert float(net.loss(raw, batch)["offsets"].sum) == pytest.approx(0, abs=1e-6)
        (found,) = net.decode(raw, batch)
    onto_first = [each for each, c in zip(found.segments.tolist(), found.centers.tolist(), strict=True) if c == 8.25]
    assert onto_first == [pytest.approx([4.0, 12.0], abs=1e-4)] * CLASSES


def test_counts_and_terms_of_windows_without_anything() -> None:
    net = network().train()
    for settings in ({}, {"with_instances": False}):
        net = network(settings).train()
        for one in (
            sample(12, 3, [], []),
            sample(12, 3, [(1.0, 5.0, 2)], []),
            sample(12, 3, [], [(1.0, 5.0, -1)]),
            sample(1, 3, [(0.0, 1.0, 0)], [(0.0, 1.0, 0)]),
            sample(12, 3, [(2.0, 8.0, -1)], [(2.0, 8.0, -1)]),
        ):
            batch = collate([one])
            terms = net.loss(net(batch), batch)
            assert {name: float(each) for name, each in net.counts(batch).items()} == {
                name: float(term.count) for name, term in terms.items()
            }
            loss = total(terms)
            loss.backward()
            assert torch.isfinite(loss)
            net.eval()
            with torch.no_grad():
                raw = net(batch)
                assert torch.isfinite(total(net.loss(raw, batch)))
                (found,) = net.decode(raw, batch)
            assert len(found.scores) == CLASSES * len(one.proposals or ())
            net.train()


def test_features_of_zero_are_judged_too() -> None:
    net, one = network().train(), full()
    batch = collate([replace(one, features=torch.zeros_like(one.features))])
    loss = total(net.loss(net(batch), batch))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(each.grad).all() for each in net.parameters() if each.grad is not None)


# --- decoding --------------------------------------------------------------------------------------------------------


def decoded_by_loop(net: SSN, raw: Raw, batch: Batch, window: int) -> list[tuple[float, ...]]:
    config, own = net.config, batch.proposals
    assert own is not None
    rows = []
    for number, (start, end) in enumerate(own.of_window(window).segments.tolist()):
        logits = raw["activity"][window, number]
        shares = logits.softmax(0)[:CLASSES] if config.softmax == "all" else logits[:CLASSES].softmax(0)
        for label in range(CLASSES):
            complete = min(float(raw["completeness"][window, number, label]), config.completeness_ceiling)
            score = float(shares[label]) * math.exp(complete) / math.exp(config.completeness_ceiling)
            if config.proposal_score:
                score *= float(own.scores[window, number])
            shift, log = (
                float(raw["offsets"][window, number, label, axis]) * config.offset_std[axis] + config.offset_mean[axis]
                for axis in range(2)
            )
            center, width = (start + end) / 2 + shift * (end - start), (end - start) * math.exp(log)
            shown = float(batch.mask[window].sum())
            segment = [min(max(center + sign * width / 2, 0.0), shown) for sign in (-1, 1)]
            if segment[1] > segment[0] and score >= config.score_threshold:
                rows.append((*segment, score, label, (start + end) / 2))
    return sorted(rows)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"softmax": "actions", "offset_mean": (0.3, 0.1), "offset_std": (1.0, 0.5)},
        {"completeness_ceiling": 0.2, "proposal_score": True, "score_threshold": 0.05},
    ],
    ids=str,
)
def test_detections_are_those_of_the_loop(settings: dict[str, Any]) -> None:
    net, batch = network(settings).eval(), odd()
    with torch.no_grad():
        raw = net(batch)
        found = net.decode(raw, batch)
    for window, each in enumerate(found):
        columns = (*each.segments.unbind(1), each.scores, each.labels, each.centers)
        rows = sorted(zip(*(column.tolist() for column in columns), strict=True))
        expected = decoded_by_loop(net, raw, batch, window)
        assert len(rows) == len(expected)
        for one, wanted in zip(rows, expected, strict=True):
            assert one == pytest.approx(wanted, rel=1e-4, abs=1e-4)
        assert each.scores.tolist() == sorted(each.scores.tolist(), reverse=True)


def test_scores_keep_the_order_of_the_released_product() -> None:
    net, batch = network().eval(), batch_of()
    with torch.no_grad():
        raw = net(batch)
        raw["completeness"] /= 3
        assert 1.5 < float(raw["completeness"].max()) < 3
        (found,) = net.decode(raw, batch)
        product = raw["activity"].softmax(-1)[0, :, :CLASSES] * raw["completeness"][0].exp()
    torch.testing.assert_close(found.scores, product.flatten().sort(descending=True).values * math.exp(-3))
    assert float(found.scores.max()) <= 1


def test_external_labels_leave_the_class_out() -> None:
    net, batch = network({"labels": "external"}).eval(), odd()
    own = network().eval()
    with torch.no_grad():
        raw = net(batch)
        found, labelled = net.decode(raw, batch), own.decode(raw, batch)
    assert batch.proposals is not None
    for window, (one, many) in enumerate(zip(found, labelled, strict=True)):
        assert (one.labels == -1).all()
        given = batch.proposals.of_window(window)
        assert len(one.scores) == len(given)
        for center, score, segment in zip(one.centers, one.scores, one.segments, strict=True):
            place = int((given.segments.mean(1) == center).nonzero()[0, 0])
            rows = (many.centers == center).nonzero()[:, 0]
            if int((given.segments.mean(1) == center).sum()) > 1:
                continue
            best = rows[many.scores[rows].argmax()]
            assert float(score) == pytest.approx(float(many.scores[best] * given.scores[place]), rel=1e-5)
            assert torch.equal(segment, many.segments[best])


def test_scores_outside_zero_to_one_are_refused_where_they_count() -> None:
    batch = batch_of()
    assert batch.proposals is not None
    high = replace(batch, proposals=replace(batch.proposals, scores=batch.proposals.scores * 9))
    for settings in ({"labels": "external"}, {"proposal_score": True}):
        net = network(settings).eval()
        with pytest.raises(InputError, match=r"has the score 8\.1"):
            net.decode(net(high), high)
    net = network().eval()
    net.decode(net(high), high)


def test_a_detection_does_not_leave_the_piece_that_shows_its_proposal() -> None:
    one = sample(30, 1, [], [(2.0, 8.0, -1), (20.0, 29.0, -1)])
    clip = one.clip.clone()
    clip[12:15] = 0
    clip[15:] = 2
    batch = collate([replace(one, features=one.features * (clip > 0), clip=clip)])
    net = network({"offset_std": (0.5, 9.0)}).eval()
    with torch.no_grad():
        (found,) = net.decode(net(batch), batch)
    first = found.centers == 5
    assert 0 < int(first.sum()) < len(first)
    assert (found.segments[first] <= 12).all()
    assert (found.segments[~first] >= 15).all()
    assert (found.segments[~first] == 15).any()


# --- settings, sizes, learning ---------------------------------------------------------------------------------------

PAPER = [
    ({}, 1024 * 21 + 21 + 1024 * 20 + 20 + 1024 * 40 + 40),
    ({"extended": "concat"}, 1024 * 21 + 21 + 3072 * 20 + 20 + 3072 * 40 + 40),
    ({"beside": True, "extended": "concat"}, 2048 * 21 + 21 + 6144 * 20 + 20 + 6144 * 40 + 40),
    ({"pooling": "stpp"}, 1024 * 21 + 21 + 3072 * 20 + 20 + 3072 * 40 + 40),
    ({"pooling": "stpp", "stpp": ((1,), (1, 2), (1,))}, 1024 * 21 + 21 + 5120 * 20 + 20 + 5120 * 40 + 40),
]


@pytest.mark.parametrize(("settings", "count"), PAPER, ids=str)
def test_parameters_at_the_papers_size(settings: dict[str, Any], count: int) -> None:
    net = make_method("ssn", settings, 1024, 20)
    assert sum(each.numel() for each in net.parameters()) == count


@pytest.mark.parametrize(("settings", "count"), PAPER[:3], ids=str)
def test_parameters_with_gcm(settings: dict[str, Any], count: int) -> None:
    pytest.importorskip("untrimmed.methods.plugins.gcm")
    net = make_method("ssn", {**settings, "context": {"name": "gcm", "bias": False}}, 1024, 20)
    extended = 1024 * (3 if "extended" in settings else 1)
    assert sum(each.numel() for each in net.parameters()) == count + 2 * 512 * (1024 + extended)


def test_heads_begin_small_and_without_bias() -> None:
    torch.manual_seed(0)
    net: Any = make_method("ssn", {}, 1024, 20)
    for head in (net.activity, net.completeness, net.offsets):
        assert float(head.weight.detach().std()) == pytest.approx(0.001, rel=0.05)
        assert not head.bias.any()
    assert net.dropout.p == 0.8


def test_dropout_is_before_the_classifier_alone() -> None:
    net, batch = network({"dropout": 0.5}).train(), batch_of()
    torch.manual_seed(4)
    first = net(batch)
    net.dropout.p = 0.0
    torch.manual_seed(4)
    second = net(batch)
    assert torch.equal(first["drawn"], second["drawn"])
    assert torch.equal(first["completeness"], second["completeness"])
    assert not torch.equal(first["activity"], second["activity"])


@pytest.mark.parametrize(
    "settings", [{"kernel": 2}, {"offset_std": (0.0, 1.0)}, {"stpp": ((1,), (), (1,))}, {"stpp": ((0,), (1,), (1,))}]
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config(**settings)


def test_a_batch_without_proposals_and_a_config_without_them_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="method ssn judges proposals"):
        network()(replace(batch_of(), proposals=None))
    recipe = recipe_of(
        {
            "data": {"annotations": "data/sbhar/annotations.json", "features": "f"},
            "windows": {"kind": "whole"},
            "method": {"name": "ssn"},
        },
        "x",
    )
    features = ArrayFeatures({"v": np.zeros((4, 5), np.float32)}, SnippetGrid(2, 1, 1))
    expected = r"method ssn judges proposals, and data.proposals is not set; make them with `untrimmed train sbhar/bmn "
    with pytest.raises(InputError, match=expected):
        supply(recipe, Annotations.of(()), {}, features, tmp_path, device=torch.device("cpu"))


@pytest.mark.parametrize("context", [None, Chain])
def test_it_learns_by_heart(context: Any) -> None:
    """Two windows: the proposals that fit come first, with their class and moved onto the truth."""
    batch = collate(
        [
            sample(40, 1, FIRST[:2], [each for each in PROPOSALS if each[1] < 33]),
            sample(40, 2, [(2.0, 9.0, 0)], [(2.0, 8.0, 0), (10.0, 15.0, -1), (3.0, 4.0, -1)], shown=16),
        ]
    )
    net = network({"pooling": "stpp"}, context).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for seed in range(200):
        torch.manual_seed(seed)
        loss = total(net.loss(net(batch), batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.3
    net.eval()
    with torch.no_grad():
        first, second = net.decode(net(batch), batch)
    assert {int(each) for each in first.labels[:3]} == {1, 2}
    assert int(second.labels[0]) == 0
    truth, fitting = {1: (4.0, 12.0), 2: (20.0, 30.0)}, {8.25: 1, 7.5: 1, 25.5: 2}
    moved = [
        tiou_scalar(*segment, *truth[label])
        for segment, label, center in zip(
            first.segments.tolist(), first.labels.tolist(), first.centers.tolist(), strict=True
        )
        if fitting.get(center) == label
    ]
    assert len(moved) == 3
    assert min(moved) > 0.97
    assert tiou_scalar(*second.segments[0].tolist(), 2.0, 9.0) > 0.9


class Feed:
    def steps(self, epoch: int) -> int:
        return 3

    def batches(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        for step in range(first_step, 3):
            yield [batch_of(sample(12, 10 * epoch + step, [(1.0, 5.0, 2)], [(1.0, 4.5, 2), (6.0, 9.0, -1)]))]


def test_resumed_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Draws and dropout too."""
    check_resuming(tmp_path, lambda: network({"dropout": 0.5}, Chain), (4, 8), Feed)


def test_apply_offsets_is_what_decodes() -> None:
    moved = apply_offsets(torch.tensor([2.0, 6.0]), torch.tensor([0.5, math.log(2)]))
    assert moved.tolist() == pytest.approx([2.0, 10.0])


def test_each_of_the_two_may_have_a_context_of_its_own() -> None:
    """Table 4: MLP1 + GCM2 has the graph of x for x' alone; GCM1 + MLP2 for x alone."""
    mlp, gcm = ({"name": "gcm", "hidden": 4, "dropout": 0.0, "aggregate": form} for form in ("none", "graph"))
    batch = batch_of()
    assert batch.proposals is not None
    for first, second in ((mlp, gcm), (gcm, mlp)):
        settings = {"context": first, "context_extended": second, "dropout": 0.0}
        torch.manual_seed(0)
        made: Any = make_method("ssn", settings, CHANNELS, CLASSES).eval()
        assert (made.context.config.aggregate, made.context_extended.config.aggregate) == (
            first["aggregate"],
            second["aggregate"],
        )
        with torch.no_grad():
            raw = made(batch)
            known = made.known(batch)
            graph = GCM(None, CHANNELS).edges(known.features, known.segments, known.mask)
            nodes = made._nodes(batch.proposals.segments, batch.proposals.mask, batch)
            _, extended = made._pooled(batch.features, batch.mask, nodes)
            own = made.context(known.features, known.segments, known.mask, graph if first is gcm else None)
            other = made.context_extended(extended, known.segments, known.mask, graph if second is gcm else None)
        kept = known.mask[..., None]
        torch.testing.assert_close(raw["activity"], made.activity(own) * kept)
        torch.testing.assert_close(raw["completeness"], made.completeness(other) * kept)
        assert method_title({"name": "ssn", **settings}) == "SSN + GCM"
