"""Components taken apart: hand-written ones are run with numbers as the only values, real guests must become valid modules."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import wasmtime
from wasmtime.component import Component

from edgesim.wasm.engine import make_engine
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat.flatten import flatten
from edgesim.wasm.flat.plan import HostFunction, Lower, Plan, ResourceOp

ROOT = Path(__file__).resolve().parents[3]
GUESTS = sorted((ROOT / ".guests").glob("*.wasm"))

COMPOSED = """(component
  (import "host:math/ops@1.0.0" (instance $math (export "double" (func (param "n" u32) (result u32)))))
  (component $counter
    (import "double" (func $double (param "n" u32) (result u32)))
    (core func $double_core (canon lower (func $double)))
    (core module $m
      (import "host" "double" (func $double (param i32) (result i32)))
      (memory (export "mem") 1)
      (func (export "bump") (param i32) (result i32)
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (call $double (local.get 0))))
        (i32.load (i32.const 0))))
    (core instance $i (instantiate $m (with "host" (instance (export "double" (func $double_core))))))
    (func (export "bump") (param "n" u32) (result u32) (canon lift (core func $i "bump"))))
  (alias export $math "double" (func $double))
  (instance $a (instantiate $counter (with "double" (func $double))))
  (alias export $a "bump" (func $bump_a))
  (instance $b (instantiate $counter (with "double" (func $bump_a))))
  (export "test:counter/a" (instance $a))
  (export "test:counter/b" (instance $b)))"""
"""The same component, and so the same core module, twice: the second calls the first, which calls the host."""


@pytest.fixture(scope="module")
def engine():
    """The engine that workers run on."""
    return make_engine()


class Running:
    """An instance of a flat component whose functions take and give plain i32 numbers."""

    def __init__(self, engine, text: str, host: dict[str, Callable[..., int]] | None = None) -> None:
        data = bytes(wasmtime.wat2wasm(text))
        Component(engine, data).close()
        self.plan, merged = flatten(data)
        self.host = host or {}
        self.handles: dict[int, int] = {}
        module = wasmtime.Module(engine, merged)
        self.store = wasmtime.Store(engine)
        self.store.set_epoch_deadline(1)
        linker = wasmtime.Linker(engine)
        for wanted in module.imports:
            assert wanted.module == "h"
            linker.define_func("h", wanted.name, wanted.type, self._function(int(wanted.name)))
        self.exports = linker.instantiate(self.store, module).exports(self.store)

    def _function(self, number: int):
        trampoline = self.plan.trampolines[number]

        def call(*arguments: int) -> int | None:
            if isinstance(trampoline, Lower):
                if isinstance(trampoline.callee, HostFunction):
                    return self.host[f"{trampoline.callee.interface}#{trampoline.callee.name}"](*arguments)
                return self.exports[self.plan.lifted[trampoline.callee].function](self.store, *arguments)
            assert isinstance(trampoline, ResourceOp)
            if trampoline.op == "new":
                self.handles[len(self.handles) + 1] = arguments[0]
                return len(self.handles)
            if trampoline.op == "rep":
                return self.handles[arguments[0]]
            destructor = self.plan.resources[trampoline.resource].destructor
            assert destructor is not None
            self.exports[destructor](self.store, self.handles.pop(arguments[0]))
            return None

        return call

    def call(self, interface: str, name: str, *arguments: int) -> int:
        """Call what the component exports."""
        number = dict(dict(self.plan.exports)[interface])[name]
        return self.exports[self.plan.lifted[number].function](self.store, *arguments)


def test_a_composed_component_keeps_its_instances_apart(engine):
    """Two instances of one component have memories of their own, and one lowers what the other lifts."""
    running = Running(engine, COMPOSED, {"host:math/ops@1.0.0#double": lambda n: 2 * n})

    assert running.plan.instances == 3
    assert [running.call("test:counter/a", "bump", n) for n in (1, 2)] == [2, 6]
    assert [running.call("test:counter/b", "bump", n) for n in (1, 1)] == [8, 18]
    callees = [t.callee for t in running.plan.trampolines if isinstance(t, Lower)]
    assert callees == [HostFunction(interface="host:math/ops@1.0.0", name="double"), 0]
    assert [t.options.instance for t in running.plan.trampolines if isinstance(t, Lower)] == [1, 2]


def test_an_inner_component_defines_a_resource(engine):
    """Its destructor is exported; users of its handles name the same resource by number."""
    running = Running(
        engine,
        """(component
          (component $inner
            (core module $d (global $last (mut i32) (i32.const 0))
              (func (export "dtor") (param i32) (global.set $last (local.get 0)))
              (func (export "last") (result i32) (global.get $last)))
            (core instance $di (instantiate $d))
            (type $r (resource (rep i32) (dtor (core func $di "dtor"))))
            (core func $new (canon resource.new $r))
            (core func $rep (canon resource.rep $r))
            (core module $m (import "r" "new" (func $new (param i32) (result i32)))
              (import "r" "rep" (func $rep (param i32) (result i32)))
              (func (export "make") (param i32) (result i32) (call $new (i32.add (local.get 0) (i32.const 100))))
              (func (export "get") (param i32) (result i32) (call $rep (local.get 0))))
            (core instance $i (instantiate $m (with "r" (instance (export "new" (func $new)) (export "rep" (func $rep))))))
            (export $r2 "thing" (type $r))
            (func (export "make") (param "n" u32) (result (own $r2)) (canon lift (core func $i "make")))
            (func (export "last") (result u32) (canon lift (core func $di "last"))))
          (instance $x (instantiate $inner))
          (alias export $x "thing" (type $thing))
          (alias export $x "make" (func $make))
          (core func $make_core (canon lower (func $make)))
          (core func $drop (canon resource.drop $thing))
          (core module $user (import "i" "make" (func $make (param i32) (result i32)))
            (import "i" "drop" (func $drop (param i32)))
            (func (export "run") (param i32) (result i32) (call $drop (call $make (local.get 0))) (i32.const 1)))
          (core instance $u (instantiate $user (with "i" (instance
            (export "make" (func $make_core)) (export "drop" (func $drop))))))
          (func (export "run") (param "n" u32) (result u32) (canon lift (core func $u "run")))
          (export "last" (func $x "last")))""",
    )

    assert running.call("", "run", 7) == 1
    assert running.call("", "last") == 107
    (resource,) = running.plan.resources
    assert (resource.name, resource.interface, resource.instance) == ("thing", None, 1)
    operations = [(t.op, t.resource, t.instance) for t in running.plan.trampolines if isinstance(t, ResourceOp)]
    assert operations == [("new", 0, 1), ("rep", 0, 1), ("drop", 0, 0)]


def test_outer_aliases_reach_modules_types_and_components(engine):
    """From two components deep."""
    running = Running(
        engine,
        """(component $out
          (core module $m (func (export "f") (result i32) (i32.const 42)))
          (type $f (func (result u32)))
          (component $c
            (component $d
              (core instance $i (instantiate $m))
              (func (export "f") (type $f) (canon lift (core func $i "f"))))
            (instance $d (instantiate $d))
            (export "f" (func $d "f")))
          (component $e (instance $c (instantiate $c)) (export "inner" (instance $c)))
          (instance $e (instantiate $e))
          (alias export $e "inner" (instance $inner))
          (export "f" (func $inner "f")))""",
    )

    assert running.call("", "f") == 42
    assert running.plan.instances == 4


def test_start_functions_keep_their_turn(engine):
    """A start function that runs before a later instance's segments are applied does not see them."""
    running = Running(
        engine,
        """(component
          (core module $a (memory (export "mem") 1) (global $seen (mut i32) (i32.const -1))
            (func $start (global.set $seen (i32.load8_u (i32.const 5)))) (start $start)
            (func (export "seen") (result i32) (i32.add (global.get $seen) (i32.load8_u (i32.const 5)))))
          (core instance $a (instantiate $a))
          (core module $b (import "a" "mem" (memory 1)) (data (i32.const 5) "\\07"))
          (core instance $b (instantiate $b (with "a" (instance $a))))
          (func (export "seen") (result u32) (canon lift (core func $a "seen"))))""",
    )

    assert running.call("", "seen") == 0 + 7


def test_options_are_told(engine):
    """Encodings, memory, realloc and post-return of a lifted function."""
    running = Running(
        engine,
        """(component
          (core module $m (memory (export "mem") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
            (func (export "f") (param i32 i32) (result i32) (i32.const 0))
            (func (export "post") (param i32)))
          (core instance $i (instantiate $m))
          (func (export "f") (param "s" string) (result string) (canon lift (core func $i "f") (memory (core memory $i "mem"))
            (realloc (core func $i "realloc")) (post-return (core func $i "post")) string-encoding=utf16)))""",
    )
    options = running.plan.lifted[0].options

    assert (options.memory, options.realloc, options.post_return) == ("0:mem", "0:realloc", "0:post")
    assert options.encoding == "utf16"


REFUSED = {
    "the import of a component or core module": '(component (import "m" (core module)))',
    "an export of a function that the component imports": '(component (import "f" (func $f)) (export "g" (func $f)))',
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_done_is_refused(reason: str):
    """With the reason."""
    data = bytes(wasmtime.wat2wasm(REFUSED[reason]))

    with pytest.raises(Unsupported, match=reason):
        flatten(data)


@pytest.mark.parametrize("path", ["hello/hello.wasm", "hello-v2/hello.wasm"])
def test_the_workers_of_the_repository(engine, path: str):
    """They become modules that the engine takes, and the plan travels as JSON."""
    plan, merged = flatten((ROOT / "workers" / path).read_bytes())

    assert [name for name, _ in plan.exports] == ["wasi:http/incoming-handler@0.2.0"]
    assert {i.module for i in wasmtime.Module(engine, merged).imports} == {"h"}
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.skipif(not GUESTS, reason="no guests in .guests/: see tests/guests")
@pytest.mark.parametrize("path", GUESTS, ids=[path.stem for path in GUESTS])
def test_real_guests(path: Path, engine):
    """Guests of other toolchains: what is taken apart is valid."""
    data = path.read_bytes()
    if data[4:8] != b"\x0d\0\x01\0":
        pytest.skip("a core module")
    plan, merged = flatten(data)

    wasmtime.Module.validate(engine, merged)
    assert Plan.from_json(plan.to_json()) == plan


def test_broken_bytes_are_refused_not_crashed_on():
    """Truncated anywhere and with bits flipped: a plan or Unsupported."""
    rnd = Random(7)
    originals = [bytes(wasmtime.wat2wasm(COMPOSED)), (ROOT / "workers/hello/hello.wasm").read_bytes()]
    for original in originals:
        for _ in range(300):
            data = bytearray(original[: rnd.randrange(len(original))] if rnd.random() < 0.3 else original)
            for _ in range(rnd.choice((0, 1, 3))):
                if data:
                    data[rnd.randrange(len(data))] ^= 1 << rnd.randrange(8)
            try:
                flatten(bytes(data))
            except Unsupported:
                continue


def bomb(levels: int) -> str:
    """Each component instantiates the next one twice."""
    inner = "(component $c0)"
    for level in range(1, levels):
        below = f"$c{level - 1}"
        inner = f"(component $c{level} {inner} (instance (instantiate {below})) (instance (instantiate {below})))"
    return f"(component {inner} (instance (instantiate $c{levels - 1})))"


def test_bombs_are_refused_in_bounded_time():
    """Components that double with each level, and types that do."""
    with pytest.raises(Unsupported, match="component instances"):
        flatten(bytes(wasmtime.wat2wasm(bomb(30))))
    types = "(type $t0 (tuple u8 u8))" + "".join(f"(type $t{n} (tuple $t{n - 1} $t{n - 1}))" for n in range(1, 40))

    with pytest.raises(Unsupported, match="too large"):
        flatten(bytes(wasmtime.wat2wasm(f"(component {types})")))
