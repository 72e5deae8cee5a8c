"""How commands reach the supervisor: JSON lines over a loopback TCP connection, one request each, with a token.

A request is `{"token", "op", "name"?}` with op `status | kill | restart | stop`; the answer is `{"ok": …}` or
`{"error": {…}}` as `error_json` writes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final

from edgesim.config.settings import LOOPBACK
from edgesim.errors import AuthError, ControlPlaneError, EdgesimError, UsageError
from edgesim.live.error_json import error_from_dict, error_to_dict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LINE_BYTES_MAX: Final = 1 << 20
_READ_TIMEOUT_S: Final = 5.0
_ANSWER_TIMEOUT_S: Final = 60.0
_CONNECTIONS_MAX: Final = 16


class SupervisorServer:
    """The supervisor's end. `handle(op, name)` carries out one command and returns a JSON value."""

    def __init__(self, token: str, handle: Callable[[str, str], Awaitable[object]]) -> None:
        self._token = token
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self) -> int:
        """Listen on a free loopback port, and say which."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0, limit=_LINE_BYTES_MAX)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _CONNECTIONS_MAX:
                answer = await self._answer(await asyncio.wait_for(reader.readline(), _READ_TIMEOUT_S))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # the other side is gone, too slow or sends an endless line: it gets no answer
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = json.loads(line)
            token, op, name = str(request["token"]), str(request["op"]), str(request.get("name") or "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {"error": error_to_dict(UsageError("not a request to the supervisor"))}
        try:
            if not hmac.compare_digest(token.encode(), self._token.encode()):
                raise AuthError("wrong supervisor token", help="the token is in run.json of the state directory")
            return {"ok": await self._handle(op, name)}
        except EdgesimError as exc:
            return {"error": error_to_dict(exc)}


class SupervisorClient:
    """The other end: the CLI, and the control plane's API for hosts."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token

    async def status(self) -> dict[str, Any]:
        """The supervisor's run record (`state.RunRecord`) without its secrets."""
        answer = await self._call("status")
        assert isinstance(answer, dict)
        return answer

    async def kill(self, name: str) -> None:
        """SIGKILL the process `name`; it stays down until `restart`. Raises NotFoundError."""
        await self._call("kill", name)

    async def restart(self, name: str) -> None:
        """Restart the process `name` and wait until it is ready. Raises NotFoundError, ProcessError."""
        await self._call("restart", name)

    async def stop(self) -> None:
        """Have the edge drain and end; returns at once."""
        await self._call("stop")

    async def _call(self, op: str, name: str = "") -> object:
        help_text = "start the edge with `edgesim up`"
        where = f"{LOOPBACK}:{self._port}"
        request = {"token": self._token, "op": op, "name": name}
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(LOOPBACK, self._port, limit=_LINE_BYTES_MAX)
                try:
                    writer.write(json.dumps(request).encode() + b"\n")
                    answer = json.loads(await reader.readline())
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except OSError as exc:  # TimeoutError is one
            raise ControlPlaneError("the supervisor does not answer", where=where, help=help_text) from exc
        except ValueError as exc:
            raise ControlPlaneError("the supervisor hung up", where=where, help=help_text) from exc
        if not isinstance(answer, dict) or "error" in answer:
            raise error_from_dict(answer.get("error") if isinstance(answer, dict) else answer)
        return answer.get("ok")
