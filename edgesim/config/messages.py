"""Everything that crosses a process on the bus, as checked models: desired documents, reports, health, presence.

Rules: each kind has a size limit that is checked before parsing; names are restricted, since they become topics, paths and
host names; an unknown field is refused. A malformed message raises, naming the field: TrustError for a desired document
(it was signed, so somebody lies or versions differ), InputError for the rest. Times are seconds since 1970 by the sender's
clock. Signatures are `edgesim/live/signing.py`; API bodies of deployments are here too, since they carry the same values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from edgesim.config.releases import (
    KIB,
    AppField,
    BootField,
    Count,
    DeployComponent,
    Filters,
    Message,
    NameField,
    ReleaseModel,
    RouteModel,
    Seconds,
    ShortText,
    Step,
    UrlField,
    check_references,
)
from edgesim.core.desired import DesiredDocument
from edgesim.errors import InputError, TrustError
from edgesim.model.events import HealthReported, PopHealth, PopReported
from edgesim.model.ids import AppName, HostId, PopId

if TYPE_CHECKING:
    from edgesim.model.worker import Release

DESIRED_LIMIT_BYTES: Final = 64 * KIB
HEALTH_LIMIT_BYTES: Final = 256 * KIB
REPORTED_LIMIT_BYTES: Final = 16 * KIB
PRESENCE_LIMIT_BYTES: Final = 128 * KIB
DEPLOY_LIMIT_BYTES: Final = 256 * KIB
"""Body of a deployment request to the API."""


def release_model(release: Release) -> ReleaseModel:
    """A release as it travels. Raises InputError, naming the field, when it breaks a limit."""
    try:
        return ReleaseModel.model_validate(release, from_attributes=True, strict=False)
    except ValidationError as exc:
        raise InputError(f"release {release.app}@{release.version}: {explain(exc)}") from exc


# -- desired documents ------------------------------------------------------------------------------------------------


class DesiredModel(Message):
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


class Reported(Message):
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


class PopBeat(Message):
    """One PoP in a health batch."""

    pop: NameField
    state: Literal["starting", "ready", "draining"]
    busy: Count = 0
    queued: Count = 0
    loaded_bytes: Count = 0
    warm: Count = 0


class Health(Message):
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
                PopHealth(
                    pop=PopId(p.pop),
                    state=p.state,
                    busy=p.busy,
                    queued=p.queued,
                    loaded_bytes=p.loaded_bytes,
                    warm=p.warm,
                )
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
            PopBeat(pop=p.pop, state=p.state, busy=p.busy, queued=p.queued, loaded_bytes=p.loaded_bytes, warm=p.warm)
            for p in event.pops
        ),
    )


class Presence(Message):
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


class ControlPresence(Message):
    """`es1/cp`, retained and also the will: the control plane."""

    up: bool
    boot: BootField
    epoch: Step = 0
    gen: Step = 0
    api_url: UrlField = ""


# -- the API's deployment body ----------------------------------------------------------------------------------------


class DeployRequest(Message):
    """Body of `POST /v1/apps/{app}/deployments`. The blobs have been uploaded before."""

    components: Annotated[tuple[DeployComponent, ...], Field(min_length=1, max_length=32, strict=False)]
    routes: Annotated[tuple[RouteModel, ...], Field(min_length=1, max_length=256, strict=False)]
    filters: Filters = ()
    prefetch: bool = True
    message: ShortText = ""

    @model_validator(mode="after")
    def _references(self) -> Self:
        check_references(self.components, self.routes, self.filters)
        return self


class RollbackRequest(Message):
    """Body of `POST /v1/apps/{app}/rollback`."""

    version: Annotated[int, Field(ge=1, le=1 << 31)]
    message: ShortText = ""


# -- encoding and decoding --------------------------------------------------------------------------------------------

M = TypeVar("M", bound=Message)

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
