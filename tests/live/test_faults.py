"""Faults in a process: put in the way with the first order, taken away when they end, and the PoP host's share of the bus."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from edgesim.config.faults import FAULT_BYTES_MAX, FaultOrder, FaultRequest, LinkOrder, OriginOrder, decode_fault
from edgesim.core.pop import Pop
from edgesim.core.request import Response
from edgesim.errors import InputError, OriginError, PopUnreachableError
from edgesim.live.faults import DoorFaults, HostFaults
from edgesim.live.world import LiveWorld
from edgesim.model.events import HealthReported, PopHealth
from edgesim.model.ids import HostId
from tests.support.request_path import BERLIN, FRA, LHR, Legs, request, spec

CUT = LinkOrder(peer="control-plane", for_s=3600.0, cut=True, pops=(FRA,))


def world() -> LiveWorld:
    """A world whose origin answers, and whose clock is the loop's."""
    made = LiveWorld(lambda _event: None)

    async def fetch_origin(_pop: Pop, _request: object) -> Response:
        return Response(200, "ok")

    made.fetch_origin = fetch_origin
    return made


def beat(*pops: str) -> HealthReported:
    """A beat of these PoPs."""
    rows = tuple(PopHealth(pop=pop, state="ready", busy=0, queued=0, loaded_bytes=0, warm=0) for pop in pops)
    return HealthReported(host=HostId("host1"), boot="b", pops=rows)


async def test_nothing_is_in_the_way_before_the_first_fault() -> None:
    """The usual way is not touched; afterwards it is the faulted one, until all faults are ended."""
    w = world()
    before = w.fetch_origin
    faults = HostFaults(w, 1.0)
    assert w.fetch_origin is before

    faults.take(FaultOrder(origin=OriginOrder(for_s=60.0, refuse=True)))
    asked = request(now_s=w.now())
    with pytest.raises(OriginError):
        await w.fetch_origin(Pop(spec(FRA)), asked)
    faults.take(FaultOrder())

    assert (await w.fetch_origin(Pop(spec(FRA)), asked)).status == 200


async def test_a_front_door_gets_its_network_replaced() -> None:
    """And a PoP that is cut off cannot be reached."""
    w = world()
    door = SimpleNamespace(network=Legs(0.25))
    faults = DoorFaults(w, door)

    faults.take(FaultOrder(link=LinkOrder(peer="clients", for_s=60.0, cut=True, pops=(FRA,))))

    assert door.network.legs(BERLIN, LHR, 1) == (0.25, 0.25)
    with pytest.raises(PopUnreachableError):
        door.network.legs(BERLIN, FRA, 1)


async def test_a_pop_that_is_cut_off_from_the_bus_is_not_heard() -> None:
    """Its beats are left out; its host's other PoPs beat on."""
    faults = HostFaults(world(), 1.0)
    event = beat(FRA, LHR)
    assert faults.audible(event) is event

    faults.take(FaultOrder(link=CUT))

    assert [p.pop for p in faults.audible(event).pops] == [LHR]


async def test_messages_of_a_cut_pop_wait_for_the_end() -> None:
    """They are delivered when the time is over; those of others at once."""
    w = world()
    faults = HostFaults(w, 1.0)
    slept: list[float] = []
    delivered = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    w.sleep = sleep
    assert not faults.late(FRA, delivered.set)
    faults.take(FaultOrder(link=CUT))

    assert not faults.late(LHR, delivered.set)
    assert faults.late(FRA, delivered.set)
    await delivered.wait()
    assert slept == [pytest.approx(3600.0, abs=1.0)]
    await w.close()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{", "fault: "),
        (b"{}", "exactly one of link and origin"),
        (b'{"link": {"peer": "mars", "for_s": 1}}', "link.peer"),
        (b'{"link": {"peer": "origin", "for_s": 0}}', "link.for_s"),
        (b'{"link": {"peer": "origin", "for_s": 1, "loss": 1}}', "link.loss"),
        (b'{"origin": {"for_s": 1, "statuss": 1}}', "origin.statuss"),
        (b" " * (FAULT_BYTES_MAX + 1), "the limit is"),
    ],
)
def test_requests_that_are_wrong(raw: bytes, said: str) -> None:
    """The field is named."""
    with pytest.raises(InputError, match=said):
        decode_fault(FaultRequest, raw)
