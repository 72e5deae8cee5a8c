"""The published schema of summaries: it is one, it is current, and real summaries have exactly its keys."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from edgesim.cli.main import run
from edgesim.results.facts import RunFacts
from edgesim.results.schema import summary_schema
from edgesim.results.summary import SCHEMA, summarise
from tests.results.test_summary import results

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "run-summary.v1.schema.json"


def test_the_schema_is_published() -> None:
    """Regenerate with `python -m edgesim.results.schema`."""
    assert json.loads(PAGE.read_text(encoding="utf-8")) == summary_schema()


@pytest.mark.parametrize(
    "document",
    [
        summarise(results(failed=1, marks=1)),
        summarise(results(), RunFacts(versions={"python": "3"}, started_at="2026-01-01T00:00:00Z")),
    ],
)
def test_summaries_fit(document: dict[str, object]) -> None:
    """With and without failures, incidents and facts."""
    full = json.loads(json.dumps({"schema": f"edgesim.{SCHEMA}", **document}))

    jsonschema.Draft202012Validator.check_schema(summary_schema())
    jsonschema.validate(full, summary_schema())


def test_a_simulated_run_fits(tmp_path: Path) -> None:
    """As it is written to a file, with cold starts, places and a profile."""
    out = tmp_path / "summary.json"

    assert run(["sim", "run", "smoke", "--no-prefetch", "--out", str(out)]) == 0
    document = json.loads(out.read_text(encoding="utf-8"))

    jsonschema.validate(document, summary_schema())
    assert document["cold_starts"]
    assert document["run"]["profile"]


def test_what_is_missing_or_unknown_does_not_fit() -> None:
    """The schema can fail."""
    document = json.loads(json.dumps({"schema": f"edgesim.{SCHEMA}", **summarise(results())}))
    validator = jsonschema.Draft202012Validator(summary_schema())

    assert list(validator.iter_errors({**document, "foo": 1}))
    assert list(validator.iter_errors({k: v for k, v in document.items() if k != "series"}))
    assert list(validator.iter_errors({**document, "conclusion": "fine"}))
