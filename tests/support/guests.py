"""The conformance guests of tests/guests, built once and shared by every test and process."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.guests import build

if TYPE_CHECKING:
    from pathlib import Path


@cache
def _find(name: str) -> tuple[Path | None, str]:
    """The guest's file, or why there is none."""
    try:
        return build.ensure(name), ""
    except build.MissingToolError as exc:
        return None, f"the guest {name} cannot be built here: {exc}"


def guest(name: str) -> Path:
    """The Wasm file of a conformance guest: the committed one, else the cached one, else built now (up to a minute).

    Where its toolchain cannot be had the test is skipped, or fails when `EDGESIM_REQUIRE_TOOLS=1` says that everything must
    be there. A toolchain that is there and fails is a failure.
    """
    path, why = _find(name)
    if path is None:
        if os.environ.get("EDGESIM_REQUIRE_TOOLS") == "1":
            pytest.fail(why)
        pytest.skip(why)
    return path


def artifacts() -> Path:
    """Where test sessions keep compiled guests: Cranelift takes 15 s of CPU for a JavaScript or Python guest."""
    folder = build.cache() / "aot"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
