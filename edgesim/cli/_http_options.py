"""A request as it is written on the command line: method, header fields, body. For `curl` and `run --once`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesim.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]{1,20}")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")


def method_of(text: str) -> str:
    """A method, in capitals. Raises UsageError."""
    method = text.upper()
    if not _METHOD.fullmatch(method):
        raise UsageError(f"not a method: {text[:40]!r}", help="write GET, POST, PUT, DELETE, HEAD …")
    return method


def fields_of(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Header fields of `NAME: VALUE` lines, names as written. Raises UsageError."""
    fields = []
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise UsageError(f"not a header field: {line[:80]!r}", help="write -H 'Accept: text/plain'")
        fields.append((match[1], match[2].strip()))
    return fields


def body_of(data: str | None) -> bytes | None:
    """The body to send: the text, or the file named after an @, stdin for @-. Raises UsageError."""
    if data is None or not data.startswith("@"):
        return None if data is None else data.encode()
    if data == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as exc:
        raise UsageError(
            f"cannot read the body: {exc.strerror}", where=data[1:], help="check the path after @"
        ) from exc
