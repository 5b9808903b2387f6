"""Nothing grows too large to be read in one sitting."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "untrimmed"
LIMITS = {"methods": 500, "pipeline": 320}
FILE, FUNCTION, AT_ROOT = 420, 85, 10


def too_large(folder: Path) -> list[str]:
    """Files and functions above their limits, in words."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        text, place = path.read_text(encoding="utf-8"), path.relative_to(folder)
        limit = LIMITS.get(place.parts[0], FILE)
        if (lines := len(text.splitlines())) > limit:
            found.append(f"{place}: {lines} lines, at most {limit}")
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        lengths = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
        found += [f"{place}: {name}: {long} lines, at most {FUNCTION}" for name, long in lengths if long > FUNCTION]
    return found


def test_files_and_functions_are_short() -> None:
    assert too_large(SOURCE) == []
    assert len(list(SOURCE.glob("*.py"))) <= AT_ROOT


def test_what_is_too_large_is_found(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "a.py").write_text("def f():\n" + "    pass\n" * 85 + "\n" * 300)
    (tmp_path / "b.py").write_text("def f():\n" + "    pass\n" * 84 + "\n" * 330)
    long = ["pipeline/a.py: 386 lines, at most 320", "pipeline/a.py: f: 86 lines, at most 85"]
    assert too_large(tmp_path) == long
