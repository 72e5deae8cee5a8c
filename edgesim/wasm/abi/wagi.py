"""WAGI: a WASI preview 1 command that is run once per request, as a CGI script is.

The request line and fields arrive in environment variables, the body on stdin; the response head and body leave through
stdout (RFC 3875, with the variables of deislabs/wagi and Spin's WAGI executor). stderr is the worker's log.
"""

from __future__ import annotations

import re
from ctypes import addressof, c_void_p
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote

import wasmtime

from edgesim.errors import BundleError, GuestOutputError
from edgesim.model.http import HOP_BY_HOP
from edgesim.wasm import p1, raw
from edgesim.wasm.guest_store import instantiate

if TYPE_CHECKING:
    from edgesim.model.http import Headers
    from edgesim.model.worker import Abi, Limits
    from edgesim.wasm.guest import Grants, GuestRequest, Output

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 100
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_PASSED: Final = frozenset({"authorization", "connection", "proxy", "proxy-authorization"})
"""As wagi: credentials stay with the server (RFC 3875 §9.2), and `Proxy` would become HTTP_PROXY (httpoxy)."""


class CgiParser:
    """Splits a CGI response into head and body as it arrives (RFC 3875 §6)."""

    __slots__ = ("_head", "_output")

    def __init__(self, output: Output) -> None:
        self._output = output
        self._head = b""

    def feed(self, data: bytes) -> None:
        """Take bytes of stdout. Raises GuestOutputError when the head is malformed or too large."""
        if self._output.status:
            self._output.write(data)
            return
        head = self._head + data
        end = _head_end(head)
        if end is None:
            if len(head) > MAX_HEAD_BYTES:
                raise GuestOutputError(
                    f"the worker's response head is larger than {MAX_HEAD_BYTES} bytes",
                    help="end the head with an empty line before the body",
                )
            self._head = head
            return
        at, length = end
        if at > MAX_HEAD_BYTES:
            raise GuestOutputError(f"the worker's response head is larger than {MAX_HEAD_BYTES} bytes")
        parse = parse_head if at > _CACHED_HEAD_BYTES else _parse_again
        self._output.send_head(*parse(head[:at]))
        self._output.write(head[at + length :])
        self._head = b""


def _head_end(data: bytes) -> tuple[int, int] | None:
    """Where the empty line is and how long it is with the line break before it."""
    if data.startswith((b"\n", b"\r\n")):
        return 0, 1 if data[0] == 10 else 2
    found = [(at, len(mark)) for mark in (b"\n\n", b"\r\n\r\n") if (at := data.find(mark)) >= 0]
    return min(found, default=None)


def parse_head(head: bytes) -> tuple[int, Headers]:
    """Status and fields of a CGI head. Raises GuestOutputError."""
    status, fields = 0, []
    lines = head.split(b"\n") if head else []
    if len(lines) > MAX_FIELDS:
        raise GuestOutputError(f"the worker's response has more than {MAX_FIELDS} header fields")
    for line in (raw_line.rstrip(b"\r") for raw_line in lines):
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _TOKEN.fullmatch(name) or _BAD_VALUE.search(value):
            raise GuestOutputError(
                f"the worker's response head has a malformed line: {line[:80]!r}",
                help="write `Name: value` lines, an empty line, then the body",
            )
        key = name.decode().lower()
        if key == "status":
            digits = value[:3]
            if not (digits.isdigit() and 200 <= int(digits) <= 599):
                raise GuestOutputError(f"the worker's Status is not 200 to 599: {value[:40]!r}")
            status = int(digits)
        elif key not in HOP_BY_HOP:
            fields.append((key, value.decode(errors="replace")))
    names = {name for name, _ in fields}
    if not status and "location" not in names and "content-type" not in names:
        raise GuestOutputError(
            "the worker's response head has neither Content-Type nor Location nor Status", help="see RFC 3875 §6.2"
        )
    return status or (302 if "location" in names else 200), tuple(fields)


_CACHED_HEAD_BYTES: Final = 512
_parse_again: Final = lru_cache(256)(parse_head)
"""Most workers answer with few different heads, and parsing one costs as much as running a small guest."""


def cgi_environment(request: GuestRequest, environment: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The CGI variables of a request over the worker's own environment."""
    path, _, query = request.target.partition("?")
    prefix = request.route.removesuffix("/...")
    info = path[len(prefix) :] if request.route.endswith("/...") else ""
    host, _, port = request.authority.rpartition(":") if request.authority[-1:] != "]" else (request.authority, "", "")
    if not host or not port.isdigit():
        host, port = request.authority, "443" if request.scheme == "https" else "80"
    env = dict(environment)
    for name, value in request.headers:
        if name not in _NOT_PASSED:
            key = "HTTP_" + name.upper().replace("-", "_")
            env[key] = f"{env[key]}, {value}" if key in env else value
    env |= {
        "AUTH_TYPE": "", "CONTENT_LENGTH": env.get("HTTP_CONTENT_LENGTH", "0" if request.body is None else ""),
        "CONTENT_TYPE": env.get("HTTP_CONTENT_TYPE", ""), "GATEWAY_INTERFACE": "CGI/1.1",
        "PATH_INFO": unquote(info), "PATH_TRANSLATED": unquote(info), "QUERY_STRING": query,
        "REMOTE_ADDR": request.client_address, "REMOTE_HOST": request.client_address, "REMOTE_USER": "",
        "REQUEST_METHOD": request.method, "SCRIPT_NAME": prefix or "/", "SERVER_NAME": host, "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "edgesim",
        "X_FULL_URL": f"{request.scheme}://{request.authority}{request.target}", "X_MATCHED_ROUTE": request.route,
        "X_RAW_PATH_INFO": info,
    }  # fmt: skip
    return env


def _encode(text: str) -> bytes:
    """One string for the guest: no NUL, which would end it early."""
    text = text.replace("\0", "")
    try:
        return text.encode(errors="surrogateescape")  # bytes that are not UTF-8 come as surrogates (PEP 383)
    except UnicodeEncodeError:
        return text.encode(errors="replace")


class WagiGuest(p1.P1Guest):
    """A command. What it is told is put together when it asks: not all do."""

    __slots__ = ("_told",)

    def __init__(self, engine: int, request: GuestRequest, limits: Limits, grants: Grants) -> None:
        super().__init__(engine, request, limits, grants)
        self._told: tuple[list[bytes], list[bytes]] | None = None
        self.stdout = CgiParser(self.output).feed

    @property
    def args(self) -> list[bytes]:
        """Script and query (RFC 3875 §4.4)."""
        return (self._told or self._tell())[0]

    @property
    def environ(self) -> list[bytes]:
        """The CGI variables."""
        return (self._told or self._tell())[1]

    def _tell(self) -> tuple[list[bytes], list[bytes]]:
        cgi = cgi_environment(self.request, self.grants.environment)
        query = cgi["QUERY_STRING"]
        args = (cgi["SCRIPT_NAME"], *(query.split("&") if query else ()))
        self._told = [_encode(a) for a in args], [_encode(f"{key}={value}") for key, value in cgi.items()]
        return self._told


class WagiCall:
    """One run of a command."""

    __slots__ = ("_linked", "_start", "guest")

    def __init__(self, linked: LinkedCommand, request: GuestRequest, limits: Limits, grants: Grants) -> None:
        self._linked = linked
        self._start = raw.Extern()
        self.guest = WagiGuest(linked.engine, request, limits, grants)

    def instantiate(self) -> int:
        """The future that makes the instance."""
        return instantiate(self._linked.pre, self.guest)

    def call(self) -> int:
        """The future that runs `_start`."""
        guest = self.guest
        instance, memory = addressof(guest.instance), raw.Extern()
        found = raw.instance_export(guest.context, instance, b"memory", 6, addressof(memory))
        assert found, "checked by WagiAbi.detect"
        guest.memory = memory
        found = raw.instance_export(guest.context, instance, b"_start", 6, addressof(self._start))
        assert found, "checked by WagiAbi.detect"
        future: int = raw.func_call(
            guest.context,
            addressof(self._start.of),
            None,
            0,
            None,
            0,
            addressof(guest.trap_out),
            addressof(guest.error_out),
        )
        return future

    def finish(self) -> None:
        """The command has ended: there must have been a head."""
        if not self.guest.output.status:
            raise GuestOutputError(
                f"the worker ended without a response{self.guest.log.tail()}",
                help="write a head (`Content-Type: text/plain`), an empty line and the body to stdout",
            )

    def leave(self) -> None:
        """A command runs once."""

    def close(self) -> None:
        """Free the store."""
        self.guest.close()


class LinkedCommand:
    """A command with its imports resolved."""

    def __init__(self, engine: Any, module: Any, linker: tuple[Any, list[Any]]) -> None:
        self._keep = (engine, module, linker)
        self.engine = raw.address(engine.ptr())
        pre = c_void_p()
        raw.check(raw.linker_instantiate_pre(raw.address(linker[0].ptr()), raw.address(module.ptr()), addressof(pre)))
        self.pre = pre.value

    def start(self, request: GuestRequest, limits: Limits, grants: Grants, instance: None = None) -> WagiCall:
        """A new store for one request: a command cannot serve again."""
        assert instance is None
        return WagiCall(self, request, limits, grants)

    def __del__(self) -> None:
        if getattr(self, "pre", None):
            raw.instance_pre_delete(self.pre)


@lru_cache(maxsize=2)
def _linker(engine: Any) -> tuple[Any, list[Any]]:
    """All of preview 1, once per engine. A process has two; those of runtimes before must not be kept, with their pools."""
    return p1.make_linker(engine)


class WagiAbi:
    """See the module."""

    name: Abi = "wagi"
    binary: Literal["module", "component"] = "module"
    expected = "a WASI preview 1 command that exports the function `_start` and the memory `memory` (WAGI)"

    def detect(self, engine: Any, compiled: Any) -> bool:  # noqa: ARG002 - the protocol's signature
        """Whether the module exports `_start` () -> () and a memory."""
        exports = {export.name: export.type for export in compiled.exports}
        start = exports.get("_start")
        return (
            isinstance(start, wasmtime.FuncType)
            and not start.params
            and not start.results
            and isinstance(exports.get("memory"), wasmtime.MemoryType)
        )

    def check(self, engine: Any, compiled: Any) -> None:
        """Every import must be a function of preview 1. Raises BundleError."""
        unknown = sorted(
            f"{i.module}.{i.name}" for i in compiled.imports if i.module != p1.MODULE or i.name not in p1.SIGNATURES
        )
        if unknown:
            raise BundleError(
                f"the worker imports what edgesim does not have: {', '.join(unknown[:8])}"
                + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""),
                help=f"a WAGI worker may import functions of {p1.MODULE} only; build it for wasm32-wasip1",
            )
        try:
            LinkedCommand(engine, compiled, _linker(engine))
        except wasmtime.WasmtimeError as exc:
            raise BundleError(f"the worker's imports do not fit: {str(exc).splitlines()[0]}") from exc

    def link(self, engine: Any, compiled: Any) -> LinkedCommand:
        """Connect preview 1."""
        return LinkedCommand(engine, compiled, _linker(engine))


ABI: Final = WagiAbi()
