"""Client of the control plane's API: for the CLI, load runs and the demo.

Errors of the API come back as the classes that they were raised as; a control plane that cannot be reached, or something
else that listens there, is a ControlPlaneError. Answers are plain JSON values, their shapes are those of
`edgesim/live/control/api.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import aiohttp

from edgesim.config.messages import RollbackRequest, encode
from edgesim.errors import AuthError, ControlPlaneError, EdgesimError, UsageError
from edgesim.live.error_json import error_from_dict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edgesim.config.faults import FaultRequest
    from edgesim.config.messages import DeployRequest

_ANSWER_BYTES_MAX: Final = 64 << 20
_LINE_BYTES_MAX: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 18
TIMEOUT_S: Final = 5.0
"""For a question with a short answer: a control plane that is well needs milliseconds."""
CHANGE_TIMEOUT_S: Final = 30.0
"""For what may take long: uploading a blob, checking the components of a release, starting a PoP or a host."""

Json = dict[str, Any]


class ApiClient:
    """One session with the API; an async context manager. Not bound to a loop before it is entered.

    Args:
        endpoint: base URL of the API.
        token: its bearer token.
        log: where the control plane of an edge that is known to run writes its log; errors then name it.
        timeout_s: for questions; changes have `CHANGE_TIMEOUT_S`.
    """

    def __init__(self, endpoint: str, token: str, *, log: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise UsageError(f"not the URL of an API: {endpoint!r}", help="write it as http://127.0.0.1:8081")
        self._endpoint = endpoint.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._log = log
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # trust_env stays off: a proxy of the environment must not see requests to this machine.
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout, read_bufsize=_CHUNK_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # -- the API, route by route ------------------------------------------------------------------------------------

    async def version(self) -> Json:
        """Version of the control plane."""
        return await self._call("GET", "/v1/version")

    async def status(self) -> Json:
        """Apps, generation, broker and PoPs in short."""
        return await self._call("GET", "/v1/status")

    async def pops(self) -> list[Json]:
        """Every PoP with its state, apps and figures."""
        return _items(await self._call("GET", "/v1/pops"), "pops")

    async def pop(self, pop: str) -> Json:
        """One PoP in detail. Raises NotFoundError."""
        return await self._call("GET", f"/v1/pops/{_part(pop)}")

    async def pop_action(self, pop: str, action: Literal["kill", "restart", "drain", "undrain"]) -> Json:
        """Kill a PoP, restart it, take it out of service or put it back. Raises NotFoundError."""
        return await self._call("POST", f"/v1/pops/{_part(pop)}/{action}")

    async def hosts(self) -> list[Json]:
        """Every PoP host process with its PoPs."""
        return _items(await self._call("GET", "/v1/hosts"), "hosts")

    async def host_action(self, host: str, action: Literal["kill", "restart"]) -> Json:
        """SIGKILL a PoP host (it stays down), or restart it. Raises NotFoundError."""
        return await self._call("POST", f"/v1/hosts/{_part(host)}/{action}")

    async def put_blob(self, file: Path) -> str:
        """Upload a file, and say its sha256."""
        digest, size = _sha256_and_size(file)
        await self._call("PUT", f"/v1/blobs/sha256/{digest}", data=_chunks(file), length=size)
        return digest

    async def deploy(self, app: str, request: DeployRequest) -> Json:
        """Make a new version of the app from blobs that have been uploaded; says which.

        Raises:
            BundleError: a component cannot be served. Nothing is changed.
        """
        return await self._call("POST", f"/v1/apps/{_part(app)}/deployments", data=encode(request))

    async def apps(self) -> list[Json]:
        """Every app with its versions, and the one that PoPs shall run."""
        return _items(await self._call("GET", "/v1/apps"), "apps")

    async def rollback(self, app: str, version: int, message: str = "") -> Json:
        """Have every PoP run an earlier version again; the deployment. Raises NotFoundError."""
        body = encode(RollbackRequest(version=version, message=message))
        return await self._call("POST", f"/v1/apps/{_part(app)}/rollback", data=body)

    async def add_fault(self, fault: FaultRequest) -> Json:
        """Have an origin, or links of PoPs, fail for a time. Raises NotFoundError."""
        return await self._call("POST", "/v1/faults", data=fault.model_dump_json().encode())

    async def end_faults(self) -> Json:
        """End every injected fault."""
        return await self._call("DELETE", "/v1/faults")

    async def deployment(self, app: str, version: int) -> Json:
        """How a version's rollout stands, PoP by PoP. Raises NotFoundError."""
        return await self._call("GET", f"/v1/apps/{_part(app)}/deployments/{version}")

    async def deployment_events(self, app: str, version: int) -> AsyncIterator[Json]:
        """The rollout as it goes on, one object at a time, until it is done."""
        path = f"/v1/apps/{_part(app)}/deployments/{version}/events"
        session = self._require_session()
        try:
            async with session.get(self._endpoint + path, timeout=aiohttp.ClientTimeout(total=None)) as response:
                if response.status >= 400:
                    raise self._error(response.status, await response.content.read(_LINE_BYTES_MAX))
                while line := await response.content.readuntil(b"\n"):
                    yield _object(line, self._endpoint)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise self._unreachable(exc) from exc

    # -- HTTP -------------------------------------------------------------------------------------------------------

    async def _call(self, method: str, path: str, *, data: Any = None, length: int | None = None) -> Json:
        session = self._require_session()
        headers = {"Content-Type": "application/octet-stream" if length is not None else "application/json"}
        if length is not None:
            headers["Content-Length"] = str(length)
        timeout = self._timeout if method == "GET" else aiohttp.ClientTimeout(total=CHANGE_TIMEOUT_S)
        try:
            async with session.request(
                method, self._endpoint + path, data=data, headers=headers, timeout=timeout
            ) as response:
                raw = await _read(response)
        except (aiohttp.ClientError, OSError) as exc:  # TimeoutError is an OSError
            raise self._unreachable(exc) from exc
        if response.status >= 400:
            raise self._error(response.status, raw)
        return _object(raw, self._endpoint) if raw.strip() else {}

    def _require_session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use the client as an async context manager"
        return self._session

    def _unreachable(self, exc: Exception) -> ControlPlaneError:
        if self._log is not None:
            return ControlPlaneError(
                f"the edge runs, but its control plane does not answer: {failure_reason(exc)}",
                where=self._endpoint,
                help=f"see `edgesim status` and {self._log}; apps are served without it",
            )
        return ControlPlaneError(
            f"the control plane cannot be reached: {failure_reason(exc)}",
            where=self._endpoint,
            help="start an edge with `edgesim up`, or see `edgesim status`",
        )

    def _error(self, status: int, raw: bytes) -> EdgesimError:
        """The API's error as it was raised there."""
        try:
            document = json.loads(raw)["error"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return ControlPlaneError(
                f"what listens there is no control plane of edgesim (HTTP {status})",
                where=self._endpoint,
                help="name the API's URL with --endpoint",
            )
        error = error_from_dict(document)
        if isinstance(error, AuthError) and not error.help:
            error.help = "give the edge's --state directory, or --token with --endpoint"
        return error


def failure_reason(exc: Exception) -> str:
    """Why a connection failed, in the words of the operating system where it has some."""
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    number = getattr(exc, "errno", None)  # asyncio puts the address into the text, which is said elsewhere
    return os.strerror(number) if number else str(exc) or type(exc).__name__


def _part(name: str) -> str:
    """A name as one part of a path. Names that could change the path are refused."""
    if not name or len(name) > 64 or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
        raise UsageError(f"not a name: {name[:64]!r}", help="names are lowercase letters, digits and hyphens")
    return name


def _items(document: Json, key: str) -> list[Json]:
    items = document.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _object(raw: bytes, where: str) -> Json:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ControlPlaneError("the control plane's answer is not JSON", where=where) from exc
    if not isinstance(value, dict):
        raise ControlPlaneError("the control plane's answer is not a JSON object", where=where)
    return value


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole answer. Raises ControlPlaneError when it is larger than any that the API gives."""
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        parts.append(chunk)
        size += len(chunk)
        if size > _ANSWER_BYTES_MAX:
            raise ControlPlaneError("the control plane's answer is too large", where=str(response.url))
    return b"".join(parts)


def _sha256_and_size(file: Path) -> tuple[str, int]:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell()


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as stream:  # a local file of at most 64 MiB: reading it does not stall a CLI
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
