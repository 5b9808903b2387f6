"""Overlap is defined once, in ``segments.py``: everything else calls it, or compiles its kernel."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import untrimmed

SOURCE = Path(untrimmed.__file__).parent
HOME = SOURCE / "segments.py"

LESSER = {"min", "minimum", "fmin"}
GREATER = {"max", "maximum", "fmax"}
CLIPS = {"clip", "clamp"}


def called(node: ast.AST) -> str:
    """The bare name of what a call calls: ``np.minimum(a, b)`` is ``minimum``."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def is_bound(node: ast.AST, names: set[str], keyword: str) -> bool:
    """Whether a node takes the lesser (greater) of two things by call, or clips something from above (below)."""
    if called(node) in names:
        assert isinstance(node, ast.Call)
        return len(node.args) == 2
    return called(node) in CLIPS and keyword in {each.arg for each in node.keywords}  # type: ignore[attr-defined]


def overlaps(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines that look like a second definition: the lesser end minus the greater start, or a function whose name
    says IoU and that takes minima and maxima of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            if is_bound(node.left, LESSER, "max") and is_bound(node.right, GREATER, "min"):
                yield node.lineno, "subtracts the greater start from the lesser end"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "iou" in node.name.lower():
            inside = list(ast.walk(node))
            lesser = any(is_bound(each, LESSER, "max") for each in inside)
            greater = any(is_bound(each, GREATER, "min") for each in inside)
            if lesser and greater:
                yield node.lineno, f"{node.name} computes an overlap of its own"


def test_overlap_is_computed_in_one_module_only() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 10
    guilty = [
        f"{path.relative_to(SOURCE)}:{line}: {what}; call untrimmed.segments"
        for path in files
        if path != HOME
        for line, what in overlaps(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert guilty == []


def test_the_definition_itself_would_be_found() -> None:
    assert list(overlaps(ast.parse(HOME.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "code",
    [
        "shared = min(end_a, end_b) - max(start_a, start_b)",
        "x = np.minimum(e[:, None], f[None]) - np.maximum(s, t)",
        "x = torch.min(a, b) - torch.max(c, d)",
        "x = a.clamp(max=b) - c.clamp(min=d)",
        "def pairwise_iou(a, b):\n    left = np.maximum(a, b)\n    right = np.minimum(a, b)\n    return right - left",
    ],
)
def test_the_usual_ways_to_write_it_are_found(code: str) -> None:
    assert len(list(overlaps(ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "spread = values.max() - values.min()",
        "x = max(a, b) - min(a, b)",
        "x = min(values) - max(others)",
        "def mean_tiou(a, b):\n    return tiou(a, b).mean()",
    ],
)
def test_other_arithmetic_is_left_alone(code: str) -> None:
    assert list(overlaps(ast.parse(code))) == []
