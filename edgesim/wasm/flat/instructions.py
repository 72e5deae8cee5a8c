"""Instructions with their indices moved into the merged module's index spaces.

Two ways that give the same instructions. The plain one reads instruction by instruction, from a table of immediates; an opcode that
the table lacks raises `Unsupported`. The fast one is for the megabytes of code that interpreters bring: a regular expression
passes over runs of instructions that stay as they are, and each distinct instruction with an index to move is translated once.
A function that the expression does not cover to its last byte goes the plain way. Measured on a JavaScript guest with 9 MB of
code: 0.5 s of CPU the fast way, 3 s the plain way.
Source: WebAssembly core specification 3.0, section 5.4, and the legacy exceptions, wide arithmetic and threads proposals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat.binary import Reader, signed, unsigned
from edgesim.wasm.flat.core import NUMERIC, heap_type, value_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

END: Final = 0x0B
GLOBAL_GET: Final = 0x23
REF_FUNC: Final = 0xD2
_LONG_BODY_BYTES: Final = 1 << 20
"""From here on the pieces of a function are joined one by one: slower, but they do not all stand in memory at once."""
_MAX_PLAIN_BYTES: Final = 16 << 20
"""Code of one core instance that may go the plain way, which takes about 0.3 s of CPU per MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """Where the indices of one core instance lead in the merged module. Types and segments move as blocks."""

    type_base: int
    element_base: int
    data_base: int
    functions: Sequence[int]
    tables: Sequence[int]
    memories: Sequence[int]
    globals: Sequence[int]
    tags: Sequence[int]


def _span(first: int, last: int, immediates: str = "") -> dict[int, str]:
    return dict.fromkeys(range(first, last + 1), immediates)


# Immediates of each opcode. b block type, y type, f function, t table, m memory, g global, x tag, d data segment, e element
# segment, h heap type, a memory argument, l a number that stays, 1/4/8/F bytes that stay, T/S/C vectors (labels, types, catches).
_PLAIN: Final[dict[int, str]] = {
    **_span(0x00, 0x01), **_span(0x02, 0x04, "b"), 0x05: "", 0x06: "b", 0x07: "x", 0x08: "x", 0x09: "l", 0x0A: "",
    0x0B: "", 0x0C: "l", 0x0D: "l", 0x0E: "T", 0x0F: "", 0x10: "f", 0x11: "yt", 0x12: "f", 0x13: "yt", 0x14: "y",
    0x15: "y", 0x18: "l", 0x19: "", **_span(0x1A, 0x1B), 0x1C: "S", 0x1F: "bC", **_span(0x20, 0x22, "l"),
    **_span(0x23, 0x24, "g"), **_span(0x25, 0x26, "t"), **_span(0x28, 0x3E, "a"), **_span(0x3F, 0x40, "m"),
    **_span(0x41, 0x42, "l"), 0x43: "4", 0x44: "8", **_span(0x45, 0xC4), 0xD0: "h", 0xD1: "", 0xD2: "f", 0xD3: "",
    0xD4: "", 0xD5: "l", 0xD6: "l",
}  # fmt: skip
_GC: Final[dict[int, str]] = {
    **_span(0, 1, "y"), **_span(2, 5, "yl"), **_span(6, 7, "y"), 8: "yl", 9: "yd", 10: "ye", **_span(11, 14, "y"),
    15: "", 16: "y", 17: "yy", 18: "yd", 19: "ye", **_span(20, 23, "h"), **_span(24, 25, "1lhh"), **_span(26, 30),
}  # fmt: skip
_MISC: Final[dict[int, str]] = {
    **_span(0, 7), 8: "dm", 9: "d", 10: "mm", 11: "m", 12: "et", 13: "e", 14: "tt", **_span(15, 17, "t"),
    **_span(0x13, 0x16),
}  # fmt: skip
_SIMD: Final[dict[int, str]] = {
    **_span(0, 11, "a"), **_span(12, 13, "F"), **_span(14, 20), **_span(21, 34, "1"), **_span(35, 83),
    **_span(84, 91, "a1"), **_span(92, 93, "a"), **_span(94, 0x113),
}  # fmt: skip
_ATOMIC: Final[dict[int, str]] = {**_span(0, 2, "a"), 3: "1", **_span(0x10, 0x4E, "a")}
_PREFIXED: Final = {0xFB: _GC, 0xFC: _MISC, 0xFD: _SIMD, 0xFE: _ATOMIC}


class Rewriter:
    """Translates the instructions of one core instance."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self.referenced: set[int] = set()
        """Functions, by their new index, that a `ref.func` names."""
        self._fast = _fast_pattern(_identities(maps))
        self._tokens = _Tokens(self)
        self._plain_bytes = 0
        self._immediates: dict[str, Callable[[Reader], bytes]] = {
            "b": self._block_type,
            "y": lambda r: unsigned(r.u32() + maps.type_base),
            "f": lambda r: unsigned(maps.functions[r.u32()]),
            "t": lambda r: unsigned(maps.tables[r.u32()]),
            "m": lambda r: unsigned(maps.memories[r.u32()]),
            "g": lambda r: unsigned(maps.globals[r.u32()]),
            "x": lambda r: unsigned(maps.tags[r.u32()]),
            "d": lambda r: unsigned(r.u32() + maps.data_base),
            "e": lambda r: unsigned(r.u32() + maps.element_base),
            "h": lambda r: heap_type(r, maps.type_base),
            "a": self._memory_argument,
            "l": _number,
            "1": lambda r: r.take(1),
            "4": lambda r: r.take(4),
            "8": lambda r: r.take(8),
            "F": lambda r: r.take(16),
            "T": _labels,
            "S": lambda r: _vector(r, lambda: value_type(r, maps.type_base)),
            "C": lambda r: _vector(r, lambda: self._catch(r)),
        }

    def instruction(self, reader: Reader) -> bytes:
        """Read one instruction and return it translated."""
        start = reader.at
        opcode = reader.byte()
        table = _PREFIXED.get(opcode)
        immediates = _PLAIN.get(opcode) if table is None else table.get(reader.u32())
        if immediates is None:
            raise Unsupported(f"instruction {reader.data[start : reader.at].hex(' ')}")
        if not immediates:
            return reader.data[start : reader.at]
        out = reader.data[start : reader.at] + b"".join([self._immediates[i](reader) for i in immediates])
        if opcode == REF_FUNC:
            self.referenced.add(Reader(out, 1).u32())
        return out

    def body(self, data: bytes, start: int, end: int) -> bytes:
        """A function: its locals and its instructions."""
        reader = Reader(data, start, end)
        locals_ = _vector(reader, lambda: _number(reader) + value_type(reader, self._maps.type_base))
        tokens = self._tokens
        try:
            if end - reader.at < _LONG_BODY_BYTES:
                return locals_ + b"".join(
                    [run + tokens[token] for run, token in self._fast.findall(data, reader.at, end)]
                )
            out = bytearray(locals_)
            for match in self._fast.finditer(data, reader.at, end):
                out += match[1]
                out += tokens[match[2]]
            return bytes(out)
        except _NotCoveredError:
            return locals_ + self.plain(reader)

    def plain(self, reader: Reader) -> bytes:
        """All instructions up to the reader's end, one by one."""
        self._plain_bytes += reader.end - reader.at
        if self._plain_bytes > _MAX_PLAIN_BYTES:
            raise Unsupported(f"more than {_MAX_PLAIN_BYTES >> 20} MiB of functions with rare instructions")
        out = bytearray()
        while reader.at < reader.end:
            out += self.instruction(reader)
        return bytes(out)

    def function_index(self, index: bytes) -> bytes:
        """The new index for an index in LEB128; made once for each."""
        return self._tokens[b"\x10" + index][1:]

    def _block_type(self, reader: Reader) -> bytes:
        at = reader.at
        byte = reader.byte()
        if byte == 0x40 or byte in NUMERIC:
            return reader.data[at : reader.at]
        reader.at = at
        if 0x40 <= byte < 0x80:
            return value_type(reader, self._maps.type_base)
        index = reader.signed()
        if index < 0:
            raise Unsupported(f"block type {index}")
        return signed(index + self._maps.type_base)

    def _memory_argument(self, reader: Reader) -> bytes:
        flags = reader.u32()
        memory = self._maps.memories[reader.u32() if flags & 0x40 else 0]
        flags = flags & ~0x40 | (0x40 if memory else 0)
        return unsigned(flags) + (unsigned(memory) if memory else b"") + _number(reader)

    def _catch(self, reader: Reader) -> bytes:
        kind = reader.byte()
        if kind > 3:
            raise Unsupported(f"catch clause {kind:#x}")
        tag = self._immediates["x"](reader) if kind < 2 else b""
        return bytes((kind,)) + tag + _number(reader)


def _number(reader: Reader) -> bytes:
    start = reader.at
    reader.leb()
    return reader.data[start : reader.at]


def _vector(reader: Reader, item: Callable[[], bytes]) -> bytes:
    start = reader.at
    count = reader.count()
    return reader.data[start : reader.at] + b"".join([item() for _ in range(count)])


def _labels(reader: Reader) -> bytes:
    start = reader.at
    for _ in range(reader.count() + 1):
        reader.leb()
    return reader.data[start : reader.at]


class _NotCoveredError(Exception):
    """The regular expression met an instruction that it does not know."""


class _Tokens(dict[bytes, bytes]):
    """Instructions with indices, translated when they are first met."""

    def __init__(self, rewriter: Rewriter) -> None:
        super().__init__({b"": b""})
        self._rewriter = rewriter

    def __missing__(self, token: bytes) -> bytes:
        reader = Reader(token)
        try:
            out = self._rewriter.instruction(reader)
        except Unsupported as exc:
            raise _NotCoveredError from exc
        if reader.at != len(token):
            raise _NotCoveredError
        self[token] = out
        return out


def _is_identity(indices: Iterable[int]) -> bool:
    return all(new == old for old, new in enumerate(indices))


def _identities(maps: Maps) -> tuple[bool, bool, bool, bool]:
    return (
        maps.type_base == 0,
        _is_identity(maps.tables),
        _is_identity(maps.memories),
        _is_identity(maps.globals),
    )


@cache
def _fast_pattern(same: tuple[bool, bool, bool, bool]) -> re.Pattern[bytes]:
    """Finds pairs of (instructions without indices to move, one instruction with) that cover a function.

    What is covered by neither becomes a pair's second half as a single byte, which no table lookup accepts.
    """
    types, tables, memories, globals_ = same
    leb = rb"(?:[\x80-\xff]*+[\x00-\x7f])"
    argument = rb"(?:(?:[\x00-\x3f]|[\x40-\x7f]" + leb + rb")" + leb + rb")"
    labels = b"|".join(
        re.escape(bytes((n,))) + b"(?:[\\x00-\\x7f]{%d}|%s{%d})" % (n + 1, leb, n + 1) for n in range(128)
    )
    skipped = [
        rb"[\x20-\x22\x41\x42\x0c\x0d]" + leb,
        rb"[\x00\x01\x05\x0a\x0b\x0f\x1a\x1b\x45-\xc4\xd1\xd3\xd4]++",
        rb"[\x02-\x04][\x40\x7b-\x7f]",
        rb"\x44.{8}|\x43.{4}",
        rb"\xfc[\x00-\x07\x13-\x16]",
        rb"\xfd(?:[\x0c\x0d].{16}|[\x15-\x22].|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01|[\x80-\x93]\x02)",
        rb"\x1c\x01[\x6f\x70\x7b-\x7f]|\xd0[\x6f\x70]",
        rb"\x0e(?:" + labels + rb")",
    ]
    moved = [rb"[\x10\x12\xd2\x08]" + leb, rb"\xfc(?:[\x08\x0c]" + leb + leb + rb"|[\x09\x0d]" + leb + rb")"]
    with_memory = [
        rb"[\x28-\x3e]" + argument,
        rb"\xfd(?:[\x00-\x0b\x5c\x5d]" + argument + rb"|[\x54-\x5b]" + argument + rb".)",
    ]
    with_memory += [rb"[\x3f\x40]" + leb, rb"\xfc(?:\x0a" + leb + leb + rb"|\x0b" + leb + rb")"]
    with_table = [rb"[\x25\x26]" + leb, rb"\xfc(?:\x0e" + leb + leb + rb"|[\x0f-\x11]" + leb + rb")"]
    skipped[2:2] = with_memory[:1] if memories else []
    (skipped if memories else moved).extend(with_memory[1:] if memories else with_memory)
    (skipped if tables else moved).extend(with_table)
    (skipped if types and tables else moved).append(rb"[\x11\x13]" + leb + leb)
    (skipped if types else moved).append(rb"[\x02-\x04](?:[\x00-\x3f]|[\x80-\xff]++[\x00-\x7f])")
    (skipped if globals_ else moved).append(rb"[\x23\x24]" + leb)
    pattern = rb"((?:" + b"|".join(skipped) + rb")*+)(" + b"|".join(moved) + rb"|\Z|.)"
    return re.compile(pattern, re.DOTALL)
