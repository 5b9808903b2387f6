"""Names that moved, kept for one release: the old one still works, and says in a warning where it is now."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

PLACES: dict[str, tuple[str, ...]] = {
    "untrimmed.cli.light": ("untrimmed.cli.lazy_imports",),
    "untrimmed.cli.sources": ("untrimmed.pipeline.sources",),
    "untrimmed.cluster": ("untrimmed.pipeline.cluster", "untrimmed.pipeline.detect"),
    "untrimmed.cutting": ("untrimmed.pipeline.cut",),
    "untrimmed.data.materialise": ("untrimmed.data.load_window",),
    "untrimmed.evaluation.judgement": ("untrimmed.evaluation.error_analysis",),
    "untrimmed.evaluation.oddities": ("untrimmed.evaluation.notes",),
    "untrimmed.export": ("untrimmed.pipeline.export",),
    "untrimmed.extract": ("untrimmed.pipeline.extract", "untrimmed.pipeline.extract_job"),
    "untrimmed.inference": (
        "untrimmed.pipeline.detector",
        "untrimmed.pipeline.model_file",
        "untrimmed.pipeline.sources",
        "untrimmed.pipeline.windowed",
    ),
    "untrimmed.layers.proposals": ("untrimmed.layers.curve_segments",),
    "untrimmed.methods.acgnet": ("untrimmed.methods.plugins.acgnet",),
    "untrimmed.methods.basnet": ("untrimmed.methods.weak.basnet",),
    "untrimmed.methods.dgam": ("untrimmed.methods.weak.dgam",),
    "untrimmed.methods.enhancer": ("untrimmed.methods.plugins.enhancer",),
    "untrimmed.methods.segtad": ("untrimmed.methods.dense.segtad",),
    "untrimmed.methods.um": ("untrimmed.methods.weak.um",),
    "untrimmed.methods.vsgn": ("untrimmed.methods.dense.vsgn",),
    "untrimmed.recipe": ("untrimmed.pipeline.recipe",),
    "untrimmed.run_report": ("untrimmed.pipeline.run_report",),
    "untrimmed.runs": ("untrimmed.pipeline.train", "untrimmed.pipeline.run_data"),
}
"""Old module -> the modules that have its names now."""

RENAMED: dict[str, dict[str, str]] = {
    "untrimmed.data.materialise": {"materialise": "load_window"},
    "untrimmed.evaluation.judgement": {"Judgement": "ErrorAnalysis", "judge": "analyse_errors"},
    "untrimmed.evaluation.oddities": {"Oddities": "Notes", "find_oddities": "find_notes"},
    "untrimmed.layers.proposals": {
        "Found": "CurveSegments",
        "Proposals": "SegmentSettings",
        "proposals": "curve_segments",
    },
    "untrimmed.runs": {"Parts": "RunData", "open_parts": "open_run_data"},
}
"""Old module -> those of its names that changed, and what they are now."""


class _MovedModule(ModuleType):
    """An old module: hands out what its successors have. Called, it is the function that has its name now:
    ``untrimmed.extract`` was a module, and is offered by the package as a function."""

    def __getattr__(self, name: str) -> Any:
        name = RENAMED.get(self.__name__, {}).get(name, name)
        for place in PLACES[self.__name__]:
            module = import_module(place)
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __call__(self, *args: Any, **options: Any) -> Any:
        return sys.modules["untrimmed"].__getattr__(self.__name__.rpartition(".")[2])(*args, **options)


class _Finder:
    """Finds and loads old modules. (No subclass of ``importlib.abc``'s, which takes longer to import than all this.)"""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, cast(Any, self)) if fullname in PLACES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        _warn(spec.name, " and ".join(PLACES[spec.name]))
        return _MovedModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is executed: names are looked up when they are asked for."""


def install() -> None:
    """Let imports find the old modules."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module in which names have changed.

    Args:
        module: its ``__name__``.
        names: old -> new; with dots, of another module.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, new = names[name].rpartition(".")
        _warn(f"{module}.{name}", f"{place or module}.{new}")
        return getattr(import_module(place or module), new)

    return find


def renamed_arguments(**names: str) -> Callable[[Function], Function]:
    """Let a function take arguments by their old names too.

    Args:
        names: old -> new.
    """

    def wrap(function: Function) -> Function:
        @wraps(function)
        def call(*given: Any, **options: Any) -> Any:
            for old, new in names.items():
                if old in options:
                    _warn(f"{function.__name__}({old}=...)", f"{function.__name__}({new}=...)")
                    options[new] = options.pop(old)
            return function(*given, **options)

        return call  # type: ignore[return-value]

    return wrap


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is {new} now; the old name goes with the next release", DeprecationWarning, stacklevel=3)
