"""Definitions of components carried out: types, resources, arguments, aliases, canonical definitions."""

import pytest
import wasmtime
from wasmtime.component import Component

from edgesim.wasm import raw
from edgesim.wasm.flat import Unsupported, scope, wiring
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.binary import Reader
from edgesim.wasm.flat.merge import Export, Host
from edgesim.wasm.flat.plan import Builtin, HostFunction, Lower, Options, Resource
from edgesim.wasm.flat.types import FuncType
from edgesim.wasm.flat.wiring import Wiring, wire

U32, TEXT = t.Prim("u32"), t.Prim("string")


@pytest.fixture(scope="module")
def engine():
    """An engine that knows the types of WASI 0.3, to check what is written here."""
    config = wasmtime.Config()
    raw.set_component_model_async(config, enabled=True)
    return wasmtime.Engine(config)


def wired(engine, text: str) -> Wiring:
    """What a component builds, once the engine has found it valid."""
    data = bytes(wasmtime.wat2wasm(text))
    Component(engine, data).close()
    return wire(Reader(data))


TYPES = {
    "bool": t.Prim("bool"),
    "s8": t.Prim("s8"),
    "u8": t.Prim("u8"),
    "s16": t.Prim("s16"),
    "u16": t.Prim("u16"),
    "s32": t.Prim("s32"),
    "u32": U32,
    "s64": t.Prim("s64"),
    "u64": t.Prim("u64"),
    "f32": t.Prim("f32"),
    "f64": t.Prim("f64"),
    "char": t.Prim("char"),
    "string": TEXT,
    "(list string)": t.List(TEXT),
    '(record (field "a" u32) (field "b" string))': t.Record((("a", U32), ("b", TEXT))),
    "(tuple u32 string)": t.Tuple((U32, TEXT)),
    '(variant (case "a") (case "b" u32))': t.Variant((("a", None), ("b", U32))),
    '(enum "a" "b")': t.Enum(("a", "b")),
    '(flags "a" "b")': t.Flags(("a", "b")),
    "(option string)": t.Option(TEXT),
    "(result)": t.Result(None, None),
    "(result u32)": t.Result(U32, None),
    "(result (error string))": t.Result(None, TEXT),
    "(result u32 (error string))": t.Result(U32, TEXT),
    "(stream u8)": t.Stream(t.Prim("u8")),
    "(future)": t.Future(None),
    "(own $r)": t.Own(0),
    "(borrow $r)": t.Borrow(0),
}


@pytest.mark.parametrize("text", TYPES)
def test_each_type(engine, text: str):
    """As a parameter of a function that the host gives."""
    named = text[0] == "(" and text not in {"(own $r)", "(borrow $r)"}
    define = f'(type $d {text}) (import "t" (type $t (eq $d)))' if named else ""
    found = wired(
        engine,
        f"""(component (import "r" (type $r (sub resource))) {define}
          (import "f" (func $f (param "x" {"$t" if named else text})))
          (core module $m (memory (export "mem") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
          (core instance $i (instantiate $m))
          (core func (canon lower (func $f) (memory (core memory $i "mem")) (realloc (core func $i "realloc")))))""",
    )
    (lower,) = found.trampolines

    assert isinstance(lower, Lower)
    assert lower.type == FuncType((("x", TYPES[text]),), None)
    assert lower.callee == HostFunction(interface="", name="f")


def test_a_resource_that_several_interfaces_name_is_one(engine):
    """The host's, by the interface that defines it."""
    found = wired(
        engine,
        """(component
          (import "a:b/types@1.0.0" (instance $types (export "thing" (type (sub resource)))))
          (alias export $types "thing" (type $thing))
          (import "a:b/one@1.0.0" (instance $one
            (alias outer 1 $thing (type $t)) (export "thing" (type $u (eq $t)))
            (export "take" (func (param "x" (own $u))))))
          (alias export $one "thing" (type $again))
          (import "a:b/two@1.0.0" (instance $two
            (alias outer 1 $again (type $t)) (export "mine" (type (eq $t)))
            (export "other" (type $other (sub resource)))
            (export "make" (func (result (tuple (own $t) (own $other)))))))
          (alias export $one "take" (func $take)) (alias export $two "make" (func $make))
          (core module $m (memory (export "mem") 1)) (core instance $i (instantiate $m))
          (core func (canon lower (func $take)))
          (core func (canon lower (func $make) (memory (core memory $i "mem"))))
          (core func (canon resource.drop $again)))""",
    )
    take, make, drop = found.trampolines

    assert found.resources == [
        Resource(name="thing", interface="a:b/types@1.0.0"),
        Resource(name="other", interface="a:b/two@1.0.0"),
    ]
    assert take.type.params == (("x", t.Own(0)),)
    assert make.type.result == t.Tuple((t.Own(0), t.Own(1)))
    assert make.options == Options(instance=0, memory="0:mem")
    assert drop.resource == 0


def test_a_component_that_is_instantiated_twice_has_two_resources(engine):
    """Types are generative: handles of one instance are not the other's."""
    found = wired(
        engine,
        """(component
          (component $c (type $r (resource (rep i32))) (export $e "r" (type $r))
            (core func $new (canon resource.new $r))
            (core module $m (import "x" "new" (func $new (param i32) (result i32)))
              (func (export "f") (result i32) (call $new (i32.const 1))))
            (core instance $i (instantiate $m (with "x" (instance (export "new" (func $new))))))
            (func (export "f") (result (own $e)) (canon lift (core func $i "f"))))
          (instance (instantiate $c)) (instance (instantiate $c)))""",
    )

    assert [r.instance for r in found.resources] == [1, 2]
    assert [f.type.result for f in found.lifted] == [t.Own(0), t.Own(1)]
    assert [i.imports for i in found.core_instances] == [(Host(0),), (Host(1),)]


def test_arguments_of_every_sort(engine):
    """A component, a core module, an instance, a type and a function are given to a nested component."""
    found = wired(
        engine,
        """(component
          (type $byte u8) (export $exported "byte" (type $byte))
          (core module $m (func (export "f") (param i32) (result i32) (local.get 0)))
          (component $leaf (core module $n (func (export "g") (result i32) (i32.const 3)))
            (core instance $i (instantiate $n)) (func (export "g") (result u32) (canon lift (core func $i "g"))))
          (instance $leafy (instantiate $leaf))
          (component $user
            (type $b u8) (import "byte" (type $byte (eq $b)))
            (import "leaf" (component $leaf (export "g" (func (result u32)))))
            (import "mod" (core module $m (export "f" (func (param i32) (result i32)))))
            (import "given" (instance $given (export "g" (func (result u32)))))
            (import "g" (func $g (result u32)))
            (instance $own (instantiate $leaf))
            (core instance $i (instantiate $m))
            (func (export "f") (param "x" $byte) (result $byte) (canon lift (core func $i "f")))
            (export "own" (func $own "g")) (export "given-g" (func $given "g")) (export "direct" (func $g)))
          (instance $u (instantiate $user (with "byte" (type $exported)) (with "leaf" (component $leaf))
            (with "mod" (core module $m)) (with "given" (instance $leafy)) (with "g" (func $leafy "g"))))
          (export "u" (instance $u)))""",
    )
    exports = {name: item.value.number for name, item in found.exports["u"].value.items() if item.sort == 1}

    assert exports == {"f": 2, "own": 1, "given-g": 0, "direct": 0}
    assert found.lifted[2].type == FuncType((("x", t.Prim("u8")),), t.Prim("u8"))
    assert found.instances == 4


def test_core_imports_are_followed_through_made_instances(engine):
    """Instances that are lists of exports leave no trace."""
    found = wired(
        engine,
        """(component
          (core module $a (memory (export "m") 1) (table (export "t") 1 funcref) (global (export "g") i32 (i32.const 1))
            (func (export "f")))
          (core instance $a (instantiate $a))
          (core instance $b (export "memory" (memory $a "m")) (export "table" (table $a "t"))
            (export "global" (global $a "g")) (export "func" (func $a "f")))
          (core instance $c (export "again" (func $b "func")))
          (core module $d (import "b" "memory" (memory 1)) (import "c" "again" (func)) (import "b" "table" (table 1 funcref))
            (import "b" "global" (global i32)))
          (core instance (instantiate $d (with "b" (instance $b)) (with "c" (instance $c)))))""",
    )

    assert [s.name for s in found.core_instances[1].imports if isinstance(s, Export)] == ["m", "f", "t", "g"]


def test_built_ins_of_wasi_0_3(engine):
    """With their options and types."""
    found = wired(
        engine,
        """(component
          (core module $m (memory (export "mem") 1)
            (func (export "f") (param i32) (result i32) (i32.const 0))
            (func (export "cb") (param i32 i32 i32) (result i32) (i32.const 0)))
          (core instance $i (instantiate $m))
          (type $s (stream u8)) (type $f (future))
          (core func (canon stream.read $s async (memory (core memory $i "mem"))))
          (core func (canon stream.cancel-write $s))
          (core func (canon future.new $f))
          (core func (canon task.return (result u32)))
          (core func (canon context.get i32 0))
          (core func (canon waitable-set.wait (memory (core memory $i "mem"))))
          (core func (canon subtask.cancel))
          (core func (canon backpressure.inc))
          (core func (canon thread.yield))
          (func (export "f") async (param "x" u32) (canon lift (core func $i "f") async
            (callback (core func $i "cb")))))""",
    )
    here = Options(instance=0)
    in_memory = Options(instance=0, memory="0:mem")
    stream = t.Stream(t.Prim("u8"))

    assert found.trampolines == [
        Builtin(name="stream.read", options=Options(instance=0, memory="0:mem", is_async=True), types=(stream,)),
        Builtin(name="stream.cancel-write", options=here, types=(stream,)),
        Builtin(name="future.new", options=here, types=(t.Future(None),)),
        Builtin(name="task.return", options=here, types=(U32,)),
        Builtin(name="context.get", options=here, types=(0x7F, 0)),
        Builtin(name="waitable-set.wait", options=in_memory),
        Builtin(name="subtask.cancel", options=here),
        Builtin(name="backpressure.inc", options=here),
        Builtin(name="thread.yield", options=here),
    ]
    assert found.lifted[0].type == FuncType((("x", U32),), None, is_async=True)
    assert found.lifted[0].options == Options(instance=0, is_async=True, callback="0:cb")


REFUSED = {
    "start function": b"\x09\x03\0\0\0",
    "component section 77": b"\x4d\x01\0",
    "canonical definition 0x40": b"\x08\x03\x01\x40\0",
    "a name with options": b"\x0a\x05\x01\x02\x01a\0",
    "type 0x67": b"\x07\x04\x01\x67\x7d\x01",
    "that is not defined": b"\x05\x04\x01\0\x05\0",
    "bytes left over": b"\x07\x03\x01\x7f\x7f",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_sections_that_are_refused(reason: str):
    """With the reason."""
    with pytest.raises(Unsupported, match=reason):
        wire(Reader(b"\0asm\x0d\0\x01\0" + REFUSED[reason]))


@pytest.mark.parametrize(
    ("owner", "limit", "reason"),
    [
        (wiring, "_MAX_DEFINITIONS", "definitions"),
        (wiring, "_MAX_BYTES", "definitions of more than"),
        (wiring, "_MAX_INSTANCES", "component instances"),
        (scope, "_MAX_PARTS", "parts"),
    ],
)
def test_limits(monkeypatch, owner, limit: str, reason: str):
    """Each is reached by a small component once it is small itself."""
    data = bytes(wasmtime.wat2wasm("(component (type (tuple u8 u8 u8 u8)) (component $c) (instance (instantiate $c)))"))
    wire(Reader(data))
    monkeypatch.setattr(owner, limit, 1)

    with pytest.raises(Unsupported, match=reason):
        wire(Reader(data))
