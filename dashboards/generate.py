"""Writes the Grafana dashboards, `dashboards/edgesim-*.json`, from `dashboards/boards` and the metric catalogue.

Run `python dashboards/generate.py` after a change and commit the result; a test compares the two. It needs the development
dependency grafana-foundation-sdk, which is why the JSON is committed: users import it as it is.
"""  # noqa: INP001 - a script beside the data that it writes

from __future__ import annotations

from pathlib import Path

from boards import front_door, load_run, overview, pop, rollouts, workers
from boards.grafana import dashboard

FOLDER = Path(__file__).parent
BOARDS = tuple(module.BOARD for module in (overview, pop, front_door, workers, rollouts, load_run))


def documents() -> dict[str, str]:
    """JSON text by file name."""
    return {f"edgesim-{board.name}.json": dashboard(board) for board in BOARDS}


if __name__ == "__main__":
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
