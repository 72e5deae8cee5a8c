"""The error tree of edgesim, by whose fault an error is.

Each class carries what the outside needs to answer: `code` (stable, shown as `error[E0203]`), `exit_code` (CLI),
`status` (HTTP) and `proxy_error` (the error token of RFC 9209 for `Proxy-Status`). Errors of third-party libraries are
mapped onto this tree once, at the adapter, with `from exc`. Nothing here formats for a terminal: see `edgesim/cli`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class EdgesimError(Exception):
    """Any failure that edgesim foresees. `help` says what to do next; empty when there is nothing to add."""

    code: ClassVar[str] = "E0001"
    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500
    proxy_error: ClassVar[str] = "proxy_internal_error"

    def __init__(self, message: str, *, where: str = "", help: str = "") -> None:  # noqa: A002 - the CLI's word
        super().__init__(message)
        self.message = message
        self.where = where
        """File, `file:line:col` or address the error is about; empty when the message says it."""
        self.help = help


# -- the operator's input ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a file, where it stands and what to write instead."""

    file: str
    line: int
    """1-based; 0 when the file as a whole is meant."""
    col: int
    """1-based; 0 when the file as a whole is meant."""
    field: str
    """Dotted path of the field, for example `pops.3.lat`."""
    message: str
    help: str = ""
    source: str = ""
    """The offending line of the file, without its line break."""


class InputError(EdgesimError):
    """Something the operator wrote is wrong: a file, a flag, an API body. Nothing has been changed."""

    code = "E0100"
    exit_code = 2
    status = 400
    proxy_error = "http_request_error"


class ConfigError(InputError):
    """A file with one or more problems, all of them listed."""

    code = "E0101"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{first.message}{more}", where=f"{first.file}:{first.line}:{first.col}", help=first.help)


class UsageError(InputError):
    """A flag or argument is wrong, or names something that does not exist."""

    code = "E0102"


class NotFoundError(InputError):
    """The app, PoP, host or version that was named does not exist."""

    code = "E0103"
    exit_code = 1
    status = 404
    proxy_error = "destination_not_found"


class ManifestError(ConfigError):
    """An app manifest (`spin.toml`) is wrong or asks for something that is not supported."""

    code = "E0201"


class BundleError(InputError):
    """A worker's file is not a Wasm module or component that can be served."""

    code = "E0202"
    status = 422


class AbiMismatchError(BundleError):
    """The file is valid Wasm, but exports none of the guest ABIs that edgesim serves."""

    code = "E0203"


class BundleTooLargeError(BundleError):
    """The file is larger than the bundle limit."""

    code = "E0204"
    status = 413


class BuildError(EdgesimError):
    """A build command of a manifest failed, or what it needs is not installed."""

    code = "E0205"


# -- the running edge -------------------------------------------------------------------------------------------------


class ControlPlaneError(EdgesimError):
    """The control plane cannot be reached, or does not answer as one."""

    code = "E0301"
    exit_code = 3
    status = 503


class AuthError(EdgesimError):
    """The API token, the `Host` or the `Origin` of a request is wrong."""

    code = "E0302"
    status = 401


class RolloutError(EdgesimError):
    """A deployment failed on at least one PoP, or did not finish in time."""

    code = "E0303"
    exit_code = 4


class TrustError(EdgesimError):
    """A document or blob is not what the control plane signed. It has been refused; the last good one stays."""

    code = "E0304"
    status = 502


class StorageError(EdgesimError):
    """The disk is full, or the state directory cannot be written."""

    code = "E0305"
    status = 507


class BrokerError(EdgesimError):
    """The MQTT broker cannot be started or reached."""

    code = "E0306"


class PortInUseError(EdgesimError):
    """A port that the edge needs is held by another program."""

    code = "E0307"


class AlreadyRunningError(EdgesimError):
    """An edge already runs from this state directory."""

    code = "E0308"


class ProcessError(EdgesimError):
    """A process of the edge ended or did not become ready."""

    code = "E0309"


# -- one request: the tenant's worker ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestCost:
    """What a guest had used when it was ended."""

    cpu_s: float
    """The start included."""
    start_cpu_s: float
    memory_bytes: int
    """0 where it cannot be seen."""
    subrequests: int
    log: str


class GuestError(EdgesimError):
    """The worker did something that ended its request. The neighbours are not affected."""

    code = "E0400"
    status = 502
    proxy_error = "http_response_incomplete"
    cost: GuestCost | None = None
    """Set by what ran the guest, when it ended before its head was out."""


class GuestTrapError(GuestError):
    """The worker trapped (unreachable, out of bounds, stack overflow, exit with a non-zero code before a response)."""

    code = "E0401"


class GuestWallError(GuestError):
    """The worker ran longer than its wall-clock limit."""

    code = "E0402"
    status = 504
    proxy_error = "http_response_timeout"


class GuestCpuError(GuestError):
    """The worker used more CPU time than its limit."""

    code = "E0403"
    status = 504
    proxy_error = "http_response_timeout"


class GuestMemoryError(GuestError):
    """The worker needs more memory than its limit."""

    code = "E0404"


class GuestOutputError(GuestError):
    """The worker's response is malformed or larger than a limit, or it ended without one."""

    code = "E0405"


# -- one request: everybody else --------------------------------------------------------------------------------------


class OverloadedError(EdgesimError):
    """A bounded queue is full, or the request waited in it for too long."""

    code = "E0501"
    status = 503
    proxy_error = "connection_limit_reached"


class PopUnreachableError(EdgesimError):
    """The PoP refused or broke the connection before the first byte of its response."""

    code = "E0502"
    status = 502
    proxy_error = "destination_unavailable"


class StartError(EdgesimError):
    """The PoP could not start the worker: its bundle could not be had, or does not compile."""

    code = "E0503"
    status = 502
    proxy_error = "destination_unavailable"


class OriginError(EdgesimError):
    """The origin refused, broke or garbled the connection."""

    code = "E0504"
    status = 502
    proxy_error = "connection_refused"


class OriginTimeoutError(OriginError):
    """The origin did not answer within the request's deadline."""

    code = "E0505"
    status = 504
    proxy_error = "connection_timeout"


class DeadlineExceededError(EdgesimError):
    """The request's deadline passed before it was served."""

    code = "E0506"
    status = 504
    proxy_error = "http_response_timeout"


class RequestError(EdgesimError):
    """The client's request is malformed or larger than a limit."""

    code = "E0507"
    status = 400
    proxy_error = "http_request_error"
