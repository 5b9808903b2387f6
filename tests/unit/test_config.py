"""Configs: reading, overriding, and messages that help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from untrimmed import config
from untrimmed.errors import InputError


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    rate: float = 0.1
    names: tuple[str, ...] = ()


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["whole"] = "whole"


class Sliding(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["sliding"] = "sliding"
    stride: int


class Outer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    windows: Annotated[Whole | Sliding, Field(discriminator="kind")] = Whole()
    either: str | Inner = ""
    inner: Inner = Inner()
    maybe: Inner | None = None
    epochs: int = 3


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def test_overrides_change_nested_keys_and_are_parsed_as_yaml(tmp_path: Path) -> None:
    path = write(tmp_path, "epochs: 5\ninner:\n  rate: 1e-4\n")
    values = config.read(path, ["inner.rate=2e-3", "inner.names=[a, b]", "maybe.rate=.5"])
    settings = config.check(Outer, values, "c.yaml")
    assert settings.epochs == 5
    assert settings.inner.rate == 2e-3
    assert settings.inner.names == ("a", "b")
    assert settings.maybe == Inner(rate=0.5)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("1E5", 1e5), (".5", 0.5), ("-2.", -2.0), ("3", 3), ("2.5e-1", 0.25)]
)
def test_numbers_are_numbers(text: str, value: float) -> None:
    parsed = config.parse_yaml(f"a: {text}", "x")["a"]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["1.2.3", "v1e4x", "-", ".", "e5", "1:30"])
def test_texts_that_look_like_numbers_are_not_read_as_floats(text: str) -> None:
    assert not isinstance(config.parse_yaml(f"a: '{text}'\nb: x{text}", "x")["b"], float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "no key 'epoch' is known: did you mean 'epochs'"),
        ({"inner": {"rat": 1}}, "no key 'inner.rat' is known: did you mean 'rate'"),
        ({"maybe": {"nam": 1}}, "no key 'maybe.nam' is known: did you mean 'names'"),
        ({"windows": {"kind": "sliding", "strid": 1}}, "no key 'windows.strid' is known: did you mean 'stride'"),
        ({"windows": {"kind": "sliding"}}, "c.yaml: windows.stride field required"),
        ({"either": {"rat": 1}}, "no key 'either.rat' is known: did you mean 'rate'"),
        ({"either": [1]}, "c.yaml: either is [1]: input should be a valid string (and 1 more)"),
        ({"epochs": "many"}, "epochs is 'many': input should be a valid integer"),
        ({"epochs": {}, "inner": 3}, "(and 1 more)"),
    ],
)
def test_wrong_values_are_refused_with_their_place(values: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        config.check(Outer, values, "c.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("c.yaml: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3", "line 2 column 2"),
        ("a: 1\na: 2", "key 'a' occurs twice"),
        ("- 1\n- 2", "holds a list, expected a mapping"),
        ("", "holds a NoneType"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: \x07", "no YAML text"),
    ],
)
def test_files_that_are_no_configs(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        config.read(path)
    assert message in str(caught.value)
    assert "c.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train", "expected key.sub=value"),
        ("=3", "expected key.sub=value"),
        ("a..b=3", "expected key.sub=value"),
        ("epochs.x=3", "'epochs' is a value (5), not a section"),
        ("epochs=[1", "override 'epochs=[1'"),
    ],
)
def test_malformed_overrides(tmp_path: Path, override: str, message: str) -> None:
    path = write(tmp_path, "epochs: 5\n")
    with pytest.raises(InputError) as caught:
        config.read(path, [override])
    assert message in str(caught.value)


def test_a_missing_config_suggests_shipped_ones() -> None:
    with pytest.raises(InputError, match="neither a file nor a shipped config"):
        config.find("no/such")
