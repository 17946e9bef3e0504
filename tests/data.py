"""Real models and data for tests; a test that needs an absent one skips with one clear line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("HARDTACK_DATA", Path(__file__).parents[2] / "shared" / "data"))


def data_path(name: str) -> Path:
    """Return the path of a data file, or skip the calling test when it is not there."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"no {name}: set HARDTACK_DATA to the folder that holds it")
    return path
