"""`[component.<id>.tool.edgesim]`: limits of a worker as people write them, alone or over a platform's published ones.

The bounds are `model.worker.LIMIT_BOUNDS`, the profiles are `model.profiles`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from edgesim.config.releases import bounds
from edgesim.config.units import Bytes, Seconds
from edgesim.config.validation import FileModel
from edgesim.config.yaml_source import clip
from edgesim.errors import UsageError
from edgesim.model.profiles import PROFILES, Profile
from edgesim.model.worker import STACK_BYTES, Limits


def find_profile(name: str) -> Profile:
    """The profile of this name. Raises UsageError."""
    profile = PROFILES.get(name)
    if profile is None:
        raise UsageError(f"no limits profile '{clip(name)}'", help=f"there are {', '.join(PROFILES)}")
    return profile


def _known_profile(value: str) -> str:
    try:
        find_profile(value)
    except UsageError as exc:
        context = {"message": exc.message, "help": exc.help}
        raise PydanticCustomError("manifest", "{message}", context) from None
    return value


def _stack(value: object) -> None:
    size = f"{STACK_BYTES >> 10}KiB"
    context = {
        "message": f"the stack cannot be set to '{clip(value)}': it is {size} for every worker",
        "help": "wasmtime sets it per engine, and all workers of a process share one; remove the key",
    }
    raise PydanticCustomError("manifest", "{message}", context)


class LimitsTable(FileModel):
    """The table as it stands in the file. Every key is optional."""

    profile: Annotated[str, AfterValidator(_known_profile)] | None = None
    """A platform whose published limits are the defaults of the other keys."""
    memory: Annotated[Bytes, bounds("memory_bytes")] | None = None
    memories: Annotated[int, bounds("memories")] | None = None
    tables: Annotated[int, bounds("tables")] | None = None
    table_elements: Annotated[int, bounds("table_elements")] | None = None
    instances: Annotated[int, bounds("instances")] | None = None
    startup_ms: Annotated[float, bounds("startup_ms", strict=False)] | None = None
    cpu_ms: Annotated[float, bounds("cpu_ms", strict=False)] | None = None
    wall: Annotated[Seconds, bounds("wall_s")] | None = None
    body: Annotated[Bytes, bounds("body_bytes")] | None = None
    response: Annotated[Bytes, bounds("response_bytes")] | None = None
    log: Annotated[Bytes, bounds("log_bytes")] | None = None
    subrequests: Annotated[int, bounds("subrequests")] | None = None
    stack: Annotated[Any, AfterValidator(_stack), Field(exclude=True)] = None

    def limits(self, profile: str | None = None) -> Limits:
        """The limits that this asks for.

        Args:
            profile: a profile that is named on the command line; the table's own keys win over it, its profile does not.
        """
        name = profile or self.profile
        base = Limits() if name is None else PROFILES[name].over(Limits())
        keys = {*LimitsTable.model_fields} - {"profile", "stack"}
        given = {
            _FIELDS.get(key, key): value for key, value in self.model_dump(include=keys, exclude_none=True).items()
        }
        return replace(base, **given)


_FIELDS = {
    "memory": "memory_bytes",
    "wall": "wall_s",
    "body": "body_bytes",
    "response": "response_bytes",
    "log": "log_bytes",
}
"""Keys of the file whose names in `Limits` end in a unit."""
