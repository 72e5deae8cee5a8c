"""Who was served from where before, during and after each event of a timeline.

Rules: the begin and the end of each action are marks; marks cut the run into segments (segment n lies before mark n, the
last one after all). A request belongs to the segment it was sent in; one that was still without an answer when an
incident began is counted apart, as in flight, since it may have been served by what was about to die. Only counts are
kept, so their number is bounded by segments, metros and PoPs, not by requests.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from edgesim.scenario.steps import Power, Steer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgesim.scenario.spec import TimelineEntry
    from edgesim.scenario.steps import Action

WindowName = Literal["before", "in_flight", "during", "after"]
WINDOWS: tuple[WindowName, ...] = ("before", "in_flight", "during", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An action of the timeline began or ended."""

    entry: int
    """Index of the timeline entry."""
    edge: Literal["begin", "end"]
    at_s: float
    """From the start of the first phase, as it really happened."""
    error: str = ""
    """Why the action failed; only at its end."""


class ServedKey(NamedTuple):
    """What requests are counted by."""

    sent: int
    """Segment in which the request was sent."""
    done: int
    """Segment in which its answer was complete, or it failed."""
    population: str
    metro: str
    pop: str
    """Who answered; empty when the answer does not say, or there was none."""
    failed: bool


@dataclass(slots=True)
class Origin:
    """Where the requests of one metro were served from."""

    population: str
    metro: str
    pops: Counter[str] = field(default_factory=Counter)
    """Requests by PoP, failed ones included where a PoP answered."""
    failed: int = 0

    @property
    def requests(self) -> int:
        """All requests, failed ones included."""
        return self.pops.total()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of an incident."""

    name: WindowName
    origins: tuple[Origin, ...]
    """By population and metro, in the order of their names."""

    @property
    def requests(self) -> int:
        """All requests of the window."""
        return sum(origin.requests for origin in self.origins)

    @property
    def failed(self) -> int:
        """The failed ones."""
        return sum(origin.failed for origin in self.origins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One event of the timeline, with its recovery when it has one."""

    label: str
    begin_s: float
    end_s: float | None
    """When the recovery (or the action itself, when it needs none) was done; None when that did not happen."""
    windows: tuple[Window, ...]


def incidents(
    timeline: Sequence[TimelineEntry], marks: Sequence[Mark], served: Iterable[tuple[ServedKey, int]]
) -> tuple[Incident, ...]:
    """The story of each kill and drain (until restart and undrain), of each rollout, and of each fault while it lasts.

    Args:
        timeline: the scenario's timeline.
        marks: in the order in which they happened; their index is what segments count.
        served: how many requests there were, by where and when.
    """
    counts = list(served)
    out = []
    for index, entry in enumerate(timeline):
        action = entry.step.action()
        if isinstance(action, Power | Steer) and action.verb in {"restart", "undrain"}:
            continue  # it is the end of a kill or a drain
        begin = _find(marks, index, "begin")
        if begin is None:
            continue
        last = _recovery(timeline, index) if isinstance(action, Power | Steer) else index
        end = None if last is None else _find(marks, last, "end")
        out.append(
            Incident(
                label=entry.label,
                begin_s=marks[begin].at_s,
                end_s=None if end is None else marks[end].at_s,
                windows=_windows(counts, begin, end, _next_begin(marks, end)),
            )
        )
    return tuple(out)


def _find(marks: Sequence[Mark], entry: int, edge: str) -> int | None:
    return next((i for i, mark in enumerate(marks) if mark.entry == entry and mark.edge == edge), None)


def _recovery(timeline: Sequence[TimelineEntry], begin: int) -> int | None:
    """Index of the first restart of what the entry `begin` killed, or undrain of what it drained; None without one."""
    action = timeline[begin].step.action()
    end: Action
    if isinstance(action, Power):
        end = replace(action, verb="restart")
    else:
        assert isinstance(action, Steer)
        end = replace(action, verb="undrain")
    later = range(begin + 1, len(timeline))
    return next((index for index in later if timeline[index].step.action() == end), None)


def _next_begin(marks: Sequence[Mark], after: int | None) -> int | None:
    """Index of the next mark at which some action begins."""
    if after is None:
        return None
    return next((i for i in range(after + 1, len(marks)) if marks[i].edge == "begin"), None)


def _windows(counts: list[tuple[ServedKey, int]], begin: int, end: int | None, until: int | None) -> tuple[Window, ...]:
    """The windows around the marks `begin` and `end`; `until` is where the time after ends."""

    def window_of(key: ServedKey) -> WindowName | None:
        if key.sent <= begin:
            if key.done > begin:
                return "in_flight"
            return "before" if key.sent == begin else None
        if end is None or key.sent <= end:
            return "during"
        return "after" if until is None or key.sent <= until else None

    found: dict[WindowName, dict[tuple[str, str], Origin]] = {name: {} for name in WINDOWS}
    for key, count in counts:
        name = window_of(key)
        if name is None:
            continue
        place = (key.population, key.metro)
        origin = found[name].setdefault(place, Origin(key.population, key.metro))
        origin.pops[key.pop] += count
        origin.failed += count if key.failed else 0
    return tuple(Window(name=n, origins=tuple(o for _, o in sorted(found[n].items()))) for n in WINDOWS)
