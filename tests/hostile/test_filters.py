"""Proxy-Wasm filters that mean harm: each ends its own request with a typed error, frees its VM, and harms nobody else."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from edgesim.errors import EdgesimError
from edgesim.model.worker import MIB
from edgesim.wasm import guest_store
from edgesim.wasm.proxy.module import TABLE
from edgesim.wasm.proxy.plugin import Plugin
from edgesim.wasm.runtime import Runtime
from tests.hostile.test_pointers import arguments
from tests.support.filters import GENEROUS, TYPES, filter_request, plugin_of, read_all, sample, wat

LIMITS = replace(GENEROUS, cpu_ms=60, startup_ms=500, memory_bytes=16 * MIB)
TRAP, CPU, MEMORY, OUTPUT = "E0401", "E0403", "E0404", "E0405"


class Filter(NamedTuple):
    """The body of `proxy_on_request_headers`, what it imports, and how a request through it may end."""

    body: str
    ends: tuple[str, ...]
    imports: tuple[str, ...] = ()
    more: str = ""
    allocator: str = ""
    memory: str = '(memory (export "memory") 2)'


PASS = "(i32.const 0)"
PAUSE = "(i32.const 1)"
HEADER = "(i32.store (i32.const 0) (i32.const 0x78)) (drop (call $proxy_add_header_map_value (i32.const 0) {0})) {1}"
PACK = {
    "spin": Filter(f"(loop $l (br $l)) {PASS}", (CPU,)),
    "trap": Filter("unreachable", (TRAP,)),
    "recursion": Filter(f"(drop (call $down (i32.const 1))) {PASS}", (TRAP,), more="""
        (func $down (param i32) (result i32) (i32.add (call $down (local.get 0)) (i32.const 1)))"""),
    "grow": Filter("(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable", (TRAP, MEMORY)),
    "spin in the host": Filter(
        f"(loop $l (drop (call $proxy_get_log_level (i32.const 0))) (br $l)) {PASS}", (CPU,), ("proxy_get_log_level",)
    ),
    "endless log": Filter(
        f"(loop $l (drop (call $proxy_log (i32.const 2) (i32.const 0) (i32.const 60000))) (br $l)) {PASS}", (CPU,), ("proxy_log",)
    ),
    "endless fields": Filter(
        f"""(loop $l (drop (call $proxy_add_header_map_value (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 8) (i32.const 1)))
        (br $l)) {PASS}""", (CPU, OUTPUT, TRAP), ("proxy_add_header_map_value",), more='(data (i32.const 8) "x")'),
    "a giant field": Filter(
        f"(drop (call $proxy_add_header_map_value (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 1024) (i32.const 100000))) {PASS}",
        ("200", OUTPUT), ("proxy_add_header_map_value",), more='(data (i32.const 8) "x")'),
    "a field with a line break": Filter(
        f"(drop (call $proxy_add_header_map_value (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 9) (i32.const 3))) {PASS}",
        ("200", OUTPUT), ("proxy_add_header_map_value",), more='(data (i32.const 8) "x\\0d\\0ay")'),
    "endless shared data": Filter(
        f"""(loop $l (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
        (drop (call $proxy_set_shared_data (i32.const 8) (i32.const 4) (i32.const 1024) (i32.const 60000) (i32.const 0))) (br $l))
        {PASS}""", (CPU,), ("proxy_set_shared_data",)),
    "endless queues": Filter(
        f"""(loop $l (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
        (drop (call $proxy_register_shared_queue (i32.const 8) (i32.const 4) (i32.const 16)))
        (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 16)) (i32.const 1024) (i32.const 60000))) (br $l)) {PASS}""",
        (CPU,), ("proxy_register_shared_queue", "proxy_enqueue_shared_queue")),
    "endless metrics": Filter(
        f"""(loop $l (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
        (drop (call $proxy_define_metric (i32.const 0) (i32.const 8) (i32.const 4) (i32.const 16))) (br $l)) {PASS}""",
        (CPU,), ("proxy_define_metric",)),
    "endless calls": Filter(
        f"""(loop $l (drop (call $proxy_http_call (i32.const 8) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 16))) (br $l)) {PASS}""", (CPU,), ("proxy_http_call",)),
    "a pause that nothing ends": Filter(PAUSE, (OUTPUT, TRAP, "E0402")),
    "two answers": Filter(
        "".join("(drop (call $proxy_send_local_response (i32.const 418) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) "
        "(i32.const 0) (i32.const 0) (i32.const 0)))" for _ in range(2)) + PAUSE, ("418",), ("proxy_send_local_response",)),
    "status 99": Filter(
        "(drop (call $proxy_send_local_response (i32.const 99) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) "
        f"(i32.const 0) (i32.const 0) (i32.const 0))) {PASS}", ("200", OUTPUT), ("proxy_send_local_response",)),
    "another context": Filter(f"(drop (call $proxy_set_effective_context (i32.const 777))) {PASS}", ("200",), ("proxy_set_effective_context",)),
    "an allocator that spins": Filter(
        f"(drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 0) (i32.const 4))) {PASS}", (CPU,),
        ("proxy_get_header_map_pairs",),
        allocator='(func (export "proxy_on_memory_allocate") (param i32) (result i32) (loop $l (br $l)) unreachable)'),
    "an allocator that traps": Filter(
        f"(drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 0) (i32.const 4))) {PASS}", (TRAP,),
        ("proxy_get_header_map_pairs",),
        allocator='(func (export "proxy_on_memory_allocate") (param i32) (result i32) unreachable)'),
    "an allocator that points outside": Filter(
        f"(drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 0) (i32.const 4))) {PASS}", ("200",),
        ("proxy_get_header_map_pairs",),
        allocator='(func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const -8))'),
    "an allocator that asks the host": Filter(
        f"(drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 0) (i32.const 4))) {PASS}", ("200",),
        ("proxy_get_header_map_pairs",),
        allocator="""(func (export "proxy_on_memory_allocate") (param i32) (result i32)
          (drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 0) (i32.const 4))) (i32.const 70000))"""),
}  # fmt: skip


@pytest.fixture
async def runtime(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runtime]:
    """A runtime that must leave nothing behind."""
    runtime = Runtime(tmp_path_factory.getbasetemp() / "artifacts")
    yield runtime
    await runtime.close()

    assert not guest_store.LIVE


def built(hostile: Filter) -> bytes:
    """The module."""
    body = f'(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {hostile.body}) {hostile.more}'
    return wat(body, *hostile.imports, memory=hostile.memory, allocator=hostile.allocator)


async def end_of(plugin: Plugin) -> str:
    """One request and its response: the status that the client sees, or the code of the error."""
    run = plugin.open(filter_request("/", headers=(("x-test", "1"),)))
    try:
        answer = await run.on_request()
        if answer is not None:
            return str(answer.status)
        status, _, body = await run.on_response(200, (("content-type", "text/plain"),), b"ok")
        await read_all(body)
    except EdgesimError as error:
        return error.code
    finally:
        run.close()
    return str(status)


@pytest.mark.parametrize("name", PACK)
async def test_it_harms_nobody_but_itself(runtime: Runtime, tmp_path: Path, name: str) -> None:
    """Again and again on one PoP, and another filter beside it goes on working."""
    hostile = PACK[name]
    async with (
        plugin_of(runtime, tmp_path, built(hostile), limits=LIMITS) as plugin,
        plugin_of(runtime, tmp_path, sample("headers"), name="good") as good,
    ):
        for _ in range(4):
            assert await end_of(plugin) in hostile.ends
            assert await end_of(good) == "200"


@pytest.mark.parametrize(
    "how", ["(loop $l (br $l))", "unreachable", "(loop $l (drop (memory.grow (i32.const 16))) (br $l))"]
)
async def test_a_bad_start(runtime: Runtime, tmp_path: Path, how: str) -> None:
    """In a start function: the filter does not start, within its limit."""
    data = wat(f"(func $s {how}) (start $s)")
    with pytest.raises(EdgesimError) as caught:
        async with plugin_of(runtime, tmp_path, data, limits=LIMITS):
            pass

    assert caught.value.code in {TRAP, CPU, MEMORY, OUTPUT}


@pytest.mark.parametrize("name", sorted(TABLE))
async def test_calls_before_there_is_an_instance(runtime: Runtime, tmp_path: Path, name: str) -> None:
    """A start function may call the host when the engine knows no exports yet: to ask for them would abort the process."""
    call = f"(drop (call ${name} {' '.join(f'({TYPES[p]}.const 8)' for p in TABLE[name].params)}))"
    async with plugin_of(runtime, tmp_path, wat(f"(func $s {call}) (start $s)", name), limits=LIMITS) as plugin:
        end = await end_of(plugin)

    assert end == "200"


@pytest.mark.parametrize("name", sorted(TABLE))
async def test_bad_arguments(runtime: Runtime, tmp_path: Path, name: str) -> None:
    """300 calls of each host function with bad pointers, lengths and numbers: a status, and the filter goes on."""
    rng = random.Random(name)
    params = TABLE[name].params
    calls = "".join(f"(drop (call ${name} {arguments([TYPES[p] for p in params], rng)}))" for _ in range(300))
    async with plugin_of(runtime, tmp_path, built(Filter(calls + PASS, (), (name,))), limits=LIMITS) as plugin:
        end = await end_of(plugin)

    assert end == "200" or name in {
        "proxy_close_stream",
        "proxy_send_local_response",
        "proxy_set_header_map_pairs",
        "proxy_done",
    }, end
