"""docs/reference/cli.md says what the commands say."""

from pathlib import Path

import pytest

from edgesim.cli._reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def test_page_is_current():
    """The page is what `python -m edgesim.cli._reference` writes now."""
    if not PAGE.parent.is_dir():
        pytest.skip("the documentation is not beside the tests")

    assert PAGE.read_text() == reference(), "run: python -m edgesim.cli._reference > docs/reference/cli.md"
