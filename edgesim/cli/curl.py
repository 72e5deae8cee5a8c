"""`edgesim curl`: one request to the running edge, from anywhere in the world, with an explanation of the answer."""

from __future__ import annotations

import base64
import ipaddress
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from edgesim.cli._http_options import body_of, fields_of, method_of
from edgesim.cli._options import json_option, run_async, running_edge, state_option
from edgesim.cli._output import echo_json, note
from edgesim.errors import ControlPlaneError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp

    from edgesim.cli._answer import Answer

_TIMEOUT_S: Final = 60.0
_JSON_BODY_MAX: Final = 16 << 20
_CHUNK_BYTES: Final = 1 << 16
_HOST: Final = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})?\.localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where a request goes: the address to connect to, and the `Host` to send."""

    base: str
    host: str
    path: str
    """Path and query."""


@click.command()
@click.argument("url")
@click.option("--from", "origin", metavar="METRO|IP", help="Send it as a client there: a city (Tokyo) or an address.")
@click.option("--access", help="How that client is connected, with a city: fttp, cable, lte …  [default: fttp]")
@click.option("--pop", help="Ask this PoP, whatever the routing says.")
@click.option("-X", "--request", "method", help="Method.  [default: GET, with -d POST]")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Add a header field.")
@click.option("-d", "--data", metavar="TEXT|@FILE", help="Send a body.")
@click.option("-i", "--include", is_flag=True, help="Print the answer's head before its body.")
@click.option("-s", "--silent", is_flag=True, help="Don't explain on stderr.")
@click.option("-f", "--fail", is_flag=True, help="Exit code 1 when the status is 400 or above.")
@state_option
@json_option
def command(
    *, url: str, origin: str | None, access: str | None, pop: str | None, method: str | None, headers: tuple[str, ...],
    data: str | None, include: bool, silent: bool, fail: bool, state: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Send one request to the running edge. The body goes to stdout; who answered and why, to stderr.

    URL is http://APP.localhost/PATH, or APP alone; no name needs to resolve. With --json all of it is one document.
    """
    sent = fields_of(headers)
    if origin or access:
        sent.append(("X-Forwarded-For", _address(origin, access)))
    body = body_of(data)
    method = method_of(method or ("GET" if body is None else "POST"))
    target = _target(url, pop, state)
    sink = _Sink(include=include, collect=as_json)
    answer = run_async(_exchange(target, method, sent, body, sink))
    if as_json:
        echo_json("curl.v1", {"url": url, "from": origin, **answer.to_json(), **sink.as_json()})
    elif not silent:
        from edgesim.cli._answer import explain

        if sink.unfinished_line and sys.stdout.isatty():
            click.echo()
        for line in explain(answer):
            note(line)
    return 1 if fail and answer.status >= 400 else 0


class _Sink:
    """Where head and body go: to stdout as they come, or into memory for `--json`."""

    def __init__(self, *, include: bool, collect: bool) -> None:
        self._include = include
        self._collect = collect
        self._body = bytearray()
        self._truncated = False
        self.size = 0
        self.unfinished_line = False

    def head(self, status: int, reason: str, headers: tuple[tuple[str, str], ...]) -> None:
        """The head has come."""
        if self._include and not self._collect:
            click.echo(f"HTTP/1.1 {status} {reason}")
            for name, value in headers:
                click.echo(f"{name}: {value}")
            click.echo()

    def chunk(self, data: bytes) -> None:
        """A piece of the body has come."""
        self.size += len(data)
        self.unfinished_line = not data.endswith(b"\n")
        if not self._collect:
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
            return
        room = _JSON_BODY_MAX - len(self._body)
        self._truncated = self._truncated or len(data) > room
        self._body += data[:room]

    def as_json(self) -> dict[str, object]:
        """The body: as text where it is text, else in base64."""
        try:
            body: dict[str, object] = {"body": self._body.decode()}
        except UnicodeDecodeError:
            body = {"body_base64": base64.b64encode(self._body).decode()}
        return body | {"body_bytes": self.size, "body_truncated": self._truncated}


async def _exchange(
    target: _Target, method: str, headers: list[tuple[str, str]], body: bytes | None, sink: _Sink
) -> Answer:
    """Send the request over a connection of its own, and hand the answer to the sink as it comes."""
    import aiohttp
    from multidict import CIMultiDict
    from yarl import URL

    from edgesim.cli._answer import Answer

    fields = CIMultiDict([("Host", target.host), ("X-Edge-Debug", "1"), *headers])
    if len(fields.getall("Host")) > 1:  # the user's own wins
        own = fields.getall("Host")[-1]
        del fields["Host"]
        fields["Host"] = own
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    began = time.perf_counter()
    try:
        async with (
            aiohttp.ClientSession(
                timeout=timeout, auto_decompress=False, skip_auto_headers=("Accept-Encoding", "Content-Type"),
                headers={"User-Agent": "edgesim-curl"}, cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            session.request(
                method, URL(target.base + target.path, encoded=True), headers=fields, data=body, allow_redirects=False
            ) as response,
        ):  # fmt: skip
            first_byte_s = time.perf_counter() - began
            received = tuple((name.lower(), value) for name, value in response.headers.items())
            sink.head(response.status, response.reason or "", received)
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                sink.chunk(chunk)
    except (aiohttp.ClientError, OSError) as exc:
        if isinstance(exc, BrokenPipeError):
            raise
        raise _failure(exc, target) from exc
    return Answer(
        status=response.status,
        reason=response.reason or "",
        headers=received,
        first_byte_s=first_byte_s,
        total_s=time.perf_counter() - began,
        body_bytes=sink.size,
    )


def _failure(exc: aiohttp.ClientError | OSError, target: _Target) -> ControlPlaneError:
    if isinstance(exc, TimeoutError):
        return ControlPlaneError(f"no answer within {_TIMEOUT_S:g} s", where=target.base, help="see `edgesim status`")
    if "Payload" in type(exc).__name__:
        return ControlPlaneError("the answer broke off", where=target.base, help="see `edgesim status`")
    from edgesim.live.api_client import failure_reason

    return ControlPlaneError(
        f"the front door cannot be reached: {failure_reason(exc)}",
        where=target.base,
        help="see `edgesim status`, or start an edge with `edgesim up`",
    )


def _target(url: str, pop: str | None, state: Path | None) -> _Target:
    """What the URL means. `hello`, `hello.localhost/x` and full URLs are understood."""
    help_text = "write http://hello.localhost/, or just the app's name"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as exc:
        raise UsageError(f"not a URL: {url[:200]!r} ({exc})", help=help_text) from exc
    if parts.scheme != "http":
        raise UsageError(f"the edge speaks http, not {parts.scheme}: {url[:200]!r}", help=help_text)
    if host and "." not in host and host != "localhost":
        host = f"{host}.localhost"
    if not _HOST.fullmatch(host):
        raise UsageError(f"the URL names no app of the edge: {url[:200]!r}", help=help_text)
    if pop:
        host = f"{host.split('.', 1)[0]}.{pop.lower()}.localhost"
        if not _HOST.fullmatch(host):
            raise UsageError(f"not the name of a PoP: {pop[:40]!r}", help="`edgesim pops list` shows them")
        _check_pop(pop.lower(), port, state)
    base = f"http://127.0.0.1:{port}" if port else running_edge(state).front_door
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or any(c <= " " for c in path):
        from urllib.parse import quote

        path = quote(path, safe="/?=&%:@!$'()*+,;~-._")
    return _Target(base=base, host=f"{host}:{port}" if port else host, path=path)


def _check_pop(pop: str, port: int | None, state: Path | None) -> None:
    """Refuse a PoP that the running edge does not have. Of a front door on another port nothing is known here.

    Raises:
        UsageError: there is no such PoP.
    """
    from edgesim.config.validation import did_you_mean
    from edgesim.live.state import find_state_dir, read_run

    record = read_run(find_state_dir(state))
    if record is None or port not in {None, record.ports.front_door}:
        return
    known = {p for child in record.children for p in child.pops}
    if known and pop not in known:
        raise UsageError(f"the edge has no PoP {pop[:40]!r}", help=did_you_mean(pop, known, what="PoPs"))


def _address(origin: str | None, access: str | None) -> str:
    """The address to send the request from."""
    from edgesim.config.catalogue import find_metro, load_access
    from edgesim.config.validation import did_you_mean
    from edgesim.model.address import client_address

    if not origin:
        raise UsageError("--access needs --from", help="for example --from Tokyo --access lte")
    try:
        return str(ipaddress.ip_address(origin))
    except ValueError:
        metro = find_metro(origin)
    classes = [c.name for c in load_access().classes]
    name = access or classes[0]
    if name not in classes:
        raise UsageError(f"no access class {name[:40]!r}", help=did_you_mean(name, classes))
    return client_address(metro.id, classes.index(name), 1)
