"""What every test module may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Another one for a run: pytest --hypothesis-profile=thorough.
# No deadlines: the first call of a kernel compiles it.
settings.register_profile("default", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile("default")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of large real files that the project does not carry; without it the test skips."""
    folder = Path(os.environ.get("ZONERASTER_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set ZONERASTER_DATA to the folder of the real zone files")
    return folder
