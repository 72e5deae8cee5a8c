"""Measures what a worker costs, and what the edge adds, on an edge that does nothing else: for the simulator's profiles.

Cold starts are triggered by each PoP's first request: one PoP of each host at the same time, the others one by one. Then
requests come at a low, even rate, over connections that are open already. What the edge adds is what its front door says of
itself (`edge` in `Server-Timing`), and how much later the client has the answer. CPU times are the kernel's (schedstat), less
what the processes use when idle. It knows nothing of the scenarios that are simulated later.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from edgesim.errors import ProcessError
from edgesim.live.load.answers import server_timing
from edgesim.live.load.client import Pool, encode_request
from edgesim.live.rollout import Rollout, follow, publish
from edgesim.results.durations import Durations
from edgesim.results.profile import EdgeProfile, WorkerProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edgesim.live.api_client import ApiClient
    from edgesim.live.load.client import Answer
    from edgesim.live.state import RunRecord

RATE_PER_S: Final = 40.0
IDLE_S: Final = 2.0
"""How long the processes' idle CPU use is looked at."""
TIMEOUT_S: Final = 30.0
HOST_TIMEOUT_S: Final = 60.0
POLL_TIMEOUT_S: Final = 1.0
_POLL_S: Final = 0.02
_WARM: Final = frozenset({"fresh", "reused"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One component to measure."""

    id: str
    digest: str
    abi: str
    size_bytes: int
    path: str
    """A path that is routed to it."""
    loaded_bytes: int
    instance_bytes: int
    compile_s: float


@dataclass(slots=True)
class _Parts:
    """Histograms by name, made when they are needed."""

    by_name: dict[str, Durations] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        self.by_name.setdefault(name, Durations()).record(seconds)


class Measurement:
    """One app on one edge."""

    def __init__(self, edge: RunRecord, api: ApiClient, *, say: Callable[[str], None]) -> None:
        self._edge = edge
        self._api = api
        self._say = say
        self._pools: dict[str, Pool] = {}
        self._deploy_s = 0.0
        self._distribute_s = 0.0

    async def deploy(self, path: Path, app: str) -> None:
        """Have the app on every PoP, without a worker in memory."""
        began_s = perf_counter()
        made = await publish(self._api, path, app=app, prefetch=False, message="edgesim profile")
        self._deploy_s = perf_counter() - began_s
        rollout = Rollout(made)
        await follow(self._api, rollout, HOST_TIMEOUT_S)
        rollout.judge(HOST_TIMEOUT_S)
        delays = sorted(row["distribute_s"] for row in rollout.pops.values() if row.get("distribute_s"))
        self._distribute_s = delays[len(delays) // 2] if delays else 0.0

    async def worker(self, app: str, subject: Subject, pops: Sequence[str], seconds: float) -> WorkerProfile:
        """Measure one component: a cold start on each PoP, then requests for `seconds`."""
        cold, fresh, reused = _Parts(), _Parts(), _Parts()
        cold.add("compile", subject.compile_s)
        # PoPs are dealt out round robin: the first ones are on different hosts, which load at the same time, as they do
        # when traffic begins everywhere. The others share what their host has.
        hosts = max(1, len(self._pids("pop-host")))
        firsts = await asyncio.gather(*(self._send(app, pop, subject.path) for pop in pops[:hosts]))
        others = [await self._send(app, pop, subject.path) for pop in pops[hosts:]]
        for answer in (*firsts, *others):
            _add_cold(cold, _timing(answer))
        self._say(f"{subject.id}: {len(pops)} cold starts")
        for answer, _ in await self._steadily(app, subject.path, pops, seconds):
            timing = _timing(answer)
            into = reused if _start(answer) == "reused" else fresh
            for name in ("instantiate", "init", "execute"):
                into.add(name, timing.get(name, 0.0))
        count = sum(d.count for parts in (fresh, reused) for n, d in parts.by_name.items() if n == "execute")
        self._say(f"{subject.id}: {count} requests")
        return WorkerProfile(
            id=subject.id,
            digest=subject.digest,
            abi=subject.abi,
            size_bytes=subject.size_bytes,
            cold=cold.by_name,
            # A worker whose every instance is reused has had its fresh ones in the cold starts.
            fresh=fresh.by_name or _fresh_of(cold),
            reused=reused.by_name,
            loaded_bytes=subject.loaded_bytes,
            instance_bytes=subject.instance_bytes,
        )

    async def edge(self, app: str, path: str, pops: Sequence[str], seconds: float) -> EdgeProfile:
        """Measure what the edge adds, with an app whose workers are loaded."""
        door, hosts = self._pids("front-door"), self._pids("pop-host")
        idle = _Cpu(door, hosts)
        await asyncio.sleep(IDLE_S)
        idle_door, idle_host = idle.used()
        busy, began_s = _Cpu(door, hosts), perf_counter()
        overhead, outside = Durations(), Durations()
        answers = await self._steadily(app, path, pops, seconds)
        lasted_s = perf_counter() - began_s
        used_door, used_host = busy.used()
        for answer, response_s in answers:
            timing = _timing(answer)
            overhead.record(timing["edge"])
            outside.record(response_s - timing["total"])
        connect = await self._connects(app, path, pops)
        self._say(f"edge: {overhead.count} requests")
        return EdgeProfile(
            overhead=overhead,
            outside=outside,
            connect=connect,
            door_cpu_s=max(0.0, used_door - idle_door * lasted_s / IDLE_S) / len(answers),
            host_cpu_s=max(0.0, used_host - idle_host * lasted_s / IDLE_S) / len(answers),
            start_host_s=await self._restart(app, path, pops),
            deploy_s=self._deploy_s,
            distribute_s=self._distribute_s,
        )

    def close(self) -> None:
        """Drop all connections."""
        for pool in self._pools.values():
            pool.close()

    # -- how

    async def _send(self, app: str, pop: str, path: str, *, pool: Pool | None = None) -> Answer:
        """One request to a PoP, on its connection. Raises ProcessError when it is not answered well."""
        answer = await self._try(app, pop, path, pool)
        if answer.error or answer.status >= 500:
            what = answer.error or f"status {answer.status}: {dict(answer.headers).get('proxy-status', '')}"
            raise ProcessError(
                f"GET {path} at {pop} failed while it was measured: {what}", help="try it with `edgesim run PATH`"
            )
        return answer

    async def _try(self, app: str, pop: str, path: str, pool: Pool | None, timeout_s: float = TIMEOUT_S) -> Answer:
        port = self._edge.ports.front_door
        if pool is None:
            pool = self._pools.setdefault(pop, Pool("127.0.0.1", port, limit=64))
        return await pool.send("GET", encode_request("GET", path, f"{app}.{pop}.localhost"), timeout_s)

    async def _steadily(self, app: str, path: str, pops: Sequence[str], seconds: float) -> list[tuple[Answer, float]]:
        """Requests at an even rate, one PoP after the other; those on open connections to loaded workers, with their times."""
        found: list[tuple[Answer, float]] = []
        begin_s = perf_counter()

        async def one(number: int) -> None:
            due_s = begin_s + number / RATE_PER_S
            await asyncio.sleep(due_s - perf_counter())
            began_s = perf_counter()
            answer = await self._send(app, pops[number % len(pops)], path)
            took_s = perf_counter() - began_s
            if answer.connect_s is None and _start(answer) in _WARM:
                found.append((answer, took_s))

        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * RATE_PER_S)):
                group.create_task(one(number))
        if not found:
            raise ProcessError(
                f"no answer to GET {path} came from the worker", help="name a path that it serves: --path"
            )
        return found

    async def _connects(self, app: str, path: str, pops: Iterable[str]) -> Durations:
        """Time to open connections."""
        connect = Durations()
        for pop in pops:
            pool = Pool("127.0.0.1", self._edge.ports.front_door, limit=1)
            answer = await self._send(app, pop, path, pool=pool)
            pool.close()
            if answer.connect_s is not None:
                connect.record(answer.connect_s)
        return connect

    async def _restart(self, app: str, path: str, pops: Sequence[str]) -> float:
        """From the command to restart a PoP host until one of its PoPs answers; 0 when all is one process."""
        rows = await self._api.hosts()
        host = next((str(row["host"]) for row in rows if row.get("pops")), "")
        hosts = [child.name for child in self._edge.children if child.role == "pop-host"]
        if not host or not hosts:
            return 0.0
        pop = next(pop for row in rows if row["host"] == host for pop in row["pops"])
        pop = str(pop.get("pop")) if isinstance(pop, dict) else str(pop)
        assert pop in pops
        await self._api.host_action(host, "kill")
        began_s = perf_counter()
        await self._api.host_action(host, "restart")
        # One that is caught by a host that is still starting must not hold up the next look.
        while (answer := await self._try(app, pop, path, None, POLL_TIMEOUT_S)).error or answer.status >= 500:
            if perf_counter() - began_s > HOST_TIMEOUT_S:
                raise ProcessError(f"{host} did not come back within {HOST_TIMEOUT_S:g} s")
            await asyncio.sleep(_POLL_S)
        return perf_counter() - began_s

    def _pids(self, role: str) -> list[int]:
        """Processes of a role; the supervisor itself where the whole edge is one process."""
        return [child.pid for child in self._edge.children if child.role == role and child.pid] or [self._edge.pid]


class _Cpu:
    """CPU time of processes from now on."""

    def __init__(self, door: list[int], hosts: list[int]) -> None:
        self._door, self._hosts = door, hosts
        self._door_s, self._host_s = _cpu_s(door), _cpu_s(hosts)

    def used(self) -> tuple[float, float]:
        """Seconds of the front door and of all PoP hosts together."""
        return _cpu_s(self._door) - self._door_s, _cpu_s(self._hosts) - self._host_s


def _cpu_s(pids: Iterable[int]) -> float:
    """CPU time of processes with all their threads, in seconds; 0 for those that are gone, and outside Linux."""
    total = 0
    for pid in pids:
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(file.read_text(encoding="ascii").split()[0])
            except (OSError, ValueError, IndexError):
                continue
    return total / 1e9


def _timing(answer: Answer) -> dict[str, float]:
    """The answer's `Server-Timing` in seconds. Raises ProcessError when it has none."""
    for name, value in answer.headers:
        if name == "server-timing":
            found = server_timing(value)
            if {"edge", "total"} <= set(found):
                return {metric: milliseconds / 1e3 for metric, milliseconds in found.items()}
    raise ProcessError("the edge's answer does not say in Server-Timing what it took")


def _start(answer: Answer) -> str:
    return dict(answer.headers).get("x-edge-start", "").partition(";")[0].strip()


def _add_cold(cold: _Parts, timing: Mapping[str, float]) -> None:
    """One cold start. What is left of the start beside fetching, compiling and loading has been shared."""
    own_s = 0.0
    for name in ("fetch", "compile", "load"):
        if name in timing:
            cold.add(name, timing[name])
            own_s += timing[name]
    if not own_s:
        cold.add("shared", timing.get("start", 0.0))
    for name, phase in (("instantiate", "instantiate"), ("init", "init"), ("execute", "first_call")):
        cold.add(phase, timing.get(name, 0.0))


def _fresh_of(cold: _Parts) -> dict[str, Durations]:
    names = {"instantiate": "instantiate", "init": "init", "first_call": "execute"}
    return {runs: cold.by_name[phase] for phase, runs in names.items() if phase in cold.by_name}
