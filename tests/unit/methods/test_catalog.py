"""The catalog: names, configs and messages."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from pydantic import BaseModel
from torch import nn

from untrimmed.errors import InputError
from untrimmed.methods import catalog
from untrimmed.methods.catalog import METHODS, make_method, method_class, method_config, method_title
from untrimmed.methods.dense.vsgn import VSGN, Config


def test_every_name_leads_to_a_class_with_a_frozen_config() -> None:
    assert METHODS
    for name in METHODS:
        assert isinstance(method_class(name), type)
        assert method_config(name).model_config["frozen"]
        assert method_config(name).model_config["extra"] == "forbid"


def test_listing_names_loads_no_torch() -> None:
    code = "import sys, untrimmed.methods.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_method_is_made_from_a_mapping_or_from_a_config() -> None:
    small = {"channels": 8, "norm_groups": 2, "levels": 2}
    first = make_method("vsgn", small, channels=5, classes=3)
    second = make_method("vsgn", method_config("vsgn", small), channels=5, classes=3)
    assert isinstance(first, VSGN)
    assert isinstance(second, VSGN)
    assert first.config == second.config == Config(channels=8, norm_groups=2, levels=2)


@pytest.mark.parametrize(
    ("name", "config", "size", "message"),
    [
        ("vsng", {}, (5, 3), "there is no method 'vsng': did you mean 'vsgn'"),
        ("vsgn", {"neighbors": 3}, (5, 3), "no key 'neighbors' is known: did you mean 'neighbours'"),
        ("vsgn", {"neighbours": 0}, (5, 3), "neighbours is 0: input should be greater than or equal to 1"),
        ("vsgn", {"channels": 10, "norm_groups": 4}, (5, 3), "norm_groups is 4, expected a divisor of channels"),
        ("vsgn", {"graph_levels": [6]}, (5, 3), "graph_levels holds 6, expected levels from 1 to 5"),
        ("vsgn", {"anchor_sizes": [0.0]}, (5, 3), "expected lengths above 0"),
        ("vsgn", {}, (0, 3), "channels is 0, expected at least 1"),
        ("vsgn", {}, (5, 0), "classes is 0, expected at least 1"),
    ],
)
def test_what_does_not_fit_is_said(name: str, config: dict[str, object], size: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make_method(name, config, *size)
    assert message in str(caught.value)


def test_titles() -> None:
    assert method_title({"name": "segtad", "channels": 4}) == "SegTAD"
    assert method_title({"name": "um", "enhance": {"name": "acgnet"}}) == "UM + ACGNet"
    assert method_title({"name": "um", "enhance": None}) == "UM"


class Settings(BaseModel):
    width: int = 2


class Mine(nn.Module):
    Config = Settings

    def __init__(self, config: Settings, channels: int, classes: int) -> None:
        super().__init__()
        self.shape = config.width, channels, classes


def test_a_method_of_ones_own_is_named_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "METHODS", dict(METHODS))
    monkeypatch.setattr(catalog, "_own", {})
    with pytest.raises(InputError, match="there is no method 'mine'"):
        make_method("mine", {}, 5, 3)
    catalog.register("mine", Mine, family="weak")
    made = make_method("mine", {"width": 7}, 5, 3)
    assert isinstance(made, Mine)
    assert made.shape == (7, 5, 3)
    assert catalog.family_of("mine") == "weak"
    assert "mine" in catalog.of_family("weak")
    assert method_title({"name": "mine"}) == "Mine"
    with pytest.raises(InputError, match="method mine: width is 'wide'"):
        make_method("mine", {"width": "wide"}, 5, 3)


def test_what_is_no_method_is_not_registered() -> None:
    with pytest.raises(InputError, match="family is 'strong'"):
        catalog.register("mine", Mine, family="strong")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Linear has no `Config`"):
        catalog.register("mine", nn.Linear)


def test_a_package_offers_methods_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", f"{VSGN.__module__}:VSGN", "untrimmed.methods")
    monkeypatch.setattr(catalog, "METHODS", dict(METHODS))
    monkeypatch.setattr(catalog, "entry_points", lambda group: [point] if group == "untrimmed.methods" else [])
    assert method_class("theirs") is VSGN
    assert catalog.family_of("theirs") == "dense"
