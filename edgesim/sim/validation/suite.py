"""All claims, how long they run, and their results one by one.

Replications are pure functions of (queue, seed), so they may run anywhere: `run` takes a `map`. Each has a seed of its own,
made of the suite's seed, the queue and its number: rows that shared random numbers would err together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

from edgesim.model.stream import key
from edgesim.sim.validation import event_loop, markov, pollaczek_khinchine, sample_path
from edgesim.sim.validation.service import Deterministic, Exponential, HyperExponential, Lognormal
from edgesim.sim.validation.station import Means, Queue, means
from edgesim.sim.validation.verdict import (
    HEAVY_LOAD,
    RELATIVE_MAX,
    RELATIVE_MAX_HEAVY,
    RELATIVE_MAX_QUICK,
    Result,
    family,
)

Judge: TypeAlias = Callable[[Queue, Sequence[Means], float], Result]
Map: TypeAlias = Callable[[Callable[[Any], Means], Iterable[Any]], Iterable[Means]]

MEAN_S: Final = 0.01
"""Mean service time of all queues; theory is in multiples of it."""
SAMPLE_PATH_CUSTOMERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Row:
    """A queue and what is claimed of it; only the first claim's z counts in the family, the others come from the same runs."""

    queue: Queue
    judges: tuple[Judge, ...]
    allowed: float
    """Largest relative difference."""
    means: Callable[[Queue, int], Means] = means
    """Runs one replication; not the station where another part of the simulator is the queue."""


@dataclass(frozen=True, slots=True)
class Suite:
    """What is run."""

    rows: tuple[Row, ...]
    replications: int
    """At least 20: the standard error is estimated from them."""

    @property
    def customers(self) -> int:
        """Of all replications."""
        return self.replications * sum(row.queue.customers for row in self.rows)


def suite(*, quick: bool) -> Suite:
    """The claims, with as many customers as bring the standard errors to about a third of the largest difference.

    The quick suite leaves out the heavy loads, which need most. Each row says the thousands of a replication, quick and full.
    """
    exponential, lognormal = Exponential(MEAN_S), Lognormal(MEAN_S, scv=1.5)

    def row(load: float, slots: int, thousands: tuple[int, int], *judges: Judge, service: Any = exponential) -> Row:
        waiting = markov.refused_share not in judges
        customers = 1000 * thousands[0 if quick else 1]
        allowed = RELATIVE_MAX_QUICK if quick else RELATIVE_MAX_HEAVY if load >= HEAVY_LOAD else RELATIVE_MAX
        queue = Queue(service=service, slots=slots, load=load, customers=customers, waiting=waiting)
        return Row(queue, judges, allowed, event_loop.means if event_loop.wait in judges else means)

    pk = pollaczek_khinchine.wait
    rows = (
        row(0.5, 1, (30, 60), markov.wait),
        row(0.8, 1, (0, 100), markov.wait),
        row(0.9, 1, (0, 120), markov.wait),
        row(0.7, 4, (30, 80), markov.wait, markov.waiting_share),
        row(0.9, 16, (0, 140), markov.wait, markov.waiting_share),
        row(0.7, 4, (8, 20), markov.refused_share, service=lognormal),
        row(0.7, 1, (15, 40), pk, service=Deterministic(MEAN_S)),
        row(0.6, 1, (15, 40), event_loop.wait, service=Deterministic(MEAN_S)),
        row(0.5, 1, (30, 60), pk, service=lognormal),
        row(0.4, 1, (30, 80), pk, service=HyperExponential(MEAN_S, scv=3.0)),
    )
    return Suite(tuple(row for row in rows if row.queue.customers), 20 if quick else 40)


def run(chosen: Suite, seed: int, run_all: Map = map) -> Iterator[Result]:
    """Results in the order of the rows, then those without chance, then the judgement of all z together.

    Args:
        chosen: what to run.
        seed: of everything.
        run_all: runs a function over arguments, in order; `map`, or that of a pool of processes.
    """
    tasks = [
        (row.means, row.queue, key(seed, row.queue.name, int(row.queue.load * 1000), number))
        for row in chosen.rows
        for number in range(chosen.replications)
    ]
    runs = iter(run_all(_replicate, tasks))
    independent: list[Result] = []
    for row in chosen.rows:
        samples = list(islice(runs, chosen.replications))
        results = [judge(row.queue, samples, row.allowed) for judge in row.judges]
        independent.append(results[0])
        yield from results
    yield family(independent)
    exponential = Exponential(MEAN_S)
    for slots in (1, 4):
        queue = Queue(service=exponential, slots=slots, load=0.8, customers=SAMPLE_PATH_CUSTOMERS)
        yield sample_path.order(queue, key(seed, "order", slots))
    yield from sample_path.little(queue, key(seed, "little"))


def _replicate(task: tuple[Callable[[Queue, int], Means], Queue, int]) -> Means:
    run_one, queue, seed = task
    return run_one(queue, seed)
