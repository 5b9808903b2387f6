"""Imports point down only, from every place in every module, and what must start fast starts without torch."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("house", Path(__file__).with_name("house.py"))
assert _spec is not None
assert _spec.loader is not None
house = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(house)
ROOT, floor_of, imported, part_of = house.ROOT, house.floor_of, house.imported, house.part_of

WITHOUT_TORCH = (
    "errors",
    "segments",
    "grid",
    "timemap",
    "types",
    "formats",
    "postprocess",
    "evaluation",
    "report",
)
"""Parts. Of ``pipeline``, whose modules do what the commands do, each loads what its command needs."""
WITHOUT_NUMBA = ("errors", "segments", "grid", "timemap", "types", "formats")
HEAVY = ("torch", "numba", "matplotlib", "cv2")


MODULES = house.modules()


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


def test_every_part_stands_as_low_as_its_imports_allow() -> None:
    below = house.arrows(MODULES)
    for number, floor in enumerate(house.FLOORS[1:], start=1):
        for part in floor:
            assert any(floor_of(f"{ROOT}.{other}") == number - 1 for other in below[part]), part


def test_the_picture_of_the_floors_is_as_the_imports_are() -> None:
    assert house.PICTURE.read_text(encoding="utf-8") == house.draw(MODULES), (
        "python tests/architecture/house.py draws it anew"
    )


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


def test_the_page_on_the_architecture_names_what_exists() -> None:
    page = (house.CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = sorted(set(re.findall(r"`(untrimmed(?:\.\w+)+)`", page)))
    assert len(names) > 20
    for name in names:
        parts = name.split(".")
        module = max(
            (".".join(parts[:n]) for n in range(1, len(parts) + 1)), key=lambda each: (each in MODULES, len(each))
        )
        found = importlib.import_module(module)
        for part in name.removeprefix(module).split(".")[1:]:
            assert hasattr(found, part), name
            found = getattr(found, part)
    files = set(re.findall(r"`((?:src|tests|examples)/[\w./]+)`", page))
    assert [file for file in sorted(files) if not (house.CHECKOUT / file).exists()] == []
    assert {part for floor in house.FLOORS for part in floor} - set(re.findall(r"`(\w+)`", page)) == {
        "__main__",
        "notebook",
    }
