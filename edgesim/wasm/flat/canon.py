"""The canonical ABI as generated Python: each type of a plan is compiled once, at link time, into source for its conversions.

Straight-line source costs about half of what nested closures do, since every conversion of parts is an expression inside the
function that needs it. Four conversions per type (CanonicalABI.md): `load` and `store` for memory, `lift` and `lower` for core
values. Core values are unsigned integers or floats. An address is checked by whoever follows the pointer, once for the whole
value; parts are inside it then. Values look as `edgesim/wasm/values.py` says.

`Codecs` writes expressions and functions; `canon_variant.py` writes those of variants; `Context` is what they run on.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestTrapError
from edgesim.wasm.flat import canon_variant
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.canon_layout import PRIMITIVES, layout, offsets, parts
from edgesim.wasm.values import Err, Ok, Var

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgesim.wasm.flat.canon_layout import Core
    from edgesim.wasm.flat.plan import Resource

_LIFT_FLAT: Final[dict[t.PrimName, str]] = {
    "bool": "{} != 0", "u8": "{} & 255", "u16": "{} & 65535", "u32": "{}", "u64": "{}", "f32": "{}", "f64": "{}",
    "s8": "({} & 255 ^ 128) - 128", "s16": "({} & 65535 ^ 32768) - 32768", "s32": "({} ^ 2147483648) - 2147483648",
    "s64": "({} ^ 9223372036854775808) - 9223372036854775808", "char": "char({})",
}  # fmt: skip
_LIFT_MEMORY: Final[dict[t.PrimName, str]] = {"bool": "{} != 0", "char": "char({})"}
_LOWER: Final[dict[t.PrimName, str]] = {"bool": "(1 if {} else 0)", "char": "ord({})"}
_LOWER_FLAT: Final[dict[t.PrimName, str]] = {
    **_LOWER, "f32": "{}", "f64": "{}", "s64": "{} & 18446744073709551615", "u64": "{} & 18446744073709551615",
}  # fmt: skip
_MASK_32: Final = "{} & 4294967295"
_U8: Final = t.Prim("u8")
_BLOCK_LINES: Final = 100
"""What is compiled at once: the event loop gets its turn in between, every millisecond or so."""
CORE_CODES: Final[dict[Core, str]] = {"i32": "I", "i64": "Q", "f32": "f", "f64": "d"}


class Codecs:
    """Writes the conversions of one plan's types, then compiles them all together.

    `namespace` holds the constants that the source uses, and after `build` its functions by name. A function `lift_3` takes
    (context, core values…), `lower_3` (context, value) and returns the core values as a tuple, `load_3` (context, address),
    `store_3` (context, address, value), `list_3` (context, pointer, count), `put_list_3` (context, value) and returns both.
    """

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = resources
        self._names: dict[tuple[str, t.ValType], str] = {}
        self._numbers: dict[t.ValType, int] = {}
        self._done: list[str] = []
        self._source: list[str] = []
        self.namespace: dict[str, Any] = {
            "Err": Err, "Ok": Ok, "Var": Var, "char": char, "bad_case": bad_case, "pack": struct.pack,
            "unpack": struct.unpack, "f32_bits": f32_bits, "f64_bits": f64_bits, "bits_f32": bits_f32, "bits_f64": bits_f64,
        }  # fmt: skip

    def build(self) -> None:
        """Compile what was written. Once."""
        lines, block = self._done + self._source, 0
        for at, line in enumerate([*lines, "def "]):
            if line.startswith("def ") and (at - block >= _BLOCK_LINES or at == len(lines)):
                exec(compile("\n".join(lines[block:at]), "<canonical ABI>", "exec"), self.namespace)  # noqa: S102 - as dataclasses do
                block = at
        self._done, self._source = [], []

    def write(self, *lines: str) -> None:
        """Append source of a function."""
        self._source += lines

    def constant(self, value: Any, stem: str) -> str:
        """A name for a value in the source."""
        name = f"{stem}_{len(self.namespace)}"
        self.namespace[name] = value
        return name

    def format(self, codes: str) -> str:
        """The name of a `struct.Struct` for these codes, without padding to the machine's taste."""
        name = f"S_{codes}"
        if name not in self.namespace:
            self.namespace[name] = struct.Struct("<" + codes)
            self.namespace[f"un{name}"] = self.namespace[name].unpack_from
            self.namespace[f"in{name}"] = self.namespace[name].pack_into
        return name

    # -- from the guest -------------------------------------------------------------------------------------------------

    def lift(self, kind: t.ValType, slots: Iterator[str], *, flat: bool) -> str:  # noqa: PLR0911 - a case per type
        """An expression for the value whose parts are the next names in `slots`: core values, or what lay in memory."""
        match kind:
            case t.Prim("string"):
                return f"cx.text({next(slots)}, {next(slots)})"
            case t.Prim(name):
                return (_LIFT_FLAT if flat else _LIFT_MEMORY).get(name, "{}").format(next(slots))
            case t.List(element) if element == _U8:
                return f"cx.octets({next(slots)}, {next(slots)})"
            case t.List():
                return f"{self.function('list', kind)}(cx, {next(slots)}, {next(slots)})"
            case t.Own(resource):
                return f"cx.own({next(slots)}, {resource})"
            case t.Borrow(resource):
                return f"cx.borrow({next(slots)}, {resource})"
            case t.Stream() | t.Future():
                return f"take_end(cx, {next(slots)}, {self.constant(kind, 'KIND')})"
            case t.Enum() | t.Flags():
                return f"{self.function('decode', kind)}({next(slots)})"
            case t.Record() | t.Tuple():
                return build_expression(kind, [self.lift(part, slots, flat=flat) for part in parts(kind)])
        taken = ", ".join(next(slots) for _ in layout(kind).flat)
        return f"{self.function('lift', kind)}(cx, {taken})"

    def load(self, kind: t.ValType, address: str) -> str:
        """An expression for the value at a checked address."""
        if kind in (_U8, t.Prim("bool")):
            return _LIFT_MEMORY.get(kind.name, "{}").format(f"cx.view[{address}]")
        return f"{self.function('load', kind)}(cx, {address})"

    # -- to the guest ---------------------------------------------------------------------------------------------------

    def lower(self, kind: t.ValType, value: str, *, flat: bool) -> list[str]:  # noqa: C901, PLR0911 - a case per type
        """Expressions (some starred) for the parts of a value: core values, or what goes into memory."""
        match kind:
            case t.Prim("string"):
                return [f"*cx.put_text({value})"]
            case t.Prim(name):
                return [(_LOWER_FLAT.get(name, _MASK_32) if flat else _LOWER.get(name, "{}")).format(value)]
            case t.List(element) if element == _U8:
                return [f"*cx.put_octets({value})"]
            case t.List():
                return [f"*{self.function('put_list', kind)}(cx, {value})"]
            case t.Own(resource):
                return [f"cx.put({resource}, {value})"]
            case t.Borrow(resource):
                definer = self._resources[resource].instance if self._resources[resource].interface is None else None
                return [f"cx.put_borrow({resource}, {value}, {definer})"]
            case t.Stream() | t.Future():
                return [f"put_end(cx, {value}, {self.constant(kind, 'KIND')})"]
            case t.Enum() | t.Flags():
                return [f"{self.function('encode', kind)}({value})"]
            case t.Record() | t.Tuple():
                found = []
                for i, part in enumerate(parts(kind)):
                    found += self.lower(part, part_of(kind, value, i), flat=flat)
                return found
        return [f"*{self.function('lower', kind)}(cx, {value})"]

    def store(self, kind: t.ValType, address: str, value: str) -> str:
        """A statement that stores a value at a checked address."""
        return f"{self.function('store', kind)}(cx, {address}, {value})"

    # -- functions --------------------------------------------------------------------------------------------------------

    def function(self, role: str, kind: t.ValType) -> str:
        """The name of a conversion, which is written when it is first needed."""
        name = self._names.get((role, kind))
        if name is None:
            number = self._numbers.setdefault(kind, len(self._numbers))
            name = self._names[role, kind] = f"{role}_{number}"
            writers: dict[str, Callable[[str, Any], None]] = {
                "load": self._load, "store": self._store, "list": self._list, "put_list": self._put_list,
                "decode": self._decode, "encode": self._encode,
                "lift": lambda name, kind: canon_variant.lift(self, name, kind),
                "lower": lambda name, kind: canon_variant.lower(self, name, kind),
            }  # fmt: skip
            outer, self._source = self._source, []  # what is written while another function is, comes before it
            writers[role](name, kind)
            self._done += self._source
            self._source = outer
        return name

    def _load(self, name: str, kind: t.ValType) -> None:
        if isinstance(kind, (t.Variant, t.Option, t.Result)):
            canon_variant.load(self, name, kind)
            return
        slots = layout(kind).slots
        if slots is None:
            assert isinstance(kind, (t.Record, t.Tuple))
            found, _, _ = offsets(parts(kind))
            values = [self.load(part, f"p + {at}") for part, at in zip(parts(kind), found, strict=True)]
            self.write(f"def {name}(cx, p):", f"    return {build_expression(kind, values)}")
            return
        names = slot_names(slots)
        self.write(
            f"def {name}(cx, p):",
            f"    {', '.join(names)}, = un{self.format(slots)}(cx.view, p)",
            f"    return {self.lift(kind, iter(names), flat=False)}",
        )

    def _store(self, name: str, kind: t.ValType) -> None:
        if isinstance(kind, (t.Variant, t.Option, t.Result)):
            canon_variant.store(self, name, kind)
            return
        slots = layout(kind).slots
        if slots is not None:
            values = ", ".join(self.lower(kind, "v", flat=False))
            self.write(f"def {name}(cx, p, v):", f"    in{self.format(slots)}(cx.view, p, {values})")
            return
        assert isinstance(kind, (t.Record, t.Tuple))
        found, _, _ = offsets(parts(kind))
        stores = [
            f"    {self.store(part, f'p + {at}', part_of(kind, 'v', i))}"
            for i, (part, at) in enumerate(zip(parts(kind), found, strict=True))
        ]
        self.write(f"def {name}(cx, p, v):", *(stores or ["    pass"]))

    def _list(self, name: str, kind: t.List) -> None:
        element, shape = kind.element, layout(kind.element)
        self.write(f"def {name}(cx, p, n):", f"    data = cx.elements(p, n, {shape.size}, {shape.align})")
        if shape.slots is None:  # the copy is not used, but it was checked
            self.write(f"    return [{self.load(element, 'q')} for q in range(p, p + n * {shape.size}, {shape.size})]")
        elif isinstance(element, t.Prim) and element.name not in ("bool", "char", "string"):
            self.write(f"    return list(unpack(f'<{{n}}{PRIMITIVES[element.name][0]}', data))")
        else:
            names = slot_names(shape.slots)
            value = self.lift(element, iter(names), flat=False)
            self.write(f"    return [{value} for {', '.join(names)}, in {self.format(shape.slots)}.iter_unpack(data)]")

    def _put_list(self, name: str, kind: t.List) -> None:
        element, shape = kind.element, layout(kind.element)
        self.write(
            f"def {name}(cx, v):",
            "    n = len(v)",
            f"    p = cx.alloc(n * {shape.size}, {shape.align})",
            "    if not n: return p, n",
        )
        if shape.slots is None:
            self.write(
                f"    q = p\n    for e in v:\n        {self.store(element, 'q', 'e')}\n        q += {shape.size}"
            )
        elif isinstance(element, t.Prim) and element.name not in ("bool", "char", "string"):
            self.write(f"    cx.put_elements(p, pack(f'<{{n}}{PRIMITIVES[element.name][0]}', *v))")
        else:
            values = ", ".join(self.lower(element, "e", flat=False))
            self.write(f"    cx.put_elements(p, b''.join([{self.format(shape.slots)}.pack({values}) for e in v]))")
        self.write("    return p, n")

    def _decode(self, name: str, kind: t.Enum | t.Flags) -> None:
        names = self.constant(kind.names, "NAMES")
        if isinstance(kind, t.Flags):
            pairs = self.constant(tuple((flag, 1 << i) for i, flag in enumerate(kind.names)), "BITS")
            self.write(f"def {name}(x):", f"    return {{n for n, bit in {pairs} if x & bit}}")
            return
        self.write(
            f"def {name}(x):",
            f"    if x >= {len(kind.names)}: bad_case(x, {len(kind.names)})",
            f"    return {names}[x]",
        )

    def _encode(self, name: str, kind: t.Enum | t.Flags) -> None:
        numbers = {label: i if isinstance(kind, t.Enum) else 1 << i for i, label in enumerate(kind.names)}
        constant = self.constant(numbers, "NUMBERS")
        value = f"{constant}[v]" if isinstance(kind, t.Enum) else f"sum([{constant}[n] for n in v])"
        self.write(f"def {name}(v):", f"    return {value}")


def slot_names(codes: str) -> list[str]:
    """A name for each part of a value in memory."""
    return [f"s{i}" for i in range(len(codes.replace("x", "")))]


def build_expression(kind: t.Record | t.Tuple, values: list[str]) -> str:
    """An expression that puts a tuple or a record together."""
    if isinstance(kind, t.Tuple):
        return f"({', '.join(values)},)" if values else "()"
    return "{" + ", ".join(f"{name!r}: {value}" for (name, _), value in zip(kind.fields, values, strict=True)) + "}"


def part_of(kind: t.Record | t.Tuple, value: str, index: int) -> str:
    """An expression for one part of a tuple or record."""
    return f"{value}[{index if isinstance(kind, t.Tuple) else repr(kind.fields[index][0])}]"


# -- what the generated source calls ----------------------------------------------------------------------------------------


def char(code: int) -> str:
    """A Unicode scalar value. Raises GuestTrapError for a surrogate or a number beyond Unicode."""
    if code >= 0x110000 or 0xD800 <= code < 0xE000:
        raise GuestTrapError(f"the worker passed {code:#x} as a character")
    return chr(code)


def bad_case(discriminant: int, count: int) -> None:
    """Raises GuestTrapError: there is no such case."""
    raise GuestTrapError(f"the worker passed case {discriminant} of a type that has {count}")


def f32_bits(value: float) -> int:
    """The bits of an f32."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return int(bits)


def f64_bits(value: float) -> int:
    """The bits of an f64."""
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    return int(bits)


def bits_f32(bits: int) -> float:
    """The f32 in the low 32 bits."""
    (value,) = struct.unpack("<f", struct.pack("<I", bits & 0xFFFFFFFF))
    return float(value)


def bits_f64(bits: int) -> float:
    """The f64 with these bits."""
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    return float(value)
