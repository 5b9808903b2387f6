"""Fixtures every test may use."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("UNTRIMMED_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# A shell starts what it puts in the background with Ctrl-C ignored, which the programs that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; skips the test with the reason where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: install it, or name it in UNTRIMMED_CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()
