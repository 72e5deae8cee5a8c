"""Injected faults: links that are slow, lossy or cut, origins that fail, and that both end."""

from __future__ import annotations

import pytest

from edgesim.core.faults import FaultedNetwork, Faults, LinkFault, OriginFault, faulted_origin
from edgesim.core.front_door import front_door
from edgesim.core.pop import Pop
from edgesim.core.request import Response
from edgesim.errors import OriginError, OriginTimeoutError, PopUnreachableError
from edgesim.model.stream import Stream
from tests.support.request_path import BERLIN, FRA, LHR, Legs, door, request, run, sim_world, spec


def link(**changes) -> LinkFault:
    """A fault of Frankfurt's link to clients that ends at 10 s."""
    return LinkFault(**{"pops": frozenset([FRA]), "peer": "clients", "until_s": 10.0, **changes})


def test_links_add_up_and_end() -> None:
    """Times add, losses are independent, one cut is enough; another PoP, peer or time has nothing."""
    faults = Faults()
    for fault in (
        link(add_s=0.25),
        link(add_s=0.5, loss=0.5),
        link(loss=0.5, until_s=5.0),
        link(cut=True, until_s=3.0),
    ):
        faults.add(fault, 0.0)

    assert faults.link(FRA, "clients", 1.0) == (0.75, 0.0, 0.75, True, 3.0)
    assert faults.link(FRA, "clients", 4.0) == (0.75, 0.0, 0.75, False, 0.0)
    assert faults.link(FRA, "clients", 6.0) == (0.75, 0.0, 0.5, False, 0.0)
    assert faults.link(FRA, "clients", 10.0) is None
    assert faults.link(LHR, "clients", 1.0) is None
    assert faults.link(FRA, "origin", 1.0) is None


def test_faults_that_are_over_are_forgotten_and_clear_ends_all() -> None:
    """A long-lived process does not collect them."""
    faults = Faults()
    faults.add(link(until_s=1.0), 0.0)
    faults.add(link(until_s=9.0), 2.0)
    faults.add(OriginFault(origin="", until_s=9.0), 2.0)

    assert len(faults._links) == 1
    faults.clear()
    assert faults.link(FRA, "clients", 3.0) is None
    assert faults.origin("demo", 3.0) is None


def test_extra_time_has_its_bounds() -> None:
    """Half of what is added each way, jitter evenly up to its bound, and retransmissions doubling."""
    faults = Faults()
    faults.add(link(add_s=0.5, jitter_s=0.25), 0.0)
    way = faults.link(FRA, "clients", 0.0)
    assert way is not None
    both = [sum(way.extra_s(Stream(n))) for n in range(500)]
    faults.add(link(loss=0.5), 0.0)
    lossy = faults.link(FRA, "clients", 0.0)
    assert lossy is not None
    resent = [way for n in range(500) for way in lossy.extra_s(Stream(n))]

    assert 0.5 <= min(both) <= max(both) <= 0.75
    assert sum(both) / 500 == pytest.approx(0.625, abs=0.01)
    assert sum(0.2 <= r - 0.25 <= 0.125 + 0.2 for r in resent) / 1000 == pytest.approx(0.25, abs=0.05)
    assert sum(r >= 0.25 + 0.2 for r in resent) / 1000 == pytest.approx(0.5, abs=0.06)


def test_clients_of_a_cut_pop_go_elsewhere() -> None:
    """Until the fault ends; a slow one takes longer."""
    w = sim_world([])
    faults = Faults()
    front = door([spec(FRA), spec(LHR)], leg_s=0.25)
    front.network = FaultedNetwork(front.network, faults, w.now)

    async def forward(pop, _request):
        return Response(200, "ok", pop)

    w.forward = forward

    def served_by() -> tuple[str, float]:
        began_s = w.now()
        answer = run(w, front_door(w, front, request(now_s=began_s)))
        return answer.pop, w.now() - began_s

    faults.add(link(cut=True, until_s=1.5), 0.0)
    cut, _ = served_by()
    front.health.beat(FRA, "ready", 2.0)
    faults.add(link(add_s=0.5, until_s=1e9), w.now())
    front.health.beat(FRA, "ready", w.now())
    slow, slow_s = served_by()

    assert (cut, slow) == (LHR, FRA)
    assert slow_s > 0.5 + 2 * 0.25
    faults.add(link(cut=True, until_s=1e9), 0.0)
    with pytest.raises(PopUnreachableError, match="cut off from clients"):
        FaultedNetwork(Legs(0.0), faults, w.now).legs(BERLIN, FRA, 7)


@pytest.mark.parametrize(
    ("fault", "raised", "took_s"),
    [
        (OriginFault(origin="", until_s=9.0, refuse=True), OriginError, 0.0),
        (OriginFault(origin="demo", until_s=9.0, delay_s=20.0), OriginTimeoutError, 10.0),
        (link(peer="origin", cut=True), OriginTimeoutError, 10.0),
    ],
)
def test_origins_that_do_not_answer(fault: LinkFault | OriginFault, raised: type[Exception], took_s: float) -> None:
    """Refused at once, or silent until the request's deadline."""
    w, faults = sim_world([]), Faults()
    faults.add(fault, 0.0)
    fetch = faulted_origin(w, w.fetch_origin, faults)

    with pytest.raises(raised):
        run(w, fetch(Pop(spec(FRA)), request()))

    assert w.now() == took_s


def test_origins_that_answer_otherwise() -> None:
    """With a status, later, over a longer way; and as ever when it is over, or about another origin."""
    w, faults = sim_world([]), Faults()
    fetch = faulted_origin(w, w.fetch_origin, faults, time_scale=0.5)
    pop = Pop(spec(FRA))
    faults.add(OriginFault(origin="other", until_s=9.0, refuse=True), 0.0)
    faults.add(link(peer="origin", add_s=1.0), 0.0)
    usual = run(w, fetch(pop, request()))
    took_s = w.now()
    faults.add(OriginFault(origin="demo", until_s=9.0, status=503), w.now())
    failing = run(w, fetch(pop, request()))
    faults.clear()
    faults.add(OriginFault(origin="demo", until_s=100.0, delay_s=2.0), w.now())
    began_s = w.now()
    late = run(w, fetch(pop, request(now_s=began_s)))

    assert usual.status == 200
    assert took_s >= 0.5
    assert (failing.status, failing.outcome, failing.error) == (503, "ok", "")
    assert late.status == 200
    assert w.now() - began_s >= 2.0
