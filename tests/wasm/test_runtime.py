"""The runtime: what it refuses, what it shares, what it frees."""

import asyncio
import hashlib
import threading
from dataclasses import replace

import pytest
from wasmtime import wat2wasm

from edgesim.errors import AbiMismatchError, BundleError, BundleTooLargeError, GuestCpuError, StartError, TrustError
from edgesim.model.worker import Component
from edgesim.wasm import compiler as compiler_module
from edgesim.wasm.execution import Execution
from edgesim.wasm.runtime import Runtime
from tests.support.wasm import GENEROUS, hello, hostile, load, request


@pytest.fixture
async def runtime(tmp_path):
    """A runtime with an empty artefact cache."""
    runtime = Runtime(tmp_path / "aot", threads=1)
    yield runtime
    await runtime.close()


@pytest.fixture
def bundle(tmp_path):
    """The WAGI sample worker as a file, with its component."""
    data = hello("wagi")
    path = tmp_path / "hello.wasm"
    path.write_bytes(data)
    return path, Component(id="hello", digest=hashlib.sha256(data).hexdigest(), size_bytes=len(data), abi="wagi")


def write(tmp_path, data: bytes):
    """A file with these bytes."""
    path = tmp_path / "x.wasm"
    path.write_bytes(data)
    return path


async def test_inspect_says_what_a_file_is(runtime, bundle):
    """ABI, digest, sizes; and the artefact is in the cache afterwards."""
    path, component = bundle
    found = await runtime.inspect(path)

    assert (found.abi, found.digest, found.size_bytes) == ("wagi", component.digest, component.size_bytes)
    assert found.artifact_bytes > 0
    assert found.compile_s > 0
    loaded = await runtime.load(path, component)
    assert [phase for phase, _ in loaded.phases] == ["load"]


async def test_a_first_load_compiles_and_a_second_shares(runtime, bundle):
    """Phases name what this load really waited for."""
    first = await runtime.load(*bundle)
    second = await runtime.load(*bundle)

    assert [phase for phase, _ in first.phases] == ["compile", "load"]
    assert [phase for phase, _ in second.phases] == ["shared"]
    assert all(seconds >= 0 for _, seconds in first.phases)
    assert first.size_bytes == second.size_bytes > 0


async def test_concurrent_loads_do_the_work_once(runtime, bundle):
    """One trigger, the others wait: `shared`, with the time that they waited."""
    loaded = await asyncio.gather(*(runtime.load(*bundle) for _ in range(5)))
    kinds = sorted(tuple(phase for phase, _ in worker.phases) for worker in loaded)

    assert kinds == [("compile", "load")] + [("shared",)] * 4
    assert all(worker.phases[0][1] > 0 for worker in loaded)


async def test_a_load_that_is_cancelled_does_not_hurt_the_others(runtime, bundle):
    """The trigger gives up; the waiter still gets its worker."""
    trigger = asyncio.create_task(runtime.load(*bundle))
    waiter = asyncio.create_task(runtime.load(*bundle))
    await asyncio.sleep(0)
    trigger.cancel()
    worker = await waiter

    assert (await worker.run(request(), GENEROUS)).status == 200


async def test_release_counts(runtime, bundle):
    """The module goes with its last user; releasing twice counts once."""
    first, second = await runtime.load(*bundle), await runtime.load(*bundle)
    runtime.release(first)
    runtime.release(first)
    third = await runtime.load(*bundle)
    runtime.release(second)
    runtime.release(third)
    fourth = await runtime.load(*bundle)

    assert [phase for phase, _ in third.phases] == ["shared"]
    assert [phase for phase, _ in fourth.phases] == ["load"]


async def test_a_release_leaves_running_guests_alone(runtime, bundle):
    """A guest that runs keeps its module until it has ended."""
    worker = await runtime.load(*bundle)
    task = asyncio.create_task(worker.run(request("/env"), GENEROUS))
    runtime.release(worker)

    assert (await task).status == 200


async def test_an_altered_artefact_is_compiled_again(runtime, bundle, tmp_path):
    """Never loaded, never an error: the cache is only a cache."""
    path, component = bundle
    await runtime.inspect(path)
    (artifact,) = (tmp_path / "aot").glob("*.cwasm")
    data = bytearray(artifact.read_bytes())
    data[len(data) // 2] ^= 0xFF
    artifact.write_bytes(data)
    worker = await runtime.load(path, component)

    assert [phase for phase, _ in worker.phases] == ["compile", "load"]
    assert (await worker.run(request(), GENEROUS)).status == 200


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not a Wasm binary"),
        (b"hello, world", "not a Wasm binary"),
        (b"\x7fELF\x02\x01\x01" + bytes(64), "not a Wasm binary"),
        (b"(module)", "Wasm text"),
        (b"\0asm\x02\0\0\0", "unknown version"),
        (b"\0asm\x01\0\0\0\xff\xff", "not a valid Wasm module"),
        (b"\0asm\x0d\0\x01\0\x01\x01", "not a valid Wasm component"),
    ],
)
async def test_what_is_not_wasm_is_refused(runtime, tmp_path, data, text):
    """With what it is instead, and exit code 2 for the CLI."""
    with pytest.raises(BundleError, match=text) as caught:
        await runtime.inspect(write(tmp_path, data))

    assert caught.value.exit_code == 2
    assert caught.value.help
    assert not list((tmp_path / "aot").glob("tmp-*"))


async def test_a_truncated_worker_is_refused(runtime, tmp_path):
    """Half an upload."""
    data = hello("wasi-http")
    with pytest.raises(BundleError, match="not a valid Wasm component") as caught:
        await runtime.inspect(write(tmp_path, data[: len(data) // 2]))

    assert "Caused by" not in str(caught.value)


@pytest.mark.parametrize(
    "wat",
    [
        '(module (func (export "fetch")) (memory (export "memory") 1))',
        '(module (func (export "_start") (param i32)) (memory (export "memory") 1))',
        '(module (func (export "_start")))',
        "(module)",
        "(component)",
    ],
)
async def test_a_file_that_speaks_no_abi_is_refused(runtime, tmp_path, wat):
    """Says what it exports and what is expected."""
    with pytest.raises(AbiMismatchError, match="exports") as caught:
        await runtime.inspect(write(tmp_path, bytes(wat2wasm(wat))))

    assert "wasi:http/incoming-handler@0.2" in caught.value.help
    assert "_start" in caught.value.help


async def test_unknown_imports_are_named(runtime, tmp_path):
    """A module for another host."""
    wat = '(module (import "env" "alert" (func)) (func (export "_start")) (memory (export "memory") 1))'
    with pytest.raises(BundleError, match=r"env\.alert"):
        await runtime.inspect(write(tmp_path, bytes(wat2wasm(wat))))


async def test_an_import_with_another_signature_is_refused(runtime, tmp_path):
    """The name alone does not make it preview 1."""
    wat = """(module (import "wasi_snapshot_preview1" "fd_write" (func (param i64)))
        (func (export "_start")) (memory (export "memory") 1))"""
    with pytest.raises(BundleError, match="do not fit"):
        await runtime.inspect(write(tmp_path, bytes(wat2wasm(wat))))


async def test_a_component_with_unknown_imports_is_refused(runtime, tmp_path):
    """A component for another world."""
    wat = """(component
        (import "acme:db/sql@1.0.0" (instance $sql (export "query" (func (param "q" string) (result string)))))
        (core module $m (func (export "handle") (param i32 i32)))
        (core instance $i (instantiate $m))
        (import "wasi:http/types@0.2.0" (instance $t
          (export "incoming-request" (type (sub resource))) (export "response-outparam" (type (sub resource)))))
        (alias export $t "incoming-request" (type $request))
        (alias export $t "response-outparam" (type $out))
        (func $handle (param "request" (own $request)) (param "response-out" (own $out))
          (canon lift (core func $i "handle")))
        (instance $h (export "handle" (func $handle)))
        (export "wasi:http/incoming-handler@0.2.0" (instance $h)))"""
    with pytest.raises(BundleError, match=r"acme:db/sql@1\.0\.0#query"):
        await runtime.inspect(write(tmp_path, bytes(wat2wasm(wat))))


async def test_a_bundle_over_the_limit_is_refused_unread(runtime, tmp_path, monkeypatch):
    """Before it is compiled."""
    monkeypatch.setattr(compiler_module, "MAX_BUNDLE_BYTES", 1000)
    with pytest.raises(BundleTooLargeError, match="limit"):
        await runtime.inspect(write(tmp_path, bytes(1001)))


async def test_a_file_that_is_gone_is_said(runtime, bundle):
    """On a PoP it is a failed start."""
    path, component = bundle
    path.unlink()
    with pytest.raises(StartError, match="cannot be read"):
        await runtime.load(path, component)


async def test_a_tampered_blob_is_not_loaded(runtime, bundle, tmp_path):
    """The file is a fine worker, but not the one that was released."""
    _, component = bundle
    path = write(tmp_path, hello("wasi-http"))
    with pytest.raises(TrustError, match="not the one that was released"):
        await runtime.load(path, component)


async def test_a_release_with_the_wrong_abi_is_refused(runtime, bundle):
    """Release and file must agree."""
    path, component = bundle
    with pytest.raises(StartError, match="release says wasi-http"):
        await runtime.load(path, replace(component, abi="wasi-http"))


async def test_a_compiler_that_dies_is_reported(runtime, bundle, monkeypatch, tmp_path):
    """Killed for memory, say: an error with its code, not a hang."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho broken >&2\nexit 9\n")
    script.chmod(0o755)
    monkeypatch.setattr(compiler_module.sys, "executable", str(script))
    with pytest.raises(BundleError, match="ended with code 9: broken"):
        await runtime.inspect(bundle[0])


async def test_threads_stop_with_the_runtime(tmp_path):
    """Ticker and pool leave no thread behind."""
    runtime = Runtime(tmp_path / "aot")
    worker = await load(runtime, tmp_path, hello("wagi"))
    await worker.run(request(), GENEROUS)
    runtime.release(worker)
    await runtime.close()

    assert runtime.ticker._thread is not None
    assert not runtime.ticker._thread.is_alive()


async def test_after_a_heavy_guest_the_next_ones_of_its_worker_leave_the_loop_alone(runtime, tmp_path, monkeypatch):
    """All slices, those that make the instance too, are on the pool; other workers stay on the loop's thread."""
    slices = []
    poll = Execution._poll
    monkeypatch.setattr(Execution, "_poll", lambda run: slices.append(threading.current_thread()) or poll(run))
    spinning = await load(runtime, tmp_path, hostile("wagi", "spin"))
    light = await load(runtime, tmp_path, hello("wagi"))
    limits = replace(GENEROUS, cpu_ms=20)
    with pytest.raises(GuestCpuError):
        await spinning.run(request(), limits)
    first = slices.copy()
    slices.clear()
    with pytest.raises(GuestCpuError):
        await spinning.run(request(), limits)
    second = slices.copy()
    slices.clear()
    await light.run(request(), limits)

    here = threading.main_thread()
    assert first[0] is here
    assert here not in second
    assert slices[0] is here
