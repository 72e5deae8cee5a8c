"""Everything that crosses a process on the bus, as checked models: desired documents, reports, health, presence.

Rules: each kind has a size limit that is checked before parsing; names are restricted, since they become topics, paths and
host names; an unknown field is refused. A malformed message raises, naming the field: TrustError for a desired document
(it was signed, so somebody lies or versions differ), InputError for the rest. Times are seconds since 1970 by the sender's
clock. Signatures are `edgesim/live/signing.py`; API bodies of deployments are here too, since they carry the same values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from edgesim.core.desired import DesiredDocument
from edgesim.errors import InputError, TrustError
from edgesim.model.events import HealthReported, PopHealth, PopReported
from edgesim.model.ids import AppName, Digest, HostId, PopId
from edgesim.model.worker import Abi, Component, Limits, Release, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

KIB: Final = 1024
DESIRED_LIMIT_BYTES: Final = 64 * KIB
HEALTH_LIMIT_BYTES: Final = 256 * KIB
REPORTED_LIMIT_BYTES: Final = 16 * KIB
PRESENCE_LIMIT_BYTES: Final = 128 * KIB
DEPLOY_LIMIT_BYTES: Final = 256 * KIB
"""Body of a deployment request to the API."""

APP_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
"""A DNS label of at most 40 characters: apps answer at `http://<app>.localhost/`."""
NAME_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
"""PoPs, hosts, processes and logins: part of topics, paths and host names."""
DIGEST_PATTERN: Final = r"^[0-9a-f]{64}$"

AppField = Annotated[str, StringConstraints(pattern=APP_PATTERN)]
NameField = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
DigestField = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]
BootField = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z-]{1,64}$")]
ShortText = Annotated[str, StringConstraints(max_length=500)]
UrlField = Annotated[str, StringConstraints(pattern=r"^(https?://[^\s/]{1,255})?$")]
Count = Annotated[int, Field(ge=0, le=1 << 53)]
Step = Annotated[int, Field(ge=0, le=1 << 48)]
"""Epochs and generations: far below the largest integer of JSON, so that there is always a higher one."""
Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# -- releases ---------------------------------------------------------------------------------------------------------


class LimitsModel(_Message):
    """Limits of a component; see `edgesim.model.worker.Limits`."""

    memory_bytes: Annotated[int, Field(ge=64 * KIB, le=4 << 30)] = Limits().memory_bytes
    cpu_ms: Annotated[float, Field(gt=0, le=600_000)] = Limits().cpu_ms
    wall_s: Annotated[float, Field(gt=0, le=600)] = Limits().wall_s
    body_bytes: Annotated[int, Field(ge=0, le=1 << 30)] = Limits().body_bytes
    log_bytes: Annotated[int, Field(ge=0, le=16 << 20)] = Limits().log_bytes


COMPONENT_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_Variable = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^=\x00]+$")]
_Value = Annotated[str, StringConstraints(max_length=8 * KIB, pattern=r"^[^\x00]*$")]
Environment = Annotated[tuple[tuple[_Variable, _Value], ...], Field(max_length=128, strict=False)]


class ComponentModel(_Message):
    """One Wasm file of a release, by content address."""

    id: Annotated[str, StringConstraints(pattern=COMPONENT_PATTERN)]
    digest: DigestField
    size_bytes: Annotated[int, Field(ge=1, le=64 << 20)]
    abi: Abi
    limits: LimitsModel = LimitsModel()
    environment: Environment = ()


class RouteModel(_Message):
    """A path pattern and the component that serves it."""

    pattern: Annotated[str, StringConstraints(pattern=r"^/[^\s?#]{0,511}$")]
    component: Annotated[str, StringConstraints(min_length=1, max_length=64)]


def _check_references(components: Sequence[ComponentModel | DeployComponent], routes: Sequence[RouteModel]) -> None:
    """Ids and patterns are unique, and routes name components that exist. Raises ValueError, for pydantic."""
    ids = [c.id for c in components]
    if len(set(ids)) < len(ids):
        raise ValueError("two components have the same id")
    if len({r.pattern for r in routes}) < len(routes):
        raise ValueError("two routes have the same pattern")
    for route in routes:
        if route.component not in ids:
            raise ValueError(f"route {route.pattern} names the component {route.component!r}; there are {ids}")


class ReleaseModel(_Message):
    """One version of an app."""

    app: AppField
    version: Annotated[int, Field(ge=1, le=1 << 31)]
    digest: DigestField
    components: Annotated[tuple[ComponentModel, ...], Field(min_length=1, max_length=32, strict=False)]
    routes: Annotated[tuple[RouteModel, ...], Field(min_length=1, max_length=256, strict=False)]
    prefetch: bool = True

    @model_validator(mode="after")
    def _references(self) -> Self:
        _check_references(self.components, self.routes)
        return self

    def value(self) -> Release:
        """The release as the flows know it."""
        return Release(
            app=AppName(self.app),
            version=self.version,
            digest=Digest(self.digest),
            components=tuple(component_value(c) for c in self.components),
            routes=tuple(Route(pattern=r.pattern, component=r.component) for r in self.routes),
            prefetch=self.prefetch,
        )


def component_value(model: ComponentModel) -> Component:
    """A component as the flows know it."""
    return Component(
        id=model.id,
        digest=Digest(model.digest),
        size_bytes=model.size_bytes,
        abi=model.abi,
        limits=Limits(**model.limits.model_dump()),
        environment=model.environment,
    )


def release_model(release: Release) -> ReleaseModel:
    """A release as it travels. Raises InputError, naming the field, when it breaks a limit."""
    try:
        return ReleaseModel.model_validate(release, from_attributes=True, strict=False)
    except ValidationError as exc:
        raise InputError(f"release {release.app}@{release.version}: {explain(exc)}") from exc


# -- desired documents ------------------------------------------------------------------------------------------------


class DesiredModel(_Message):
    """Payload of a desired document, as signed."""

    v: Literal[1] = 1
    pop: NameField
    epoch: Step
    gen: Step
    issued_s: Seconds
    apps: Annotated[tuple[ReleaseModel, ...], Field(max_length=256, strict=False)]


def encode_desired(document: DesiredDocument) -> str:
    """The exact text that is signed and travels.

    Raises:
        InputError: when it breaks a limit; above all more than 64 KiB or 256 apps on one PoP.
    """
    apps = tuple(release_model(r) for r in document.apps)
    try:
        model = DesiredModel(
            pop=document.pop, epoch=document.epoch, gen=document.gen, issued_s=document.issued_s, apps=apps
        )
    except ValidationError as exc:
        raise InputError(f"the desired document of {document.pop}: {explain(exc)}") from exc
    text = model.model_dump_json()
    if len(text.encode()) > DESIRED_LIMIT_BYTES:
        raise InputError(
            f"the desired document of {document.pop} would be {len(text.encode())} bytes; the limit is {DESIRED_LIMIT_BYTES}",
            help="deploy fewer apps, or fewer routes and environment variables per app",
        )
    return text


def decode_desired(payload: str) -> DesiredDocument:
    """The document in a signed payload. Raises TrustError, naming the field."""
    try:
        model = DesiredModel.model_validate_json(payload)
    except ValidationError as exc:
        raise TrustError(f"desired document: {explain(exc)}", help=_VERSIONS) from exc
    return DesiredDocument(
        pop=PopId(model.pop),
        epoch=model.epoch,
        gen=model.gen,
        issued_s=model.issued_s,
        apps=tuple(app.value() for app in model.apps),
    )


# -- reported state, health, presence ---------------------------------------------------------------------------------


class Reported(_Message):
    """`es1/r/<host>/<pop>`, retained, sent on change: what a PoP runs."""

    pop: NameField
    host: NameField
    boot: BootField
    seq: Count
    """Grows with each report of the same boot, over all PoPs of the host or per PoP."""
    epoch: Step
    gen: Step
    state: Literal["pending", "downloading", "compiling", "ready", "failed"]
    apps: Annotated[dict[AppField, Annotated[int, Field(ge=1)]], Field(max_length=256)]
    why: ShortText = ""
    distribute_s: Seconds = 0.0
    sent_s: Seconds = 0.0

    def event(self) -> PopReported:
        """As the event that the PoP raised."""
        return PopReported(
            pop=PopId(self.pop),
            epoch=self.epoch,
            gen=self.gen,
            state=self.state,
            apps={AppName(app): version for app, version in self.apps.items()},
            why=self.why,
            distribute_s=self.distribute_s,
        )


def reported_of(event: PopReported, *, host: HostId, boot: str, seq: int, sent_s: float) -> Reported:
    """The message for an event; a reason that is too long is cut."""
    return Reported(
        pop=event.pop,
        host=host,
        boot=boot,
        seq=seq,
        epoch=event.epoch,
        gen=event.gen,
        state=event.state,
        apps={str(app): version for app, version in event.apps.items()},
        why=event.why[:500],
        distribute_s=max(0.0, event.distribute_s),
        sent_s=sent_s,
    )


class PopBeat(_Message):
    """One PoP in a health batch."""

    pop: NameField
    state: Literal["starting", "ready", "draining"]
    busy: Count = 0
    queued: Count = 0
    loaded_bytes: Count = 0


class Health(_Message):
    """`es1/h/<host>`, 2 Hz: every PoP that is alive in the host. One that was killed is simply not in it."""

    host: NameField
    boot: BootField
    seq: Count
    sent_s: Seconds
    pops: Annotated[tuple[PopBeat, ...], Field(max_length=8192, strict=False)]

    def event(self) -> HealthReported:
        """As the event that the host raised."""
        return HealthReported(
            host=HostId(self.host),
            boot=self.boot,
            pops=tuple(
                PopHealth(pop=PopId(p.pop), state=p.state, busy=p.busy, queued=p.queued, loaded_bytes=p.loaded_bytes)
                for p in self.pops
            ),
        )


def health_of(event: HealthReported, *, seq: int, sent_s: float) -> Health:
    """The message for an event."""
    return Health(
        host=event.host,
        boot=event.boot,
        seq=seq,
        sent_s=sent_s,
        pops=tuple(
            PopBeat(pop=p.pop, state=p.state, busy=p.busy, queued=p.queued, loaded_bytes=p.loaded_bytes)
            for p in event.pops
        ),
    )


class Presence(_Message):
    """`es1/p/<process>`, retained and also the will (then with `up` false and without addresses)."""

    process: NameField
    kind: Literal["pop-host", "front-door"]
    up: bool
    boot: BootField
    pid: Count = 0
    data_url: UrlField = ""
    """`http://host:port` for requests of the front door; of a PoP host also its admin endpoint `/-/…`."""
    metrics_url: UrlField = ""
    """`http://host:port` below which `/metrics` answers."""
    pops: Annotated[tuple[NameField, ...], Field(max_length=8192, strict=False)] = ()
    since_s: Seconds = 0.0


class ControlPresence(_Message):
    """`es1/cp`, retained and also the will: the control plane."""

    up: bool
    boot: BootField
    epoch: Step = 0
    gen: Step = 0
    api_url: UrlField = ""


# -- the API's deployment body ----------------------------------------------------------------------------------------


class DeployComponent(_Message):
    """A component as the CLI names it; size and ABI are found out by the control plane."""

    id: Annotated[str, StringConstraints(pattern=COMPONENT_PATTERN)]
    digest: DigestField
    limits: LimitsModel = LimitsModel()
    environment: Environment = ()


class DeployRequest(_Message):
    """Body of `POST /v1/apps/{app}/deployments`. The blobs have been uploaded before."""

    components: Annotated[tuple[DeployComponent, ...], Field(min_length=1, max_length=32, strict=False)]
    routes: Annotated[tuple[RouteModel, ...], Field(min_length=1, max_length=256, strict=False)]
    prefetch: bool = True
    message: ShortText = ""

    @model_validator(mode="after")
    def _references(self) -> Self:
        _check_references(self.components, self.routes)
        return self


class RollbackRequest(_Message):
    """Body of `POST /v1/apps/{app}/rollback`."""

    version: Annotated[int, Field(ge=1, le=1 << 31)]
    message: ShortText = ""


# -- encoding and decoding --------------------------------------------------------------------------------------------

M = TypeVar("M", bound=_Message)

_VERSIONS: Final = "sender and receiver must be of the same edgesim version"
_LIMITS: Final[dict[type[BaseModel], int]] = {
    Reported: REPORTED_LIMIT_BYTES,
    Health: HEALTH_LIMIT_BYTES,
    Presence: PRESENCE_LIMIT_BYTES,
    ControlPresence: PRESENCE_LIMIT_BYTES,
    DeployRequest: DEPLOY_LIMIT_BYTES,
    RollbackRequest: 16 * KIB,
}


def encode(message: Reported | Health | Presence | ControlPresence | DeployRequest | RollbackRequest) -> bytes:
    """A message as it travels: compact JSON. Raises InputError when it is larger than its limit."""
    data = message.model_dump_json().encode()
    limit = _LIMITS[type(message)]
    if len(data) > limit:
        raise InputError(f"{type(message).__name__} message of {len(data)} bytes; the limit is {limit}")
    return data


def _decode(kind: type[M], raw: bytes) -> M:
    name = kind.__name__
    if len(raw) > _LIMITS[kind]:
        raise InputError(f"{name} message of {len(raw)} bytes; the limit is {_LIMITS[kind]}")
    try:
        return kind.model_validate_json(raw)
    except ValidationError as exc:
        raise InputError(f"{name} message: {explain(exc)}", help=_VERSIONS) from exc


def decode_reported(raw: bytes) -> Reported:
    """A PoP's report. Raises InputError, naming the field."""
    return _decode(Reported, raw)


def decode_health(raw: bytes) -> Health:
    """A host's health batch. Raises InputError, naming the field."""
    return _decode(Health, raw)


def decode_presence(raw: bytes) -> Presence:
    """A process's presence. Raises InputError, naming the field."""
    return _decode(Presence, raw)


def decode_control(raw: bytes) -> ControlPresence:
    """The control plane's presence. Raises InputError, naming the field."""
    return _decode(ControlPresence, raw)


def decode_deploy(raw: bytes) -> DeployRequest:
    """The body of a deployment request. Raises InputError, naming the field."""
    return _decode(DeployRequest, raw)


def decode_rollback(raw: bytes) -> RollbackRequest:
    """The body of a rollback request. Raises InputError, naming the field."""
    return _decode(RollbackRequest, raw)


def explain(error: ValidationError, *, most: int = 3) -> str:
    """The first problems of a validation, each with the field's path: `apps.0.version: Input should be …`."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{'.'.join(map(str, p['loc'])) or 'the whole message'}: {p['msg']}" for p in problems[:most]]
    if len(problems) > most:
        lines.append(f"and {len(problems) - most} more")
    return "; ".join(lines)
