"""The contract of timeline steps: every file in the folder, found as the loader finds them."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pkgutil import iter_modules

import pytest

from edgesim.scenario import steps

NAMES = [info.name for info in iter_modules(steps.__path__)]
EXAMPLES = {
    "deploy": {"path": "app"},
    "drain": {"pop": "gru1"},
    "kill": {"pop": "gru1"},
    "latency": {"region": "apac", "add": 0.08, "jitter": 0.02, "for_": 15.0},
    "loss": {"pop": "gru1", "share": 0.05, "for_": 5.0, "from_": "origin"},
    "origin": {"status": 503, "for_": 0.5},
    "partition": {"region": "weur", "from_": "control-plane", "for_": 10.0},
    "restart": {"host": "host1"},
    "rollback": {},
    "undrain": {"pop": "gru1"},
}
TEXTS = {
    "deploy": "app",
    "drain": "pop gru1",
    "kill": "pop gru1",
    "latency": "region apac from clients +80ms to +100ms for 15s",
    "loss": "pop gru1 from origin 5% for 5s",
    "origin": "every origin answers 503 for 500ms",
    "partition": "region weur from control-plane for 10s",
    "restart": "host host1",
    "rollback": "the app to the version before",
    "undrain": "pop gru1",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_a_frozen_documented_dataclass_with_an_action(name: str) -> None:
    """A new file needs an example here, with how reports call it."""
    kind = import_module(f"edgesim.scenario.steps.{name}").Step

    step = kind(**EXAMPLES[name])

    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.__doc__
    assert isinstance(step.action(), steps.Action)
    assert str(step) == TEXTS[name]
    assert all(f.default is MISSING or isinstance(f.default, str | bool | int | float) for f in fields(kind))


@pytest.mark.parametrize("name", ["kill", "restart"])
@pytest.mark.parametrize("given", [{}, {"pop": "gru1", "host": "host1"}])
def test_exactly_one_target(name: str, given: dict[str, str]) -> None:
    """A PoP or a host, not both, not neither."""
    with pytest.raises(ValueError, match="exactly one of `pop` and `host`"):
        import_module(f"edgesim.scenario.steps.{name}").Step(**given)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("deploy", {"path": ""}, "`path` is empty"),
        ("drain", {"pop": ""}, "`pop` is empty"),
        ("undrain", {"pop": ""}, "`pop` is empty"),
        ("rollback", {"version": -1}, "versions are numbers from 1 on"),
        ("origin", {"for_": 1.0}, "exactly one of `refuse`, `status` and `latency`"),
        ("origin", {"for_": 1.0, "refuse": True, "status": 503}, "exactly one of `refuse`, `status` and `latency`"),
        ("origin", {"for_": 1.0, "status": 99}, "from 200 to 599"),
        ("origin", {"for_": 0.0, "refuse": True}, "`for` must be longer than nothing"),
        ("partition", {"for_": 0.0, "from_": "clients"}, "`for` must be longer than nothing"),
        ("partition", {"for_": 1.0, "from_": "clients", "pop": "a", "region": "b"}, "exclude each other"),
        ("latency", {"for_": 1.0}, "`add` or `jitter` is needed"),
        ("loss", {"for_": 1.0, "share": 1.0}, "between 0% and 100%"),
        ("loss", {"for_": 1.0, "share": 0.1, "from_": "control-plane"}, "use `latency` instead"),
    ],
)
def test_what_does_not_fit_together(name: str, given: dict[str, object], message: str) -> None:
    """Each says what is wrong, and after a semicolon what to write."""
    with pytest.raises(ValueError, match=message) as caught:
        import_module(f"edgesim.scenario.steps.{name}").Step(**given)

    assert "; " in str(caught.value)
