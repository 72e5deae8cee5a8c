"""Programs that tests need and that may be missing on a developer's machine."""

from __future__ import annotations

import os
import shutil

import pytest


def require_tool(name: str) -> str:
    """The path of the program `name`.

    Without it the test is skipped, or fails when `EDGESIM_REQUIRE_TOOLS=1` says that everything must be there.
    """
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))
    if found is None:
        message = f"{name} is not installed; this test needs the real one"
        if os.environ.get("EDGESIM_REQUIRE_TOOLS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found
