"""Names of things, as distinct types so that they are not mixed up."""

from __future__ import annotations

from typing import Final, Literal, NewType

PopId = NewType("PopId", str)
"""A PoP: lowercase IATA code and a digit, `gru1`."""
HostId = NewType("HostId", str)
"""A PoP host process: `host1`. It is also its shard and its login at the broker."""
AppName = NewType("AppName", str)
"""An app: a DNS label, since it answers at `http://<app>.localhost/`."""
Digest = NewType("Digest", str)
"""A sha256 in lowercase hex, 64 characters."""

NO_POP: Final = PopId("")

Start = Literal["", "absent", "disk", "fresh", "reused"]
"""How the worker was started for a request; empty when no guest ran (docs/cold-starts.md)."""
Role = Literal["", "trigger", "waiter"]
"""Who caused a cold start, and who queued behind it; empty for other starts."""
Outcome = Literal[
    "ok",
    "no_app",
    "no_pop",
    "unreachable",
    "queue_full",
    "queue_timeout",
    "deadline",
    "start_failed",
    "guest_error",
    "origin_error",
    "bad_request",
    "client_gone",
]
"""What became of a request. `ok` says that the worker or the origin answered, whatever its status."""
OUTCOMES: Final[tuple[Outcome, ...]] = (
    "ok",
    "no_app",
    "no_pop",
    "unreachable",
    "queue_full",
    "queue_timeout",
    "deadline",
    "start_failed",
    "guest_error",
    "origin_error",
    "bad_request",
    "client_gone",
)
STARTS: Final[tuple[Start, ...]] = ("absent", "disk", "fresh", "reused")

PhaseName = Literal["distribute", "fetch", "compile", "load", "shared", "warm_up", "instantiate", "init", "first_call"]
"""The phases of a cold start, in their order; `shared` replaces one that another PoP's start had already done."""
PHASES: Final[tuple[PhaseName, ...]] = (
    "distribute",
    "fetch",
    "compile",
    "load",
    "shared",
    "warm_up",
    "instantiate",
    "init",
    "first_call",
)
