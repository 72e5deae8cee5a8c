"""The merged module does what the linked modules did: results, traps, calls to the host, memories, globals, tables."""

from random import Random

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.wasm.engine import make_engine
from edgesim.wasm.flat import Unsupported, core
from edgesim.wasm.flat.binary import Reader, section
from edgesim.wasm.flat.instructions import Rewriter
from edgesim.wasm.flat.merge import CoreInstance, Export, Host, merge
from tests.support.core_modules import modules


@pytest.fixture(scope="module")
def engine():
    """The engine that workers run on."""
    return make_engine()


def parse(text: str) -> core.CoreModule:
    """A core module from its text."""
    return core.parse(Reader(bytes(wasmtime.wat2wasm(text))))


def merged(texts: list[str]) -> bytes:
    """The modules as one, with every export `name` of module n as `n:name`."""
    instances, exports = [], {}
    for number, text in enumerate(texts):
        module = parse(text)
        sources = [Host(int(i.name)) if i.module == "h" else Export(int(i.module[1:]), i.name) for i in module.imports]
        instances.append(CoreInstance(module, tuple(sources)))
        exports |= {f"{number}:{name}": Export(number, name) for name in module.exports}
    return merge(instances, exports)


class World:
    """A store with host functions that log their calls, and the exports of what was instantiated in it."""

    def __init__(self, engine) -> None:
        self.engine = engine
        self.store = wasmtime.Store(engine)
        self.store.set_epoch_deadline(1)
        self.linker = wasmtime.Linker(engine)
        i32 = wasmtime.ValType.i32()
        shape = wasmtime.FuncType([i32, i32], [i32])
        self.log: list[tuple[int, int, int]] = []
        self.exports: dict[str, object] = {}
        for n in range(3):
            self.linker.define_func("h", str(n), shape, lambda a, b, n=n: self.called(n, a, b))

    def called(self, number: int, a: int, b: int) -> int:
        """A host function."""
        self.log.append((number, a, b))
        return (a ^ b) + number

    def linked(self, texts: list[str]) -> None:
        """Instantiate the modules one by one."""
        for number, text in enumerate(texts):
            module = wasmtime.Module(self.engine, wasmtime.wat2wasm(text))
            instance = self.linker.instantiate(self.store, module)
            self.linker.define_instance(self.store, f"m{number}", instance)
            exports = instance.exports(self.store)
            self.exports |= {f"{number}:{e.name}": exports[e.name] for e in module.exports}

    def one(self, data: bytes) -> None:
        """Instantiate the merged module."""
        module = wasmtime.Module(self.engine, data)
        exports = self.linker.instantiate(self.store, module).exports(self.store)
        self.exports = {e.name: exports[e.name] for e in module.exports}

    def attempt(self, act, *arguments: object) -> object:
        """The result, or what kind of failure it was."""
        try:
            return act(*arguments)
        except wasmtime.Trap as trap:
            return trap.trap_code
        except wasmtime.WasmtimeError as error:
            return str(error).splitlines()[0].split(":")[0]

    def observe(self) -> list[object]:
        """Call every function twice, then look at everything."""
        seen: list[object] = []
        for name, item in sorted(self.exports.items()):
            if isinstance(item, wasmtime.Func):
                seen += [(name, self.attempt(item, self.store, a, 7)) for a in (0, 3)]
        for name, item in sorted(self.exports.items()):
            if isinstance(item, wasmtime.Memory):
                seen.append((name, bytes(item.read(self.store))))
            elif isinstance(item, wasmtime.Global):
                seen.append((name, item.value(self.store)))
            elif isinstance(item, wasmtime.Table):
                slots = [item.get(self.store, n) is None for n in range(item.size(self.store))]
                seen.append((name, slots))
        return seen


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_modules_do_the_same_merged(engine, seed: int):
    """Modules that import each other's functions, memories, tables, globals and tags, with start functions and segments."""
    texts = modules(Random(seed))
    apart, together = World(engine), World(engine)
    data = merged(texts)
    instantiated = apart.attempt(apart.linked, texts), together.attempt(together.one, data)

    assert (instantiated[0] is None) == (instantiated[1] is None), instantiated
    if instantiated[0] is None:
        assert apart.log == together.log
        assert apart.observe() == together.observe()
        assert apart.log == together.log


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_fast_way_and_the_plain_way_give_the_same_bytes(seed: int):
    """For each function, wherever its indices lead."""
    rnd = Random(seed)
    for text in modules(rnd):
        module = parse(text)
        rewriter = Rewriter(maps(module, shift=rnd.choice((0, 1, 200))))
        for start, end in module.bodies:
            reader = Reader(module.code, start, end)

            assert rewriter.body(module.code, start, end).endswith(plain(rewriter, reader))


def maps(module: core.CoreModule, *, shift: int):
    """Maps that move everything by `shift`."""
    from edgesim.wasm.flat.instructions import Maps

    counts = [module.counts[kind] + sum(i.kind == kind for i in module.imports) for kind in core.KINDS]
    spaces = [range(shift, shift + count) for count in counts]
    return Maps(
        type_base=shift, element_base=shift, data_base=shift, functions=spaces[0], tables=spaces[1],
        memories=spaces[2], globals=spaces[3], tags=spaces[4],
    )  # fmt: skip


def plain(rewriter: Rewriter, reader: Reader) -> bytes:
    """The instructions of a body, one by one."""
    for _ in range(reader.count()):
        reader.u32()
        core.value_type(reader, 0)
    return rewriter.plain(reader)


def test_types_of_garbage_collected_objects_move(engine):
    """Structures, arrays and casts, behind another module's types."""
    first = '(module (type (func)) (func (export "f") (result i32) (i32.const 1)) (func) (func) (func) (func))'
    second = """(module (import "m0" "f" (func $f (result i32)))
      (rec (type $list (sub (struct (field i32) (field (ref null $list))))) (type $longer (sub $list (struct
        (field i32) (field (ref null $list)) (field i8)))))
      (type $row (array (mut i16)))
      (global $empty (ref null $list) (ref.null $list))
      (global $made (ref $list) (struct.new $list (i32.const 5) (ref.null $list)))
      (func (export "g") (param i32) (result i32) (local (ref null $list))
        (local.set 1 (struct.new $longer (local.get 0) (global.get $made) (call $f)))
        (i32.add
          (struct.get $list 0 (ref.as_non_null (struct.get $list 1 (local.get 1))))
          (i32.add (struct.get_u $longer 2 (ref.cast (ref $longer) (local.get 1)))
            (i32.add (array.get_u $row (array.new $row (i32.const 7) (i32.const 3)) (i32.const 2))
              (block $no (result i32) (drop (br_on_cast_fail $no2 (ref null $list) (ref $longer) (local.get 1))) (i32.const 0)))))))"""
    second = second.replace(
        "(block $no (result i32) (drop (br_on_cast_fail $no2 (ref null $list) (ref $longer) (local.get 1))) (i32.const 0))",
        "(block (result i32) (drop (block $no (result (ref null $list)) (br_on_cast_fail $no (ref null $list)"
        " (ref $longer) (local.get 1)))) (ref.test (ref $longer) (local.get 1)))",
    )
    world = World(engine)
    world.one(merged([first, second]))

    assert world.exports["1:g"](world.store, 3) == 5 + 1 + 7 + 1


def test_a_function_that_only_an_export_declares_may_be_named(engine):
    """The export goes, the declaration that `ref.func` needs stays."""
    module = parse('(module (func $f (export "f")) (func (export "g") (result i32) (ref.is_null (ref.func $f))))')
    data = merge([CoreInstance(module, ())], {"g": Export(0, "g")})
    world = World(engine)
    world.one(data)

    assert world.exports["g"](world.store) == 0


def test_constant_offsets_are_computed():
    """The engine lays memory out before a guest starts only where offsets are numbers."""
    base = '(module (global (export "base") i32 (i32.const 1024)) (memory (export "mem") 1))'
    user = """(module (import "m0" "base" (global $b i32)) (import "m0" "mem" (memory 1))
      (global $end i32 (i32.add (global.get $b) (i32.const -1)))
      (data (offset (i32.sub (global.get $end) (i32.const 23))) "here"))"""

    assert b"\x00\x41\xe8\x07\x0b\x04here" in merged([base, user])


def test_names_of_functions_stay(engine):
    """For backtraces."""
    first = '(module (func $unused) (func $first (export "f") (unreachable)))'
    second = '(module (import "m0" "f" (func $f)) (func $second (export "g") (call $f)) (func) (func) (func))'
    world = World(engine)
    world.one(merged([first, second]))
    with pytest.raises(wasmtime.Trap) as caught:
        world.exports["1:g"](world.store)

    assert [frame.func_name for frame in caught.value.frames] == ["first", "second"]


@pytest.mark.parametrize("body", [b"\xe0\x00", b"\xfc\x7f", b"\xfd\xff\x7f", b"\xfb\x7f", b"\x27", b"\x06\x7f\x17"])
def test_unknown_instructions_are_refused(body: bytes):
    """They are not guessed at."""
    code = b"\0" + body + b"\x0b"
    data = b"\0asm\x01\0\0\0" + section(1, b"\x01\x60\0\0") + section(3, b"\x01\0")
    module = core.parse(Reader(data + section(10, b"\x01" + bytes((len(code),)) + code)))

    with pytest.raises(Unsupported, match="instruction"):
        merge([CoreInstance(module, ())], {})


def test_modules_may_not_be_too_large_together(monkeypatch):
    """A module counts as often as it is instantiated."""
    monkeypatch.setattr("edgesim.wasm.flat.merge._MAX_BYTES", 150)
    module = parse("(module (func " + "nop " * 40 + "))")
    merge([CoreInstance(module, ())] * 2, {})

    with pytest.raises(Unsupported, match="MiB together"):
        merge([CoreInstance(module, ())] * 3, {})


@pytest.mark.parametrize(("kind", "most"), [("memory", 8), ("table", 16)])
def test_the_pool_has_room_for_what_is_merged(kind: str, most: int):
    """As many memories or tables as may be merged can be instantiated in pooled memory; one more is refused."""
    field = "(memory 1)" if kind == "memory" else "(table 1 funcref)"
    texts = [f"(module {field * (most // 2)})"] * 2
    pooled = World(make_engine(pooled=True))
    pooled.one(merged(texts))

    with pytest.raises(Unsupported, match=f"more than {most}"):
        merged([*texts, f"(module {field})"])


def test_segments_that_no_start_function_can_see_stay_active(engine):
    """A memory that is younger than every start function is laid out at compile time; an older one is filled in turn."""
    older = """(module (memory (export "old") 1) (global $seen (mut i32) (i32.const 0)) (export "seen" (global $seen))
      (func $s (global.set $seen (i32.load8_u (i32.const 0)))) (start $s))"""
    younger = """(module (import "m0" "old" (memory $old 1)) (memory $new (export "new") 1)
      (data (memory $old) (i32.const 0) "\\07") (data (memory $new) (i32.const 0) "\\08"))"""
    data = merged([older, younger])
    world = World(engine)
    world.one(data)

    assert b"\x01\x01\x07" in data  # passive
    assert b"\x02\x01\x41\x00\x0b\x01\x08" in data  # active in memory 1
    assert world.exports["0:seen"].value(world.store) == 0
    assert [world.exports[name].read(world.store, 0, 1)[0] for name in ("0:old", "1:new")] == [7, 8]
