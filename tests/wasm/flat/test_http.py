"""wasi:http on the flat floor: the sample worker answers as on the component floor; wrong handlers; instances that serve again."""

import gc

import pytest
import wasmtime
from wasmtime import component as wasm_component

from edgesim.errors import GuestOutputError
from edgesim.model.http import BytesBody
from edgesim.wasm.abi.wasi_http import ABI
from edgesim.wasm.engine import make_engine
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.flatten import flatten
from edgesim.wasm.flat.http import LinkedFlat
from edgesim.wasm.flat.plan import Lifted, Options, Plan, Resource
from edgesim.wasm.guest import Grants
from edgesim.wasm.host import host_functions
from tests.support.flat_oracle import poll
from tests.support.wasm import GENEROUS, hello, hostile, request

GRANTS = Grants(environment=(("EDGESIM_POP", "fra1"), ("EDGESIM_VERSION", "3")))


@pytest.fixture(scope="module")
def engine():
    """One engine for all."""
    return make_engine()


def linked_flat(engine, data):
    """A component on the flat floor."""
    plan, module = flatten(data)
    return ABI.link_flat(engine, wasmtime.Module(engine, module), plan)


async def answer(linked, target="/", body=None, instance=None, *, keep=False):
    """Status, fields and body of one request; the instance with `keep`."""
    call = linked.start(request(target, body=body), GENEROUS, GRANTS, instance)
    try:
        for future in (call.instantiate(), call.call):
            made = future() if callable(future) else future
            if made is not None:
                await poll(call.guest, made)
        call.finish()
        output = call.guest.output
        found = output.status, output.headers, output.take_all()
        return (*found, call.leave()) if keep else found
    finally:
        call.close()


@pytest.mark.parametrize("size", [None, 0, 5, 4096, 100_000])
async def test_answers_are_those_of_the_component_floor(engine, size):
    """Status, fields, body, environment: byte for byte."""
    data = hello("wasi-http")
    target = "/" if size is None else "/echo"
    floors = ABI.link(engine, wasm_component.Component(engine, data)), linked_flat(engine, data)
    bodies = [
        None if size is None else BytesBody(bytes(range(256)) * (size // 256) + b"x" * (size % 256)) for _ in floors
    ]
    component, flat = [await answer(linked, target, body) for linked, body in zip(floors, bodies, strict=True)]

    assert flat == component
    assert flat[0] == 200


async def test_an_instance_may_serve_again(engine):
    """Its globals live on: this worker forgets to empty its buffer."""
    linked = linked_flat(engine, hello("wasi-http"))
    first = await answer(linked, "/count", keep=True)
    second = await answer(linked, "/count", instance=first[-1])

    assert (first[2], second[2]) == (b"1", b"12")


async def test_a_handler_that_does_not_answer_is_an_error(engine):
    """As on the other floor."""
    with pytest.raises(GuestOutputError, match="without a response"):
        await answer(linked_flat(engine, hostile("wasi-http", "silent")))


async def test_a_guest_is_freed_without_the_collector_of_cycles(engine):
    """Thousands of requests a second must not wait for it."""
    linked = linked_flat(engine, hello("wasi-http"))
    call = linked.start(request(), GENEROUS, GRANTS)
    await poll(call.guest, call.instantiate())
    await poll(call.guest, call.call())
    contexts = [one for one in call.guest.contexts if one is not None]
    gc.disable()
    try:
        call.close()

        assert [gc.get_referrers(one) for one in contexts] == [[contexts]] * len(contexts)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("interface", "kinds", "message"),
    [
        ("wasi:http/incoming-handler@0.2.0", (t.Own(0), t.Borrow(0)), "another type"),
        ("wasi:http/incoming-handler@0.2.0", (t.Prim("u32"),), "another type"),
        ("wasi:http/incoming-handler@0.3.0", (t.Own(0), t.Own(0)), "without wasi:http"),
    ],
)
def test_another_handler_is_left_to_the_other_floor(engine, interface, kinds, message):
    """What cannot be called here is not linked."""
    handler = Lifted(
        function="handle",
        type=t.FuncType(tuple((f"p{i}", kind) for i, kind in enumerate(kinds)), None),
        options=Options(instance=0),
    )
    plan = Plan(
        trampolines=(),
        lifted=(handler,),
        resources=(Resource(name="r", interface="wasi:http/types@0.2.0"),),
        exports=((interface, (("handle", 0),)),),
        instances=1,
    )

    with pytest.raises(Unsupported, match=message):
        LinkedFlat(engine, wasmtime.Module(engine, '(module (func (export "handle")))'), plan, host_functions())
