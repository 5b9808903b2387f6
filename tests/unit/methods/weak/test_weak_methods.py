"""BaS-Net, UM and DGAM: what they say of a padded batch, their losses by loops, and that no video is lost."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from untrimmed.data.batch import Batch, Targets
from untrimmed.errors import InputError
from untrimmed.layers.activation import smoothed
from untrimmed.losses import total
from untrimmed.methods.catalog import make_method
from untrimmed.methods.weak.basnet import BaSNet
from untrimmed.methods.weak.dgam import DGAM
from untrimmed.methods.weak.um import UM
from untrimmed.timemap import TimeMap
from untrimmed.training.optim import AlternatingStep, make_step
from untrimmed.training.settings import OptimSettings, TrainSettings

CHANNELS, CLASSES, STEPS = 8, 3, 40
ACGNET = {"name": "acgnet", "threshold": 0.3, "neighbours": 4, "diffusion": 3}
SMALL: dict[str, dict[str, Any]] = {
    "basnet": {"hidden": 12, "filter_channels": 6},
    "um": {"hidden": 12, "margin": 5.0},
    "dgam": {"attention_channels": 6, "hidden": 8, "latent": 4, "warmup_epochs": 2.0},
}
HOSTS = sorted(SMALL)


def model(name: str, acgnet: bool = False, seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    enhance = {"enhance": ACGNET} if acgnet else {}
    return make_method(name, {**SMALL[name], **enhance, **changes}, CHANNELS, CLASSES)


def batch(lengths: tuple[int, ...] = (STEPS, 23, 9), seed: int = 0, scale: float = 1.0) -> Batch:
    steps = max(lengths)
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    features = torch.randn(len(lengths), CHANNELS, steps, generator=torch.Generator().manual_seed(seed)) * scale
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])[: len(lengths)]
    return Batch(
        features * mask[:, None],
        mask.to(torch.uint8),
        (Targets.empty(),) * len(lengths),
        tuple(TimeMap.linear(length, 0.0, float(length)) for length in lengths),
        tuple(f"v{number}" for number in range(len(lengths))),
        labels,
    )


def one(of: Batch, row: int) -> Batch:
    length = int(of.mask[row].sum())
    assert of.video_labels is not None
    return Batch(
        of.features[row : row + 1, :, :length],
        of.clip[row : row + 1, :length],
        of.targets[row : row + 1],
        of.maps[row : row + 1],
        of.video_ids[row : row + 1],
        of.video_labels[row : row + 1],
    )


@pytest.mark.parametrize("acgnet", [False, True])
@pytest.mark.parametrize("name", HOSTS)
@torch.no_grad()
def test_a_batch_of_padded_videos_equals_the_videos_one_by_one(name: str, acgnet: bool) -> None:
    host, together = model(name, acgnet).eval(), batch()
    raw = host(together)
    terms = host.loss(raw, together)
    found, curves = host.decode(raw, together), host.curves(raw, together)
    sums = dict.fromkeys(terms, 0.0)
    for row in range(3):
        own = one(together, row)
        alone = host(own)
        for key, term in host.loss(alone, own).items():
            sums[key] += float(term.sum)
        (mine,) = host.decode(alone, own)
        assert len(mine.scores) == len(found[row].scores) > 0
        assert torch.allclose(mine.scores, found[row].scores, atol=1e-4)
        (shown,) = host.curves(alone, own)
        for key, curve in shown.items():
            assert torch.allclose(curve, curves[row][key][: len(curve)], atol=1e-4)
            assert curves[row][key][len(curve) :].eq(0).all()
    for key, term in terms.items():
        assert float(term.sum) == pytest.approx(sums[key], rel=1e-3, abs=1e-4), key


@pytest.mark.parametrize("name", HOSTS)
@torch.no_grad()
def test_curves_have_the_names_and_range_they_should(name: str) -> None:
    host, together = model(name).eval(), batch()
    for curves in host.curves(host(together), together):
        assert set(curves) == {"class 0", "class 1", "class 2", "attention"}
        assert all(curve.shape == (STEPS,) and curve.dtype == torch.float32 for curve in curves.values())
        assert all(((curve >= 0) & (curve <= 1)).all() for curve in curves.values())


@pytest.mark.parametrize("label", range(CLASSES))
@pytest.mark.parametrize("name", HOSTS)
@torch.no_grad()
def test_a_video_of_one_class_keeps_its_detections_also_of_the_first_class(name: str, label: int) -> None:
    host, single = model(name).eval(), batch((STEPS,))
    raw = host(single)
    peak = torch.exp(-((torch.arange(STEPS) - 20) ** 2) / 20.0)
    for key, value in raw.items():
        if key in ("base", "suppressed", "activations") or key.endswith(".activations"):
            value.zero_()
            value[0, label] = 9 * peak
        if key == "attention" or key.endswith(".attention"):
            value[0] = peak
        if key.endswith(".foreground"):
            value.zero_()
            value[0, label] = 9
    if name == "um":
        raw |= {"magnitude": peak[None] * 4, "high": torch.tensor([3.0]), "low": torch.tensor([0.1])}
    (found,) = host.decode(raw, single)
    assert len(found.scores)
    assert set(found.labels.tolist()) == {label}
    start, end = found.segments[0].tolist()
    assert start < 20.5 < end


@pytest.mark.parametrize("name", HOSTS)
@torch.no_grad()
def test_class_scores_count_as_they_are(name: str) -> None:
    """A class barely above the threshold adds less to its segments than one far above."""
    key = "scoring" if name == "dgam" else "proposals"
    weighed, bare = (model(name, **{key: {"class_weight": w}, "class_threshold": 0.0}).eval() for w in (1.0, 0.0))
    single = batch((STEPS,), scale=2.0)
    raw = weighed(single)
    (with_class,), (without,) = weighed.decode(raw, single), bare.decode(raw, single)
    added: dict[int, set[float]] = {}
    for segment, score, label in zip(with_class.segments, with_class.scores, with_class.labels, strict=True):
        same = (without.segments == segment).all(1) & (without.labels == label) & (without.scores > 0)
        for other in without.scores[same]:
            added.setdefault(int(label), set()).add(round(2 * float(score) - float(other), 3))
    common = [min(values) for values in added.values()]
    assert len(common) > 1
    assert len(set(common)) > 1
    assert all(0 < value < 1 for value in common)


@pytest.mark.parametrize("name", HOSTS)
def test_without_video_labels_nothing_can_be_learned(name: str) -> None:
    host, some = model(name), batch()
    blind = Batch(some.features, some.clip, some.targets, some.maps, some.video_ids)
    with pytest.raises(InputError, match="no video labels of v0, v1, v2"):
        host.loss(host(blind), blind)
    other = Batch(some.features, some.clip, some.targets, some.maps, some.video_ids, torch.ones(3, 5))
    with pytest.raises(InputError, match=r"shape \(3, 5\), expected \(B, 3\)"):
        host.loss(host(other), other)


@pytest.mark.parametrize("acgnet", [False, True])
@pytest.mark.parametrize("name", HOSTS)
def test_zero_features_give_finite_losses_and_gradients(name: str, acgnet: bool) -> None:
    host, some = model(name, acgnet), batch(scale=0.0)
    loss = total(host.loss(host(some), some))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(each.grad).all() for each in host.parameters() if each.grad is not None)


@pytest.mark.parametrize("name", HOSTS)
def test_every_parameter_learns_and_labels_of_videos_are_all_it_sees(name: str) -> None:
    host, some = model(name, True), batch()
    total(host.loss(host(some), some)).backward()
    assert [key for key, each in host.named_parameters() if each.grad is None] == []


# --- each on its own ---------------------------------------------------------------------------------------------


@torch.no_grad()
def test_losses_of_basnet_by_loops() -> None:
    host, some = model("basnet").eval(), batch()
    assert isinstance(host, BaSNet)
    raw = host(some)
    terms = host.loss(raw, some)

    def branch(values: Tensor, background: float) -> tuple[float, int]:
        losses, known = 0.0, 0
        for row, length in enumerate((STEPS, 23, 9)):
            count = max(1, length // 8)
            pooled = values[row, :, :length].sort(1, descending=True).values[:, :count].mean(1).softmax(0)
            assert some.video_labels is not None
            labels = torch.cat((some.video_labels[row], torch.tensor([background])))
            if labels.sum() == 0:
                continue
            target = labels / labels.sum()
            losses += float(-(target * pooled.log() + (1 - target) * (1 - pooled).log()).mean())
            known += 1
        return losses, known

    for key, background, videos in (("base", 1.0, 3), ("suppressed", 0.0, 2)):
        expected, known = branch(raw[key], background)
        assert known == videos == float(torch.as_tensor(terms[key].count))
        assert float(terms[key].sum) == pytest.approx(expected, rel=1e-4)
    assert float(terms["sparsity"].sum) == pytest.approx(float(raw["attention"].sum()))


@torch.no_grad()
def test_pseudo_action_and_background_of_um_by_loops() -> None:
    host, some = model("um").eval(), batch()
    assert isinstance(host, UM)
    raw = host(some)
    embedded = torch.relu(host.embed(some.features)) * some.mask[:, None]
    for row, length in enumerate((STEPS, 23, 9)):
        magnitude = embedded[row, :, :length].norm(dim=0)
        order = magnitude.argsort(descending=True)
        high, low = order[: max(1, length // 9)], order[-max(1, length // 4) :]
        assert torch.allclose(raw["action"][row], embedded[row][:, high].mean(1), atol=1e-5)
        assert torch.allclose(raw["background"][row], embedded[row][:, low].mean(1), atol=1e-5)
        assert float(raw["high"][row]) == pytest.approx(float(magnitude[high].mean()), rel=1e-4)
        activations = host.classify(embedded)[row][:, low].mean(1)
        assert torch.allclose(raw["background_classes"][row], activations, atol=1e-5)


def test_terms_of_dgam_by_loops() -> None:
    host, some = model("dgam"), batch()
    assert isinstance(host, DGAM)
    raw = {name: value.detach() for name, value in host(some).items()}
    terms = host.loss(raw, some)
    assert some.video_labels is not None
    for s in ("0.", "1."):
        sums = dict.fromkeys(("divergence", "reconstruction", "generative"), 0.0)
        for row, length in enumerate((STEPS, 23, 9)):
            part = slice(0, length)
            mean, spread = raw[s + "mean"][row][:, part], raw[s + "log_variance"][row][:, part].exp()
            ours = torch.distributions.Normal(mean, spread.sqrt())
            prior = torch.distributions.Normal(raw[s + "attention"][row, part].expand_as(mean), 1.0)
            sums["divergence"] += float(torch.distributions.kl_divergence(ours, prior).sum())
            for name, drawn in (("reconstruction", "reconstructed"), ("generative", "drawn")):
                apart = raw[s + drawn][row][:, part] - raw[s + "features"][row][:, part]
                sums[name] += float(apart.square().sum())
        for name, value in sums.items():
            assert float(terms[s + name].sum) == pytest.approx(value, rel=1e-4)
        pooled = raw[s + "foreground"].log_softmax(1)
        expected = -float(pooled[0, 0]) - float(pooled[1, 1] + pooled[1, 2]) / 2
        assert float(terms[s + "foreground"].sum) == pytest.approx(expected, rel=1e-4)
        outside = -float(raw[s + "background"].log_softmax(1)[:, -1].sum())
        assert float(terms[s + "background"].sum) == pytest.approx(outside, rel=1e-4)
        shares = smoothed(raw[s + "activations"].softmax(1), some.mask, 1.0)
        action = (shares[:, :CLASSES] * some.video_labels[:, :, None]).amax(1)
        apart = (raw[s + "attention"] - action).abs() + (raw[s + "attention"] - 1 + shares[:, CLASSES]).abs()
        assert float(terms[s + "guide"].sum) == pytest.approx(float((apart * some.mask).sum()), rel=1e-4)


def test_smoothing_by_loops() -> None:
    values, mask = torch.rand(2, 3, 9), torch.arange(9) < torch.tensor([[9], [4]])
    found = smoothed(values, mask, 1.5)
    for row, length in enumerate((9, 4)):
        for step in range(9):
            weights = torch.tensor(
                [0.0 if abs(o - step) > 5 else -((o - step) ** 2) / 4.5 for o in range(length)]
            ).exp()
            near = torch.tensor([abs(o - step) <= 5 for o in range(length)])
            expected = (values[row, :, :length] * weights * near).sum(1) / (weights * near).sum()
            assert torch.allclose(found[row, :, step], expected if step < length else torch.zeros(3), atol=1e-5)


def test_phases_of_dgam_part_the_parameters_and_the_terms() -> None:
    host, some = model("dgam", True), batch()
    vae, rest = host.phases(1.0)
    assert {*map(id, vae.parameters), *map(id, rest.parameters)} == {*map(id, host.parameters())}
    assert len(vae.parameters) + len(rest.parameters) == len(list(host.parameters()))
    terms = host.loss(host(some), some)
    assert "0.epm" in terms
    for name in terms:
        factors = [phase.factor(name) for phase in (vae, rest)]
        assert factors.count(None) == 1, name
    assert vae.factor("0.divergence") == rest.factor("1.generative") == 0.5
    assert rest.factor("0.foreground") == rest.factor("0.epm") == 1.0


def test_dgam_is_trained_in_turn() -> None:
    host, some = model("dgam"), batch()
    step = make_step(host, TrainSettings(optim=OptimSettings(name="adam", lr=1e-2)))
    assert isinstance(step, AlternatingStep)
    first = {name: value.clone() for name, value in host.named_parameters()}
    values = [step([some], 2.0) for _ in range(30)]
    assert all(not torch.equal(first[name], value) for name, value in host.named_parameters())
    for term in ("0.foreground", "0.reconstruction", "1.reconstruction"):
        assert values[-1][term] < values[0][term]


def test_streams_of_dgam_are_halves_of_the_features() -> None:
    host = model("dgam").eval()
    some = batch()
    changed = Batch(some.features.clone(), some.clip, some.targets, some.maps, some.video_ids, some.video_labels)
    changed.features[:, CHANNELS // 2 :] *= 3
    with torch.no_grad():
        before, after = host(some), host(changed)
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith("0."))
    assert not torch.equal(before["1.attention"], after["1.attention"])
    with pytest.raises(InputError, match="7 channels cannot be halved"):
        make_method("dgam", SMALL["dgam"], 7, CLASSES)


@torch.no_grad()
def test_activations_of_dgam_are_those_of_the_weights_alone() -> None:
    """The classifier's bias tells classes of whole videos apart, not steps."""
    host, some = model("dgam", streams=[{}]).eval(), batch()
    classify = host.streams[0].classify
    classify.weight.zero_()
    classify.bias.copy_(torch.tensor([0.0, 3.0, 0.0, 0.0]))
    raw = host(some)
    assert raw["0.activations"].eq(0).all()
    assert raw["0.foreground"].softmax(1)[:, 1].gt(0.8).all()
    classify.weight.normal_()
    biased = host(some)
    classify.bias.zero_()
    assert torch.equal(host(some)["0.activations"], biased["0.activations"])


def test_one_setting_of_scores_leaves_the_others_of_dgam_as_they_are() -> None:
    assert model("dgam", scoring={"class_weight": 0.0}).config.scoring.outer_weight == 0.6


def test_the_attention_of_dgam_may_have_a_warm_up_of_its_own() -> None:
    vae, rest = model("dgam", warmup_epochs=4.0, generative_warmup=0.0).phases(1.0)
    assert (vae.factor("0.reconstruction"), rest.factor("0.generative")) == (0.25, 1.0)
    vae, rest = model("dgam", warmup_epochs=4.0, generative_warmup=2.0).phases(1.0)
    assert (vae.factor("0.reconstruction"), rest.factor("0.generative")) == (0.25, 0.5)


@pytest.mark.parametrize("name", HOSTS)
def test_a_step_in_half_precision(name: str) -> None:
    host, some = model(name, True), batch()
    settings = TrainSettings(precision="bf16", optim=OptimSettings(name="sgd", lr=1e-2))
    values = [make_step(host, settings)([some], 1.0) for _ in range(2)]
    assert all(math.isfinite(value) for each in values for value in each.values())


@pytest.mark.parametrize("name", HOSTS)
def test_accumulated_steps_equal_one_large_step(name: str) -> None:
    """Counts are added over micro-batches before anything is divided."""
    changes: dict[str, Any] = {} if name == "dgam" else {"dropout": 0.0}  # DGAM draws z, so its VAE differs
    settings = TrainSettings(optim=OptimSettings(name="sgd", lr=1e-2, momentum=0, weight_decay=0))
    whole, parts = model(name, True, **changes), model(name, True, **changes)
    some = batch()
    make_step(whole, settings)([some], 0.0)
    make_step(parts, settings)([one(some, 0), one(some, 1), one(some, 2)], 0.0)
    for (key, ours), theirs in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5), key
