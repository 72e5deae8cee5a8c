"""The HTML report as a file: for `load run --html`, `sim run --html` and `load report`. What is in it is `edgesim/results/report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from edgesim.results.report import Assets

REPORT: Final = Path("out/report.html")

html_option = click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the report as one HTML file."
)


def check_report(out: Path, option: str = "--html") -> None:
    """Find out before the run that its report can be written. Raises StorageError."""
    from edgesim.cli._documents import check_writable

    check_writable(out, "report", option)


def write_report(out: Path, document: dict[str, Any]) -> None:
    """Write the report of a run's summary (`edgesim.run-summary.v1`), in one step.

    Raises:
        UsageError: the summary lacks what a report needs.
        StorageError: the disk is full.
    """
    from edgesim.cli._documents import replace_file
    from edgesim.errors import UsageError
    from edgesim.results.report import render

    try:
        page = render(document, _assets())
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise UsageError(
            f"this summary is damaged: {type(exc).__name__}: {exc}", help="run the scenario again to write a new one"
        ) from exc
    replace_file(out, page, "report")


def _assets() -> Assets:
    """What the page carries, from the installed package."""
    from importlib.resources import files

    from edgesim.results.report import ASSET_NAMES, Assets

    folder = files("edgesim.results.report") / "assets"
    return Assets(**{name: (folder / file).read_text(encoding="utf-8") for name, file in ASSET_NAMES.items()})
