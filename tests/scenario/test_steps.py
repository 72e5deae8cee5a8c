"""The contract of timeline steps: every file in the folder, found as the loader finds them."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pkgutil import iter_modules

import pytest

from edgesim.scenario import steps

NAMES = [info.name for info in iter_modules(steps.__path__)]
EXAMPLES = {"deploy": {"path": "app"}, "kill": {"pop": "gru1"}, "restart": {"host": "host1"}}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_a_frozen_documented_dataclass_with_an_action(name: str) -> None:
    """A new file needs an example here; its fields are text or flags, its text form is short."""
    kind = import_module(f"edgesim.scenario.steps.{name}").Step

    step = kind(**EXAMPLES[name])

    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.__doc__
    assert isinstance(step.action(), steps.Deploy | steps.Power)
    assert str(step)
    assert all(f.default is MISSING or isinstance(f.default, str | bool) for f in fields(kind))


@pytest.mark.parametrize("name", ["kill", "restart"])
@pytest.mark.parametrize("given", [{}, {"pop": "gru1", "host": "host1"}])
def test_exactly_one_target(name: str, given: dict[str, str]) -> None:
    """A PoP or a host, not both, not neither."""
    with pytest.raises(ValueError, match="exactly one of `pop` and `host`"):
        import_module(f"edgesim.scenario.steps.{name}").Step(**given)
