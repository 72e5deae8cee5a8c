"""What `edgesim top` shows, computed from the control plane's answers: rates and quantiles of the last seconds, and events.

The API counts since the processes started; here two answers are subtracted. Pure: times are arguments, nothing is asked or
drawn. Bounded: answers of one window, `EVENTS_MAX` events and `TREND_MAX` points per PoP, for PoPs that exist.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgesim.observe.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EVENTS_MAX: Final = 50
TREND_MAX: Final = 60
SAMPLES_MAX: Final = 120
"""Answers that are kept at most, however long the window is."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PopNow:
    """One PoP in the last seconds. Rates are per second, None where nothing is known yet."""

    pop: str
    city: str
    country: str
    region: str
    host: str
    state: str
    apps: str
    """`hello@2 shop@1`."""
    rate: float | None
    failed_rate: float | None
    p50_s: float | None
    p99_s: float | None
    cold: int
    """Cold starts in the window that requests saw."""
    queued: int
    busy: int
    slots: int
    loaded_bytes: int

    @property
    def search_text(self) -> str:
        """What a filter looks in."""
        return f"{self.pop} {self.city} {self.country} {self.region} {self.host} {self.state} {self.apps}".lower()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a PoP between two answers."""

    at_s: float
    """Seconds since the epoch."""
    pop: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The edge in the last seconds."""

    pops: int
    ready: int
    rate: float | None
    failed_rate: float | None
    p50_s: float | None
    p99_s: float | None
    cold: int


@dataclass(slots=True)
class _Trend:
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=TREND_MAX))
    p99_s: deque[float] = field(default_factory=lambda: deque(maxlen=TREND_MAX))
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_MAX))


class Top:
    """The latest answers of `/v1/pops`.

    Args:
        window_s: over how many seconds rates and quantiles are taken.
    """

    def __init__(self, window_s: float = 10.0) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, dict[str, Json]]] = deque(maxlen=SAMPLES_MAX)
        self._trends: dict[str, _Trend] = {}
        self.pops: list[PopNow] = []
        self.totals = Totals(pops=0, ready=0, rate=None, failed_rate=None, p50_s=None, p99_s=None, cold=0)

    def update(self, rows: Iterable[Json], now_s: float) -> None:
        """Take an answer that came at `now_s`, seconds since the epoch."""
        latest = {str(row["pop"]): row for row in rows if row.get("pop")}
        before = self._samples[-1][1] if self._samples else {}
        self._trends = {pop: self._trends.get(pop) or _Trend() for pop in latest}
        for pop, row in latest.items():
            if pop in before:
                self._trends[pop].events.extend(_events(now_s, pop, before[pop], row))
        self._samples.append((now_s, latest))
        # One answer from before the window stays, so that differences span all of it.
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - self._window_s:
            self._samples.popleft()
        self._figure(now_s, latest)

    def row(self, pop: str) -> Json | None:
        """The latest answer about one PoP as it came, None when there is no such PoP."""
        return self._samples[-1][1].get(pop) if self._samples else None

    def events(self, pop: str = "") -> list[Event]:
        """The latest events of one PoP or of all, the newest first."""
        trends = [self._trends[pop]] if pop in self._trends else [] if pop else self._trends.values()
        found = [event for trend in trends for event in trend.events]
        return sorted(found, key=lambda event: -event.at_s)[:EVENTS_MAX]

    def trend(self, pop: str) -> tuple[list[float], list[float]]:
        """Requests per second and p99 in seconds at the latest answers, the newest last."""
        trend = self._trends.get(pop) or _Trend()
        return list(trend.rates), list(trend.p99_s)

    def _figure(self, now_s: float, latest: Mapping[str, Json]) -> None:
        began_s, first = self._samples[0]
        lasted_s = now_s - began_s
        everything = Histogram()
        pops: list[PopNow] = []
        for pop, row in latest.items():
            took = _difference(row, first.get(pop))
            everything.merge(took)
            known = lasted_s > 0 and pop in first and "requests" in row
            now = PopNow(
                pop=pop,
                city=str(row.get("city") or ""),
                country=str(row.get("country") or ""),
                region=str(row.get("region") or ""),
                host=str(row.get("host") or ""),
                state=str(row.get("state") or "unknown"),
                apps=" ".join(f"{name}@{version}" for name, version in sorted((row.get("apps") or {}).items())),
                rate=_gained(row, first.get(pop), "requests") / lasted_s if known else None,
                failed_rate=_gained(row, first.get(pop), "errors") / lasted_s if known else None,
                p50_s=took.quantile(0.5),
                p99_s=took.quantile(0.99),
                cold=_gained(row, first.get(pop), "cold") if known else 0,
                queued=int(row.get("queued") or 0),
                busy=int(row.get("busy") or 0),
                slots=int(row.get("slots") or 0),
                loaded_bytes=int(row.get("loaded_bytes") or 0),
            )
            pops.append(now)
            if known:
                self._trends[pop].rates.append(now.rate or 0.0)
                self._trends[pop].p99_s.append(now.p99_s or 0.0)
        self.pops = pops
        rates, failed = [p.rate for p in pops if p.rate is not None], [p.failed_rate or 0.0 for p in pops]
        self.totals = Totals(
            pops=len(pops),
            ready=sum(p.state == "ready" for p in pops),
            rate=sum(rates) if rates else None,
            failed_rate=sum(failed) if rates else None,
            p50_s=everything.quantile(0.5),
            p99_s=everything.quantile(0.99),
            cold=sum(p.cold for p in pops),
        )


def _gained(row: Json, before: Json | None, key: str) -> int:
    """How much a counter has grown; all of it when it began anew."""
    now, then = int(row.get(key) or 0), int((before or {}).get(key) or 0)
    return now - then if now >= then else now


def _difference(row: Json, before: Json | None) -> Histogram:
    """The request durations between two answers; all of them when the PoP counts anew, none when there is no answer before."""
    now, then = (_histogram(answer) for answer in (row, before or {}))
    if before is None:
        return Histogram()
    counts = [a - b for a, b in zip(now.counts, then.counts, strict=True)]
    if min(counts) < 0:
        return now
    now.counts, now.sum_us = counts, now.sum_us - then.sum_us
    return now


def _histogram(row: Json) -> Histogram:
    state = row.get("duration_histogram")
    return Histogram.from_json(state) if state else Histogram()


def _events(at_s: float, pop: str, before: Json, row: Json) -> Iterable[Event]:
    """What is different, in words."""
    was, now = before.get("state"), row.get("state")
    if was != now:
        yield Event(at_s, pop, f"{was} \N{RIGHTWARDS ARROW} {now}")
    old, new = before.get("apps") or {}, row.get("apps") or {}
    for app in sorted({*old, *new}):
        if old.get(app) != new.get(app):
            yield Event(at_s, pop, f"serves {app}@{new[app]}" if app in new else f"no longer serves {app}")
    if "requests" not in row or "requests" not in before:
        return
    for key, one, many in (("cold", "cold start", "cold starts"), ("errors", "failed request", "failed requests")):
        number = _gained(row, before, key)
        if number:
            yield Event(at_s, pop, f"{number} {one if number == 1 else many}")
    evictions = before.get("evictions") or {}
    for what, total in sorted((row.get("evictions") or {}).items()):
        if total > evictions.get(what, 0):
            yield Event(at_s, pop, f"{total - evictions.get(what, 0)} evicted: {what}")
