"""Claims about each single run, without chance: Little's law from empty to empty, and who gets the next slot when.

Little: the integral of the number of customers over a time that begins and ends with none of them equals the sum of their
times there, run by run (J. D. C. Little, "A proof for the queuing formula L = λW", Operations Research 9(3), 1961; without
chance as in S. Stidham, "A last word on L = λW", Operations Research 22(2), 1974). The number is read off the pool, the times
are the kernel's and the responses'.

Lindley, Kiefer and Wolfowitz: arrivals and services of a run determine every wait, if the queue is first in, first out.
Mean waits would not show another order: they are the same last in, first out. (D. V. Lindley, "The theory of queues with a
single server", Proc. Cambridge Phil. Soc. 48(2), 1952; J. Kiefer, J. Wolfowitz, "On the theory of queues with many servers",
Trans. AMS 78(1), 1955.)
"""

from __future__ import annotations

from heapq import heapreplace
from typing import TYPE_CHECKING

from edgesim.sim.validation.station import Queue, visits
from edgesim.sim.validation.verdict import EXACT_MAX, Claim, Result, at_most, exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgesim.sim.validation.station import Visit


def little(queue: Queue, seed: int) -> list[Result]:
    """L = λW for the system, its queue and its slots, of one run from empty to empty."""
    found, occupancy = visits(queue, seed)
    length_s = max(visit.left_s for visit in found)
    parts = (
        ("whole system", "L = λ W", occupancy.busy + occupancy.queued, (v.left_s - v.arrived_s for v in found)),
        ("queue", "Lq = λ Wq", occupancy.queued, (v.wait_s for v in found)),
        ("slots", "busy = λ E[S]", occupancy.busy, (v.service_s for v in found)),
    )
    return [
        exact(
            Claim(
                id=f"little.{where.split()[-1]}",
                text=f"{queue.label}: {formula}, {where}",
                source="Little 1961",
                unit="customers",
            ),
            sum(times) / length_s,
            integral / length_s,
        )
        for where, formula, integral, times in parts
    ]


def order(queue: Queue, seed: int) -> Result:
    """The largest difference of any customer's wait from Lindley's recursion, for c slots that of Kiefer and Wolfowitz."""
    found, _ = visits(queue, seed)
    worst_s = max(
        abs(visit.wait_s - wait_s) for visit, wait_s in zip(found, first_in_first_out(found, queue.slots), strict=True)
    )
    one = queue.slots == 1
    claim = Claim(
        id=f"order.{queue.slots}",
        text=f"{queue.label}: every wait against " + ("w' = max(0, w + s - t)" if one else "c free times"),
        source="Lindley 1952" if one else "Kiefer, Wolfowitz 1955",
        unit="s",
    )
    return at_most(claim, EXACT_MAX * found[-1].left_s, worst_s)


def first_in_first_out(customers: Iterable[Visit], slots: int) -> Iterator[float]:
    """The wait of each customer, in order of arrival: until the first of the slots is free."""
    free_s = [0.0] * slots
    for customer in customers:
        begins_s = max(customer.arrived_s, free_s[0])
        heapreplace(free_s, begins_s + customer.service_s)
        yield begins_s - customer.arrived_s
