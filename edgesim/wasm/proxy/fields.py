"""Header fields as filters see them: an ordered map with pseudo-fields, and its serialized form.

Serialized (ABI section "Serialization"): u32 count, then for each field u32 length of name and of value, then for each field
name, NUL, value, NUL. Integers are little-endian. An empty map may be no bytes at all.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final

from edgesim.wasm.proxy.spec import MAX_FIELDS, MAX_FIELDS_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME: Final = re.compile(r":?[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_U32: Final = struct.Struct("<I")


class FieldError(Exception):
    """A field, or what is to be parsed as fields, is malformed or too large."""


def encode(text: str) -> bytes:
    """Bytes for the guest: UTF-8, with PEP 383 surrogates as the bytes that they stand for."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="replace")


def decode(data: bytes) -> str:
    """The inverse of `encode`."""
    return data.decode(errors="surrogateescape")


class Fields:
    """An ordered multimap. Names are lowercase; values are text (see `encode`)."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        """Take fields that are known to be well-formed."""
        self._items = list(items)

    @property
    def items(self) -> list[tuple[str, str]]:
        """Every field in its order, pseudo-fields too."""
        return self._items

    def __len__(self) -> int:
        return len(self._items)

    def get(self, name: str) -> str | None:
        """The values of a field, joined by commas as RFC 9110 §5.3 allows; None when there is none."""
        name = name.lower()
        values = [v for k, v in self._items if k == name]
        return ",".join(values) if values else None

    def add(self, name: str, value: str) -> None:
        """Append a field. Raises FieldError."""
        self._set([*self._items, _checked(name, value)])

    def replace(self, name: str, value: str) -> None:
        """Put one value in the place of a field's first, without its others; append it when there is none."""
        field = _checked(name, value)
        kept: list[tuple[str, str]] = []
        placed = False
        for item in self._items:
            if item[0] != field[0]:
                kept.append(item)
            elif not placed:
                kept.append(field)
                placed = True
        if not placed:
            kept.append(field)
        self._set(kept)

    def remove(self, name: str) -> None:
        """Drop a field with all its values, if it is there."""
        name = name.lower()
        self._items = [item for item in self._items if item[0] != name]

    def load(self, data: bytes) -> None:
        """Replace everything by a serialized map. Raises FieldError."""
        self._set([_checked(decode(n), decode(v)) for n, v in parse(data)])

    def serialize(self) -> bytes:
        """The whole map in the ABI's form."""
        return serialize([(encode(n), encode(v)) for n, v in self._items])

    def _set(self, items: list[tuple[str, str]]) -> None:
        if len(items) > MAX_FIELDS or sum(len(n) + len(v) for n, v in items) > MAX_FIELDS_BYTES:
            raise FieldError("too many fields")
        self._items = items


def _checked(name: str, value: str) -> tuple[str, str]:
    """A field that cannot break a message apart (RFC 9110 §5.5). Raises FieldError."""
    if not _NAME.fullmatch(name) or _BAD_VALUE.search(value):
        raise FieldError("malformed field")
    return name.lower(), value


def serialize(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Pairs in the ABI's form."""
    parts = [_U32.pack(len(pairs))]
    parts += [struct.pack("<II", len(name), len(value)) for name, value in pairs]
    for name, value in pairs:
        parts += (name, b"\0", value, b"\0")
    return b"".join(parts)


def parse(data: bytes) -> list[tuple[bytes, bytes]]:
    """The pairs of a serialized map. Raises FieldError when it is malformed or has too many."""
    if len(data) < 4:
        if data.strip(b"\0"):
            raise FieldError("a map of less than four bytes")
        return []
    count = _U32.unpack_from(data)[0]
    at = 4 + 8 * count
    if count > MAX_FIELDS or at > len(data):
        raise FieldError("a map with a wrong count")
    pairs = []
    for name_size, value_size in struct.iter_unpack("<II", data[4:at]):
        value_at = at + name_size + 1
        end = value_at + value_size
        if end >= len(data) or data[value_at - 1] or data[end]:
            raise FieldError("a map with wrong lengths")
        pairs.append((data[at : value_at - 1], data[value_at:end]))
        at = end + 1
    return pairs
