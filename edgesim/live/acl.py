"""Who may do what on the bus: one list of rules, for mosquitto's file and for the embedded broker's checks.

Logins are `control`, each PoP host's id and `front-door`. A host can neither read another's documents nor forge desired
documents, reports or presences; signatures hold even where a broker checks nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from edgesim.core.desired import CONTROL_TOPIC, HEALTH_FILTER, PRESENCE_FILTER, REPORTED_FILTER

if TYPE_CHECKING:
    from collections.abc import Iterable

Access = Literal["read", "write", "readwrite"]
CONTROL_LOGIN: Final = "control"
FRONT_DOOR_LOGIN: Final = "front-door"
"""Logins of further front doors start with it."""


def rules(login: str) -> tuple[tuple[Access, str], ...]:
    """What a login may do, as access and topic filter."""
    if login == CONTROL_LOGIN:
        return (("readwrite", "es1/#"),)
    own: tuple[tuple[Access, str], ...] = (
        ("readwrite", f"es1/p/{login}"),
        ("read", CONTROL_TOPIC),
        ("read", "es1/purge"),
    )
    if login.startswith(FRONT_DOOR_LOGIN):
        return (*own, ("read", PRESENCE_FILTER), ("read", HEALTH_FILTER), ("read", REPORTED_FILTER))
    return (*own, ("read", f"es1/d/{login}/+"), ("write", f"es1/r/{login}/+"), ("write", f"es1/h/{login}"))


def allowed(login: str, access: Literal["read", "write"], topic: str) -> bool:
    """Whether a login may publish to a topic, or subscribe to a topic filter."""
    return any(access in granted and covers(pattern, topic) for granted, pattern in rules(login))


def covers(pattern: str, topic: str) -> bool:
    """Whether every topic that `topic` (a topic or a filter) stands for is matched by `pattern`."""
    have, want = pattern.split("/"), topic.split("/")
    for i, level in enumerate(have):
        if level == "#":
            return True
        if i >= len(want) or want[i] == "#" or (level != "+" and level != want[i]):
            return False
    return len(have) == len(want)


def mosquitto_file(logins: Iterable[str]) -> str:
    """The rules of some logins in the form of mosquitto's `acl_file`."""
    blocks = [
        "\n".join([f"user {login}", *(f"topic {access} {pattern}" for access, pattern in rules(login))])
        for login in logins
    ]
    return "\n\n".join(blocks) + "\n"
