"""What every method and every shipped config must do: take a step, decode, survive saving and loading."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from untrimmed import config
from untrimmed.data.batch import Batch, Targets, collate
from untrimmed.data.dataset import multi_hot
from untrimmed.data.load_window import load_window
from untrimmed.data.proposals import VideoProposals
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.losses import total
from untrimmed.methods.catalog import METHODS, make_method, method_class
from untrimmed.methods.protocol import Method, StepDetections, needs_proposals
from untrimmed.pipeline import recipe
from untrimmed.pipeline.recipe import Recipe
from untrimmed.types import Instances, Video

SMALL: dict[str, dict[str, Any]] = {
    "basnet": {"hidden": 16, "filter_channels": 8, "dropout": 0.0, "enhance": {"name": "acgnet", "threshold": 0.5}},
    "bmn": {"channels": 16, "base_channels": 8, "matching_channels": 16, "map_channels": 8, "bins": 4},
    "bsn": {"channels": 16, "hidden": 16, "most_learned": 50},
    "cbr": {"lengths": [2, 4, 8], "hidden": 16, "dropout": 0.0, "encoded": 8, "kernel": 3},
    "dgam": {"warmup_epochs": 0.0, "attention_channels": 16, "hidden": 16, "latent": 8, "generative": 1.0},
    "dssad": {"base_channels": 16, "base_layers": 1, "channels": 16},
    "um": {"hidden": 16, "dropout": 0.0, "margin": 5.0},
    "tag": {"hidden": 16, "dropout": 0.0, "window_lengths": [2, 4, 8, 16], "smoothing": 1.0},
    "segtad": {"channels": 16, "dilations": [1, 2], "grid_step": 4, "proposal_channels": 16, "bins": 8, "seeds": 10},
    "ssn": {"dropout": 0.0, "offset_std": (0.1, 0.2)},
    "vsgn": {"channels": 16, "norm_groups": 4, "levels": 3, "anchor_sizes": [8.0, 12.0], "keep_best": True},
}
"""Settings that make each method small; a method without an entry fails the test that counts them."""

CLASSES = ("jump", "spin", "wave")
CHANNELS = 12
GRID = SnippetGrid(2, 1, 1)
WINDOWS = {"kind": "self_stitching", "length": 96, "short": 0.4, "gap": 6}
SLIDING = {"kind": "sliding", "length": 96, "stride": 48}
SEGMENTS = {"kind": "segments", "length": 64}
WHOLE = {"kind": "whole"}
WINDOWS_OF: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("basnet", "dgam", "um"), SEGMENTS),
    **dict.fromkeys(("bmn", "bsn", "cbr", "dssad", "segtad"), SLIDING),
    **dict.fromkeys(("ssn", "tag"), WHOLE),
}
"""Of methods that want other windows."""


def some_recipe(name: str) -> Recipe:
    return recipe.recipe_of(
        {
            "data": {"annotations": "a", "features": "f"},
            "windows": WINDOWS_OF.get(name, WINDOWS),
            "method": {"name": name, **SMALL[name]},
        },
        name,
    )


def batch_of(plan: Recipe, snippets: int, most: int = 3) -> Batch:
    """The first windows, for training, of a video of random features with an action of each class; with proposals, good
    and bad ones, for a method that judges them."""
    generator = np.random.default_rng(0)
    features = ArrayFeatures({"v": generator.normal(size=(snippets, CHANNELS)).astype(np.float32)}, GRID)
    seconds = GRID.steps_to_seconds(snippets)
    segments = np.array([[0.1, 0.2], [0.3, 0.5], [0.6, 0.66]]) * seconds
    video = Video("v", duration=seconds, instances=Instances(segments, CLASSES))
    windows = plan.windows.training(video, snippets, GRID, generator)[:most]
    assert windows
    occurring = multi_hot(np.arange(len(CLASSES) - 1), len(CLASSES))
    proposals = None
    if needs_proposals(method_class(plan.method["name"]), plan.method):
        around = np.repeat(segments, 5, axis=0) + generator.normal(scale=0.01 * seconds, size=(15, 2))
        rows = np.sort(np.concatenate([around, generator.uniform(0, seconds, size=(25, 2))]).clip(0, seconds), axis=1)
        proposals = VideoProposals(rows, np.linspace(0.9, 0.1, len(rows)))
    return collate(
        [load_window(each, features, labels=each.rows, video_labels=occurring, proposals=proposals) for each in windows]
    )


def step(model: torch.nn.Module, batch: Batch) -> float:
    """One step of plain gradient descent; the loss before it."""
    method: Any = model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loss = total(method.loss(model(batch), batch))
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def check_found(found: list[StepDetections], batch: Batch, classes: int) -> None:
    assert len(found) == len(batch)
    for each, time_map in zip(found, batch.maps, strict=True):
        count = len(each.scores)
        assert each.segments.shape == (count, 2)
        assert each.labels.shape == each.centers.shape == (count,)
        assert each.labels.dtype == torch.int64
        assert ((each.labels >= -1) & (each.labels < classes)).all()
        assert (each.segments[:, 0] < each.segments[:, 1]).all()
        assert ((each.scores >= 0) & (each.scores <= 1)).all()
        _, owner = time_map.segments_to_seconds(each.segments.numpy(), each.centers.numpy())
        assert (owner >= 0).all()


@pytest.fixture(params=sorted(METHODS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_method_has_small_settings_here() -> None:
    assert sorted(SMALL) == sorted(METHODS)


def test_a_method_learns_from_a_step_and_decodes(name: str) -> None:
    torch.manual_seed(0)
    plan = some_recipe(name)
    model = make_method(name, SMALL[name], CHANNELS, len(CLASSES))
    assert isinstance(model, Method)
    assert isinstance(model, torch.nn.Module)
    batch = batch_of(plan, 80)
    losses = []
    for _ in range(4):
        torch.manual_seed(1)  # what a method draws is the same in every step
        losses.append(step(model, batch))
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    model.eval()
    with torch.no_grad():
        found = model.decode(model(batch), batch)
    assert any(len(each.scores) for each in found)
    check_found(found, batch, len(CLASSES))


AHEAD = sorted(name for name in METHODS if hasattr(method_class(name), "counts"))


def test_only_methods_whose_counts_depend_on_what_they_say_do_not_say_them_ahead() -> None:
    # Positives of D-SSAD and VSGN are found among the segments they say, those of CBR among what its proposal stage
    # says; the generators judge what they have proposed.
    assert sorted(set(METHODS) - set(AHEAD)) == ["bmn", "bsn", "cbr", "dssad", "tag", "vsgn"]


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("name", AHEAD)
def test_counts_said_ahead_are_those_of_the_loss(name: str, blind: bool) -> None:
    """Of several batches, one after the other, with the same random numbers; also without instances and labels."""
    torch.manual_seed(0)
    model: Any = make_method(name, SMALL[name], CHANNELS, len(CLASSES)).train()
    batches = [batch_of(some_recipe(name), snippets) for snippets in (80, 200, 37)]
    if blind:
        batches = [without_truth(batch) for batch in batches]
    state = torch.get_rng_state()
    ahead = [model.counts(batch) for batch in batches]
    torch.set_rng_state(state)
    found = [model.loss(model(batch), batch) for batch in batches]
    for said, terms in zip(ahead, found, strict=True):
        assert {key: float(count) for key, count in said.items()} == {
            key: float(term.count) for key, term in terms.items()
        }


def without_truth(batch: Batch) -> Batch:
    assert batch.video_labels is not None
    nothing = (Targets.empty(),) * len(batch)
    return replace(batch, targets=nothing, video_labels=torch.zeros_like(batch.video_labels))


def test_saved_and_loaded_it_says_the_same(name: str) -> None:
    torch.manual_seed(0)
    batch = batch_of(some_recipe(name), 80)
    model = make_method(name, SMALL[name], CHANNELS, len(CLASSES))
    step(model, batch)
    copy = make_method(name, SMALL[name], CHANNELS, len(CLASSES))
    copy.load_state_dict(load(save(model.state_dict())))
    model.eval(), copy.eval()
    with torch.no_grad():
        left, right = model(batch), copy(batch)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_raw_is_flat_and_finite_and_targets_are_not_looked_at(name: str) -> None:
    torch.manual_seed(0)
    batch = batch_of(some_recipe(name), 80)
    model = make_method(name, SMALL[name], CHANNELS, len(CLASSES)).eval()
    blind = without_truth(batch)
    with torch.no_grad():
        raw, other = model(batch), model(blind)
    assert all(isinstance(value, torch.Tensor) and torch.isfinite(value).all() for value in raw.values())
    assert all(torch.equal(raw[key], other[key]) for key in raw)


def test_an_unknown_setting_is_refused_with_a_hint(name: str) -> None:
    key = next(iter(SMALL[name]))
    with pytest.raises(InputError, match=f"did you mean '{key}'"):
        make_method(name, {f"{key}x": 1}, CHANNELS, len(CLASSES))


CONFIGS = config.shipped()


WEAK = [
    f"{data}/{host}{enhancer}"
    for data in ("activitynet12", "demo", "sbhar_cut", "thumos14")
    for host in ("basnet", "dgam", "um")
    for enhancer in ("", "+acgnet")
]


def test_configs_are_as_many_as_are_known_to_be_shipped() -> None:
    strong = [name for name in CONFIGS if name not in WEAK]
    assert sorted(set(WEAK) - set(CONFIGS)) == []
    assert sorted(strong) == [
        "activitynet13/bmn",
        "activitynet13/bsn",
        "activitynet13/segtad",
        "activitynet13/ssn",
        "activitynet13/ssn+gcm",
        "activitynet13/ssn+gcm+labels",
        "activitynet13/tag",
        "activitynet13/vsgn",
        "demo/bmn",
        "demo/bsn",
        "demo/dssad",
        "demo/dssad+gcm",
        "demo/segtad",
        "demo/ssn",
        "demo/ssn+gcm",
        "demo/tag",
        "demo/vsgn",
        "hacs/segtad",
        "sbhar/bmn",
        "sbhar/bsn",
        "sbhar/cbr",
        "sbhar/cbr+gcm",
        "sbhar/dssad",
        "sbhar/dssad+gcm",
        "sbhar/segtad",
        "sbhar/ssn",
        "sbhar/ssn+gcm",
        "sbhar/tag",
        "sbhar/vsgn",
        "thumos14/bmn",
        "thumos14/bsn",
        "thumos14/cbr",
        "thumos14/cbr+gcm",
        "thumos14/dssad",
        "thumos14/dssad+gcm",
        "thumos14/pgcn",
        "thumos14/ssn",
        "thumos14/ssn+gcm",
        "thumos14/tag",
        "thumos14/vsgn",
    ]


@pytest.mark.parametrize("shipped", sorted(CONFIGS))
def test_a_shipped_config_builds_takes_a_step_and_decodes(shipped: str) -> None:
    torch.manual_seed(0)
    plan = recipe.load(shipped)
    settings = dict(plan.method)
    model = make_method(settings.pop("name"), settings, CHANNELS, len(CLASSES))
    batch = batch_of(plan, 600, most=1)
    assert np.isfinite(step(model, batch))
    model.eval()
    with torch.no_grad():
        check_found(model.decode(model(batch), batch), batch, len(CLASSES))  # type: ignore[operator]


@pytest.mark.parametrize("shipped", sorted(CONFIGS))
def test_a_shipped_config_opens_with_where_it_comes_from(shipped: str) -> None:
    lines = CONFIGS[shipped].read_text(encoding="utf-8").splitlines()
    header = "\n".join(line for line in lines[: lines.index("")])
    assert all(line.startswith("#") for line in lines[: lines.index("")])
    for key in ("Paper:", "Command:", "Published:", "Measured:", "Needs:"):
        assert f"# {key}" in header
    assert f"untrimmed train {shipped}" in header


@pytest.mark.parametrize("shipped", sorted(CONFIGS))
def test_no_warm_up_of_a_shipped_config_lasts_longer_than_its_training(shipped: str) -> None:
    plan = recipe.load(shipped)
    warmups = [plan.train.optim.warmup_epochs, plan.method.get("warmup_epochs"), plan.method.get("generative_warmup")]
    assert max(each or 0 for each in warmups) < plan.train.epochs


PUBLISHED = [name for name in WEAK if not name.startswith(("demo", "sbhar_cut"))]


@pytest.mark.parametrize("shipped", PUBLISHED)
def test_weak_configs_with_published_numbers_decode_as_the_released_code_does(shipped: str) -> None:
    plan = recipe.load(shipped)
    host, data = plan.method["name"], shipped.partition("/")[0]
    scoring = plan.method["scoring" if host == "dgam" else "proposals"]
    assert (scoring["align"], plan.windows.pick) == ("left", "left")
    assert (scoring["finer"], scoring["outer"]) == ({"basnet": 24, "um": 24, "dgam": 20}[host], 0.25)
    assert scoring.get("thresholded", True)
    assert scoring["outer_weight"] == (0.6 if host == "dgam" else 1.0)
    (nms,) = plan.postprocess.nms
    assert nms.threshold == {"basnet": 0.7, "um": 0.6, "dgam": 0.5}[host]
    assert nms.extend == (None if host == "dgam" else 1)
    assert (plan.postprocess.keep, plan.postprocess.candidates, plan.postprocess.floor) == (None, None, None)
    steps = {
        "thumos14/basnet": (750, None, None),
        "thumos14/um": (750, 1, None),
        "thumos14/dgam": (400, 50, None),
        "activitynet12/basnet": (750, None, None),
        "activitynet12/um": (50, 1, None),
        "activitynet12/dgam": (400, 2, 200),
    }[f"{data}/{host}"]
    if shipped.endswith("um+acgnet"):
        steps = (400, 1, None)  # T of ACGNet's authors
    assert (plan.windows.length, plan.windows.least, plan.windows.most) == steps
    if "acgnet" in shipped:
        enhance = plan.method["enhance"]
        expected = (50, None) if host == "basnet" else (40, 400)
        assert (enhance["neighbours"], enhance["neighbours_of"]) == expected
