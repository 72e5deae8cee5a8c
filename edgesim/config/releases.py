"""Releases as checked models: what the API takes, desired documents carry, and the database keeps.

Names are restricted, since they become topics, paths and host names; an unknown field is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from edgesim.model.ids import AppName, Digest
from edgesim.model.outbound import parse_allowed_host
from edgesim.model.worker import LIMIT_BOUNDS, Abi, BundledFile, Component, Limits, Release, Reuse, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

KIB: Final = 1024

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


class Message(BaseModel):
    """Strict: no unknown field, no conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def bounds(limit: str, **more: Any) -> Any:
    """A field for the limit of this name, within `LIMIT_BOUNDS`; `more` is for pydantic."""
    low, high = LIMIT_BOUNDS[limit]
    return Field(ge=low, le=high, **more)


class LimitsModel(Message):
    """Limits of a component; see `edgesim.model.worker.Limits`."""

    memory_bytes: Annotated[int, bounds("memory_bytes")] = Limits().memory_bytes
    memories: Annotated[int, bounds("memories")] = Limits().memories
    tables: Annotated[int, bounds("tables")] = Limits().tables
    table_elements: Annotated[int, bounds("table_elements")] = Limits().table_elements
    instances: Annotated[int, bounds("instances")] = Limits().instances
    startup_ms: Annotated[float, bounds("startup_ms")] = Limits().startup_ms
    cpu_ms: Annotated[float, bounds("cpu_ms")] = Limits().cpu_ms
    wall_s: Annotated[float, bounds("wall_s")] = Limits().wall_s
    body_bytes: Annotated[int, bounds("body_bytes")] = Limits().body_bytes
    response_bytes: Annotated[int, bounds("response_bytes")] = Limits().response_bytes
    log_bytes: Annotated[int, bounds("log_bytes")] = Limits().log_bytes
    subrequests: Annotated[int, bounds("subrequests")] = Limits().subrequests


COMPONENT_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_Variable = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^=\x00]+$")]
_Value = Annotated[str, StringConstraints(max_length=8 * KIB, pattern=r"^[^\x00]*$")]
Environment = Annotated[tuple[tuple[_Variable, _Value], ...], Field(max_length=128, strict=False)]


_Uses = Annotated[int, Field(ge=1, le=1_000_000)]
_Idle = Annotated[float, Field(ge=0, le=86_400)]


class ReuseModel(Message):
    """Life of an instance; see `edgesim.model.worker.Reuse`."""

    max_instance_reuse_count: Annotated[tuple[_Uses, _Uses], Field(strict=False)] = (1, 1)
    max_instance_concurrent_reuse_count: Annotated[tuple[_Uses, _Uses], Field(strict=False)] = (1, 1)
    idle_instance_timeout_s: Annotated[tuple[_Idle, _Idle], Field(strict=False)] = (1.0, 1.0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in type(self).model_fields:
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} begins above its end: {low} > {high}")
        return self


class FileModel(Message):
    """A file that the guest may read, by content address."""

    path: Annotated[str, StringConstraints(pattern=r"^(/[^/\x00]{1,255}){1,32}$")]
    digest: DigestField
    size_bytes: Annotated[int, Field(ge=0, le=64 << 20)]


def _allowed_host(entry: str) -> str:
    """An entry of `allowed_outbound_hosts`. Raises ValueError, for pydantic."""
    parse_allowed_host(entry)
    return entry


class ComponentSettings(Message):
    """What the author sets about a component."""

    limits: LimitsModel = LimitsModel()
    environment: Environment = ()
    variables: Environment = ()
    outbound: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(_allowed_host)], ...],
        Field(max_length=64, strict=False),
    ] = ()
    files: Annotated[tuple[FileModel, ...], Field(max_length=256, strict=False)] = ()
    reuse: ReuseModel = ReuseModel()
    configuration: Annotated[str, StringConstraints(max_length=64 * KIB)] = ""
    fail_open: bool = False


class ComponentModel(ComponentSettings):
    """One Wasm file of a release, by content address."""

    id: Annotated[str, StringConstraints(pattern=COMPONENT_PATTERN)]
    digest: DigestField
    size_bytes: Annotated[int, Field(ge=1, le=64 << 20)]
    abi: Abi


class DeployComponent(ComponentSettings):
    """A component as the CLI names it; size and ABI are found out by the control plane."""

    id: Annotated[str, StringConstraints(pattern=COMPONENT_PATTERN)]
    digest: DigestField


class RouteModel(Message):
    """A path pattern and the component that serves it."""

    pattern: Annotated[str, StringConstraints(pattern=r"^/[^\s?#]{0,511}$")]
    component: Annotated[str, StringConstraints(min_length=1, max_length=64)]


Filters = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...], Field(max_length=16, strict=False)
]


def check_references(
    components: Sequence[ComponentModel | DeployComponent], routes: Sequence[RouteModel], filters: Sequence[str]
) -> None:
    """Ids and patterns are unique, and routes name components that exist. Raises ValueError, for pydantic."""
    ids = [c.id for c in components]
    if len(set(ids)) < len(ids):
        raise ValueError("two components have the same id")
    if len({r.pattern for r in routes}) < len(routes):
        raise ValueError("two routes have the same pattern")
    for route in routes:
        if route.component not in ids:
            raise ValueError(f"route {route.pattern} names the component {route.component!r}; there are {ids}")
    for name in filters:
        if name not in ids:
            raise ValueError(f"filters name the component {name!r}; there are {ids}")


class ReleaseModel(Message):
    """One version of an app."""

    app: AppField
    version: Annotated[int, Field(ge=1, le=1 << 31)]
    digest: DigestField
    components: Annotated[tuple[ComponentModel, ...], Field(min_length=1, max_length=32, strict=False)]
    routes: Annotated[tuple[RouteModel, ...], Field(min_length=1, max_length=256, strict=False)]
    filters: Filters = ()
    prefetch: bool = True

    @model_validator(mode="after")
    def _references(self) -> Self:
        check_references(self.components, self.routes, self.filters)
        return self

    def value(self) -> Release:
        """The release as the flows know it."""
        return Release(
            app=AppName(self.app),
            version=self.version,
            digest=Digest(self.digest),
            components=tuple(component_value(c) for c in self.components),
            routes=tuple(Route(pattern=r.pattern, component=r.component) for r in self.routes),
            filters=self.filters,
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
        variables=model.variables,
        outbound=model.outbound,
        files=tuple(BundledFile(path=f.path, digest=Digest(f.digest), size_bytes=f.size_bytes) for f in model.files),
        reuse=Reuse(**model.reuse.model_dump()),
        configuration=model.configuration,
        fail_open=model.fail_open,
    )
