"""What an answer of the edge says about itself: who served it, how the worker was started, how long the network took."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edgesim.results.answered import COLD_STARTS, ROLES, Attribution

if TYPE_CHECKING:
    from edgesim.model.http import Headers

NETWORK_METRIC: Final = "net"
"""The entry of `Server-Timing` that carries the modelled network time, unscaled."""
EDGE_METRIC: Final = "edge"
"""The entry that carries what the edge itself took."""
PHASE_OF: Final = {
    "start": "start",
    "fetch": "fetch",
    "compile": "compile",
    "load": "load",
    "shared": "shared",
    "instantiate": "instantiate",
    "init": "init",
    "execute": "first_call",
}
"""Phases of a cold start by their entry of `Server-Timing`."""
_NAME_MAX: Final = 64
_METRIC = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})\s*((?:;[^,]*)?)")
_DURATION = re.compile(r";\s*dur\s*=\s*\"?([0-9]{1,12}(?:\.[0-9]{1,12})?)\"?", re.IGNORECASE)


def attribution(headers: Headers) -> Attribution:
    """Read `X-Edge-Pop`, `X-Edge-Start` and `Server-Timing`. Malformed fields count as missing."""
    pop = start = role = ""
    network_s = None
    timing: dict[str, float] = {}
    for name, value in headers:
        if name == "x-edge-pop":
            pop = _clean(value)
        elif name == "x-edge-start":
            start, _, rest = (part.strip() for part in _clean(value).partition(";"))
            role = rest.removeprefix("role=")
        elif name == "server-timing":
            timing |= server_timing(value)
    if NETWORK_METRIC in timing:
        network_s = timing[NETWORK_METRIC] / 1e3
    phases: tuple[tuple[str, float], ...] = ()
    if start in COLD_STARTS and role in ROLES:
        phases = tuple((phase, timing[name] / 1e3) for name, phase in PHASE_OF.items() if name in timing)
    edge_s = timing[EDGE_METRIC] / 1e3 if EDGE_METRIC in timing else None
    return Attribution(pop, start, role, network_s, phases, edge_s)


def server_timing(value: str) -> dict[str, float]:
    """The durations in a `Server-Timing` field (W3C Server Timing §3) in milliseconds, by metric name."""
    out: dict[str, float] = {}
    for part in value.split(","):
        metric = _METRIC.fullmatch(part)
        duration = _DURATION.search(metric[2]) if metric else None
        if metric and duration:
            out[metric[1].lower()] = float(duration[1])
    return out


def _clean(value: str) -> str:
    """A name that a server sent, fit for a table."""
    return "".join(c for c in value.strip()[:_NAME_MAX] if c.isprintable())
