"""The clients of a simulated scenario: the connections they keep open, the requests they send, what is recorded of them.

As the load generator does it live (`edgesim/live/load`): open loop, one pool of connections per metro and access class, the
one used last first, response times from the intended send time. A simulated client is never late and never gives up. What an
answer's body and the worker's own fields would have said is not known here: checks of them hold.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from edgesim.core.front_door import front_door, own_s
from edgesim.core.request import Connection, Request
from edgesim.model.address import MAX_HOST, client_address
from edgesim.model.geo import Place
from edgesim.model.stream import Stream, key, numbered
from edgesim.results.answered import COLD_PHASES, COLD_STARTS, Answered, Attribution
from edgesim.scenario.arrivals import arrivals, following
from edgesim.scenario.compose import compose

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from edgesim.core.request import Response
    from edgesim.model.geo import Metro
    from edgesim.model.ids import AppName
    from edgesim.results.collect import Results
    from edgesim.scenario.arrivals import Arrival
    from edgesim.scenario.spec import Scenario
    from edgesim.sim.run import Simulation

CONNECTIONS_MAX: Final = 512
"""Addresses of one metro and access class, as live."""
DEADLINE_S: Final = 10.0
"""The front door's, as live."""
BATCH: Final = 64
"""Arrivals that are drawn and answers that are counted in one go: done one by one, in between all else, they cost twice as much."""
_OWN_FIELDS: Final = ("via", "x-edge-request-id", "server-timing")
"""Fields that the edge adds to every answer, whatever became of the request."""


class _Connections:
    """Those of one metro and access class."""

    __slots__ = ("_access", "_index", "_metro", "_opened", "idle")

    def __init__(self, metro: Metro, access: str, index: int) -> None:
        self._metro = metro
        self._access = access
        self._index = index
        self._opened = 0
        self.idle: list[tuple[Connection, Place]] = []

    def open(self) -> tuple[Connection, Place]:
        """A new one, from the next address."""
        metro, host = self._metro, self._opened % min(CONNECTIONS_MAX, MAX_HOST + 1)
        self._opened += 1
        address = client_address(metro.id, self._index, host, "loopback")
        place = Place(
            address=address,
            at=metro.at,
            city=metro.city,
            country=metro.country,
            metro=metro.id,
            access=self._access,
        )
        return Connection(), place


class Clients:
    """Everybody who sends requests in a run."""

    def __init__(
        self, scenario: Scenario, simulation: Simulation, results: Results, *, begin_s: float, access: tuple[str, ...]
    ) -> None:
        """Get ready.

        Args:
            scenario: what is sent.
            simulation: where to; its world tells us of every answer.
            results: where what happens is counted.
            begin_s: when the first phase begins, on the simulation's clock.
            access: names of the access classes, in the order of the address plan.
        """
        self._scenario = scenario
        self._simulation = simulation
        self._results = results
        self._begin_s = begin_s
        self._access = access
        self._time_scale = simulation.door.time_scale
        self._machine = simulation.world.machine
        self._base = key(scenario.load.seed)
        self._limit = scenario.load.max_in_flight
        self._connections: dict[tuple[int, str], _Connections] = {}
        self._by_clients = [[self._at(c.metro, c.access) for c in p.clients] for p in scenario.populations]
        self._looks = [bool(request.expect.headers) for request in scenario.requests]
        """Whether what is expected of a request's answer depends on more than its status."""
        self._violations: dict[tuple[object, ...], str] = {}
        self._app: AppName = scenario.target.app  # type: ignore[assignment] # a scenario's names are checked, not typed
        self.in_flight = 0
        self.sent = 0
        self.last_s = 0.0
        """When the last answer that was counted came, from the beginning."""
        self._answers: list[tuple[Request, Response, float, float]] = []
        """Not counted yet: each with when the front door was through with it, and when the client had it from the beginning."""
        simulation.world.reply = self.take  # type: ignore[method-assign] # without a call in between

    def actions(self) -> Iterator[tuple[float, Callable[[], object]]]:
        """Every arrival as an external event of the kernel, one by one."""
        begin_s, send, source = self._begin_s, self._send, arrivals(self._scenario)
        while batch := list(islice(source, BATCH)):
            for arrival in batch:
                yield begin_s + arrival.at_s, partial(send, arrival)

    def _send(self, arrival: Arrival) -> None:
        """Send one request, unless too many are without an answer."""
        if self.in_flight >= self._limit:
            self._results.drop(arrival)
            return
        self.in_flight += 1
        self.sent += 1
        connections = self._by_clients[arrival.population][arrival.clients]
        idle = connections.idle
        opened = not idle
        held = connections.open() if opened else idle.pop()
        scenario, simulation = self._scenario, self._simulation
        spec = scenario.requests[arrival.request]
        target, headers = spec.target, spec.headers
        if spec.templates:
            target, headers, _ = compose(scenario, arrival)
        if arrival.step:
            stream = Stream(key(scenario.load.seed, "session", arrival.number, arrival.step))
        else:
            stream = numbered(self._base, arrival.number)
        now_s = simulation.kernel.now_s
        # Positional, as in the flows: keywords cost more than all else here.
        request = Request(
            "", self._app, spec.method, target, headers, None, held[1], held[0], stream, now_s, now_s + DEADLINE_S,
        )  # fmt: skip
        request.channel = (arrival, connections, held, opened, len(self._results.marks))
        simulation.kernel.spawn(front_door(simulation.world, simulation.door, request), "request")

    def take(self, request: Request, response: Response) -> Awaitable[None]:
        """The answer to a request: note it, to be counted. The client's connection is free again."""
        arrival: Arrival
        arrival, connections, held, opened, _ = request.channel
        connections.idle.append(held)
        self.in_flight -= 1
        now_s = self._simulation.kernel.now_s
        answered_s = now_s - self._begin_s
        if self._machine is not None:
            answered_s += self._machine.outside_s(request.stream.bits(), opened=opened)
        self._answers.append((request, response, now_s, answered_s))
        if len(self._answers) >= BATCH:
            self.count()
        if arrival.session >= 0:
            step = following(self._scenario, arrival, answered_s)
            if step is not None:
                self._simulation.kernel.at(self._begin_s + step.at_s, partial(self._send, step))
        return NOTHING_LEFT

    def count(self) -> None:
        """Count the answers that have come: before a mark of the timeline is set, and before somebody looks at the results."""
        add, time_scale, last_s = self._results.add, self._time_scale, self.last_s
        for request, response, now_s, answered_s in self._answers:
            arrival, _, _, _, segment = request.channel
            last_s = max(last_s, answered_s)
            start, role = response.start, response.role
            phases = _phases(response) if start in COLD_STARTS and role else ()
            edge_s = own_s(request, response, now_s, time_scale)
            about = Attribution(response.pop, start, role, request.network_s, phases, edge_s)
            outcome = self._violation(arrival.request, response)
            response_s = answered_s - arrival.at_s
            add(arrival, Answered(outcome, response_s, about, response.status, 0, 0.0, None, False, segment))
        self.last_s = last_s
        self._answers.clear()

    def _violation(self, number: int, response: Response) -> str:
        """What about an answer was not expected; there are few different ones, so they are looked at once."""
        at: tuple[object, ...] = (number, response.status)
        if self._looks[number]:
            at = (*at, response.pop, response.start, response.role, response.version)
        found = self._violations.get(at)
        if found is None:
            expected = self._scenario.requests[number].expect
            known = [(name, "") for name in _OWN_FIELDS]
            known += [("x-edge-pop", response.pop)] if response.pop else []
            known += [("cache-status", f"edgesim-{response.pop}; fwd=bypass")] if response.pop else []
            start = response.start if not response.role else f"{response.start}; role={response.role}"
            known += [("x-edge-start", start)] if response.start else []
            known += [("x-edge-version", f"{self._app}@{response.version}")] if response.version else []
            known += [("proxy-status", "")] if response.error else []
            theirs = [(name, value or "") for name, value in expected.headers if not name.startswith("x-edge-")]
            found = expected.violation(response.status, (*known, *theirs)) or "ok"
            self._violations[at] = found
        return found

    def _at(self, metro: Metro, access: str) -> _Connections:
        found = self._connections.get((metro.id, access))
        if found is None:
            index = self._access.index(access)
            found = self._connections[metro.id, access] = _Connections(metro, access, index)
        return found


class _NothingLeft:
    """An awaitable that does not suspend."""

    __slots__ = ()
    __await__: Any = ().__iter__


NOTHING_LEFT: Final[Awaitable[None]] = _NothingLeft()


def _phases(response: Response) -> tuple[tuple[str, float], ...]:
    """What a cold start was spent on, as the live edge says it in `Server-Timing`."""
    t = response.timings
    seconds: dict[str, float] = {"start": t.start_s, **dict(t.phases)}
    seconds |= {"instantiate": t.instantiate_s, "init": t.init_s, "first_call": t.execute_s}
    return tuple((name, seconds[name]) for name in COLD_PHASES if seconds.get(name))
