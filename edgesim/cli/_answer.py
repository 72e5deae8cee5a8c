"""What `edgesim curl` says about an answer: who gave it, why that PoP, and where the time went.

Everything shown comes from the answer's own fields (`X-Edge-…`, `Server-Timing`, `Proxy-Status`) and from a stopwatch; a
field that is missing or garbled is left out, never guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

_BAR_WIDTH: Final = 28
_STARTS: Final = {
    "absent": "cold start: bundle was absent",
    "disk": "cold start: loaded from disk",
    "fresh": "fresh instance",
    "reused": "reused instance",
}
_PARTS: Final = (
    ("queue", "waited for a slot", "yellow"),
    ("start", "worker start", "red"),
    ("fetch", "  fetch", "red"),
    ("compile", "  compile", "red"),
    ("load", "  load", "red"),
    ("shared", "  shared", "red"),
    ("instantiate", "instantiate", "magenta"),
    ("init", "init", "magenta"),
    ("execute", "execute", "green"),
    ("origin", "origin", "blue"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer without its body, and how long it took."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    """In their order, names in lowercase."""
    first_byte_s: float
    """Measured here: from before the connection was made until the head of the answer had come."""
    total_s: float
    """Measured here: until the body had come."""
    body_bytes: int

    def field(self, name: str) -> str:
        """The first field of this name, without control characters; empty when there is none."""
        value = next((v for n, v in self.headers if n == name), "")
        return "".join(c for c in value if c.isprintable())

    @property
    def timing_ms(self) -> dict[str, float]:
        """The durations of `Server-Timing`, in milliseconds."""
        from edgesim.live.load.answers import server_timing

        return server_timing(self.field("server-timing"))

    @property
    def route(self) -> dict[str, Any]:
        """The explanation in `X-Edge-Route`; empty when there is none."""
        try:
            value = json.loads(self.field("x-edge-route") or "{}")
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def to_json(self) -> dict[str, Any]:
        """Everything that is known, as JSON-able values."""
        return {
            "status": self.status,
            "headers": [list(pair) for pair in self.headers],
            "pop": self.field("x-edge-pop"),
            "version": self.field("x-edge-version"),
            "start": self.field("x-edge-start"),
            "request_id": self.field("x-edge-request-id"),
            "timing_ms": self.timing_ms,
            "measured_ms": {"first_byte": self.first_byte_s * 1e3, "total": self.total_s * 1e3},
            "route": self.route,
        }


def explain(answer: Answer) -> Iterator[str]:
    """The explanation for people, line by line."""
    yield _headline(answer)
    route = answer.route
    if route:
        yield from _routing(route)
    if answer.field("proxy-status"):
        yield _line("error", answer.field("proxy-status"))
    yield from _times(answer)


def _headline(answer: Answer) -> str:
    ok = answer.status < 400
    words = [click.style(f"{answer.status} {answer.reason}".rstrip(), fg="green" if ok else "red", bold=True)]
    start, _, role = answer.field("x-edge-start").partition(";")
    if answer.field("x-edge-version"):
        words.append(answer.field("x-edge-version"))
    if answer.field("x-edge-pop"):
        words.append(f"from {click.style(answer.field('x-edge-pop'), bold=True)}")
    if start:
        role = role.strip().removeprefix("role=")
        words.append(f"· {_STARTS.get(start.strip(), start)}{f' ({role})' if role else ''}")
    return " ".join(words)


def _routing(route: dict[str, Any]) -> Iterator[str]:
    client = route.get("client")
    if isinstance(client, dict):
        place = ", ".join(str(client[k]) for k in ("city", "country") if client.get(k)) or "place unknown"
        details = ", ".join(str(client[k]) for k in ("access", "address") if client.get(k))
        why = "; only the default: nothing is known about this address" if client.get("default") is True else ""
        yield _line("client", (f"{place} ({details})" if details else place) + why)
    ranked = [entry for entry in route.get("ranked") or () if isinstance(entry, list) and len(entry) == 3]
    yield _line("why", _why(route, ranked))
    if ranked:
        yield _line("ranked", "  ".join(_ranked(entry, str(route.get("chosen"))) for entry in ranked))


def _why(route: dict[str, Any], ranked: list[Any]) -> str:
    policy, chosen, reason = route.get("policy"), route.get("chosen"), route.get("reason")
    failed = ", ".join(map(str, route.get("failed") or ()))
    if reason == "pinned":
        asked = "because the host name asks for it"
        return f"{chosen}, {asked}" if chosen else f"only {failed or 'one PoP'}, {asked}; it did not answer"
    if reason == "failover":
        return f"{failed} failed during the request; {chosen} is the next by {policy} and answered"
    if reason == "skipped":
        position = next((i for i, entry in enumerate(ranked) if entry[0] == chosen), len(ranked))
        better = ", ".join(f"{pop} is {state}" for pop, _, state in ranked[:position] if state != "up")
        return f"{chosen} is the best by {policy} that is up{f' ({better})' if better else ''}"
    if reason == "first":
        return f"{chosen} is the first by {policy}"
    return f"no PoP could answer{f' (tried {failed})' if failed else ''}"


def _ranked(entry: list[Any], chosen: str) -> str:
    pop, km, state = entry
    text = f"{pop} {km:,.0f} km" if isinstance(km, int | float) else str(pop)
    if state not in {"up", "ready"}:
        return click.style(f"{text} {state}", fg="red")
    return click.style(text, fg="green") if pop == chosen else text


def _times(answer: Answer) -> Iterator[str]:
    timing = answer.timing_ms
    network, total = timing.get("net", 0.0), timing.get("total", 0.0)
    parts = [(label, timing[name], color) for name, label, color in _PARTS if name in timing]
    scale = max(total, network, sum(value for _, value, _ in parts), 1e-9)
    if timing:
        yield ""
        yield _bar("modelled network", network, scale, "cyan")
        for label, value, color in parts:
            yield _bar(label, value, scale, color)
        yield _bar("front door total", total, scale, "white")
    yield _bar("measured here", answer.total_s * 1e3, max(scale, answer.total_s * 1e3), "white")
    if "cpu" in timing:
        yield f"  {'guest CPU':<17}{timing['cpu']:>9.2f} ms"


def _bar(label: str, value_ms: float, scale_ms: float, color: str) -> str:
    """One row: label, milliseconds, and a bar that is as long as its share of the whole."""
    eighths = round(value_ms / scale_ms * _BAR_WIDTH * 8)
    bar = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
    return f"  {label:<17}{value_ms:>9.2f} ms  {click.style(bar, fg=color)}".rstrip()


def _line(label: str, text: str) -> str:
    return f"  {click.style(f'{label:<8}', fg='bright_black')} {text}"
