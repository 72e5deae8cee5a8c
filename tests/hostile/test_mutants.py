"""Broken and bloated files: refused or served, in bounded time, and never the end of a process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from edgesim.errors import BundleError, EdgesimError
from edgesim.wasm.runtime import Runtime
from tests.hostile import wit
from tests.hostile.pack import PACK
from tests.support.wasm import GENEROUS, GUESTS, build_script, hello, load, read_all, request

ROOT = Path(__file__).parents[2]
leb128 = build_script().leb128


@pytest.fixture
async def runtime(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runtime]:
    """A runtime."""
    runtime = Runtime(tmp_path_factory.getbasetemp() / "artifacts")
    yield runtime
    await runtime.close()


@pytest.mark.parametrize(
    "base",
    ["hello-component", "hello-command", "http-crlf", "wagi-log-lines", "http-realloc-grows", "http-call-out", "p3-c"],
)
def test_broken_files(tmp_path: Path, base: str) -> None:
    """Cut at every section's boundary, and 60 seeded changes each: more than 400 files in all."""
    if base == "p3-c":
        data = (GUESTS / base / "guest.wasm").read_bytes()
    elif base in {"hello-component", "hello-command"}:
        data = hello("wasi-http" if base.endswith("ent") else "wagi")
    else:
        data = PACK[base].build()
    file = tmp_path / "base.wasm"
    file.write_bytes(data)
    command = [sys.executable, "-m", "tests.hostile.mutants", str(file), "7", "60", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    lines = done.stdout.splitlines()

    assert done.returncode == 0, f"after {lines[-1:]}: {done.returncode} {done.stderr[-2000:]}"
    answer = json.loads(lines[-1])

    assert sum(answer["ends"].values()) == len(lines) - 1
    assert set(answer["ends"]) <= {
        "E0202", "E0203", "200", "compiled", "E0401", "E0402", "E0403", "E0404", "E0405", "418", "404",
    }  # fmt: skip
    assert answer["ends"]["E0202"] > 20
    assert answer["slowest_s"] < 30
    assert answer["live"] == 0


def module(*sections: tuple[int, bytes]) -> bytes:
    """A core module of these sections."""
    return b"\0asm\1\0\0\0" + b"".join(bytes([n]) + leb128(len(content)) + content for n, content in sections)


def many(count: int, item: bytes) -> bytes:
    """A vector of equal items."""
    return leb128(count) + item * count


TYPE = (1, many(1, b"\x60\0\0"))
BODY = b"\x02\0\x0b"
DEEP = 20_000


def exports(count: int) -> bytes:
    """`_start`, `memory` and more."""
    names = [b"_start", b"memory", *(b"e%d" % n for n in range(count))]
    return leb128(len(names)) + b"".join(
        leb128(len(name)) + name + (b"\x02\0" if name == b"memory" else b"\0\0") for name in names
    )


def command(functions: int = 1, export_count: int = 0, body: bytes = BODY) -> bytes:
    """A command that does nothing, in large."""
    return module(
        TYPE, (3, many(functions, b"\0")), (5, b"\1\0\1"), (7, exports(export_count)), (10, many(functions, body))
    )


def deep(levels: int) -> bytes:
    """Nested blocks."""
    code = b"\0" + b"\x02\x40" * levels + b"\x0b" * levels + b"\x0b"
    return command(body=leb128(len(code)) + code)


BLOATED = {
    "100,000 functions": lambda: command(functions=100_000),
    "a million and one functions": lambda: command(functions=1_000_001),
    "90,000 exports": lambda: command(export_count=90_000),
    "200,000 exports": lambda: command(export_count=200_000),
    "100,000 imports": lambda: module(TYPE, (2, many(100_000, b"\1a\1b\0\0"))),
    "20,000 nested blocks": lambda: deep(DEEP),
    "an export with a name of 99,000 bytes": lambda: bytes(
        wat2wasm(f'(module (memory (export "memory") 1) (func (export "_start")) (func (export "{"x" * 99_000}")))')
    ),
    "an export with a name of 200,000 bytes": lambda: module(
        TYPE, (3, many(1, b"\0")), (7, b"\1" + leb128(200_000) + b"x" * 200_000 + b"\0\0"), (10, many(1, BODY))
    ),
    "50,000 locals": lambda: command(body=b"\x06\1" + leb128(50_000) + b"\x7f\x0b"),
    "a custom section of 20 MB": lambda: command() + b"\0" + leb128(20_000_002) + b"\1x" + bytes(20_000_000),
    "1,000 nested components": lambda: nested(1_000),
    "a size that is not there": lambda: b"\0asm\1\0\0\0\1\xff\xff\xff\xff\x0f",
    "a million empty sections": lambda: b"\0asm\1\0\0\0" + b"\0\1\0" * 1_000_000,
    "65 MiB of zeroes": lambda: b"\0asm\1\0\0\0" + bytes(65 << 20),
}


def nested(levels: int) -> bytes:
    """Components in components."""
    data = b"\0asm\x0d\0\1\0"
    for _ in range(levels):
        data = b"\0asm\x0d\0\1\0\x04" + leb128(len(data)) + data
    return data


async def answer(runtime: Runtime, folder: Path, data: bytes) -> bytes:
    """What a file answers."""
    worker = await load(runtime, folder, data)
    return await read_all(await worker.run(request(), GENEROUS))


@pytest.mark.parametrize("name", BLOATED)
async def test_bloated_files(runtime: Runtime, tmp_path: Path, name: str) -> None:
    """Served or refused, within seconds."""
    begin = time.monotonic()
    with pytest.raises(EdgesimError) as caught:  # none of them answers
        await answer(runtime, tmp_path, BLOATED[name]())

    assert caught.value.code in {"E0202", "E0203", "E0204", "E0405"}
    assert len(caught.value.message) < 2_000
    assert time.monotonic() - begin < 60


STREAM = """(component
  (core module $m (func (export "handle") (param i32 i32)) (func (export "x") (param i32)))
  (core instance $i (instantiate $m))
  (type $s (stream u8))
  (func $x (param "s" $s) (canon lift (core func $i "x")))
  (export "x" (func $x)))"""
FUTURE = STREAM.replace("(stream u8)", "(future u8)")
IMPORTS_STREAM = """(component
  (import "a:b/c" (instance (type $s (stream u8)) (export "f" (func (param "s" $s) (result $s))))))"""
ERROR_CONTEXT = '(component (import "f" (func (param "e" error-context))))'
ASYNC = """(component
  (core module $m (func (export "x") (result i32) unreachable) (func (export "cb") (param i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))
  (func (export "x") async (canon lift (core func $i "x") async (callback (core func $i "cb")))))"""


@pytest.mark.parametrize("text", [STREAM, FUTURE, IMPORTS_STREAM, ERROR_CONTEXT, ASYNC])
async def test_types_that_would_abort_the_engine_are_refused(runtime: Runtime, tmp_path: Path, text: str) -> None:
    """With component-model async on, such a value that crosses the C API aborts the process (rc 134)."""
    with pytest.raises(BundleError):
        await load(runtime, tmp_path, bytes(wat2wasm(text)))


async def test_a_worker_with_a_stream_typed_import_beside_its_handler(runtime: Runtime, tmp_path: Path) -> None:
    """A whole worker otherwise: refused too, before any of it runs."""
    text = wit.component_wat('(func (export "handle") (param i32 i32))').replace(
        "(component $c",
        '(component $c (import "x:y/z" (instance (type $s (stream u8)) (export "f" (func (param "s" $s)))))',
        1,
    )
    with pytest.raises(BundleError):
        await load(runtime, tmp_path, bytes(wat2wasm(text)))
