"""How long an instance lives, as people write it in `[component.<id>.tool.edgesim]`: numbers, or Spin's ranges.

Names, forms and meaning are those of `spin up --max-instance-reuse-count` and its siblings (Spin 4, `trigger-http`), which
took them from `wasmtime serve`: a value, or a range `1..8` from which each new instance draws; as in Rust, the end of a range
is not in it. Spin's own manifest has no such keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from edgesim.config.units import parse_duration, show_duration
from edgesim.config.validation import FileModel
from edgesim.config.yaml_source import clip
from edgesim.model.worker import Reuse

if TYPE_CHECKING:
    from collections.abc import Callable

USES_MAX: Final = 1_000_000
IDLE_MAX_S: Final = 86_400.0
_COUNT_HELP: Final = f"write 8, or a range such as 1..8, which ends with 7; from 1 to {USES_MAX}"
_IDLE_HELP: Final = (
    f"write 500ms or 30s, or a range such as 1s..8s; from 0s to {show_duration(IDLE_MAX_S)}; a bare number is seconds"
)


def parse_count(value: object) -> tuple[int, int]:
    """The lowest and the highest count of `8`, `"8"` or `"1..8"` (1 to 7). Raises PydanticCustomError."""
    start, end = _ends(value, _whole, "count", _COUNT_HELP)
    if end is None:
        return start, start
    if start >= end:
        raise _error(f"there is no count in the range {clip(value)}", _COUNT_HELP)
    return start, end - 1


def parse_idle(value: object) -> tuple[float, float]:
    """The bounds in seconds of `30`, `"500ms"`, `"1s..8s"` or `"1..8s"`. Raises PydanticCustomError."""
    start, end = _ends(value, _seconds, "duration", _IDLE_HELP)
    if end is None:
        return start, start
    if start >= end:
        raise _error(f"there is no duration in the range {clip(value)}", _IDLE_HELP)
    return start, end


def _ends(
    value: object,
    read: Callable[[object], Any],
    what: str,
    help: str,  # noqa: A002 - the CLI's word
) -> tuple[Any, Any]:
    """Both ends of a range as `read` understands them; the second is None for a single value."""
    ends = value.strip().split("..", 1) if isinstance(value, str) else [value]
    try:
        return read(ends[0]), read(ends[1]) if len(ends) == 2 else None
    except ValueError:
        shown = "nothing" if value is None else f"'{clip(value)}'"
        raise _error(f"{shown} is not a {what} or a range of them", help) from None


def _whole(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(USES_MAX)):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= USES_MAX:
        raise ValueError
    return value


def _seconds(value: object) -> float:
    bare = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15
    seconds = parse_duration(float(value) if bare and isinstance(value, str) else value)
    if seconds > IDLE_MAX_S:
        raise ValueError
    return seconds


def _error(message: str, help: str) -> PydanticCustomError:  # noqa: A002 - the CLI's word
    return PydanticCustomError("reuse", "{message}", {"message": message, "help": help})


Counts = Annotated[tuple[int, int], BeforeValidator(parse_count)]
Idle = Annotated[tuple[float, float], BeforeValidator(parse_idle)]


class ReuseTable(FileModel):
    """The keys as they stand in the file. What is not given is a fresh instance for each request."""

    max_instance_reuse_count: Counts = Reuse().max_instance_reuse_count
    max_instance_concurrent_reuse_count: Counts = Reuse().max_instance_concurrent_reuse_count
    idle_instance_timeout: Idle = Reuse().idle_instance_timeout_s

    def reuse(self) -> Reuse:
        """The value."""
        return Reuse(
            max_instance_reuse_count=self.max_instance_reuse_count,
            max_instance_concurrent_reuse_count=self.max_instance_concurrent_reuse_count,
            idle_instance_timeout_s=self.idle_instance_timeout,
        )
