"""The shape of scenario files, version 1, as pydantic models: what may be written, with its limits.

Load words are Artillery's, thresholds are k6's. A model says what each key may hold. Rules between keys are not here, since
pydantic would check them only once every key is right: they are with the references in `edgesim/config/scenario.py`, as is
turning a checked file into values.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, get_type_hints
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    create_model,
)
from pydantic_core import CoreSchema, PydanticCustomError

from edgesim.config.catalogue import find_metro, load_access, load_metros
from edgesim.config.units import Seconds, Share
from edgesim.config.validation import FileModel, did_you_mean
from edgesim.errors import UsageError
from edgesim.scenario import steps, thresholds
from edgesim.scenario.steps import Step

DURATION_MAX_S: Final = 86_400.0
RATE_MAX: Final = 100_000.0
METHODS: Final = ("get", "post", "put", "delete")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]{0,8192}")  # RFC 9110 §5.5, without what Latin-1 does not have
_TARGET = re.compile(r"/[\x21\x22\x24-\x7e]{0,8191}")  # a path with a query; no spaces, no fragment
_OWN_FIELDS = frozenset({"host", "connection", "content-length", "transfer-encoding", "x-forwarded-for", "forwarded"})


def _error(message: str, help: str = "") -> PydanticCustomError:  # noqa: A002 - the CLI's word
    return PydanticCustomError("edgesim", "{message}", {"message": message, "help": help})


def _not_yet(_value: object, info: ValidationInfo) -> object:
    """Refuse a word that is planned."""
    first, *rest = str(info.field_name).split("_")
    word = first + "".join(part.title() for part in rest)
    raise _error(f"'{word}' is not supported yet", "remove it; docs/scenarios.md lists what is supported")


Reserved = Annotated[None, BeforeValidator(_not_yet), WithJsonSchema({"x-reserved": True})]
"""A key of a later version."""


def _metro(name: str) -> str:
    try:
        find_metro(name)
    except UsageError as exc:
        raise _error(exc.message, exc.help) from exc
    return name


def _country(code: str) -> str:
    known = {m.country for m in load_metros()}
    if code not in known:
        hint = did_you_mean(code, known, what="some that have metros")
        raise _error(f"no metro is in the country '{code[:40]}'", f"{hint} (ISO 3166-1 codes, such as DE)")
    return code


def _access(name: str) -> str:
    known = load_access().names()
    if name and name not in known:
        raise _error(f"no access class '{name[:40]}'", did_you_mean(name, known, what="one of"))
    return name


def _target(path: str) -> str:
    if "{{" in path:
        raise _error("templates are not supported yet", "write the path out, or use several requests with weights")
    if not _TARGET.fullmatch(path):
        raise _error(f"'{path[:60]}' is not a path", "a path begins with /; write spaces as %20")
    return path


def _field_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise _error(f"'{name[:60]}' is not a header name", "names consist of letters, digits and hyphens")
    return name


def _own_field_name(name: str) -> str:
    if _field_name(name).lower() in _OWN_FIELDS:
        raise _error(f"the header '{name}' is set by the generator", "remove it; `target.host` sets the host")
    return name


def _field_value(value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise _error("this cannot be sent in a header", "use printable Latin-1 characters, without line breaks")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?", value):
        raise _error(f"'{value[:60]}' is not a host", "write a name such as hello.localhost, with a port if needed")
    return value


def _url(value: str) -> str:
    hint = "write http:// with a loopback address, such as http://127.0.0.1:8080"
    try:
        parts = urlsplit(value)
        port = parts.port or 80
    except ValueError as exc:
        raise _error(f"'{value[:60]}' is not a URL", hint) from exc
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query or not 0 < port < 65536:
        raise _error(f"'{value[:60]}' is not the address of a server", hint)
    if not (parts.hostname in {"localhost", "::1"} or re.fullmatch(r"127(\.[0-9]{1,3}){3}", parts.hostname)):
        # Simulated clients connect from 127/8, and a typo must not flood somebody else's server.
        raise _error(f"'{parts.hostname}' is not this machine", hint)
    return value


def _check(text: str) -> str:
    try:
        thresholds.parse(text)
    except ValueError as exc:
        message, _, hint = str(exc).partition("; ")
        raise _error(message, hint) from exc
    return text


def _as_check(value: object) -> object:
    return {"check": value} if isinstance(value, str) else value


def _as_list(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, list):
        raise _error("this is not a status", "write 200, or several: [200, 304]")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^{}=,\x00-\x1f]+$")]
Weight = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=RATE_MAX, allow_inf_nan=False)]
Path = Annotated[str, AfterValidator(_target)]
Status = Annotated[int, Field(ge=200, le=599)]


class TargetFile(FileModel):
    """What the requests are sent to: a deployed app, or a URL of this machine."""

    app: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")] = ""
    url: Annotated[str, AfterValidator(_url)] = ""
    host: Annotated[str, AfterValidator(_host)] = ""
    path: Reserved = None


class PhaseFile(FileModel):
    """A stretch of time with a constant rate, or one that changes linearly to `rampTo`."""

    name: Name
    duration: Annotated[Seconds, Field(gt=0, le=DURATION_MAX_S)]
    arrival_rate: Annotated[Rate, Field(alias="arrivalRate")]
    ramp_to: Annotated[Rate | None, Field(alias="rampTo")] = None
    record: bool = True


class LoadFile(FileModel):
    """How many requests are sent, and when."""

    model: Literal["open"] = "open"
    arrivals: Literal["poisson", "constant"] = "poisson"
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    max_in_flight: Annotated[int, Field(alias="maxInFlight", ge=1, le=20_000)] = 2000
    phases: Annotated[list[PhaseFile], Field(min_length=1, max_length=100)]


class PopulationFile(FileModel):
    """A group of clients by the cities or countries they are in; without either they are everywhere."""

    name: Name
    weight: Weight = 1.0
    metros: Annotated[list[Annotated[str, AfterValidator(_metro)]], Field(max_length=1023)] = Field(
        default_factory=list
    )
    country: Annotated[list[Annotated[str, AfterValidator(_country)]], Field(max_length=250)] = Field(
        default_factory=list
    )
    access: Annotated[str, AfterValidator(_access)] = ""
    cidr: Reserved = None


class ExpectFile(FileModel):
    """When an answer counts as a success."""

    status: Annotated[
        list[Status],
        BeforeValidator(_as_list),
        WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
    ] = Field(default_factory=list)
    header: dict[Annotated[str, AfterValidator(_field_name)], str] = Field(default_factory=dict)
    """`exists`, or the exact value."""


class RequestFile(FileModel):
    """One kind of request of the mix, with exactly one of the methods."""

    name: Name
    weight: Weight = 1.0
    get: Path | None = None
    post: Path | None = None
    put: Path | None = None
    delete: Path | None = None
    headers: dict[Annotated[str, AfterValidator(_own_field_name)], Annotated[str, AfterValidator(_field_value)]] = (
        Field(default_factory=dict)
    )
    body: str = ""
    json_body: Annotated[Any, Field(alias="json")] = None
    expect: ExpectFile = ExpectFile()

    @property
    def line(self) -> tuple[Literal["GET", "POST", "PUT", "DELETE"], str]:
        """Method and target."""
        if self.get is not None:
            return "GET", self.get
        if self.post is not None:
            return "POST", self.post
        if self.put is not None:
            return "PUT", self.put
        assert self.delete is not None
        return "DELETE", self.delete


class StepFile(FileModel):
    """Base of the steps' models, which are made from the dataclasses in `edgesim/scenario/steps`."""

    kind: ClassVar[type]

    def step(self) -> Step:
        """The step as a value. Raises ValueError when its fields do not fit together."""
        value = self.kind(**{f.name: getattr(self, f.name) for f in fields(self.kind)})
        assert isinstance(value, Step)
        return value


_STEP_RESERVED: Final = ("strategy", "steps", "pause")
_STEP_TYPES: Final[dict[Any, Any]] = {steps.Duration: Seconds, steps.Share: Share}


def _step_models() -> dict[str, type[StepFile]]:
    """A model for each file in `edgesim/scenario/steps`, by its name."""
    models: dict[str, type[StepFile]] = {}
    for name in sorted(info.name for info in iter_modules(steps.__path__)):
        kind = import_module(f"{steps.__name__}.{name}").Step
        hints = get_type_hints(kind, include_extras=True)
        members: dict[str, Any] = {
            f.name: (
                Annotated[_STEP_TYPES.get(hints[f.name], hints[f.name]), Field(alias=f.name.rstrip("_"))],
                ... if f.default is MISSING else f.default,
            )
            for f in fields(kind)
        }
        if name == "deploy":
            members |= dict.fromkeys(_STEP_RESERVED, (Reserved, None))
        model = create_model(f"{name.title()}Step", __base__=StepFile, __doc__=kind.__doc__, **members)
        model.kind = kind
        models[name] = model
    return models


STEPS: Final = _step_models()


class EntryBase(FileModel):
    """A timeline entry without its actions, one of which must be given."""

    at: Seconds

    @property
    def name(self) -> str:
        """Name of the step."""
        return next(name for name in STEPS if getattr(self, name) is not None)

    @property
    def step_file(self) -> StepFile:
        """The step."""
        found = getattr(self, self.name)
        assert isinstance(found, StepFile)
        return found


_PLANNED_STEPS: Final = ("purge", "scale")
_entry_members: dict[str, Any] = {name: (model | None, None) for name, model in STEPS.items()}
_entry_members |= {name: (Reserved, None) for name in _PLANNED_STEPS if name not in STEPS}
if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

    EntryFile = EntryBase
else:
    EntryFile = create_model(
        "EntryFile", __base__=EntryBase, __doc__="What is done to the edge at a time of the run.", **_entry_members
    )


class ThresholdFile(FileModel):
    """A condition on a metric, as text or with its kind."""

    check: Annotated[str, AfterValidator(_check)]
    kind: Literal["requirement", "validity"] = "requirement"
    abort_on_fail: Annotated[Reserved, Field(alias="abortOnFail")] = None
    after: Reserved = None


class _OrText:
    """Tells editors that text is fine too."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


_ThresholdEntry = Annotated[ThresholdFile, BeforeValidator(_as_check), _OrText()]


class ScenarioFile(FileModel):
    """A load test: who sends what, how fast, what happens meanwhile, and what must hold."""

    version: Literal[1]
    name: Name
    description: Annotated[str, StringConstraints(max_length=1000)] = ""
    target: TargetFile
    load: LoadFile
    populations: Annotated[list[PopulationFile], Field(max_length=100)] = Field(default_factory=list)
    requests: Annotated[list[RequestFile], Field(max_length=100)] = Field(default_factory=list)
    timeline: Annotated[list[EntryFile], Field(max_length=1000)] = Field(default_factory=list)
    thresholds: Annotated[list[_ThresholdEntry], Field(max_length=200)] = Field(default_factory=list)
    fleet: Reserved = None
    output: Reserved = None
