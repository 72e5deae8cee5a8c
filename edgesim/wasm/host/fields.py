"""The `fields` resource of wasi:http/types: header lists with validation, forbidden names and immutability."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edgesim.errors import GuestOutputError
from edgesim.wasm.linking import HostTable
from edgesim.wasm.values import Err, Var

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgesim.model.http import Headers
    from edgesim.wasm.component import ComponentGuest

TABLE: Final = HostTable()
_TYPES: Final = "wasi:http/types"
MAX_FIELDS: Final = 100
MAX_FIELD_BYTES: Final = 16 * 1024
"""All names and values of one `fields` together, as for WAGI."""
_LENGTH_DIGITS: Final = 15

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
FORBIDDEN: Final = frozenset(
    {
        "connection", "host", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Names a guest neither sees nor sets: they belong to the connection, and the authority has its own function."""


class Fields:
    """A list of (name, value); names keep the guest's case and compare without it."""

    __slots__ = ("_bytes", "entries", "mutable")

    def __init__(self, entries: Iterable[tuple[str, bytes]] = (), *, mutable: bool = True) -> None:
        self.entries = list(entries)
        self.mutable = mutable
        self._bytes = 0
        """What was ever appended: an upper bound of what is there, so that appending needs no sum."""

    def get(self, name: str) -> list[bytes]:
        """Every value of a name."""
        key = name.lower()
        return [value for known, value in self.entries if known.lower() == key]

    def check_mutable(self) -> None:
        """Raises Err(immutable) when these are the fields of a request or response."""
        if not self.mutable:
            raise Err(Var("immutable"))

    def remove(self, name: str) -> None:
        """Drop every value of a name."""
        key = name.lower()
        self.entries = [entry for entry in self.entries if entry[0].lower() != key]

    def append(self, name: str, value: bytes) -> None:
        """Add one value. Raises Err(header-error), or GuestOutputError beyond the limits."""
        check_name(name)
        if _BAD_VALUE.search(value):
            raise Err(Var("invalid-syntax"))
        self.entries.append((name, value))
        self._bytes += len(name) + len(value)
        if self._bytes > MAX_FIELD_BYTES:
            self._bytes = sum(len(n) + len(v) for n, v in self.entries)
        if len(self.entries) > MAX_FIELDS or self._bytes > MAX_FIELD_BYTES:
            raise GuestOutputError(
                f"the worker made more than {MAX_FIELDS} header fields or {MAX_FIELD_BYTES} bytes of them"
            )

    def headers(self) -> Headers:
        """As edgesim's header list."""
        return tuple((name.lower(), value.decode(errors="replace")) for name, value in self.entries)


def check_name(name: str) -> None:
    """Raises Err(header-error) for a name that is malformed or forbidden."""
    if not _TOKEN.fullmatch(name):
        raise Err(Var("invalid-syntax"))
    if name.lower() in FORBIDDEN:
        raise Err(Var("forbidden"))


def content_length(fields: Fields) -> int | None:
    """What content-length says; None when it is not there, or malformed (RFC 9110 §8.6)."""
    if not fields.entries:
        return None
    declared = set(fields.get("content-length"))
    value = declared.pop() if len(declared) == 1 else b""
    return int(value) if value.isdigit() and len(value) <= _LENGTH_DIGITS else None


def _bytes(value: str) -> bytes:
    """A field value as it came: bytes that are not UTF-8 travel as surrogates (PEP 383)."""
    try:
        return value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return value.encode(errors="replace")


def from_headers(headers: Headers) -> Fields:
    """The immutable fields of an incoming request."""
    return Fields(((name, _bytes(value)) for name, value in headers if name not in FORBIDDEN), mutable=False)


@TABLE.add(_TYPES, "[constructor]fields")
def constructor(_guest: ComponentGuest) -> Fields:
    """Empty fields."""
    return Fields()


@TABLE.add(_TYPES, "[static]fields.from-list")
def from_list(_guest: ComponentGuest, entries: list[tuple[str, bytes]]) -> Fields:
    """Fields from a list."""
    fields = Fields()
    for name, value in entries:
        fields.append(name, value)
    return fields


@TABLE.add(_TYPES, "[method]fields.get")
def get(_guest: ComponentGuest, fields: Fields, name: str) -> list[bytes]:
    """Every value of a name."""
    return fields.get(name)


@TABLE.add(_TYPES, "[method]fields.has")
def has(_guest: ComponentGuest, fields: Fields, name: str) -> bool:
    """Whether there is a value."""
    return bool(fields.get(name))


@TABLE.add(_TYPES, "[method]fields.set")
def set_(_guest: ComponentGuest, fields: Fields, name: str, values: list[bytes]) -> None:
    """Replace every value of a name."""
    fields.check_mutable()
    check_name(name)
    kept = list(fields.entries)
    fields.remove(name)
    try:
        for value in values:
            fields.append(name, value)
    except Err:
        fields.entries = kept
        raise


@TABLE.add(_TYPES, "[method]fields.append")
def append(_guest: ComponentGuest, fields: Fields, name: str, value: bytes) -> None:
    """Add a value."""
    fields.check_mutable()
    fields.append(name, value)


@TABLE.add(_TYPES, "[method]fields.delete")
def delete(_guest: ComponentGuest, fields: Fields, name: str) -> None:
    """Drop every value of a name."""
    fields.check_mutable()
    check_name(name)
    fields.remove(name)


@TABLE.add(_TYPES, "[method]fields.entries")
def entries(_guest: ComponentGuest, fields: Fields) -> list[tuple[str, bytes]]:
    """Everything, in order."""
    return fields.entries


@TABLE.add(_TYPES, "[method]fields.clone")
def clone(_guest: ComponentGuest, fields: Fields) -> Fields:
    """A copy that may be changed."""
    return Fields(fields.entries)
