"""Bad pointers, lengths, handles and numbers through every host function that there is, of both ABIs.

Whatever comes of a call, it must be an error number, a trap or an answer: the process lives, and nothing is left behind.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from edgesim.errors import EdgesimError, GuestTrapError
from edgesim.model.worker import MIB, Limits
from edgesim.wasm import guest_store, p1
from edgesim.wasm.host import host_functions
from edgesim.wasm.runtime import LoadedWorker, Runtime
from tests.hostile import wit
from tests.hostile.pack import p1_imports
from tests.support.wasm import load, read_all, request

LIMITS = Limits(cpu_ms=2_000, wall_s=0.02, memory_bytes=16 * MIB)
"""A wall-clock limit for those who get to wait."""
END = 2 * 65536
NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    8,
    512,
    4097,
    END - 16,
    END - 8,
    END - 4,
    END - 1,
    END,
    END + 1,
    2**31 - 1,
    2**31,
    2**32 - 8,
    2**32 - 1,
)
WIDE = (0, 1, 8, 65536, 2**32, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1)
LEFT_OUT = ("wasi:cli/terminal-", "wasi:sockets/")
"""Interfaces that `wit.py` does not know: no terminal is there, and sockets are refused."""


@pytest.fixture
async def runtime(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runtime]:
    """A runtime that must leave nothing behind."""
    runtime = Runtime(tmp_path_factory.getbasetemp() / "artifacts")
    yield runtime
    await runtime.close()

    assert not guest_store.LIVE
    assert not guest_store._SUSPENDED


def arguments(kinds: list[str], rng: random.Random) -> str:
    """Constants for one call. Half of the pointers and handles are small, so that some get past the first check."""
    parts = []
    for kind in kinds:
        if kind in {"f32", "f64"}:
            parts.append(f"({kind}.const nan)")
        else:
            parts.append(f"({kind}.const {rng.choice(WIDE if kind == 'i64' else NUMBERS)})")
    return " ".join(parts)


def p1_module(name: str, calls: int) -> bytes:
    """A command that calls one function of preview 1 with many bad arguments and then answers."""
    rng = random.Random(name)
    kinds = ["i32" if p == "i" else "i64" for p in p1.SIGNATURES[name]]
    body = "".join(f"(drop (call ${name} {arguments(kinds, rng)}))\n" for _ in range(calls))
    return bytes(
        wat2wasm(f"""(module {p1_imports(f"${name} $fd_write")} (memory (export "memory") 2)
          (data (i32.const 256) "Content-Type: text/plain\\n\\nunharmed")
          (func (export "_start") {body}
            (i32.store (i32.const 0) (i32.const 256)) (i32.store (i32.const 4) (i32.const 34))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))""")
    )


async def end_of(worker: LoadedWorker, target: str) -> str:
    """One request: its status, or the code of its error. Other exceptions are defects of the host, and pass."""
    try:
        response = await worker.run(request(target), LIMITS)
        await read_all(response)
    except EdgesimError as error:
        return error.code
    return str(response.status)


@pytest.mark.parametrize("name", sorted(set(p1.SIGNATURES) - {"proc_exit"}))
async def test_preview_1(runtime: Runtime, tmp_path: Path, name: str) -> None:
    """300 calls in one guest: what cannot be done is an error number, and the guest goes on to its answer.

    Some may do as they are told and so overwrite the answer, write to stdout, or wait.
    """
    worker = await load(runtime, tmp_path, p1_module(name, 300))
    end = await end_of(worker, "/")

    assert end == "200" or name in {"fd_write", "fd_read", "poll_oneoff", "random_get", "environ_get", "args_get"}


CASES = 32
HANDLES = {
    "incoming-request": "(local.get $request)",
    "response-outparam": "(local.get $out)",
    "fields": "(call $fields.new)",
    "pollable": "(call $monotonic-clock.subscribe-duration (i64.const 0))",
    "output-stream": "(call $stderr.get-stderr)",
    "input-stream": "(call $stdin.get-stdin)",
    "outgoing-response": "(call $outgoing-response.new (call $fields.new))",
    "outgoing-request": "(call $outgoing-request.new (call $fields.new))",
    "request-options": "(call $request-options.new)",
    "incoming-body": "(call $second (call $incoming-request.consume (local.get $request) (i32.const 0)))",
    "outgoing-body": "(call $second (call $outgoing-response.body (global.get $outgoing-response) (i32.const 0)))",
}
"""How a guest comes by a good handle of each type, in this order."""


def bad_call(function: wit.Function, rng: random.Random) -> str:
    """A call whose handles are mostly good, so that the rest is looked at too."""
    params, results = function.core
    if params == ["i32"]:  # one handle, or a spilled record
        values = [arguments(params, rng)]
    else:
        values = [arguments(wit.flat(kind), rng) for _, kind in function.params]
    for n, (_, kind) in enumerate(function.params):
        if kind[0] in {"own", "borrow"} and kind[1] in HANDLES and rng.random() < 0.85:
            values[n] = f"(global.get ${kind[1]})"
    if len(params) > sum(len(wit.flat(kind)) for _, kind in function.params):
        values.append(arguments(["i32"], rng))  # where the result goes
    call = f"(call ${function.id} {' '.join(values)})"
    return f"(drop {call})" if results else call


def component_of(functions: list[wit.Function]) -> bytes:
    """A component that makes one bad call per request: which one, its path says (`/17`)."""
    rng = random.Random(1)
    calls = [bad_call(function, rng) for function in functions for _ in range(CASES)]
    labels = " ".join(str(n + 1) for n in range(len(calls)))
    arms = "".join(f") {call} return\n" for call in calls)
    handles = "".join(f"(global ${name} (mut i32) (i32.const 0))" for name in HANDLES)
    first = "".join(f"(global.set ${name} {how})" for name, how in HANDLES.items())
    core = f"""{handles}
      (func $second (result i32) (i32.load (i32.const 4)))
      (func $case (param $n i32) {"(block " * len(calls)} (block (br_table {labels} 0 (local.get $n))) return {arms})
      (func (export "handle") (param $request i32) (param $out i32) (local $at i32) (local $end i32) (local $n i32)
        (call $incoming-request.path-with-query (local.get $request) (i32.const 0))
        (local.set $at (i32.add (i32.load (i32.const 4)) (i32.const 1)))
        (local.set $end (i32.add (i32.load (i32.const 4)) (i32.load (i32.const 8))))
        (loop $digits
          (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 10))
            (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $digits (i32.lt_u (local.get $at) (local.get $end))))
        {first}
        (call $case (local.get $n)))"""
    return wit.component(core, wit.ALLOCATOR.replace("5)", "2)", 1).replace("131072", "65536"))


GROUPS = sorted({function.interface for function in wit.functions().values()})


@pytest.mark.parametrize("interface", GROUPS)
async def test_components(runtime: Runtime, tmp_path: Path, interface: str) -> None:
    """Each call in a fresh instance: a trap, an error or no answer, and never a defect of the host."""
    functions = [
        f for f in wit.functions().values() if f.interface == interface and f.id != "incoming-request.path-with-query"
    ]
    worker = await load(runtime, tmp_path, component_of(functions))
    ends = {await end_of(worker, f"/{number}") for number in range(CASES * len(functions))}

    assert ends <= {"200", "E0401", "E0402", "E0404", "E0405"}


def test_the_table_of_this_test_is_that_of_the_host() -> None:
    """A new host function must come into `wit.py`, and so under this fire."""
    known = {(f.interface.partition("@")[0], f.name) for f in wit.functions().values()}
    missing = {key for key in host_functions() if key not in known and not key[0].startswith(LEFT_OUT)}

    assert missing == set()


async def test_a_pointer_that_overflows_is_outside(runtime: Runtime, tmp_path: Path) -> None:
    """Pointer plus length beyond 2^32 must not wrap."""
    core = """(func (export "handle") (param i32 i32)
      (call $fields.append (call $fields.new) (i32.const 0xfffffff0) (i32.const 0x20) (i32.const 0) (i32.const 0) (i32.const 0)))"""
    worker = await load(runtime, tmp_path, wit.component(core))
    with pytest.raises(GuestTrapError):
        await worker.run(request(), LIMITS)
