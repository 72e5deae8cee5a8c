"""Files of the folder that EDGESIM_TEST_DATA names: measured tables and foreign databases that are not in the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def data_file(name: str) -> Path:
    """The file `name` of the test data; skips the test when it is not there."""
    folder = os.environ.get("EDGESIM_TEST_DATA")
    if not folder:
        pytest.skip("EDGESIM_TEST_DATA is not set: no measured tables and foreign databases to compare with")
    path = Path(folder) / name
    if not path.is_file():
        pytest.skip(f"{name} is not in EDGESIM_TEST_DATA")
    return path
