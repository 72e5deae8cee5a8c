"""Hollow copies show the engine everything but code and data."""

from pathlib import Path

import pytest
import wasmtime
from wasmtime.component import Component

from edgesim.wasm import raw
from edgesim.wasm.engine import make_engine
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat.binary import COMPONENT
from edgesim.wasm.flat.hollow import hollow

ROOT = Path(__file__).resolve().parents[3]
GUESTS = sorted((ROOT / ".guests").glob("*.wasm"))
NESTED = """(component
  (component $inner
    (core module $m (memory 1) (data (i32.const 0) "secret") (data $d "passive")
      (func (export "f") (result i32) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (i32.const {value})))
    (core instance $i (instantiate $m))
    (func (export "f") (result {type}) (canon lift (core func $i "f"))))
  (instance $inner (instantiate $inner))
  (export "f" (func $inner "f")))"""


@pytest.fixture(scope="module")
def engine():
    """The engine that workers run on."""
    return make_engine()


def component(value: int = 7, type_: str = "u32") -> bytes:
    """A component with another one inside."""
    return bytes(wasmtime.wat2wasm(NESTED.format(value=value, type=type_)))


def test_only_code_and_data_are_left_out(engine):
    """Components that differ only in their code have the same hollow copy, and the engine takes it."""
    copy = hollow(component())
    Component(engine, copy).close()

    assert copy == hollow(component(value=8))
    assert copy != hollow(component(type_="s32"))
    assert b"secret" not in copy


def test_what_is_wrong_outside_the_code_shows(engine):
    """A function that is lifted as something else than it is."""
    copy = hollow(component(type_="u64"))

    with pytest.raises(wasmtime.WasmtimeError, match="lowered result types"):
        Component(engine, copy)


def test_imports_stay(engine):
    """The types by which a worker is linked can be read from the copy."""
    data = (ROOT / "workers/hello/hello.wasm").read_bytes()
    imports = [Component(engine, bytes_).type.imports(engine) for bytes_ in (data, hollow(data))]

    assert list(imports[0]) == list(imports[1])


@pytest.mark.parametrize("data", [b"", b"\0asm\x01\0\0\0", COMPONENT + b"\x01\x05\0", COMPONENT + b"\x01\x04wasm"])
def test_other_bytes_are_refused(data: bytes):
    """A core module, and components that end too early."""
    with pytest.raises(Unsupported):
        hollow(data)


def test_components_may_not_be_nested_without_end():
    """Each level takes ten bytes, so a small file could nest deeply."""
    data = COMPONENT
    for _ in range(60):
        data = COMPONENT + b"\x04" + bytes((len(data) & 0x7F | 0x80, len(data) >> 7)) + data

    with pytest.raises(Unsupported, match="deep"):
        hollow(data)


@pytest.mark.skipif(not GUESTS, reason="no guests in .guests/: see tests/guests")
@pytest.mark.parametrize("path", GUESTS, ids=[path.stem for path in GUESTS])
def test_real_guests(path: Path):
    """Of other toolchains, WASI 0.3 among them."""
    data = path.read_bytes()
    if not data.startswith(COMPONENT):
        pytest.skip("a core module")
    config = wasmtime.Config()
    raw.set_component_model_async(config, enabled=True)

    Component(wasmtime.Engine(config), hollow(data)).close()
