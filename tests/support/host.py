"""Host functions without a guest: a stand-in that has what they look at, and what a suspended call does next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from edgesim.model.worker import Limits
from edgesim.wasm.guest import NO_GRANTS, Grants, GuestRequest, Input, Log, Output, Suspend
from edgesim.wasm.host import host_functions
from edgesim.wasm.values import Err


def a_request(method: str = "GET", **changes) -> GuestRequest:
    """The request that the guest serves."""
    values = {
        "method": method, "target": "/", "headers": (), "body": None, "authority": "shop.localhost", "scheme": "http",
        "client_address": "240.0.0.1", "deadline_s": 0.0,
    }  # fmt: skip
    return GuestRequest(**{**values, **changes})


@dataclass
class HostGuest:
    """A guest as host functions see it."""

    request: GuestRequest = field(default_factory=a_request)
    limits: Limits = field(default_factory=Limits)
    grants: Grants = NO_GRANTS

    def __post_init__(self) -> None:
        self.input = Input(self.request.body, self.limits.body_bytes)
        self.output = Output(self.limits.response_bytes)
        self.log = Log(self.limits.log_bytes)
        self.sent_requests = 0
        self.at_end: list[Any] = []

    def end(self) -> None:
        """The guest has ended."""
        for close in self.at_end:
            close()

    def call(self, name: str, *args: Any) -> Any:
        """The host function `interface#name`, as a guest calls it; a suspended call is returned as it is."""
        return host_functions()[tuple(name.split("#"))].call(self, *args)

    async def wait(self, name: str, *args: Any) -> Any:
        """As `call`, and what comes after the wait."""
        result = self.call(name, *args)
        if isinstance(result, Suspend):
            result.value = await result.start()
            result = result.result()
        return result

    def err(self, name: str, *args: Any) -> Any:
        """What the err arm of a refused call holds."""
        with pytest.raises(Err) as caught:
            self.call(name, *args)
        return caught.value.value
