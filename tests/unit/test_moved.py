"""Names that moved still work for a release, and say where they are."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

import untrimmed
from untrimmed._moved import PLACES, RENAMED, renamed, renamed_arguments
from untrimmed.errors import InputError


@pytest.mark.parametrize("old", sorted(PLACES))
def test_an_old_module_hands_out_what_its_successors_have(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is untrimmed.* now"):
        module = importlib.import_module(old)
    for place in PLACES[old]:
        successor = importlib.import_module(place)
        own = [name for name, value in vars(successor).items() if getattr(value, "__module__", None) == place]
        assert own
        assert all(getattr(module, name) is getattr(successor, name) for name in own)
    for name, now in RENAMED.get(old, {}).items():
        assert getattr(module, name) is getattr(module, now)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_an_old_module_does_not_hide_the_function_of_its_name() -> None:
    sys.modules.pop("untrimmed.extract", None)
    with pytest.warns(DeprecationWarning, match=r"untrimmed.extract is"):
        importlib.import_module("untrimmed.extract")
    with pytest.raises(InputError, match="no such file or folder"):
        untrimmed.extract("absent", out="features")
    del untrimmed.extract


def test_other_modules_are_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("untrimmed.nothing")


def test_a_renamed_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("some")
    module.__dict__.update(new=3, __getattr__=renamed("some", {"old": "new"}))
    monkeypatch.setitem(sys.modules, "some", module)
    with pytest.warns(DeprecationWarning, match=r"some.old is some.new now"):
        assert module.old == 3
    with pytest.raises(AttributeError, match="has no attribute 'other'"):
        module.other  # noqa: B018


def test_arguments_that_were_renamed() -> None:
    @renamed_arguments(say="log")
    def work(value: int, log: str = "") -> tuple[int, str]:
        """Works."""
        return value, log

    assert work(1, log="a") == (1, "a")
    assert work.__doc__ == "Works."
    with pytest.warns(DeprecationWarning, match=r"work\(say=...\) is work\(log=...\) now"):
        assert work(2, say="b") == (2, "b")  # type: ignore[call-arg]


def test_names_that_changed_where_they_stand() -> None:
    for module, old, new in (
        ("untrimmed.losses", "Term", "LossTerm"),
        ("untrimmed.layers.pyramid", "SideBySide", "PackedLevels"),
        ("untrimmed.evaluation", "Oddities", "Notes"),
        ("untrimmed.evaluation.false_positives", "KINDS", "ERROR_TYPES"),
        ("untrimmed.training.loop", "Watcher", "Callbacks"),
        ("untrimmed.formats.features", "FeatureWriter", "untrimmed.formats.feature_writer.FeatureWriter"),
    ):
        place, _, name = new.rpartition(".")
        with pytest.warns(DeprecationWarning, match=f"{module}.{old} is "):
            found = getattr(importlib.import_module(module), old)
        assert found is getattr(importlib.import_module(place or module), name)
