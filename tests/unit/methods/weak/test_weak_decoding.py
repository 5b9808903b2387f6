"""What BaS-Net, UM and DGAM cut and score segments by, what they tell their enhancer, and where gradients end: loops
written from the module docstrings, on branches and streams that all say something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch, Targets
from untrimmed.losses import LossTerm
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.methods.weak import basnet, dgam, um
from untrimmed.postprocess import nms
from untrimmed.segments import tiou
from untrimmed.timemap import TimeMap

CHANNELS, CLASSES, LENGTHS = 8, 3, (40, 23, 9)
SCORING = {"finer": 1, "outer": 0.4, "class_weight": 0.3}
SMALL: dict[str, dict[str, Any]] = {
    "basnet": {
        "hidden": 12,
        "filter_channels": 6,
        "class_threshold": 0.3,
        "sparsity": 0.037,
        "proposals": {**SCORING, "outer_weight": 0.7, "thresholds": [0.1, 0.45]},
    },
    "um": {
        "hidden": 12,
        "margin": 5.0,
        "magnitude_weight": 0.021,
        "entropy_weight": 0.6,
        "class_threshold": 0.3,
        "magnitude_thresholds": [0.35, 0.8],
        "proposals": {**SCORING, "outer_weight": 0.7, "thresholds": [0.1, 0.45]},
    },
    "dgam": {
        "attention_channels": 6,
        "hidden": 8,
        "latent": 4,
        "foreground": 0.9,
        "background": 0.05,
        "guide": 0.2,
        "divergence": 0.3,
        "generative": 7.0,
        "class_threshold": 0.3,
        "classes_share": 0.7,
        "scoring": {**SCORING, "outer_weight": 0.6},
        "streams": [
            {"thresholds": [0.1, 0.2], "reconstruction": 0.5, "own": 0.35},
            {"thresholds": [0.15], "reconstruction": 0.4, "own": 0.6, "foreground": 0.3, "smoothing": 1.25},
        ],
    },
}
MAKERS: dict[str, Any] = {"basnet": basnet, "um": um, "dgam": dgam}
CLASS_OF = {"basnet": "BaSNet", "um": "UM", "dgam": "DGAM"}


class Recorder(nn.Module):
    """An enhancer that changes nothing and keeps the scores it is given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.given: list[Tensor] = []

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return features, {"mark": mask.float()}

    def loss(self, state: dict[str, Tensor], scores: Tensor) -> dict[str, LossTerm]:
        assert set(state) == {"mark"}
        self.given.append(scores)
        return {"recorded": LossTerm(scores.sum(), 1, 0.25)}


def model(name: str, enhance: Callable[[int], Any] = Recorder, **changes: Any) -> Any:
    torch.manual_seed(0)
    module = MAKERS[name]
    return getattr(module, CLASS_OF[name])(module.Config(**{**SMALL[name], **changes}), CHANNELS, CLASSES, enhance)


def batch() -> Batch:
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    features = torch.randn(3, CHANNELS, max(LENGTHS), generator=torch.Generator().manual_seed(0))
    return Batch(
        features * mask[:, None],
        mask.to(torch.uint8),
        (Targets.empty(),) * 3,
        tuple(TimeMap.linear(length, 0.0, float(length)) for length in LENGTHS),
        ("v0", "v1", "v2"),
        torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 1]]),
    )


def drawn(*shape: int, seed: int, spread: float = 1.5) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * spread


# --- decoding ----------------------------------------------------------------------------------------------------

Cuts = Sequence[tuple[np.ndarray, Sequence[float]]]


def between(curve: np.ndarray, start: float, end: float) -> tuple[float, float]:
    """Area under a curve that is constant in each step, and how much of the time it is there."""
    area = time = 0.0
    for step, value in enumerate(curve):
        shared = max(0.0, min(end, step + 1) - max(start, step))
        area, time = area + shared * float(value), time + shared
    return area, time


def segments_of(curve: np.ndarray, cuts: Cuts, label: int, of_class: float, settings: Any) -> list[tuple[float, ...]]:
    """The segments of one class of one video, with their scores; ``curve`` and the cuts have a value a cell."""
    found, whole = [], curve
    for cut, thresholds in cuts:
        for threshold in thresholds:
            zeroed = cut is whole and getattr(settings, "thresholded", False)
            curve = np.where(whole > threshold, whole, 0) if zeroed else np.maximum(whole, 0)
            start = None
            for step in range(len(cut) + 1):
                above = step < len(cut) and cut[step] > threshold
                if above and start is None:
                    start = step
                elif not above and start is not None:
                    width = settings.outer * (step - start)
                    inside, left, right = (
                        between(curve, *ends) for ends in ((start, step), (start - width, start), (step, step + width))
                    )
                    around = (left[0] + right[0]) / max(left[1] + right[1], 1e-9)
                    value = inside[0] / inside[1] - settings.outer_weight * around + settings.class_weight * of_class
                    score = min(1.0, max(0.0, value / (1 + settings.class_weight)))
                    found.append((label, start / settings.finer, step / settings.finer, score))
                    start = None
    return found


def agrees(found: StepDetections, expected: list[tuple[float, ...]]) -> None:
    rows = torch.cat((found.labels[:, None], found.segments, found.scores[:, None]), 1).tolist()
    assert len(rows) == len(expected) > 0
    for ours, theirs in zip(sorted(rows), sorted(expected), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def occurring(scores: np.ndarray, threshold: float) -> list[int]:
    classes = [label for label in range(CLASSES) if scores[label] >= threshold or scores[label] == scores.max()]
    assert classes
    return classes


def pooled(values: np.ndarray, share: int) -> np.ndarray:
    """Softmax over classes of the mean of the highest of each class, (K, T) -> (K,)."""
    count = max(1, values.shape[1] // share)
    means = np.array([sorted(row, reverse=True)[:count] for row in values]).mean(1)
    return softmax(means)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values)
    return np.asarray(powers / powers.sum(0))


def stretched(curve: np.ndarray) -> np.ndarray:
    """Up to 1, what was 0 or the lowest above it being 0."""
    low, high = max(0.0, curve.min()), max(0.0, curve.max())
    return np.asarray((curve - low) / (high - low))


def refined(curve: np.ndarray, settings: Any) -> np.ndarray:
    """The curve at ``finer`` cells a step, on the lines between the values of steps."""
    steps = np.arange(len(curve))
    cells = np.arange(len(curve) * settings.finer)
    if settings.align == "center":
        return np.interp((cells + 0.5) / settings.finer - 0.5, steps, curve)
    longer = np.append(curve, 2 * curve[-1] - curve[-2])
    return np.interp(cells / settings.finer, np.arange(len(longer)), longer)


DECODERS = [
    {"finer": 1},
    {"finer": 4, "align": "center"},
    {"finer": 4, "align": "left", "thresholded": True},
]


def decoder(name: str, changes: dict[str, Any]) -> Any:
    """A host whose segments are found with these settings."""
    key = "scoring" if name == "dgam" else "proposals"
    used = {option: value for option, value in changes.items() if name != "dgam" or option != "thresholded"}
    return model(name, **{key: {**SMALL[name][key], **used}}).eval()


@pytest.mark.parametrize("changes", DECODERS)
def test_segments_of_basnet_are_of_the_suppressed_branch(changes: dict[str, Any]) -> None:
    host, some = decoder("basnet", changes), batch()
    config, mask = host.config, some.mask
    raw = {
        "base": drawn(3, CLASSES + 1, 40, seed=1) * mask[:, None],
        "suppressed": drawn(3, CLASSES + 1, 40, seed=2) * mask[:, None],
        "attention": drawn(3, 40, seed=3).sigmoid() * mask,
    }
    found, shown = host.decode(raw, some), host.curves(raw, some)
    for row, length in enumerate(LENGTHS):
        values = raw["suppressed"][row, :, :length].numpy()
        scores = pooled(values, config.pooling)[:CLASSES]
        expected = []
        for label in occurring(scores, config.class_threshold):
            curve = refined(stretched(values[label]), config.proposals)
            cuts = [(curve, config.proposals.thresholds)]
            expected += segments_of(curve, cuts, label, scores[label], config.proposals)
        agrees(found[row], expected)
        for label in range(CLASSES):
            assert np.allclose(shown[row][f"class {label}"][:length], softmax(values)[label], atol=1e-5)
        assert torch.equal(shown[row]["attention"], raw["attention"][row])


def actionness(raw: Raw, row: int, length: int) -> np.ndarray:
    """UM's magnitude between that of pseudo background and that of pseudo action."""
    low, high = float(raw["low"][row]), float(raw["high"][row])
    return np.array([min(1.0, max(0.0, (float(m) - low) / (high - low))) for m in raw["magnitude"][row, :length]])


@pytest.mark.parametrize("changes", DECODERS)
def test_segments_of_um_are_cut_from_classes_and_from_magnitudes(changes: dict[str, Any]) -> None:
    host, some = decoder("um", changes), batch()
    config, mask = host.config, some.mask
    raw = {
        "activations": drawn(3, CLASSES, 40, seed=1) * mask[:, None],
        "magnitude": drawn(3, 40, seed=2).abs() * 3 * mask,
        "low": torch.tensor([0.7, 0.5, 0.9]),
        "high": torch.tensor([6.0, 5.0, 7.0]),
    }
    found, shown = host.decode(raw, some), host.curves(raw, some)
    for row, length in enumerate(LENGTHS):
        values, seen = raw["activations"][row, :, :length].numpy(), actionness(raw, row, length)
        scores = pooled(values, config.action_share)
        expected = []
        for label in occurring(scores, config.class_threshold):
            curve = refined(stretched(softmax(values)[label] * seen), config.proposals)
            magnitude = refined(seen, config.proposals)
            cuts = [(curve, config.proposals.thresholds), (magnitude, config.magnitude_thresholds)]
            expected += segments_of(curve, cuts, label, scores[label], config.proposals)
        agrees(found[row], expected)
        for label in range(CLASSES):
            assert np.allclose(shown[row][f"class {label}"][:length], softmax(values)[label] * seen, atol=1e-5)
        assert np.allclose(shown[row]["attention"][:length], seen, atol=1e-5)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-values)))


def blurred(curve: np.ndarray, sigma: float) -> np.ndarray:
    """Each step the mean of those within three sigmas, weighted by a Gaussian."""
    if not sigma:
        return curve
    result = []
    for step in range(len(curve)):
        near = [other for other in range(len(curve)) if abs(other - step) <= np.ceil(3 * sigma)]
        weights = [np.exp(-((other - step) ** 2) / (2 * sigma**2)) for other in near]
        result.append(sum(w * curve[other] for w, other in zip(weights, near, strict=True)) / sum(weights))
    return np.array(result)


def streams_of_dgam(mask: Tensor) -> Raw:
    return {
        f"{number}.{name}": value
        for number in range(2)
        for name, value in (
            ("attention", drawn(3, 40, seed=10 + number).sigmoid() * mask),
            ("activations", drawn(3, CLASSES + 1, 40, seed=20 + number) * mask[:, None]),
            ("foreground", drawn(3, CLASSES + 1, seed=30 + number)),
        )
    }


@pytest.mark.parametrize("changes", DECODERS)
def test_segments_of_dgam_are_cut_from_each_stream_and_scored_by_both(changes: dict[str, Any]) -> None:
    """Attention is interpolated first and squared then, and smoothed after that."""
    host, some = decoder("dgam", changes), batch()
    config, raw = host.config, streams_of_dgam(some.mask)
    found, shown = host.decode(raw, some), host.curves(raw, some)
    for row, length in enumerate(LENGTHS):
        attention = [raw[f"{s}.attention"][row, :length].numpy() for s in (0, 1)]
        values = [raw[f"{s}.activations"][row, :, :length].numpy() for s in (0, 1)]
        scores = np.mean([softmax(raw[f"{s}.foreground"][row].numpy())[:CLASSES] for s in (0, 1)], 0)
        expected = []
        for number, stream in enumerate(config.streams):
            mine, a = sigmoid(values[number]), attention[number]
            other = sigmoid(values[1 - number])
            for label in occurring(scores, config.class_threshold):
                fine, squared = refined(a * mine[label], config.scoring), refined(a, config.scoring) ** 2
                cut = config.classes_share * fine + (1 - config.classes_share) * squared
                cut = blurred(cut, stream.smoothing * config.scoring.finer)
                curve = a * (stream.own * a * mine[label] + (1 - stream.own) * a * other[label])
                curve = refined(curve, config.scoring)
                expected += segments_of(curve, [(cut, stream.thresholds)], label, scores[label], config.scoring)
        agrees(found[row], expected)
        for label in range(CLASSES):
            seen = np.mean([attention[s] * softmax(values[s][:CLASSES])[label] for s in (0, 1)], 0)
            assert np.allclose(shown[row][f"class {label}"][:length], seen, atol=1e-5)
        assert np.allclose(shown[row]["attention"][:length], np.mean(attention, 0), atol=1e-5)


DENSE = 218
"""Instances in the fullest test video of THUMOS14."""


def dense(name: str, mask: Tensor) -> Raw:
    """What a host says of a video in which class 0 is on for two steps of every three, each time a little less."""
    steps = mask.shape[1]
    place = torch.arange(steps)
    seen = (1 - place / (2 * steps)).where((place % 3 < 2) & (place < 3 * DENSE), torch.tensor(0.0))[None]
    classes = torch.full((1, CLASSES + (name != "um"), steps), -4.0)
    classes[:, 0] = 8 * seen - 4
    if name == "basnet":
        return {"suppressed": classes, "attention": seen}
    if name == "um":
        return {"activations": classes, "magnitude": seen, "low": torch.tensor([0.0]), "high": torch.tensor([1.0])}
    said = {"attention": seen, "activations": classes, "foreground": classes.amax(2)}
    return {f"{stream}.{key}": value for stream in range(2) for key, value in said.items()}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_no_instance_of_a_dense_video_is_lost_before_suppression(name: str) -> None:
    """Each comes back once a threshold, so a limit by number of all would keep but the first hundred."""
    key = "scoring" if name == "dgam" else "proposals"
    cuts = [round(0.01 + index * 0.025, 3) for index in range(15)]
    plan = {"streams": [{"thresholds": cuts}, {"thresholds": cuts}]} if name == "dgam" else {}
    settings = {} if name == "dgam" else {"thresholds": cuts}
    host = model(name, Recorder, **plan, **{key: {**settings, "finer": 24}}).eval()
    steps = 750
    some = Batch(
        torch.zeros(1, CHANNELS, steps),
        torch.ones(1, steps, dtype=torch.uint8),
        (Targets.empty(),),
        (TimeMap.linear(steps, 0.0, float(steps)),),
        ("dense",),
    )
    (found,) = host.decode(dense(name, some.mask), some)
    instances = torch.tensor([[3.0 * number, 3.0 * number + 2] for number in range(DENSE)])
    assert len(found.scores) > 10 * DENSE
    best = tiou(found.segments[found.labels == 0][:, None], instances[None]).amax(0)
    assert (best > 0.6).all()
    kept = nms(found.segments.numpy(), found.scores.numpy(), found.labels.numpy(), threshold=0.5)
    left = tiou(found.segments[kept.rows][:, None], instances[None]).amax(0)
    assert (left > 0.5).all()


# --- what is learned ---------------------------------------------------------------------------------------------

WEIGHTS: dict[str, dict[str, float]] = {
    "basnet": {"base": 1.0, "suppressed": 1.0, "sparsity": 0.037, "recorded": 0.25},
    "um": {"classes": 1.0, "magnitude": 0.021, "entropy": 0.6, "recorded": 0.25},
    "dgam": {
        f"{stream}.{name}": weight
        for stream, generative, foreground in ((0, 0.5, 0.9), (1, 0.4, 0.3))
        for name, weight in (
            ("foreground", foreground),
            ("background", 0.05),
            ("guide", 0.2),
            ("divergence", 7.0 * 0.3),
            ("reconstruction", 7.0),
            ("generative", generative),
            ("recorded", 0.25),
        )
    },
}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_terms_have_the_weights_of_the_settings(name: str) -> None:
    host, some = model(name), batch()
    terms = host.loss(host(some), some)
    assert {key: term.weight for key, term in terms.items()} == pytest.approx(WEIGHTS[name])


def given_scores(name: str, raw: Raw, which: str) -> list[np.ndarray]:
    """(B, T) scores of each enhancer of a host, step by step."""
    prefixes = ("0.", "1.") if name == "dgam" else ("",)
    every = []
    for prefix in prefixes:
        scores = np.zeros((3, max(LENGTHS)))
        for row, length in enumerate(LENGTHS):
            branch = {"basnet": "suppressed" if which == "attended" else "base"}.get(name, "activations")
            values = softmax(raw[prefix + branch][row, :, :length].numpy())
            scores[row, :length] = values[:CLASSES].max(0)
            if which == "attended" and name == "um":
                scores[row, :length] *= actionness(raw, row, length)
            if which == "attended" and name == "dgam":
                scores[row, :length] *= raw[prefix + "attention"][row, :length].numpy()
        every.append(scores)
    return every


@pytest.mark.parametrize("which", ["attended", "plain"])
@pytest.mark.parametrize("name", sorted(SMALL))
@torch.no_grad()
def test_the_enhancer_is_given_the_scores_of_the_branch_that_is_named(name: str, which: str) -> None:
    host, some = model(name, enhance_scores=which).eval(), batch()
    raw = host(some)
    host.loss(raw, some)
    enhancers = [stream.enhance for stream in host.streams] if name == "dgam" else [host.enhance]
    for enhancer, expected in zip(enhancers, given_scores(name, raw, which), strict=True):
        (scores,) = enhancer.given
        assert scores.shape == some.mask.shape
        assert np.allclose(scores.numpy(), expected, atol=1e-5)
        assert scores[~some.mask].eq(0).all()


@torch.no_grad()
def test_the_suppressed_branch_sees_features_times_the_filter() -> None:
    host, some = model("basnet").eval(), batch()
    raw = host(some)
    filtered = Batch(some.features * raw["attention"][:, None], some.clip, some.targets, some.maps, some.video_ids)
    assert torch.allclose(host(filtered)["base"], raw["suppressed"], atol=1e-5)
    assert not torch.allclose(raw["base"], raw["suppressed"], atol=1e-2)


class KeepEven(nn.Module):
    """A dropout that draws the same every time for steps, and leaves features as they are."""

    def forward(self, values: Tensor) -> Tensor:
        return values * (torch.arange(values.shape[1]) % 2 == 0) * 2 if values.ndim == 2 else values


@torch.no_grad()
def test_um_picks_action_and_background_among_the_steps_that_one_draw_leaves() -> None:
    host, some = model("um"), batch()
    host.dropout = KeepEven()
    raw = host(some)
    for row, length in enumerate(LENGTHS):
        left = torch.arange(0, length, 2)
        order = left[raw["magnitude"][row, left].argsort(descending=True)]
        high, low = order[: max(1, length // 9)], order.flip(0)[: max(1, length // 4)]
        assert float(raw["high"][row]) == pytest.approx(float(raw["magnitude"][row, high].mean()), rel=1e-5)
        assert float(raw["low"][row]) == pytest.approx(float(raw["magnitude"][row, low].mean()), rel=1e-5)
        assert torch.allclose(raw["background_classes"][row], raw["activations"][row][:, low].mean(1), atol=1e-5)


def test_what_the_vae_of_dgam_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """z is drawn around the encoder's mean for its reconstruction, around the attention for what teaches that."""
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    host, some = model("dgam"), batch()
    raw = host(some)
    for number, (stream, features) in enumerate(zip(host.streams, some.features.chunk(2, 1), strict=True)):
        said = {name.removeprefix(f"{number}."): value for name, value in raw.items()}
        mean, log_variance = stream.generator.encode(features, said["attention"])
        assert torch.allclose(said["mean"], mean, atol=1e-6)
        around_mean = stream.generator.decode(mean + (log_variance / 2).exp(), said["attention"])
        assert torch.allclose(said["reconstructed"], around_mean, atol=1e-6)
        prior = (said["attention"] + 1)[:, None].expand_as(mean)
        assert torch.allclose(said["drawn"], stream.generator.decode(prior, said["attention"]), atol=1e-6)
        weights = said["attention"][:, None]
        for name, share in (("foreground", weights), ("background", (1 - weights) * some.mask[:, None])):
            mean_features = (features * share).sum(2) / share.sum(2)
            assert torch.allclose(said[name], stream.classify(mean_features), atol=1e-5)


def test_the_vae_of_dgam_teaches_attention_by_what_it_draws_alone() -> None:
    host, some = model("dgam"), batch()
    terms = host.loss(host(some), some)
    attention = [*host.streams[0].attention.parameters()]
    for name, learns in (("divergence", False), ("reconstruction", False), ("generative", True), ("guide", True)):
        grads = torch.autograd.grad(terms[f"0.{name}"].sum, attention, retain_graph=True, allow_unused=True)
        assert [grad is not None and bool(grad.abs().sum() > 0) for grad in grads] == [learns] * len(attention), name
    classes = [*host.streams[0].classify.parameters()]
    grads = torch.autograd.grad(terms["0.guide"].sum, classes, retain_graph=True, allow_unused=True)
    assert grads == (None, None)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_scores_carry_their_gradient_to_the_enhancer(name: str) -> None:
    """It is the enhancer that says whether they are constants in its loss."""
    host, some = model(name), batch()
    host.loss(host(some), some)
    enhancers = [stream.enhance for stream in host.streams] if name == "dgam" else [host.enhance]
    assert all(enhancer.given[0].requires_grad for enhancer in enhancers)
