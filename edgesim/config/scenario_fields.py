"""Types that the models of scenario files share: names, numbers with their bounds, places, header fields, templates."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from edgesim.config.catalogue import find_metro, load_access, load_metros
from edgesim.config.units import Seconds
from edgesim.config.validation import did_you_mean
from edgesim.errors import UsageError
from edgesim.scenario import templates

DURATION_MAX_S: Final = 86_400.0
RATE_MAX: Final = 100_000.0

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]{0,8192}")  # RFC 9110 §5.5, without what Latin-1 does not have
_TARGET = re.compile(r"/[\x21\x22\x24-\x7e]{0,8191}")  # a path with a query; no spaces, no fragment
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_OWN_FIELDS = frozenset({"host", "connection", "content-length", "transfer-encoding", "x-forwarded-for", "forwarded"})


def error(message: str, help: str = "") -> PydanticCustomError:  # noqa: A002 - the CLI's word
    """A mistake in a file, with what to do about it."""
    return PydanticCustomError("edgesim", "{message}", {"message": message, "help": help})


def _not_yet(_value: object, info: ValidationInfo) -> object:
    """Refuse a word that is planned."""
    first, *rest = str(info.field_name).split("_")
    word = first + "".join(part.title() for part in rest)
    raise error(f"'{word}' is not supported yet", "remove it; docs/scenarios.md lists what is supported")


Reserved = Annotated[None, BeforeValidator(_not_yet), WithJsonSchema({"x-reserved": True})]
"""A key of a later version."""


def _metro(name: str) -> str:
    try:
        find_metro(name)
    except UsageError as exc:
        raise error(exc.message, exc.help) from exc
    return name


def _country(code: str) -> str:
    known = {m.country for m in load_metros()}
    if code not in known:
        hint = did_you_mean(code, known, what="some that have metros")
        raise error(f"no metro is in the country '{code[:40]}'", f"{hint} (ISO 3166-1 codes, such as DE)")
    return code


def _access(name: str) -> str:
    known = load_access().names()
    if name and name not in known:
        raise error(f"no access class '{name[:40]}'", did_you_mean(name, known, what="one of"))
    return name


def _cidr(text: str) -> str:
    hint = "clients have addresses in 240.0.0.0/8; see `edgesim locate` and docs/geography.md"
    try:
        wanted = ip_network(text)
    except ValueError as exc:
        raise error(f"'{text[:60]}' is not a network", "write an address and a prefix, such as 240.0.64.0/18") from exc
    if not any(
        wanted.overlaps(ip_network(network))
        for network in ("240.0.0.0/8", "127.0.0.0/8", "2001:db8::/32")
        if ip_network(network).version == wanted.version
    ):
        raise error(f"no simulated client is in {text[:60]}", hint)
    return text


def template(text: str) -> str:
    """The text, if its expressions are right."""
    try:
        templates.parse(text)
    except ValueError as exc:
        message, _, hint = str(exc).partition("; ")
        raise error(message, hint) from exc
    return text


def _plain(text: str) -> str:
    """The text with every expression replaced by something harmless, to check what is around them."""
    return _EXPRESSION.sub("x", text)


def _target(path: str) -> str:
    if not _TARGET.fullmatch(_plain(template(path))):
        raise error(f"'{path[:60]}' is not a path", "a path begins with /; write spaces as %20")
    return path


def _field_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise error(f"'{name[:60]}' is not a header name", "names consist of letters, digits and hyphens")
    return name


def _own_field_name(name: str) -> str:
    if _field_name(name).lower() in _OWN_FIELDS:
        raise error(f"the header '{name}' is set by the generator", "remove it; `target.host` sets the host")
    return name


def _field_value(value: str) -> str:
    if not _VALUE.fullmatch(_plain(template(value))):
        raise error("this cannot be sent in a header", "use printable Latin-1 characters, without line breaks")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?", value):
        raise error(f"'{value[:60]}' is not a host", "write a name such as hello.localhost, with a port if needed")
    return value


def _url(value: str) -> str:
    hint = "write http:// with a loopback address, such as http://127.0.0.1:8080"
    try:
        parts = urlsplit(value)
        port = parts.port or 80
    except ValueError as exc:
        raise error(f"'{value[:60]}' is not a URL", hint) from exc
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query or not 0 < port < 65536:
        raise error(f"'{value[:60]}' is not the address of a server", hint)
    if not (parts.hostname in {"localhost", "::1"} or re.fullmatch(r"127(\.[0-9]{1,3}){3}", parts.hostname)):
        # Simulated clients connect from 127/8, and a typo must not flood somebody else's server.
        raise error(f"'{parts.hostname}' is not this machine", hint)
    return value


def _clock(value: object) -> object:
    """Seconds since midnight of `20:00`, which YAML 1.1 takes for the number 1200 when it is not quoted."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440:
        return value * 60.0
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise error(f"'{str(value)[:40]}' is not a time of day", 'write for example "20:00"')
    return int(match[1]) * 3600.0 + int(match[2]) * 60.0


def _as_list(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, list):
        raise error("this is not a status", "write 200, or several: [200, 304]")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^{}=,\x00-\x1f]+$")]
Weight = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=RATE_MAX, allow_inf_nan=False)]
MetroName = Annotated[str, AfterValidator(_metro)]
Country = Annotated[str, AfterValidator(_country)]
Access = Annotated[str, AfterValidator(_access)]
Cidr = Annotated[str, StringConstraints(max_length=64), AfterValidator(_cidr)]
TimeOfDay = Annotated[float, BeforeValidator(_clock), WithJsonSchema({"type": "string", "pattern": _CLOCK.pattern})]
FieldName = Annotated[str, AfterValidator(_field_name)]
OwnFieldName = Annotated[str, AfterValidator(_own_field_name)]
FieldValue = Annotated[str, AfterValidator(_field_value)]
Host = Annotated[str, AfterValidator(_host)]
Url = Annotated[str, AfterValidator(_url)]
Path = Annotated[str, AfterValidator(_target)]
Status = Annotated[int, Field(ge=200, le=599)]
Statuses = Annotated[
    list[Status],
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
]
Lasting = Annotated[Seconds, Field(gt=0, le=DURATION_MAX_S)]
