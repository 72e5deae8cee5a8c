"""What a request of an arrival says: its target, fields and body with their templates filled in. Pure, the same in both worlds.

Each request draws from a stream of its own, keyed by the number of its arrival and its place in the session, so neither
world, rate nor order changes what it says.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from edgesim.model.stream import Stream, key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.model.http import Headers
    from edgesim.scenario.arrivals import Arrival
    from edgesim.scenario.spec import Feeder, Scenario


class Composed(NamedTuple):
    """A request as it is sent."""

    target: str
    headers: Headers
    body: bytes


def compose(scenario: Scenario, arrival: Arrival) -> Composed:
    """The request of an arrival."""
    spec = scenario.requests[arrival.request]
    if not spec.templates:
        return Composed(spec.target, spec.headers, spec.body)
    seed, number = scenario.load.seed, arrival.number
    draw = Stream(key(seed, "template", number, arrival.step))

    def rows(name: str) -> Mapping[str, str]:
        return row_of(scenario.feeder(name), seed, number)

    templates = dict(spec.templates)
    target, body = spec.target, spec.body
    if template := templates.get("target"):
        target = template.render(draw, number, rows, _in_target)
    headers = tuple(
        (name, templates[name].render(draw, number, rows, str) if name in templates else value)
        for name, value in spec.headers
    )
    if template := templates.get("body"):
        body = template.render(draw, number, rows, _in_json if spec.is_json else str).encode()
    return Composed(target, headers, body)


def row_of(feeder: Feeder, seed: int, number: int) -> Mapping[str, str]:
    """The feeder's row for an arrival; all requests of a session have the same."""
    rows = feeder.rows
    if feeder.order == "random":
        return rows[int(Stream(key(seed, "feeder", feeder.name, number)).uniform() * len(rows))]
    return rows[number % len(rows)]


def _in_target(value: str) -> str:
    return quote(value, safe="")


def _in_json(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]
