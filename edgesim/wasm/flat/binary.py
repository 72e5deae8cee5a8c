"""Bytes of Wasm binaries: numbers, names, vectors, sections. What they mean is said in `wiring.py` and `core.py`.

The engine has validated every binary before it comes here. Yet a read outside its bounds, a number that is too long or a
count that cannot be true raises `Unsupported`, so that what a future engine accepts ends at the other floor, not in a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.wasm.flat import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPONENT: Final = b"\0asm\x0d\x00\x01\x00"
"""Preamble of a component: magic, version 13, layer 1."""
MODULE: Final = b"\0asm\x01\x00\x00\x00"
"""Preamble of a core module: magic, version 1, layer 0."""


class Reader:
    """A cursor over `data[at:end]`."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    def byte(self) -> int:
        """The next byte."""
        if self.at >= self.end:
            raise Unsupported(f"a binary that ends early, at byte {self.at}")
        self.at += 1
        return self.data[self.at - 1]

    def take(self, size_bytes: int) -> bytes:
        """The next bytes."""
        start = self.skip(size_bytes)
        return self.data[start : self.at]

    def skip(self, size_bytes: int) -> int:
        """Pass over bytes; returns where they began."""
        start = self.at
        if size_bytes > self.end - start:
            raise Unsupported(f"a binary that ends early, at byte {start}")
        self.at += size_bytes
        return start

    def u32(self) -> int:
        """An unsigned LEB128 number below 2**32."""
        value = self.leb()
        if value >> 32:
            raise Unsupported(f"a number that is too large, at byte {self.at}")
        return value

    def leb(self) -> int:
        """An unsigned LEB128 number of at most ten bytes."""
        value = shift = 0
        while shift < 70:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise Unsupported(f"a number that is too long, at byte {self.at}")

    def signed(self) -> int:
        """A signed LEB128 number of at most ten bytes."""
        start = self.at
        value = self.leb()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) else value

    def count(self) -> int:
        """The length of a vector; each element takes a byte at least."""
        value = self.u32()
        if value > self.end - self.at:
            raise Unsupported(f"a count beyond the binary's end, at byte {self.at}")
        return value

    def name(self) -> str:
        """A name in UTF-8."""
        data = self.take(self.u32())
        try:
            return data.decode()
        except UnicodeDecodeError as exc:
            raise Unsupported(f"a name that is no UTF-8, before byte {self.at}") from exc

    def section(self) -> Reader:
        """A size and that many bytes, as a cursor of their own."""
        size = self.u32()
        start = self.skip(size)
        return Reader(self.data, start, self.at)

    def finish(self, what: str) -> None:
        """Everything must have been read."""
        if self.at != self.end:
            raise Unsupported(f"{what} with bytes left over, at byte {self.at}")


def sections(reader: Reader, preamble: bytes) -> Iterator[tuple[int, Reader]]:
    """Each section's number and content."""
    if reader.take(len(preamble)) != preamble:
        raise Unsupported("a binary with an unknown preamble")
    while reader.at < reader.end:
        number = reader.byte()
        yield number, reader.section()


def unsigned(value: int) -> bytes:
    """LEB128 of a number that is not negative, as short as can be."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """Signed LEB128, as short as can be."""
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def named(text: str) -> bytes:
    """A name in UTF-8, with its size."""
    data = text.encode()
    return unsigned(len(data)) + data


def vector(items: list[bytes]) -> bytes:
    """A count and the items."""
    return unsigned(len(items)) + b"".join(items)


def section(number: int, content: bytes) -> bytes:
    """A section; nothing for an empty one."""
    return bytes((number,)) + unsigned(len(content)) + content if content else b""


def vector_section(number: int, items: list[bytes]) -> bytes:
    """A section that is a vector; nothing for none: Winch refuses even an empty section of what it cannot do."""
    return section(number, vector(items)) if items else b""
