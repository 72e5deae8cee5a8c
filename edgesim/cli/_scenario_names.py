"""Whether what a scenario names is there: PoPs, hosts, regions and origins of its timeline and its thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesim.config.validation import did_you_mean
from edgesim.errors import UsageError
from edgesim.scenario.steps import BreakLink, BreakOrigin, Power, Steer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgesim.scenario.spec import Scenario
    from edgesim.scenario.steps import Action


def check_names(scenario: Scenario, known: Mapping[str, set[str]], where: str) -> None:
    """Refuse a run that could only fail.

    Args:
        scenario: the scenario.
        known: names by kind: `pop`, `host`, `region`, `origin`; kinds that are not in it are not checked.
        where: what has those names, for the message: `this edge`.

    Raises:
        UsageError: naming what is missing.
    """
    for what, kind, name in _named(scenario):
        if kind in known and name not in known[kind]:
            hint = did_you_mean(name, known[kind], what=f"{kind}s of {where}")
            raise UsageError(f"{what} is about {kind} '{name}', which {where} has not", help=hint)


def _named(scenario: Scenario) -> Iterator[tuple[str, str, str]]:
    for entry in scenario.timeline:
        for kind, name in _of_action(entry.step.action()):
            yield "the timeline", kind, name
    for threshold in scenario.thresholds:
        for tag, name in threshold.tags:
            if tag in {"pop", "region"}:
                yield f"the threshold `{threshold.text}`", tag, name


def _of_action(action: Action) -> Iterator[tuple[str, str]]:
    """What an action is about, as far as it names anything."""
    match action:
        case Power():
            yield action.kind, action.id
        case Steer():
            yield "pop", action.pop
        case BreakLink():
            yield from ((kind, name) for kind, name in (("pop", action.pop), ("region", action.region)) if name)
        case BreakOrigin() if action.origin:
            yield "origin", action.origin
