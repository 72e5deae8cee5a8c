"""The plan as JSON."""

import pytest

from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.plan import (
    Builtin,
    HostFunction,
    Lifted,
    Lower,
    Options,
    Plan,
    Resource,
    ResourceOp,
)
from edgesim.wasm.flat.types import FuncType

TEXT = t.Prim("string")
EVERYTHING = t.Record(
    (
        ("a", t.List(t.Prim("u8"))),
        ("b", t.Tuple((TEXT, t.Prim("f64"), t.Prim("char")))),
        ("c", t.Variant((("one", None), ("two", TEXT)))),
        ("d", t.Enum(("x", "y"))),
        ("e", t.Flags(("p", "q"))),
        ("f", t.Option(t.Own(0))),
        ("g", t.Result(None, t.Borrow(1))),
        ("h", t.Result(TEXT, None)),
        ("i", t.Stream(t.Prim("u8"))),
        ("j", t.Future(None)),
    )
)
PLAN = Plan(
    trampolines=(
        Lower(
            callee=HostFunction(interface="a:b/c@1.0.0", name="f"),
            type=FuncType((("x", EVERYTHING), ("y", EVERYTHING)), None),
            options=Options(instance=1, memory="0:memory", realloc="0:realloc", encoding="utf16"),
        ),
        Lower(callee=0, type=FuncType((), EVERYTHING, is_async=True), options=Options(instance=0)),
        ResourceOp(op="drop", resource=1, instance=0),
        Builtin(name="stream.read", options=Options(instance=0, is_async=True), types=(t.Stream(TEXT),)),
        Builtin(name="context.get", options=Options(instance=0), types=(0x7F, 0)),
        Builtin(name="task.return", options=Options(instance=0), types=(None,)),
    ),
    lifted=(Lifted(function="0:f", type=FuncType((), None), options=Options(instance=0, post_return="0:post")),),
    resources=(Resource(name="r", interface="a:b/c@1.0.0"), Resource(name="s", instance=1, destructor="1:dtor")),
    exports=(("", (("f", 0),)), ("x:y/z", ())),
    instances=2,
)


def test_everything_survives_the_journey():
    """Every type and every field."""
    assert Plan.from_json(PLAN.to_json()) == PLAN


def test_equal_parts_are_written_once():
    """However often a type is used."""
    assert PLAN.to_json().count('"Flags"') == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[[]]",
        '[["Plan"]]',
        '[["Prim","u8"]]',
        '[["open","x"]]',
        '[["List",{"node":0}]]',
        "[" * 10_000,
        "3",
    ],
)
def test_other_texts_are_refused(text: str):
    """As what they are, whatever they are."""
    with pytest.raises(ValueError, match="not the JSON of a plan"):
        Plan.from_json(text)
