"""What a timeline entry can do to the edge: one file per step, its name in YAML is the file's name.

A step is a frozen dataclass called `Step` whose fields are its YAML keys (`for_` is `for`, since that is a word of Python's).
Fields are text, flags, whole numbers, words of a `Literal`, a `Duration` or a `Share`, each with a default or required. A
step checks itself in `__post_init__` (ValueError: `what is wrong; what to write`), and says in `action` what is to be done.
Carrying actions out is the worlds' business, so a new kind of action needs them; a new step of a known kind does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, TypeAlias, runtime_checkable

Duration: TypeAlias = Annotated[float, "duration"]
"""Seconds; in YAML `500ms`, `30s` or `2m`."""
Share: TypeAlias = Annotated[float, "share"]
"""0 to 1; in YAML `5%`."""
Peer: TypeAlias = Literal["clients", "origin", "control-plane"]
"""The other end of a PoP's links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """Deploy the app in a folder, or a bare `.wasm` file. Done when its rollout is over."""

    path: str
    prefetch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """Have every PoP run an earlier version again. Done when that rollout is over."""

    app: str
    """Empty for the scenario's target."""
    version: int
    """0 for the version before the one in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Kill a PoP or a PoP host, or bring it back."""

    kind: Literal["pop", "host"]
    id: str
    verb: Literal["kill", "restart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steer:
    """Take a PoP out of service while it goes on with what it has (`drain`), or put it back (`undrain`)."""

    pop: str
    verb: Literal["drain", "undrain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakOrigin:
    """Have an origin fail for a time. Done when the time is over."""

    origin: str
    """Its name in the topology; empty for every origin."""
    for_s: float
    refuse: bool
    status: int
    """0 for its own answers."""
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakLink:
    """Disturb links of PoPs for a time. Done when the time is over."""

    pop: str
    region: str
    """With neither a PoP nor a region, every PoP."""
    peer: Peer
    for_s: float
    add_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    cut: bool = False


Action: TypeAlias = Deploy | Rollback | Power | Steer | BreakOrigin | BreakLink


@runtime_checkable
class Step(Protocol):
    """What each file in this folder defines under the name `Step`."""

    def action(self) -> Action:
        """What is to be done."""
        ...

    def __str__(self) -> str:
        """How reports call it, without the step's name."""
        ...


def exactly_one(pop: str, host: str) -> None:
    """Raise ValueError unless one of the two is given."""
    if bool(pop) == bool(host):
        raise ValueError("exactly one of `pop` and `host` is needed; write for example {pop: gru1} or {host: host1}")


def check_link(pop: str, region: str, for_s: float) -> None:
    """Raise ValueError when a link fault has two places, or no time."""
    if pop and region:
        raise ValueError("`pop` and `region` exclude each other; remove one, or both for every PoP")
    check_for(for_s)


def check_for(for_s: float) -> None:
    """Raise ValueError unless a fault lasts a while."""
    if not for_s > 0:
        raise ValueError("`for` must be longer than nothing; write for example for: 10s")


def where(pop: str, region: str) -> str:
    """The PoPs of a link fault, for reports."""
    return f"pop {pop}" if pop else f"region {region}" if region else "every pop"


def seconds(value: float) -> str:
    """A duration for reports: `250ms`, `10s`."""
    return f"{value * 1e3:g}ms" if value < 1 else f"{value:g}s"


__all__ = [
    "Action",
    "BreakLink",
    "BreakOrigin",
    "Deploy",
    "Duration",
    "Peer",
    "Power",
    "Rollback",
    "Share",
    "Steer",
    "Step",
    "check_for",
    "check_link",
    "exactly_one",
    "seconds",
    "where",
]
