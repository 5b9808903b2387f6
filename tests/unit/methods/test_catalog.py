"""The catalog: names, configs and messages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from untrimmed.errors import InputError
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
