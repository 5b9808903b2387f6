"""Script and style of the viewer: several small files in ``templates/viewer``, put into the page as one of each.

The scripts are plain ES modules. A page opened from a file cannot import modules from other files, so they are
written one after the other, each after those it imports from, into a single module; ``import`` and ``export`` are
dropped, and therefore every name stands at the top of one module only.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|let|function|class) )", re.MULTILINE)
_STYLES = ("layout.css", "lanes.css", "panels.css")


@cache
def script(entry: str = "main") -> str:
    """The viewer's script: the module of that name and all it imports, imported ones first.

    Raises:
        ValueError: if modules import each other in a circle, or in a form this bundler does not know.
    """
    done: dict[str, str] = {}
    _add(entry, done, ())
    return "\n".join(f"// ---- {name}.js\n{text}" for name, text in done.items())


@cache
def styles() -> str:
    """The viewer's style sheets, one after the other."""
    return "\n".join(_read(name) for name in _STYLES)


def _add(name: str, done: dict[str, str], above: tuple[str, ...]) -> None:
    if name in above:
        raise ValueError(f"modules import each other in a circle: {' -> '.join((*above, name))}")
    if name in done:
        return
    text = _read(f"{name}.js")
    for needed in _IMPORT.findall(text):
        _add(needed, done, (*above, name))
    plain = _EXPORT.sub("", _IMPORT.sub("", text))
    if left := re.search(r"^(?:import|export)\b.*", plain, re.MULTILINE):
        raise ValueError(f"{name}.js: {left[0]!r} is no import or export of a form that can be inlined")
    done[name] = plain


def _read(name: str) -> str:
    return (resources.files("untrimmed.report") / "templates" / "viewer" / name).read_text(encoding="utf-8")
