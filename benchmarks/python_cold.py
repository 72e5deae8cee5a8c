"""Cold start of a Python worker (componentize-py, CPython, 18 MB): a fresh instance and `GET /hello`, CPU time.

Flat, as edgesim runs components, beside the component C API, with the same host functions, in the same process.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks._cold import measure

GOAL = 0.9


def run() -> list[dict[str, Any]]:
    """The whole request, the instance alone, and an instance that serves again."""
    return measure("python-cold", "py", GOAL)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
