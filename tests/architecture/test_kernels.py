"""Compiled kernels hold no linear algebra: numba offers it only where SciPy is, which is not required."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import untrimmed

SOURCE = Path(untrimmed.__file__).parent
FROM_SCIPY = {"linalg", "dot", "vdot", "cov", "corrcoef", "roots"}


def kernels(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(
            re.search("njit|_compiled", ast.unparse(each)) for each in node.decorator_list
        ):
            yield node


def wants_scipy(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in FROM_SCIPY
    return isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult)


def test_the_search_finds_it() -> None:
    wrong = "@njit(cache=True)\ndef f(a, b):\n    {}\n"
    for line in ("return np.linalg.solve(a, b)", "return a @ b", "a @= b", "return a.dot(b)"):
        (kernel,) = kernels(ast.parse(wrong.format(line)))
        assert any(wants_scipy(node) for node in ast.walk(kernel))


def test_no_kernel_uses_linear_algebra() -> None:
    found = [
        (path, kernel)
        for path in sorted(SOURCE.rglob("*.py"))
        for kernel in kernels(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert len(found) > 20
    guilty = [
        f"{path.relative_to(SOURCE)}:{node.lineno}: {ast.unparse(node)}"
        for path, kernel in found
        for node in ast.walk(kernel)
        if wants_scipy(node)
    ]
    assert guilty == []
