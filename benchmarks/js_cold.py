"""Cold start of a JavaScript worker (StarlingMonkey, fetch event, 13 MB): a fresh instance and `GET /hello`, CPU time.

Flat, as edgesim runs components, beside the component C API, with the same host functions, in the same process.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks._cold import measure

GOAL = 0.8


def run() -> list[dict[str, Any]]:
    """The whole request, and the instance alone."""
    return measure("js-cold", "js-fetch", GOAL)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
