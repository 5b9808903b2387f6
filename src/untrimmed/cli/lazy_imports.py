"""What makes a command that compiles kernels start sooner."""

from __future__ import annotations

import contextlib
import importlib
import sys


def import_numba() -> None:
    """Import numba without SciPy, which it would import, where there is one, to offer linear algebra to kernels.

    That takes 0.2 s, a sixth of a small evaluation, and no kernel of ours uses linear algebra. For commands only:
    in a process of somebody else's, kernels of theirs may want ``numpy.cov``, which numba offers only with SciPy.
    """
    blas = "scipy.linalg.cython_blas"
    if blas in sys.modules:
        return
    sys.modules[blas] = None  # type: ignore[assignment]  # an import of it now raises ImportError, as without SciPy
    try:
        # The module that looks for SciPy; a numba that has it elsewhere merely starts later.
        with contextlib.suppress(ImportError):
            importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules[blas]
