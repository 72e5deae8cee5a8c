"""What is not supported of WASI 0.3 is refused by name before anything runs."""

import pytest
from wasmtime import wat2wasm

from edgesim.errors import BundleError
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.runtime import Runtime
from tests.support.p3 import EXIT, P3Guests, component
from tests.support.wasm import GENEROUS, load, read_all, request

HELLO = f"(call $hello) {EXIT}"
_NUMBERS = "(type $numbers (stream u32)) (core func $extra (canon stream.new $numbers))"
_USE = '(core module $use (import "" "f" (func (result i64)))) (core instance (instantiate $use (with "" (instance (export "f" (func $extra))))))'


@pytest.fixture
def guests():
    """Makes guests."""
    guests = P3Guests()
    yield guests
    guests.close()


def test_streams_of_numbers(guests):
    """Streams carry bytes."""
    with pytest.raises(Unsupported, match="streams of other elements than u8"):
        guests.link(HELLO, extra=f"{_NUMBERS} {_USE}")


def test_a_handler_without_a_callback(guests):
    """Stackful lifts need a fiber per task."""
    with pytest.raises(Unsupported, match="without a callback"):
        guests.link("unreachable", lift="async")


async def test_refused_at_deploy(tmp_path):
    """With the same words."""
    runtime = Runtime(tmp_path / "artifacts")
    path = tmp_path / "guest.wasm"
    path.write_bytes(component(HELLO, extra=f"{_NUMBERS} {_USE}"))
    with pytest.raises(BundleError, match=r"WASI 0\.3 yet: WASI 0\.3 streams of other elements"):
        await runtime.inspect(path)

    await runtime.close()


async def test_another_world_of_0_3(tmp_path):
    """A component with streams that is no HTTP worker is refused before it could reach an engine that aborts."""
    runtime = Runtime(tmp_path / "artifacts")
    path = tmp_path / "guest.wasm"
    path.write_bytes(bytes(wat2wasm('(component (import "f" (func (param "s" (stream u8)))))')))
    with pytest.raises(BundleError, match=r"uses WASI 0\.3 without being a worker of it"):
        await runtime.inspect(path)

    await runtime.close()


async def test_served_by_the_runtime(tmp_path):
    """From the compiler's process to an answer."""
    runtime = Runtime(tmp_path / "artifacts")
    worker = await load(runtime, tmp_path, component(HELLO))
    response = await worker.run(request(), GENEROUS)

    assert worker.abi == "wasi-http-p3"
    assert await read_all(response) == b"hello"

    runtime.release(worker)
    await runtime.close()
