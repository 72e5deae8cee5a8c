"""The suite on the simulator as it is, and on simulators that are broken on purpose: each fault fails a claim."""

from __future__ import annotations

import math
from functools import partial

import pytest

from edgesim.core.pool import Lease, Pool
from edgesim.core.request import Response, Timings
from edgesim.sim.leaves import ModelledLeaves
from edgesim.sim.machine import Machine
from edgesim.sim.validation import event_loop, markov, pollaczek_khinchine, sample_path
from edgesim.sim.validation.service import Deterministic, Exponential
from edgesim.sim.validation.station import Queue, means
from edgesim.sim.validation.suite import Row, Suite, run, suite
from edgesim.sim.validation.verdict import RELATIVE_MAX_QUICK

M = Exponential(0.01)
ALLOWED = RELATIVE_MAX_QUICK
SMALL = 4_000
"""Customers of a replication: twenty of them see a difference of a sixth."""


def small(judge=markov.wait, service=M, slots=1, load=0.7, waiting=True):
    """Whether one claim holds on the simulator as it is now; |z| decides, the runs are too short for the other rule."""
    queue = Queue(service=service, slots=slots, load=load, customers=SMALL, waiting=waiting)
    return abs(judge(queue, [means(queue, seed) for seed in range(20)], ALLOWED).z) < 3.5


def paths(slots=4):
    """Claims without chance that fail on the simulator as it is now."""
    queue = Queue(service=M, slots=slots, load=0.8, customers=2_000)
    results = [sample_path.order(queue, 1), *sample_path.little(queue, 1)]
    return {result.claim.id for result in results if not result.ok}


def test_the_simulator_as_it_is():
    """Every small claim holds, so what the next tests see are the faults."""
    assert small()
    assert small(markov.waiting_share, slots=4)
    assert small(markov.refused_share, slots=4, waiting=False)
    assert small(pollaczek_khinchine.wait, Deterministic(0.01))
    assert paths(1) == paths(4) == set()


def test_last_in_first_out(monkeypatch):
    """The mean wait is the same; the order is not."""

    def hand_over(self):
        lease, _ = self._queue.popitem()
        lease.waiter.resolve(None)

    monkeypatch.setattr(Pool, "_hand_over", hand_over)

    assert small()
    assert paths() == {"order.4"}


def test_services_that_are_too_long(monkeypatch):
    """Guests that take 8 % more than their cost says."""
    monkeypatch.setattr("edgesim.sim.leaves.log", lambda x: 1.08 * math.log(x))

    assert not small()
    assert small(pollaczek_khinchine.wait, Deterministic(0.01))  # draws its own


def test_services_of_another_shape(monkeypatch):
    """Guests whose mean is right, but who all take the same time."""

    async def run_worker(self, pop, worker, request, instance):
        await self._w.sleep(self._costs.execute_s)
        return Response(200, "ok", timings=Timings(execute_s=self._costs.execute_s))

    monkeypatch.setattr(ModelledLeaves, "run_worker", run_worker)

    assert not small()


def test_a_slot_too_many(monkeypatch):
    """A pool that hands out one slot more than it has."""
    plain = Pool.__init__
    monkeypatch.setattr(Pool, "__init__", lambda self, slots, queue: plain(self, slots + 1, queue))

    assert not small(markov.waiting_share, slots=4)
    assert not small(markov.refused_share, slots=4, waiting=False)
    assert "order.4" in paths()


def test_a_slot_that_is_given_back_late(monkeypatch):
    """A pool that forgets one busy slot in its account: what it says of itself is not what requests saw."""
    plain = Lease.close
    monkeypatch.setattr(
        Lease, "close", lambda self: (plain(self), setattr(self.pool, "busy", min(self.pool.busy, 2)))[0]
    )

    assert "little.slots" in paths()


def test_arrivals_that_are_no_poisson_process(monkeypatch):
    """Evenly spaced arrivals wait less."""
    monkeypatch.setattr("edgesim.sim.validation.station.times", even)

    assert not small()


def even(load):
    """Arrivals at the rate of the load's only phase, evenly."""
    for number in range(10 * SMALL):
        yield number / load.phases[0].rate_from, 0


def test_a_loop_that_forgets_who_was_before(monkeypatch):
    """The event loops of the edge: requests that do not wait for those before them are found."""
    queue = Queue(service=Deterministic(0.01), slots=1, load=0.6, customers=SMALL)

    def off():
        return abs(event_loop.wait(queue, [event_loop.means(queue, seed) for seed in range(20)], ALLOWED).z)

    assert off() < 3.5

    plain = Machine.delay_s

    def forgetful(self, host, now_s, bits):
        if now_s % 1.0 < 0.5:
            self._door_free_s = self._free_s[host] = 0.0
        return plain(self, host, now_s, bits)

    monkeypatch.setattr(Machine, "delay_s", forgetful)

    assert off() > 3.5


def test_a_fault_fails_the_suite(monkeypatch):
    """From the row to the family: a wrong mean is in the results of `run`."""
    monkeypatch.setattr("edgesim.sim.leaves.log", lambda x: 1.08 * math.log(x))
    monkeypatch.setattr("edgesim.sim.validation.suite.SAMPLE_PATH_CUSTOMERS", 1000)
    row = Row(Queue(service=M, slots=1, load=0.7, customers=SMALL), (markov.wait, markov.waiting_share), ALLOWED)
    results = {result.claim.id: result for result in run(Suite((row,), 20), seed=3)}

    assert not results["mm1.wait.0.7"].ok
    assert not results["family"].ok
    assert results["little.system"].ok


def test_replications_are_functions_of_their_seeds(monkeypatch):
    """To the bit, another seed is another run, and rows do not share random numbers."""
    queue = Queue(service=M, slots=2, load=0.5, customers=500)

    assert means(queue, 1) == means(queue, 1)
    assert means(queue, 1) != means(queue, 2)

    monkeypatch.setattr("edgesim.sim.validation.suite.SAMPLE_PATH_CUSTOMERS", 100)
    asked = []
    list(run(suite(quick=False), 1, partial(_note, asked)))

    assert len(asked) == len(set(asked)) == 40 * len(suite(quick=False).rows)


def _note(asked, function, tasks):
    """In place of `map`: remembers the seeds and runs something short instead."""
    for _, queue, seed in tasks:
        asked.append(seed)
        yield means(Queue(service=queue.service, slots=1, load=0.5, customers=40), len(asked))


@pytest.mark.parametrize("quick", [True, False])
def test_what_the_suites_cover(quick):
    """M/M/1, M/M/c, M/D/1, two M/G/1 and a loss system, each with at least twenty replications."""
    chosen = suite(quick=quick)

    assert {row.queue.name for row in chosen.rows} >= {"M/M/1", "M/M/4", "M/D/1", "M/LN/1", "M/H2/1", "M/LN/4/4"}
    assert chosen.replications >= 20
    assert max(row.queue.load for row in chosen.rows) == (0.7 if quick else 0.9)
