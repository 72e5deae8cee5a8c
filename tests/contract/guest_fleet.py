"""The conformance guests as the contract suite sees them: which there are, what each cannot do, and one place that loads them.

A guest is loaded once per floor and module of tests; every request gets a fresh instance anyway. The protocol is in
tests/guests/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from edgesim.model.http import BytesBody
from edgesim.model.worker import Component
from edgesim.wasm.abi import abis
from edgesim.wasm.guest import Grants
from edgesim.wasm.outbound import OutboundError, OutboundResponse
from edgesim.wasm.runtime import Runtime
from tests.support.guests import artifacts, guest
from tests.support.wasm import GENEROUS, read_all, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.model.http import Body, Headers
    from edgesim.wasm.guest import GuestResponse
    from edgesim.wasm.outbound import OutboundRequest
    from edgesim.wasm.runtime import LoadedWorker

FLOORS = {"wasi-http": ("auto", "component"), "wasi-http-p3": ("auto",), "wagi": ("auto",)}
"""How each ABI's guests can be run; `auto` takes the flat floor where it can. The C API cannot carry streams and futures."""
_CGI = frozenset({"/headers", "/sub", "/trailers", "/count"})
"""What a WAGI command has no way to do: fields arrive in the environment, globals never survive, preview 1 has no HTTP."""


@dataclass(frozen=True)
class Traits:
    """What is particular about one guest."""

    abi: str
    says: str
    """What it answers at /hello."""
    lacks: frozenset[str] = field(default_factory=frozenset)
    """Routes that it does not have."""


_ALL = {
    "c-echo": Traits("wasi-http", "hello from c-echo"),
    "rust-component": Traits("wasi-http", "hello from rust-component", frozenset({"/trailers", "/sub"})),
    "js-fetch": Traits("wasi-http", "hello from js-fetch", frozenset({"/trailers"})),
    "js-handler": Traits("wasi-http", "hello from js-handler"),
    "py": Traits("wasi-http", "hello from py"),
    "p3-c": Traits(
        "wasi-http-p3",
        "hello from p3-c",
        frozenset({"/sub", "/env", "/random", "/log", "/file", "/trailers"}),
    ),
    "p3-qjs": Traits("wasi-http-p3", "hello from p3-qjs", frozenset({"/sub", "/file"})),
    "p3-py": Traits("wasi-http-p3", "hello from p3-py", frozenset({"/file"})),
    "wagi-c": Traits("wagi", "hello from c", _CGI),
    "wagi-zig": Traits("wagi", "hello from zig", _CGI | {"/file"}),
    "wagi-rust": Traits("wagi", "hello from rust", _CGI),
    "wagi-go": Traits("wagi", "hello from go", _CGI),
    "wagi-as": Traits("wagi", "hello from assemblyscript", _CGI | {"/file"}),
}
FLEET = {name: traits for name, traits in _ALL.items() if traits.abi in abis()}


def having(*routes: str) -> Any:
    """Parametrize a test's `served` by every guest that has these routes, on each floor that can run it."""
    cases = [
        pytest.param((name, floor), id=f"{name}-{floor}")
        for name, traits in FLEET.items()
        if not traits.lacks & {*routes}
        for floor in FLOORS[traits.abi]
    ]
    return pytest.mark.parametrize("served", cases, indirect=True)


class Harbour:
    """One runtime per floor, and the workers that tests have asked for."""

    def __init__(self) -> None:
        self._runtimes: dict[str, Runtime] = {}
        self._workers: dict[tuple[str, str], LoadedWorker] = {}

    async def worker(self, name: str, floor: str) -> LoadedWorker:
        """A loaded guest. Code of the first tier will do: compiling JavaScript and Python well takes a minute of CPU."""
        if floor not in self._runtimes:
            self._runtimes[floor] = runtime = Runtime(artifacts(), floor=floor)
            runtime._improve = lambda *_: None  # type: ignore[method-assign]
        if (name, floor) not in self._workers:
            runtime, path = self._runtimes[floor], guest(name)
            found = await runtime.inspect(path)
            assert found.abi == FLEET[name].abi
            if found.abi != "wagi":
                assert found.facts.form == ("flat" if floor == "auto" else "component"), found.facts.why
            component = Component(id=name, digest=found.digest, size_bytes=found.size_bytes, abi=found.abi)
            self._workers[name, floor] = await runtime.load(path, component)
        return self._workers[name, floor]

    async def close(self) -> None:
        """Give everything back."""
        for (_, floor), worker in self._workers.items():
            self._runtimes[floor].release(worker)
        for runtime in self._runtimes.values():
            await runtime.close()


@dataclass
class Served:
    """One guest on one floor."""

    name: str
    worker: LoadedWorker

    @property
    def traits(self) -> Traits:
        """What is particular about it."""
        return FLEET[self.name]

    async def ask(
        self,
        target: str,
        body: Body | bytes | None = None,
        *,
        headers: Headers = (),
        limits: Any = GENEROUS,
        grants: Grants | None = None,
        deadline_s: float = 30.0,
    ) -> GuestResponse:
        """Send one request: POST with a body, else GET."""
        sent = request(
            target,
            method="GET" if body is None else "POST",
            headers=headers,
            body=BytesBody(body) if isinstance(body, bytes) else body,
            deadline_s=deadline_s,
        )
        return await self.worker.run(sent, limits, *(() if grants is None else (grants,)))

    async def text(self, target: str, **more: Any) -> str:
        """The whole answer to a GET."""
        return (await read_all(await self.ask(target, **more))).decode()


class Pieces:
    """A request body in given pieces that remembers how far ahead of its reader it was pulled."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)
        self.pulled_bytes = 0
        self.read_bytes = 0
        """What the test has read of the answer so far."""
        self.ahead_bytes = 0
        """The largest lead."""
        self.closed = False

    async def next(self) -> bytes | None:
        """The next piece."""
        if not self._pieces:
            return None
        piece = self._pieces.pop(0)
        self.pulled_bytes += len(piece)
        self.ahead_bytes = max(self.ahead_bytes, self.pulled_bytes - self.read_bytes)
        return piece

    def trailers(self):
        """None."""
        return ()

    def close(self) -> None:
        """Remember it."""
        self.closed = True


@dataclass
class Upstream:
    """Whom guests may ask: answers every request with `status`, `headers` and `body`, or fails with `error`."""

    body: bytes = b""
    status: int = 200
    headers: Headers = (("content-type", "text/plain"),)
    error: OutboundError | None = None
    asked: list[OutboundRequest] = field(default_factory=list)

    async def open(self, request: OutboundRequest, _hops: Headers) -> OutboundResponse:
        """See `edgesim.wasm.guest.Outbound`."""
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        pieces = [self.body[at : at + 50_000] for at in range(0, len(self.body), 50_000)]
        return OutboundResponse(status=self.status, headers=self.headers, body=Pieces(pieces))
