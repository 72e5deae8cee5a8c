"""Composed components: one component instance calls another, with its own memory, handles, waits and CPU slices."""

import asyncio
from ctypes import addressof, create_string_buffer

import pytest
import wasmtime
from wasmtime import wat2wasm

from edgesim.errors import GuestTrapError
from edgesim.wasm import raw
from edgesim.wasm.engine import Ticker, make_engine
from edgesim.wasm.flat.flatten import flatten
from edgesim.wasm.flat.guest import FlatGuest
from edgesim.wasm.flat.link import LinkedPlan
from edgesim.wasm.flat.link_guest import _CALLS
from edgesim.wasm.guest import NO_GRANTS, Suspend
from edgesim.wasm.linking import HostFunction
from tests.support.flat_oracle import on_component, on_flat
from tests.support.wasm import GENEROUS, request

INTERFACE = "test:t/host"
HOST = """(instance $host (export "r" (type $r (sub resource))) (export "make" (func (result (own $r))))
  (export "use" (func (param "r" (borrow $r)))) (export "see" (func (param "n" u32))))"""


def composed(inner: str, outer: str, put: str = "", post: str = "") -> bytes:
    """Two components: `inner` is the body of the inner one's `put(r: borrow<r>, n: u32) -> u32`, `outer` of the outer's `run`.

    Core functions: `$make`, `$use`, `$see`, `$drop` in both, `$put` in the outer one.
    """
    imports = """(import "h" "make" (func $make (result i32))) (import "h" "use" (func $use (param i32)))
      (import "h" "see" (func $see (param i32))) (import "h" "drop" (func $drop (param i32)))"""
    lowered = """(core func $make (canon lower (func $host "make"))) (core func $use (canon lower (func $host "use")))
      (core func $see (canon lower (func $host "see"))) (core func $drop (canon resource.drop $r))"""
    given = '(export "make" (func $make)) (export "use" (func $use)) (export "see" (func $see)) (export "drop" (func $drop))'
    return bytes(
        wat2wasm(f"""(component
  (import "{INTERFACE}@0.1.0" {HOST})
  (component $inner
    (import "host" {HOST})
    (alias export $host "r" (type $r))
    {lowered}
    (core module $m {imports} {put}
      (func (export "put") (param i32 i32) (result i32) {inner})
      (func (export "post") (param i32) {post}))
    (core instance $m (instantiate $m (with "h" (instance {given}))))
    (func (export "put") (param "r" (borrow $r)) (param "n" u32) (result u32)
      (canon lift (core func $m "put") (post-return (core func $m "post")))))
  (alias export $host "r" (type $r))
  (instance $inner (instantiate $inner (with "host" (instance $host))))
  {lowered}
  (core func $put (canon lower (func $inner "put")))
  (core module $m {imports} (import "h" "put" (func $put (param i32 i32) (result i32)))
    (func (export "run") (local $a i32) (local.set $a (call $make)) {outer}))
  (core instance $m (instantiate $m (with "h" (instance {given} (export "put" (func $put))))))
  (func $run (canon lift (core func $m "run"))) (export "run" (func $run)))""")
    )


def table(seen, **more):
    """Host functions that remember what they see; `waits` of `see` when it is given."""
    functions = {
        "make": HostFunction(lambda _guest: "the resource", waits=False),
        "use": HostFunction(lambda _guest, one: seen.append(one), waits=False),
        "see": HostFunction(lambda _guest, number: seen.append(number), waits=False),
    }
    return {(INTERFACE, name): function for name, function in (functions | more).items()}


PUT = "(call $see (call $put (local.get $a) (i32.const 20)))"


async def both(binary, outcome):
    """Run on both floors; what the host saw on each."""
    found = []
    for run in (on_component, on_flat):
        seen = []
        if outcome is None:
            await run(make_engine(), binary, table(seen))
        else:
            with pytest.raises((GuestTrapError, wasmtime.WasmtimeError, wasmtime.Trap), match=outcome):
                await run(make_engine(), binary, table(seen))
        found.append(seen)
    return found


async def test_a_borrowed_handle_reaches_the_other_instance():
    """Under another number, for the call; the post-return gets the result."""
    inner = "(call $use (local.get 0)) (call $drop (local.get 0)) (i32.add (local.get 1) (i32.const 1))"
    component, flat = await both(composed(inner, f"{PUT} {PUT} (call $drop (local.get $a))"), None)

    assert component == flat == ["the resource", 21] * 2


async def test_keeping_a_borrowed_handle_traps():
    """The callee must drop it before it returns."""
    component, flat = await both(composed("(local.get 1)", PUT), "borrow")

    assert component == flat == []


async def test_a_trap_inside_ends_all():
    """The caller does not go on."""
    component, flat = await both(composed("unreachable", PUT), "unreachable")

    assert component == flat == []


async def test_a_post_return_cannot_call_out():
    """May-leave is off while it runs."""
    inner = "(call $drop (local.get 0)) (local.get 1)"
    seen = []
    with pytest.raises(GuestTrapError, match="called out of a realloc or post-return"):
        await on_flat(make_engine(), composed(inner, PUT, post="(call $see (i32.const 1))"), table(seen))

    assert seen == []


async def test_the_other_instance_may_wait():
    """Both fibers are suspended, and go on where they were."""
    seen = []

    async def later():
        await asyncio.sleep(0)

    see = HostFunction(lambda _guest, number: Suspend(later, lambda _: seen.append(number)), waits=True)
    inner = "(call $see (i32.const 7)) (call $drop (local.get 0)) (call $see (i32.const 8)) (local.get 1)"
    await on_flat(make_engine(), composed(inner, PUT), table(seen, see=see))

    assert seen == [7, 8, 20]


SPIN = """(local $i i32) (loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300000000))))
  (call $drop (local.get 0)) (local.get 1)"""


async def test_the_other_instance_has_its_cpu_slices():
    """At the end of a tick it yields, and the loop gets its turn."""
    engine, seen, turns = make_engine(), [], 0
    ticker = Ticker(engine)

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(count())
    ticker.enter()
    try:
        await on_flat(engine, composed(SPIN, PUT), table(seen))
    finally:
        ticker.leave()
        ticker.close()
        task.cancel()

    assert seen == [20]
    assert turns > 8


async def test_a_call_that_is_given_up_is_unwound():
    """Deleting the outer future unwinds both fibers while the inner one waits."""
    engine = make_engine()
    inner = "(call $see (i32.const 7)) (call $drop (local.get 0)) (local.get 1)"
    see = HostFunction(lambda _guest, _number: Suspend(asyncio.Event().wait, lambda _: None), waits=True)
    plan, module = flatten(composed(inner, PUT))
    linked = LinkedPlan(engine, wasmtime.Module(engine, module), plan, table([], see=see))
    guest = FlatGuest(linked, request(), GENEROUS, NO_GRANTS)
    instance = raw.instance_pre_instantiate(
        linked.pre, guest.context, addressof(guest.instance), addressof(guest.trap_out), addressof(guest.error_out)
    )
    while not raw.future_poll(instance):
        pass
    raw.future_delete(instance)
    guest.made = True
    function = guest.named(plan.lifted[dict(dict(plan.exports)[""])["run"]].function)
    none = create_string_buffer(32)
    call = raw.func_call(
        guest.context, addressof(function.of), addressof(none), 0, None, 0, addressof(guest.trap_out), addressof(guest.error_out)
    )  # fmt: skip

    assert not raw.future_poll(call)
    assert guest.suspended is not None
    assert len(_CALLS) == 1
    raw.future_delete(call)
    guest.close()
    assert not _CALLS


REENTRANT = f"""(component
  (import "{INTERFACE}@0.1.0" {HOST})
  (core func $see (canon lower (func $host "see")))
  (core module $m0 (import "h" "see" (func $see (param i32))) (func (export "back") (call $see (i32.const 9))))
  (core instance $m0 (instantiate $m0 (with "h" (instance (export "see" (func $see))))))
  (func $back (canon lift (core func $m0 "back")))
  (component $inner
    (import "back" (func $back))
    (core func $back (canon lower (func $back)))
    (core module $m (import "h" "back" (func $back)) (func (export "put") (call $back)))
    (core instance $m (instantiate $m (with "h" (instance (export "back" (func $back))))))
    (func (export "put") (canon lift (core func $m "put"))))
  (instance $inner (instantiate $inner (with "back" (func $back))))
  (core func $put (canon lower (func $inner "put")))
  (core module $m (import "h" "put" (func $put)) (func (export "run") (call $put)))
  (core instance $m (instantiate $m (with "h" (instance (export "put" (func $put))))))
  (func $run (canon lift (core func $m "run"))) (export "run" (func $run)))"""


async def test_an_instance_cannot_be_entered_twice():
    """A call from the inner instance back into the outer one traps, as CanonicalABI.md says; wasmtime 50 lets it pass."""
    seen = []
    with pytest.raises(GuestTrapError, match="cannot be entered"):
        await on_flat(make_engine(), bytes(wat2wasm(REENTRANT)), table(seen))

    assert seen == []
