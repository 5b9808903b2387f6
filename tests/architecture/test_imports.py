"""Imports point down only, from every place in every module, and what must start fast starts without torch."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import untrimmed

SOURCE = Path(untrimmed.__file__).parent
ROOT = "untrimmed"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "notebook"),
    ("segments", "grid", "timemap", "types"),
    ("formats", "postprocess"),
    ("config", "cutting"),
    ("evaluation",),
    ("video",),
    ("backbones",),
    ("extract",),
    ("layers",),
    ("losses",),
    ("data",),
    ("methods",),
    ("training",),
    ("recipe",),
    ("inference",),
    ("export",),
    ("cluster",),
    ("report",),
    ("runs",),
    ("run_report",),
    ("demo",),
    ("cli",),
    ("__main__",),
)
"""From the ground up. A part may import from its own floor and from those below it."""

FACADE = len(FLOORS)
"""``untrimmed/__init__.py`` offers parts of every floor, lazily; nothing inside the package goes through it."""

WITHOUT_TORCH = (
    "errors",
    "segments",
    "grid",
    "timemap",
    "types",
    "formats",
    "postprocess",
    "cutting",
    "evaluation",
    "report",
)
WITHOUT_NUMBA = ("errors", "segments", "grid", "timemap", "types", "formats")
HEAVY = ("torch", "numba", "matplotlib", "cv2")


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module; a package goes by its own name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = (ROOT, *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """The modules of the package that a module names in an import anywhere in its file, with the line."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == ROOT:
                    yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            base = above[: len(above) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            if source.split(".")[0] != ROOT:
                continue
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                if inner in known:
                    yield inner, node.lineno
                elif (source, alias.name) != (ROOT, "__version__"):
                    yield source, node.lineno


def floor_of(module: str) -> int:
    """The number of a module's floor, from 0; a part that stands on none is an error."""
    if module == ROOT:
        return FACADE
    part = module.split(".")[1]
    for number, parts in enumerate(FLOORS):
        if part in parts:
            return number
    raise AssertionError(f"{module} stands on no floor: add '{part}' to FLOORS in {Path(__file__).name}")


def upward(known: dict[str, Path]) -> list[str]:
    """Every import that points up, in words."""
    return [
        f"{path.name}:{line}: {name} imports {target}, which stands above it"
        for name, path in known.items()
        for target, line in imported(name, path, known)
        if floor_of(target) > floor_of(name)
    ]


def circle(known: dict[str, Path]) -> list[str]:
    """Some circle of imports, the first module named again at its end; empty if there is none."""
    arrows = {
        name: sorted({to for to, _ in imported(name, path, known) if to in known}) for name, path in known.items()
    }
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for target in arrows[module]:
            if found := walk(target, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for module in arrows if (found := walk(module, []))), [])


def test_there_is_something_to_look_at() -> None:
    assert {"untrimmed", "untrimmed.cli", "untrimmed.types", "untrimmed.formats.io"} <= set(MODULES)
    assert sum(1 for name, path in MODULES.items() for _ in imported(name, path, MODULES)) > 50


def test_every_module_stands_on_a_floor() -> None:
    assert all(floor_of(module) >= 0 for module in MODULES)


def test_no_import_points_up() -> None:
    assert upward(MODULES) == []


def test_no_imports_go_in_a_circle() -> None:
    assert circle(MODULES) == []


def test_an_upward_import_and_a_circle_are_found(tmp_path: Path) -> None:
    texts = {
        "untrimmed.types": "def late():\n    from untrimmed.formats import io\n",
        "untrimmed.formats": "from .io import read\n",
        "untrimmed.formats.io": "import untrimmed.types\nfrom untrimmed import __version__\n",
        "untrimmed.errors": "from untrimmed import load_model\n",
    }
    known = {}
    for name, text in texts.items():
        file = tmp_path / name / ("__init__.py" if name == "untrimmed.formats" else "module.py")
        file.parent.mkdir()
        file.write_text(text)
        known[name] = file
    assert upward(known) == [
        "module.py:2: untrimmed.types imports untrimmed.formats.io, which stands above it",
        "module.py:1: untrimmed.errors imports untrimmed, which stands above it",
    ]
    assert circle(known) == ["untrimmed.types", "untrimmed.formats.io", "untrimmed.types"]
    with pytest.raises(AssertionError, match="add 'attic' to FLOORS"):
        floor_of("untrimmed.attic.chest")


@pytest.mark.parametrize(("parts", "banned"), [(WITHOUT_TORCH, "torch"), (WITHOUT_NUMBA, "numba")])
def test_the_lower_floors_name_no_heavy_module(parts: tuple[str, ...], banned: str) -> None:
    guilty = []
    for name, path in MODULES.items():
        if name == ROOT or name.split(".")[1] not in parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            guilty += [f"{name}:{node.lineno}" for each in named if each.split(".")[0] == banned]  # type: ignore[attr-defined]
    assert guilty == []


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(code: str, heavy: tuple[str, ...]) -> list[str]:
    """Which of the heavy modules a fresh interpreter has loaded after running some code."""
    out = run(f"import json, sys\n{code}\nprint(json.dumps([name for name in {heavy!r} if name in sys.modules]))")
    return list(json.loads(out.splitlines()[-1]))


def test_the_lower_floors_load_no_torch() -> None:
    names = [name for name in MODULES if name != ROOT and name.split(".")[1] in WITHOUT_TORCH]
    assert loaded_after(f"import importlib\nfor name in {names!r}: importlib.import_module(name)", ("torch",)) == []


def test_formats_load_no_numba() -> None:
    names = [name for name in MODULES if name != ROOT and name.split(".")[1] in WITHOUT_NUMBA]
    assert loaded_after(f"import importlib\nfor name in {names!r}: importlib.import_module(name)", ("numba",)) == []


def test_the_command_line_loads_nothing_heavy() -> None:
    assert loaded_after("import untrimmed.cli", HEAVY) == []


def test_no_help_page_loads_anything_heavy() -> None:
    code = f"""
import json, sys
from typer.main import get_command
from typer.testing import CliRunner
from untrimmed.cli import app
pages, guilty = [[]], []
pages += [[name] for name in get_command(app).commands]
for page in pages:
    result = CliRunner().invoke(app, [*page, "--help"])
    if result.exit_code:
        guilty.append([*page, "exit code", result.exit_code, str(result.exception)])
    guilty += [[*page, name] for name in {HEAVY!r} if name in sys.modules]
    if guilty:
        break
print(json.dumps([len(pages), guilty]))
"""
    pages, guilty = json.loads(run(code).splitlines()[-1])
    assert guilty == []
    assert pages > 1
