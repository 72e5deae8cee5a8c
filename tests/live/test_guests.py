"""Workers of a PoP host, where no real Wasm is needed."""

from __future__ import annotations

import pytest

from edgesim.core.pop import Pop, Stage, Worker
from edgesim.live.guests import WasmGuests
from edgesim.live.http_server import TooLargeError
from edgesim.model.ids import AppName, Digest
from edgesim.model.worker import Component, Limits, Release, Route
from tests.support.request_path import FRA, request, spec


class Loaded:
    """A worker in memory that must not run."""

    async def run(self, *args):
        """Fail."""
        raise AssertionError("the worker was run")


async def test_a_body_announced_over_the_components_limit():
    """413 before the worker runs: once its head is out, the connection could only be cut."""
    component = Component(id="c", digest=Digest("0" * 64), size_bytes=1, abi="wagi", limits=Limits(body_bytes=1024))
    release = Release(
        app=AppName("hello"), version=1, digest=Digest("1" * 64), components=(component,),
        routes=(Route(pattern="/...", component="c"),),
    )  # fmt: skip
    worker = Worker(release, component, Stage.LOADED)
    worker.handle = (Loaded(), ())
    guests = WasmGuests(None, None, None, [])

    with pytest.raises(TooLargeError, match="larger than 1024 bytes") as raised:
        await guests.run_worker(Pop(spec(FRA)), worker, request(headers=(("content-length", "1025"),)), None)

    assert raised.value.status == 413
