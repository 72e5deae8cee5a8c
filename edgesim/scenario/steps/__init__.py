"""What a timeline entry can do to the edge: one file per step, its name in YAML is the file's name.

A step is a frozen dataclass called `Step` whose fields (text or a flag, each with a default or required) are its YAML keys.
It checks itself in `__post_init__` (ValueError: `what is wrong; what to write`), and says in `action` what is to be done.
Carrying actions out is the worlds' business, so a new kind of action needs them; a new step of a known kind does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """Deploy the app in a folder, or a bare `.wasm` file."""

    path: str
    prefetch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Kill a PoP or a PoP host, or bring it back."""

    kind: Literal["pop", "host"]
    id: str
    verb: Literal["kill", "restart"]


Action: TypeAlias = Deploy | Power


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


__all__ = ["Action", "Deploy", "Power", "Step", "exactly_one"]
