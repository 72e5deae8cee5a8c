"""What a Wasm file says of itself, read from its bytes."""

from __future__ import annotations

import io
import tarfile
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmtime import wat2wasm

from edgesim.errors import BundleError
from edgesim.wasm.offer import missing_imports
from edgesim.wasm.report import Bounds, read_report
from tests.support.wasm import hello

MODULE = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (import "env" "table" (table 1 funcref))
  (import "env" "global" (global (mut i32)))
  (import "env" "memory" (memory 1 2))
  (memory 2 16) (memory (export "memory") 3)
  (table 5 10 funcref) (table 7 externref)
  (global i32 (i32.const 0))
  (data (i32.const 0) "hello")
  (func $_start (export "_start"))
  (start $_start))"""
COMPONENT = """(component
  (import "wasi:io/poll@0.2.3" (instance
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))
    (export "pol" (func (param "in" (list (tuple u8 string))) (result (list u32))))))
  (import "wasi:http/typs@0.2.0" (instance (export "f" (func))))
  (import "wasi:sockets/tcp@0.2.0" (instance (export "connect" (func))))
  (import "wasi:clocks/wall-clock@0.3.0" (instance
    (type $r (record (field "a" (option string)) (field "b" (result u8 (error string)))))
    (type $v (variant (case "x") (case "y" (flags "a" "b"))))
    (type $e (enum "one" "two"))
    (export "now" (func (result u64)))))
  (core module (memory 1) (func (export "run")))
  (core instance $m (instantiate 0))
  (func $run (canon lift (core func $m "run")))
  (component $inner (import "f" (func)) (export "run" (func 0)))
  (instance $i (instantiate $inner (with "f" (func $run))))
  (export "my:app/api@1.0.0" (instance $i))
  (export "go" (func $run)))"""


def custom(name: str, data: bytes) -> bytes:
    """A custom section, to put after a binary."""
    content = bytes([len(name)]) + name.encode() + data
    assert len(content) < 128
    return bytes([0, len(content)]) + content


def test_a_module():
    """Imports and exports by kind, memories in bytes, tables in elements, and what it does when it starts."""
    report = read_report(bytes(wat2wasm(MODULE)))
    (module,) = report.modules

    assert report.kind == "module"
    assert report.imports == [("wasi_snapshot_preview1", ("fd_write",)), ("env", ("table", "global", "memory"))]
    assert [kind for _, _, kind in module.imports] == ["function", "table", "global", "memory"]
    assert module.exports == [("memory", "memory"), ("_start", "function")]
    assert module.memories == [Bounds(2 << 16, 16 << 16), Bounds(3 << 16, None)]
    assert module.tables == [Bounds(5, 10), Bounds(7, None)]
    assert (report.memory_at_start_bytes, report.memory_maximum_bytes, report.table_elements) == (5 << 16, None, 7)
    assert (module.functions, module.starts) == (1, True)
    assert report.sections["data"] > 5


def test_a_component():
    """Interfaces with their functions, not their types; core modules and components at any depth."""
    report = read_report(bytes(wat2wasm(COMPONENT)))

    assert report.kind == "component"
    assert report.imports == [
        ("wasi:io/poll@0.2.3", ("[method]pollable.block", "pol")),
        ("wasi:http/typs@0.2.0", ("f",)),
        ("wasi:sockets/tcp@0.2.0", ("connect",)),
        ("wasi:clocks/wall-clock@0.3.0", ("now",)),
    ]
    assert report.exports == [("my:app/api@1.0.0", ("run",)), ("go", ())]
    assert (len(report.modules), report.components, report.memory_at_start_bytes) == (1, 1, 1 << 16)


def test_what_is_missing_comes_with_the_nearest_thing_there_is():
    """Mistyped interfaces and functions, other versions, and what may be imported but traps."""
    missing = {m.text: (m.nearest, m.traps) for m in missing_imports(read_report(bytes(wat2wasm(COMPONENT))))}

    assert missing == {
        "wasi:io/poll@0.2.3#pol": ("poll", False),
        "wasi:http/typs@0.2.0": ("wasi:http/types@0.2.x", False),
        "wasi:sockets/tcp@0.2.0": ("", True),
        "wasi:clocks/wall-clock@0.3.0": ("wasi:clocks/wall-clock@0.2.x", False),
    }
    modules = missing_imports(read_report(bytes(wat2wasm(MODULE.replace("fd_write", "fd_wirte")))))
    assert [(m.text, m.nearest) for m in modules] == [("wasi_snapshot_preview1#fd_wirte", "fd_write"), ("env", "")]


@pytest.mark.parametrize("abi", ["wagi", "wasi-http"])
def test_the_sample_workers_miss_nothing(abi):
    """They run, so what they import is there."""
    report = read_report(hello(abi))

    assert missing_imports(report) == ()
    assert sum(report.sections.values()) < report.size_bytes
    assert report.exports[0][1]


def test_producers_names_and_debug_information():
    """Who made it, and what stripping saves; a broken producers section is nobody's."""
    producers = b"\x02\x08language\x01\x01C\x0218\x0cprocessed-by\x01\x0a/bin/clang\x0418.1"
    data = bytes(wat2wasm("(module)")) + custom("producers", producers) + custom(".debug_info", b"x" * 50)
    report = read_report(data)
    broken = read_report(bytes(wat2wasm("(module)")) + custom("producers", b"\xff\xff\xff\xff\x0f"))

    assert report.toolchain == "C 18, clang 18.1"
    assert report.strippable_bytes == report.custom[".debug_info"] == 62
    assert broken.toolchain == ""


def _zip() -> bytes:
    with zipfile.ZipFile(out := io.BytesIO(), "w") as archive:
        archive.writestr("a.wasm", b"")
    return out.getvalue()


def _tar() -> bytes:
    with tarfile.open(fileobj=(out := io.BytesIO()), mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.wasm"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\0as", "ends after 3 bytes"),
        (b"\0asm\x01\0", "ends after 6 bytes"),
        (b"\0asm\x02\0\0\0", "unknown version 02 00 00 00"),
        (b"\n (module)", "Wasm text"),
        (b"hello", "not a Wasm binary"),
        (_zip(), "a zip archive"),
        (_tar(), "a tar archive"),
        (b"\x1f\x8b\x08", "gzip data"),
        (b"\x7fELF", "a native program"),
        (b'{"schemaVersion": 2}', "an OCI manifest"),
        (hello("wagi")[:-1], "ends early"),
        (hello("wasi-http")[:5000], "ends early, at byte"),
    ],
)
def test_what_is_no_wasm_is_called_by_its_name(data, message):
    """And says what to do instead."""
    with pytest.raises(BundleError, match=message) as caught:
        read_report(data)

    assert caught.value.help


@given(st.integers(8, 8000), st.binary(min_size=1, max_size=8), st.sampled_from(["wagi", "wasi-http"]))
@settings(max_examples=200, deadline=None)
def test_a_damaged_file_is_read_or_refused_never_worse(at, noise, abi):
    """Bytes that were overwritten anywhere give a report or a BundleError."""
    data = bytearray(hello(abi))
    at %= len(data) - len(noise)
    data[at : at + len(noise)] = noise
    with suppress(BundleError):
        missing_imports(read_report(bytes(data)))


def test_nesting_has_an_end():
    """Components in components, deeper than anybody writes."""
    data = b"\0asm\x0d\0\x01\0"
    for _ in range(40):
        size = len(data)
        data = b"\0asm\x0d\0\x01\0" + b"\x04" + bytes([size & 0x7F | 0x80, size >> 7]) + data
    with pytest.raises(BundleError, match="nested"):
        read_report(data)
