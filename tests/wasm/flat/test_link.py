"""Linking: host functions that answer, fail, wait and do not exist; allocation in hostile guests; resource operations."""

import asyncio

import pytest
import wasmtime

from edgesim.errors import GuestCpuError, GuestTrapError
from edgesim.wasm.engine import Ticker, make_engine
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.link import LinkedPlan
from edgesim.wasm.flat.plan import Builtin, Lifted, Options, Resource, ResourceOp
from edgesim.wasm.guest import Exited, Suspend
from edgesim.wasm.linking import HostFunction
from edgesim.wasm.values import Err
from tests.support.flat_oracle import call_flat
from tests.support.flat_plans import BUMP, OPTIONS, lower, plan, run

U32, U64, TEXT, OCTETS = t.Prim("u32"), t.Prim("u64"), t.Prim("string"), t.List(t.Prim("u8"))
MEMORY_ONLY = {"realloc": None}


async def test_core_values_go_both_ways():
    """Integers and floats as core parameters and results, with the right signs."""
    seen = []

    def f(_guest, *values):
        seen.append(values)
        return -2

    kinds = (U32, t.Prim("s8"), U64, t.Prim("s64"), t.Prim("f32"), t.Prim("f64"), t.Prim("bool"), t.Prim("char"))
    await run(
        plan(lower("f", kinds, t.Prim("s32")), lower("g", (t.Prim("s32"),))),
        """(import "h" "0" (func $f (param i32 i32 i64 i64 f32 f64 i32 i32) (result i32)))
           (import "h" "1" (func $g (param i32))) (memory (export "memory") 1) (func (export "realloc"))
           (func (export "run") (call $g (call $f (i32.const -1) (i32.const 255) (i64.const -1) (i64.const -1)
             (f32.const 0.5) (f64.const 1e300) (i32.const 7) (i32.const 233))))""",
        {"f": f, "g": lambda _guest, value: seen.append(value)},
    )

    assert seen == [((1 << 32) - 1, -1, (1 << 64) - 1, -1, 0.5, 1e300, True, "é"), -2]


async def test_a_function_that_does_not_exist_traps_when_it_is_called():
    """Linking succeeds, since many guests import what they never call."""
    wat = '(import "h" "0" (func $f)) (func (export "run") {})'
    one = plan(lower("nothing", memory=None, realloc=None))
    await run(one, wat.format(""), {})

    with pytest.raises(NotImplementedError, match=r"test:t/host@0\.1\.0#nothing"):
        await run(one, wat.format("(call $f)"), {})


@pytest.mark.parametrize("waits", [False, True])
async def test_what_a_host_function_raises_ends_the_guest(waits):
    """The first exception, as it is."""

    def f(_guest):
        raise ZeroDivisionError("x")

    with pytest.raises(ZeroDivisionError, match="x"):
        await run(
            plan(lower("f", memory=None, realloc=None)),
            '(import "h" "0" (func $f)) (func (export "run") (call $f))',
            {"f": f},
            waits=("f",) if waits else (),
        )


async def test_a_label_that_the_types_of_the_guest_lack():
    """Types come from the worker's file, so the worker is to blame."""

    def f(_guest):
        raise KeyError("HTTP-request-denied")

    with pytest.raises(GuestTrapError, match=r"types are not those of .*HTTP-request-denied"):
        await run(
            plan(lower("f", memory=None, realloc=None)),
            '(import "h" "0" (func $f)) (func (export "run") (call $f))',
            {"f": f},
        )


async def test_a_guest_may_exit():
    """`Exited` with code 0 is no error."""

    def f(_guest):
        raise Exited(0)

    await run(
        plan(lower("f", memory=None, realloc=None)),
        '(import "h" "0" (func $f)) (func (export "run") (call $f) unreachable)',
        {"f": f},
    )


async def test_a_raised_err_is_a_value_where_the_type_has_one():
    """Elsewhere it is a defect, and ends the guest."""

    def f(_guest):
        raise Err("no")

    seen = []
    wat = f"""(import "h" "0" (func $f (param i32))) (import "h" "1" (func $g (param i32 i32 i32))) {BUMP}
      (func (export "run") (call $f (i32.const 16))
        (call $g (i32.load8_u (i32.const 16)) (i32.load (i32.const 20)) (i32.load (i32.const 24))))"""
    kind = t.Result(None, TEXT)
    functions = {"f": f, "g": lambda _guest, value: seen.append(value)}
    await run(plan(lower("f", (), kind), lower("g", (kind,))), wat, functions)

    assert [(type(one), one.value) for one in seen] == [(Err, "no")]
    with pytest.raises(Err):
        await run(plan(lower("f", (), TEXT), lower("g", (kind,))), wat, functions)


WAITING = f"""(import "h" "0" (func $f (param i32))) (import "h" "1" (func $g (param i32 i32))) {BUMP}
  (func (export "run") (call $f (i32.const 16)) (call $g (i32.load (i32.const 16)) (i32.load (i32.const 20))))"""


@pytest.mark.parametrize("now", [False, True])
async def test_a_function_may_wait(now):
    """Its result is written when the wait is over, with an allocation in the guest; or at once."""
    seen = []

    async def later():
        await asyncio.sleep(0)
        return "late"

    await run(
        plan(lower("f", (), TEXT), lower("g", (TEXT,))),
        WAITING,
        {
            "f": lambda _guest: "late" if now else Suspend(later, lambda value: value),
            "g": lambda _g, v: seen.append(v),
        },
        waits=("f",),
    )

    assert seen == ["late"]


async def test_a_late_failure_ends_the_guest():
    """What the wait raises, and nothing that the guest could mistake for a result."""
    seen = []

    async def later():
        return None

    def finish(_value):
        raise GuestTrapError("too late")

    with pytest.raises(GuestTrapError, match="too late"):
        await run(
            plan(lower("f", (), TEXT), lower("g", (TEXT,))),
            WAITING,
            {"f": lambda _guest: Suspend(later, finish), "g": lambda _g, v: seen.append(v)},
            waits=("f",),
        )

    assert not seen


async def test_a_single_core_result_may_be_late():
    """It goes into the result slot, with its kind."""
    seen = []

    async def later():
        return None

    await run(
        plan(lower("f", (U32,), U64), lower("g", (U64,))),
        f"""(import "h" "0" (func $f (param i32) (result i64))) (import "h" "1" (func $g (param i64))) {BUMP}
            (func (export "run") (call $g (call $f (i32.const 3))))""",
        {
            "f": lambda _guest, number: Suspend(later, lambda _: number << 40),
            "g": lambda _guest, value: seen.append(value),
        },
        waits=("f",),
    )

    assert seen == [3 << 40]


HOSTILE_REALLOC = '(import "h" "0" (func $f (param i32))) (memory (export "memory") 1) {} (func (export "run") (call $f (i32.const 16)))'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("(i32.const -4)", "memory ends at"),
        ("(i32.const 65532)", "memory ends at"),
        ("(i32.const 17)", "must be a multiple of 4"),
        ("(call $f (i32.const 16)) (i32.const 0)", "called out of a realloc"),
        ("unreachable", "unreachable"),
    ],
)
async def test_a_hostile_realloc_ends_its_guest(body, message):
    """Pointers out of bounds or misaligned, calls back into the host, traps."""
    realloc = f'(func (export "realloc") (param i32 i32 i32 i32) (result i32) {body})'

    with pytest.raises((GuestTrapError, wasmtime.Trap), match=message):
        await run(plan(lower("f", (), t.List(U32))), HOSTILE_REALLOC.format(realloc), {"f": lambda _guest: [1, 2, 3]})


async def test_a_realloc_that_never_returns_is_ended():
    """It cannot be suspended, so it is ended at the limit for calls from host functions."""
    engine = make_engine()
    ticker = Ticker(engine)
    wat = HOSTILE_REALLOC.format(
        '(func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop (br 0)) unreachable)'
    )
    table = {("test:t/host", "f"): HostFunction(lambda _guest: "text", waits=False)}
    linked = LinkedPlan(engine, wasmtime.Module(engine, f"(module {wat})"), plan(lower("f", (), TEXT)), table)
    ticker.enter()
    try:
        with pytest.raises(GuestCpuError):
            await call_flat(linked, "run")
    finally:
        ticker.leave()
        ticker.close()


async def test_memory_that_grows_is_seen():
    """The guest's realloc grows the memory: what lies beyond the old end is written and read."""
    seen = []
    grow = """(func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))"""
    await run(
        plan(lower("f", (), OCTETS), lower("g", (OCTETS,))),
        f"""(import "h" "0" (func $f (param i32))) (import "h" "1" (func $g (param i32 i32)))
            (memory (export "memory") 1) {grow}
            (func (export "run") (call $f (i32.const 16)) (call $f (i32.const 16))
              (call $g (i32.load (i32.const 16)) (i32.load (i32.const 20))))""",
        {"f": lambda _guest: b"x" * 60_000, "g": lambda _guest, data: seen.append(data)},
        lambda guest: seen.append(guest.memory_bytes()),
    )

    assert seen == [b"x" * 60_000, 3 * 65536]


# -- resources --------------------------------------------------------------------------------------------------------------

HOST, OWN_KIND = Resource(name="stream", interface="test:t/host@0.1.0"), Resource(name="thing", destructor="destroy")


class Stream:
    """A host object that is told of its end."""

    dropped = 0

    def drop(self):
        """The guest has dropped it."""
        self.dropped += 1


async def test_host_objects_are_lent_taken_and_dropped():
    """A borrow gives the object; dropping tells it; giving it away does not."""
    made, seen = [Stream(), Stream()], []
    left = list(made)
    await run(
        plan(
            lower("make", (), t.Own(0), memory=None, realloc=None),
            lower("use", (t.Borrow(0),), memory=None, realloc=None),
            lower("take", (t.Own(0),), memory=None, realloc=None),
            ResourceOp(op="drop", resource=0, instance=0),
            resources=(HOST,),
        ),
        """(import "h" "0" (func $make (result i32))) (import "h" "1" (func $use (param i32)))
           (import "h" "2" (func $take (param i32))) (import "h" "3" (func $drop (param i32)))
           (func (export "run") (local $a i32) (local $b i32)
             (local.set $a (call $make)) (local.set $b (call $make))
             (call $use (local.get $a)) (call $use (local.get $b))
             (call $drop (local.get $a)) (call $take (local.get $b)))""",
        {
            "make": lambda _guest: left.pop(0),
            "use": lambda _guest, one: seen.append(one),
            "take": lambda _guest, one: seen.append(one),
        },
    )

    assert seen == [made[0], made[1], made[1]]
    assert [one.dropped for one in made] == [1, 0]


async def test_one_handle_cannot_be_lent_and_given_away_in_one_call():
    """The borrow counts while the arguments are taken."""
    with pytest.raises(GuestTrapError, match="while it was lent"):
        await run(
            plan(
                lower("make", (), t.Own(0), memory=None, realloc=None),
                lower("both", (t.Borrow(0), t.Own(0)), memory=None, realloc=None),
                resources=(HOST,),
            ),
            """(import "h" "0" (func $make (result i32))) (import "h" "1" (func $both (param i32 i32)))
               (func (export "run") (local $a i32) (local.set $a (call $make))
                 (call $both (local.get $a) (local.get $a)))""",
            {"make": lambda _guest: Stream(), "both": lambda _guest, _a, _b: None},
        )


GUEST_RESOURCE = """(import "h" "0" (func $new (param i32) (result i32))) (import "h" "1" (func $rep (param i32) (result i32)))
  (import "h" "2" (func $drop (param i32))) (import "h" "3" (func $see (param i32)))
  (func (export "destroy") (param i32) {destroy})
  (func (export "run") (local $a i32)
    (local.set $a (call $new (i32.const 42))) (call $see (call $rep (local.get $a))) (call $drop (local.get $a)) {more})"""
GUEST_PLAN = plan(
    ResourceOp(op="new", resource=0, instance=0),
    ResourceOp(op="rep", resource=0, instance=0),
    ResourceOp(op="drop", resource=0, instance=0),
    lower("see", (U32,), memory=None, realloc=None),
    resources=(OWN_KIND,),
)


async def test_a_guests_own_resource_has_a_rep_and_a_destructor():
    """new, rep, drop; and the destructor may call out."""
    seen = []
    wat = GUEST_RESOURCE.format(destroy="(call $see (i32.add (local.get 0) (i32.const 1)))", more="")
    await run(GUEST_PLAN, wat, {"see": lambda _guest, rep: seen.append(rep)})

    assert seen == [42, 43]


async def test_a_dropped_resource_cannot_be_used():
    """Use after drop traps."""
    wat = GUEST_RESOURCE.format(destroy="", more="(drop (call $rep (local.get $a)))")

    with pytest.raises(GuestTrapError, match="passed 1 as a thing handle, but it is no handle"):
        await run(GUEST_PLAN, wat, {"see": lambda _guest, _rep: None})


async def test_a_destructor_cannot_wait():
    """The host's frames are on the fiber then: it ends with a trap, not with a crash."""
    wat = GUEST_RESOURCE.format(destroy="(call $see (i32.const 1))", more="")

    async def forever():
        await asyncio.get_running_loop().create_future()

    def see(_guest, number):
        return Suspend(forever, lambda _: None) if number == 1 else None

    with pytest.raises(GuestTrapError, match="waited inside a call"):
        await run(GUEST_PLAN, wat, {"see": see}, waits=("see",))


# -- what cannot be linked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (plan(Builtin(name="no.such", options=OPTIONS)), "built-in no.such"),
        (plan(lower("f", (t.Flags(()),))), "0 flags"),
        (plan(lower("f", (TEXT,), memory="other")), "without its export other"),
        (plan(resources=(OWN_KIND,)), "without its export destroy"),
        (
            plan(lifted=(Lifted(function="gone", type=t.FuncType((), None), options=Options(instance=0)),)),
            "without its export gone",
        ),
    ],
)
async def test_what_this_floor_cannot_do_is_found_when_linking(one, message):
    """The other floor takes over."""
    with pytest.raises(Unsupported, match=message):
        await run(one, f'{BUMP} (func (export "run"))', {})


async def test_a_module_that_does_not_fit_its_plan_does_not_link():
    """The types of the imports are the plan's."""
    with pytest.raises(wasmtime.WasmtimeError, match="incompatible import type"):
        await run(plan(lower("f", (U64,))), f'(import "h" "0" (func (param i32))) {BUMP} (func (export "run"))', {})
