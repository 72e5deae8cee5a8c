"""A realistic stream of events, without a clock: what a small edge would have published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from edgesim.model.events import (
    ColdStarted,
    Event,
    HealthReported,
    PopHealth,
    PopReported,
    RequestRouted,
    RequestServed,
)
from edgesim.model.ids import AppName, HostId, PhaseName, PopId, Role, Start

APP = AppName("hello")


def traffic(pops: Sequence[str], *, requests: int, seed: int = 1) -> Iterator[Event]:
    """`requests` requests to each of `pops`, with the cold starts, failovers and errors that belong to them."""
    rng = Random(seed)
    for index, pop in enumerate(map(PopId, pops)):
        yield PopReported(pop=pop, epoch=1, gen=1, state="ready", apps={APP: 1}, distribute_s=rng.uniform(0.002, 0.02))
        for number in range(requests):
            start: Start = "absent" if number < 2 else "fresh"
            role: Role = ("trigger", "waiter", "")[min(number, 2)]
            queue_s = rng.expovariate(2000) if rng.random() < 0.2 else 0.0
            start_s = rng.uniform(0.05, 0.15) if role else 0.0
            execute_s = rng.lognormvariate(-7.5, 0.6)
            failed = rng.random() < 0.01
            network_s = rng.lognormvariate(-3.5, 0.5)
            duration_s = queue_s + start_s + execute_s + 0.0002
            if role:
                yield cold_start(pop, role, rng, start_s + execute_s)
            outcome = "guest_error" if failed else "ok"
            yield RequestServed(
                pop=pop, app=APP, version=1, outcome=outcome, start=start, role=role, status=502 if failed else 200,
                network_s=network_s, queue_s=queue_s, start_s=start_s, execute_s=execute_s,
                origin_s=rng.uniform(0.02, 0.09) if rng.random() < 0.1 else 0.0, duration_s=duration_s, cpu_s=execute_s * 0.9,
            )  # fmt: skip
            moved = rng.random() < 0.02
            yield RequestRouted(
                pop=pop, app=APP, outcome=outcome, status=502 if failed else 200, reason="failover" if moved else "first",
                failed=(PopId(pops[index - 1]),) if moved else (), network_s=network_s,
                duration_s=duration_s + network_s, metro=1 + index % 60,
            )  # fmt: skip
    yield HealthReported(
        host=HostId("host1"),
        boot="b",
        pops=tuple(
            PopHealth(
                pop=PopId(pop), state="ready", busy=rng.randrange(8), queued=rng.randrange(3), loaded_bytes=1 << 20
            )
            for pop in pops
        ),
    )


def cold_start(pop: PopId, role: Role, rng: Random, total_s: float) -> ColdStarted:
    """A cold start that a request saw."""
    phases: tuple[tuple[PhaseName, float], ...] = (
        (("fetch", rng.uniform(0.001, 0.01)), ("compile", rng.uniform(0.03, 0.1)), ("instantiate", 0.0001), ("first_call", 0.0008))
        if role == "trigger"
        else (("shared", rng.uniform(0.03, 0.1)), ("instantiate", 0.00005), ("first_call", 0.0005))
    )  # fmt: skip
    return ColdStarted(
        pop=pop, app=APP, version=1, start="absent", role=role, cause="request", phases=phases, total_s=total_s
    )
