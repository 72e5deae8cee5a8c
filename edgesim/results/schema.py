"""The JSON Schema of `edgesim.run-summary.v1`: docs/reference/run-summary.v1.schema.json, for programs that read summaries.

Written out here and not made from types, since a summary is built from measurements by `summary.py`; a test holds real
summaries of both worlds to it, and it allows no key that it does not know. Regenerate the file with
`python -m edgesim.results.schema > docs/reference/run-summary.v1.schema.json`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from edgesim.results.answered import COLD_PHASES, ROLES
from edgesim.results.summary import SCHEMA

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer", "minimum": 0}
FLAG: Json = {"type": "boolean"}
MAYBE: Json = {"type": ["number", "null"]}
TEXTS: Json = {"type": "array", "items": TEXT}


def _object(**properties: Json) -> Json:
    """An object with exactly these keys."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _map(values: Json) -> Json:
    return {"type": "object", "additionalProperties": values}


def _one_of(*words: str | int) -> Json:
    return {"enum": list(words)}


def _ref(name: str) -> Json:
    return {"$ref": f"#/$defs/{name}"}


_QUANTILES: Json = {"count": COUNT, "mean_s": MAYBE, "p50_s": MAYBE, "p90_s": MAYBE, "p95_s": MAYBE, "p99_s": MAYBE}
_CELL: Json = {
    "requests": COUNT,
    "failed": COUNT,
    "error_rate": MAYBE,
    "outcomes": _map(COUNT),
    "response": _ref("quantiles"),
    "network": _ref("quantiles"),
    "distribution": {**_list(_ref("bucket")), "description": "Response times: seconds from, seconds to, how many."},
}
_WINDOW: Json = _object(
    requests=COUNT,
    failed=COUNT,
    origins=_list(_object(population=TEXT, metro=TEXT, pops=_map(COUNT), failed=COUNT)),
)
_SERIES: Json = _object(
    interval_s=NUMBER,
    at_s=_list(NUMBER),
    **dict.fromkeys(("arrivals", "failed", "dropped"), _list(COUNT)),
    **dict.fromkeys(("p50_s", "p99_s", "lag_p99_s"), _list(MAYBE)),
    starts=_map(_list(COUNT)),
    cold_starts=_list(
        _object(role=_one_of(*ROLES), phase=_one_of(*COLD_PHASES), count=_list(COUNT), sum_s=_list(NUMBER))
    ),
)

_SCENARIO: Json = _object(
    name=TEXT,
    description=TEXT,
    target=TEXT,
    seed=COUNT,
    arrivals=_one_of("poisson", "constant"),
    duration_s=NUMBER,
)
_RUN: Json = _object(
    world=_one_of("live", "simulated"),
    command=TEXT,
    started_at=TEXT,
    time_scale=MAYBE,
    versions=_map(TEXT),
    profile={"type": ["object", "null"]},
)


def summary_schema() -> Json:
    """The schema. Every array of `series` has one item per interval."""
    row = {name: _object(name=TEXT, **_CELL) for name in ("populations", "requests")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"edgesim.{SCHEMA}",
        "description": "Summary of a run of a scenario, live or simulated. Seconds throughout; null is not measured.",
        "$defs": {
            "quantiles": _object(**_QUANTILES),
            "bucket": {"type": "array", "prefixItems": [NUMBER, NUMBER, COUNT], "minItems": 3, "maxItems": 3},
        },
        **_object(
            schema={"const": f"edgesim.{SCHEMA}"},
            edgesim={**TEXT, "description": "Version that wrote this."},
            conclusion=_one_of("passed", "failed", "inconclusive", "interrupted"),
            exit_code=_one_of(0, 98, 99, 130),
            scenario=_SCENARIO,
            run=_RUN,
            aborted={**TEXT, "description": "The threshold that ended the run early; empty when none did."},
            unchecked={**TEXTS, "description": "What a simulated answer could not be checked for."},
            elapsed_s=NUMBER,
            recorded_s=NUMBER,
            totals=_object(**_CELL, rate_per_s=MAYBE),
            phases=_list(_object(name=TEXT, recorded=FLAG, begin_s=NUMBER, duration_s=NUMBER, **_CELL)),
            populations=_list(row["populations"]),
            requests=_list(row["requests"]),
            cells=_list(_object(phase=TEXT, population=TEXT, request=TEXT, **_CELL)),
            pops=_list(_object(pop=TEXT, region=TEXT, **_CELL)),
            series=_SERIES,
            starts=_map(COUNT),
            cold_starts=_list(_object(role=_one_of(*ROLES), phase=_one_of(*COLD_PHASES), **_QUANTILES)),
            statuses=_map(COUNT),
            body_bytes=COUNT,
            edge={**_ref("quantiles"), "description": "What the edge itself took of each request."},
            generator=_object(lag=_ref("quantiles"), connect=_ref("quantiles"), dropped=COUNT, retried=COUNT),
            thresholds=_list(
                _object(
                    check=TEXT,
                    kind=_one_of("requirement", "validity"),
                    unit=_one_of("s", "share", "per_s", "count"),
                    limit=NUMBER,
                    measured=MAYBE,
                    ok=FLAG,
                )
            ),
            timeline=_list(
                _object(label=TEXT, edge=_one_of("begin", "end"), at_s=NUMBER, planned_s=NUMBER, error=TEXT)
            ),
            timeline_failures=TEXTS,
            left_down=TEXTS,
            left_drained=TEXTS,
            incidents=_list(
                _object(
                    label=TEXT,
                    begin_s=NUMBER,
                    end_s=MAYBE,
                    windows=_object(before=_WINDOW, in_flight=_WINDOW, during=_WINDOW, after=_WINDOW),
                )
            ),
            places=_object(
                pops=_list(_object(pop=TEXT, city=TEXT, country=TEXT, region=TEXT, lat=NUMBER, lon=NUMBER)),
                metros=_list(_object(metro=TEXT, country=TEXT, lat=NUMBER, lon=NUMBER, weight=NUMBER)),
            ),
            served=_list(_object(population=TEXT, metro=TEXT, pop=TEXT, requests=COUNT, failed=COUNT)),
        ),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(summary_schema(), indent=2, ensure_ascii=False) + "\n")
