"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def data_folder() -> Path | None:
    """The folder of real data for development, if it is there: ``UNTRIMMED_DATA``, else beside the checkout."""
    named = os.environ.get("UNTRIMMED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data; skips the test with the reason where it is absent."""
    folder = data_folder()
    if folder is None:
        pytest.skip("the real data is absent: set UNTRIMMED_DATA to its folder")
    return folder
