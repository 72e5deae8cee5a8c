"""The reference page of the metrics is what the catalogue says."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_page_is_what_the_script_writes() -> None:
    """After a change of the catalogue, `python scripts/generate_metrics_reference.py` has to be run."""
    script = runpy.run_path(str(ROOT / "scripts" / "generate_metrics_reference.py"), run_name="reference")

    assert script["reference"]() == (ROOT / "docs" / "reference" / "metrics.md").read_text()
