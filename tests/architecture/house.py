"""The parts of the package, the floors they stand on, and a picture of them, drawn from the imports.

python tests/architecture/house.py        # writes docs/architecture.svg
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = CHECKOUT / "src" / "untrimmed"
PICTURE = CHECKOUT / "docs" / "architecture.svg"
ROOT = "untrimmed"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "segments", "notebook"),
    ("grid", "timemap", "losses"),
    ("types", "layers", "video"),
    ("formats", "evaluation", "backbones"),
    ("config", "data", "postprocess", "report"),
    ("methods",),
    ("training",),
    ("pipeline",),
    ("demo",),
    ("cli",),
    ("__main__",),
)
"""From the ground up. A part may import from its own floor and from those below it."""

FACADE = len(FLOORS)
"""``untrimmed/__init__.py`` offers parts of every floor, lazily; nothing inside the package goes through it."""

OUTSIDE = ("_moved",)
"""Serves old names: it names modules, but imports them only when somebody else asks for one."""

_ACROSS = {
    **{"__main__": 3.0, "cli": 3.0, "demo": 3.0, "pipeline": 3.0, "training": 0.5, "methods": 0.5},
    **{"config": 2.0, "data": 1.0, "postprocess": 3.0, "report": 4.0},
    **{"formats": 2.5, "evaluation": 4.0, "backbones": 5.0, "types": 3.0, "layers": 0.0, "video": 5.0},
    **{"grid": 4.0, "timemap": 1.0, "losses": 0.0, "errors": 4.0, "segments": 2.0, "notebook": 3.0},
}
"""Where a part stands on its floor, in the picture: beside what it imports, so that few arrows cross."""

_BOX, _GAP, _ROW, _HEIGHT = 112, 28, 78, 34


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module; a package goes by its own name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = (ROOT, *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
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


def part_of(module: str) -> str:
    return module.split(".")[1]


def floor_of(module: str) -> int:
    """The number of a module's floor, from 0; a part that stands on none is an error."""
    if module == ROOT:
        return FACADE
    part = part_of(module)
    if part in OUTSIDE:
        return 0
    for number, parts in enumerate(FLOORS):
        if part in parts:
            return number
    raise AssertionError(f"{module} stands on no floor: add '{part}' to FLOORS in {Path(__file__).name}")


def arrows(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """Part -> the parts it imports from."""
    found: dict[str, set[str]] = {part: set() for floor in FLOORS for part in floor}
    for name, path in known.items():
        if name == ROOT or part_of(name) in OUTSIDE:
            continue
        for target, _ in imported(name, path, known):
            if target != ROOT and part_of(target) not in {part_of(name), *OUTSIDE}:
                found[part_of(name)].add(part_of(target))
    return found


def reduced(found: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that no way over other parts stands for."""

    def below(part: str) -> set[str]:
        reached, left = set[str](), list(found[part])
        while left:
            if (each := left.pop()) not in reached:
                reached.add(each)
                left += found[each]
        return reached

    return {
        part: {to for to in targets if not any(to in below(other) for other in targets if other != to)}
        for part, targets in found.items()
    }


def draw(known: Mapping[str, Path]) -> str:
    """The picture, SVG: floors from the ground up, an arrow from each part to those it imports."""
    pitch = _BOX + _GAP
    width, height = int(max(_ACROSS.values()) * pitch) + _BOX + 2 * _GAP, len(FLOORS) * _ROW + _GAP
    place = {
        part: (_GAP + _BOX / 2 + _ACROSS[part] * pitch, height - _GAP - number * _ROW - _HEIGHT / 2)
        for number, floor in enumerate(FLOORS)
        for part in floor
    }
    lines, boxes = [], []
    for part, targets in sorted(reduced(arrows(known)).items()):
        x, y = place[part]
        for to in sorted(targets):
            to_x, to_y = place[to]
            bottom, top = y + _HEIGHT / 2, to_y - _HEIGHT / 2 - 6
            bend = (top - bottom) / 2
            lines.append(
                f'<path d="M{x:.0f} {bottom:.0f}C{x:.0f} {bottom + bend:.0f} {to_x:.0f} {top - bend:.0f} '
                f'{to_x:.0f} {top:.0f}" marker-end="url(#tip)"/>'
            )
        boxes.append(
            f'<rect x="{x - _BOX / 2:.0f}" y="{y - _HEIGHT / 2:.0f}" width="{_BOX}" height="{_HEIGHT}" rx="4"/>'
            f'<text x="{x:.0f}" y="{y + 5:.0f}">{escape(part)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="14" text-anchor="middle">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n'
        '<marker id="tip" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#6b7a90"/></marker>\n'
        '<g fill="none" stroke="#6b7a90" stroke-width="1.2">\n' + "\n".join(lines) + "\n</g>\n"
        '<g fill="#eef2fb" stroke="#3f51b5">\n'
        + "\n".join(box.partition("<text")[0] for box in boxes)
        + '\n</g>\n<g fill="#1c2333">\n'
        + "\n".join("<text" + box.partition("<text")[2] for box in boxes)
        + "\n</g>\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(modules()), encoding="utf-8")
