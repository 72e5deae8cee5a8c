"""What all tests of hostile guests share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_collection_within_guests() -> Iterator[None]:
    """As in a PoP host (`edgesim/live/garbage.py`): in a large test process one takes longer than a guest may."""
    gc.disable()
    yield
    gc.enable()
