"""What aiohttp and the operating system say when a request fails, as cases of `wasi:http/types.error-code`.

Source: wasi-http `types.wit`, whose cases are those of RFC 9209 §2.3.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http_exceptions import LineTooLong, TransferEncodingError

from edgesim.wasm.outbound import OutboundError

if TYPE_CHECKING:
    from collections.abc import Iterator


class ProhibitedAddressError(OSError):
    """The address belongs to the host's own networks, and nobody has named it."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EACCES, f"{address} is not a public address")


_BY_ERRNO: Final[dict[int | None, str]] = {
    errno.ECONNREFUSED: "connection-refused",
    errno.ECONNRESET: "connection-terminated",
    errno.ECONNABORTED: "connection-terminated",
    errno.EPIPE: "connection-terminated",
    errno.ETIMEDOUT: "connection-timeout",
    errno.ENETUNREACH: "destination-IP-unroutable",
    errno.EHOSTUNREACH: "destination-unavailable",
    errno.ENETDOWN: "destination-unavailable",
    errno.EHOSTDOWN: "destination-unavailable",
    errno.EADDRNOTAVAIL: "destination-IP-unroutable",
    errno.EMFILE: "connection-limit-reached",
    errno.ENFILE: "connection-limit-reached",
}
_BY_TYPE: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    ((socket.gaierror,), "DNS-error"),
    ((aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError), "TLS-certificate-error"),
    ((ssl.SSLError,), "TLS-protocol-error"),
    ((LineTooLong,), "HTTP-response-header-section-size"),
    ((TransferEncodingError, aiohttp.ClientPayloadError), "HTTP-response-incomplete"),
    ((aiohttp.ServerDisconnectedError, ConnectionResetError, ConnectionAbortedError), "connection-terminated"),
    ((aiohttp.InvalidURL, UnicodeError), "HTTP-request-URI-invalid"),
    ((aiohttp.ClientResponseError,), "HTTP-protocol-error"),
)
"""The first that fits an error or one of its causes."""
_TOO_MANY_FIELDS: Final = "Too many headers received"
"""aiohttp has no type of its own for it."""
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY})


def outbound_error(exc: BaseException) -> OutboundError:
    """The error code for a failure of aiohttp's client."""
    chain = list(_chain(exc))
    for each in chain:
        if isinstance(each, OutboundError):
            return each
        if isinstance(each, ProhibitedAddressError):
            return OutboundError("destination-IP-prohibited")
    if any(getattr(each, "message", "") == _TOO_MANY_FIELDS for each in chain):
        return OutboundError("HTTP-response-header-section-size")
    return (
        _by_type(chain) or _by_errno(chain) or OutboundError("internal-error", (str(exc) or type(exc).__name__)[:200])
    )


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """An error and what caused it, the outermost first."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [exc]
    while queue:
        each = queue.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        queue += [getattr(each, "os_error", None), each.__cause__, each.__context__]
        queue += getattr(each, "exceptions", ())


def _by_type(chain: list[BaseException]) -> OutboundError | None:
    """The first row of `_BY_TYPE` that fits any of them."""
    for kinds, code in _BY_TYPE:
        for each in chain:
            if isinstance(each, kinds):
                return _name_error(each) or _alert(each) or OutboundError(code)
    return None


def _by_errno(chain: list[BaseException]) -> OutboundError | None:
    for each in chain:
        if isinstance(each, OSError) and each.errno in _BY_ERRNO:
            return OutboundError(_BY_ERRNO[each.errno])
    return None


def _name_error(exc: BaseException) -> OutboundError | None:
    """What a resolver says, if it is that."""
    if not isinstance(exc, socket.gaierror):
        return None
    rcode = "NXDOMAIN" if exc.errno in _NO_SUCH_NAME else "SERVFAIL"
    return OutboundError("DNS-error", {"rcode": rcode, "info-code": None})


def _alert(exc: BaseException) -> OutboundError | None:
    """The alert that a TLS server has sent, if it is that."""
    reason = str(getattr(exc, "reason", "") or "")
    if not isinstance(exc, ssl.SSLError) or "ALERT" not in reason:
        return None
    return OutboundError("TLS-alert-received", {"alert-id": None, "alert-message": reason.lower().replace("_", " ")})
