"""Damaged scenarios: whatever is in the file, the loader says what is wrong or loads it, and never fails itself."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from edgesim.config.resources import resource_path
from edgesim.config.scenario import parse_scenario
from edgesim.config.yaml_source import load_yaml
from edgesim.errors import ConfigError, EdgesimError

FOLDER = resource_path("scenarios")
WHOLE = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml"))]
JUNK = (
    None, 0, -1, 1e308, float("inf"), 10**20, True, "", "x", "{{", "{{ int(1, 2) }}", "{{ a.b }}", [], {}, [1], {"a": 1},
    "10s", "5%", "a" * 100, ["x", {}], {"min": 1, "max": "x"}, {"name": {}},
)  # fmt: skip
KEYS = ("foo", "at", "for", "name", "think", "json", "sessions", "feeders", "flashCrowd", "diurnal")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a document."""
    if path:
        yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def damage(document: Any, rng: random.Random) -> Any:
    """A copy with a few places replaced, removed, or with a key more."""
    out = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        *way, last = rng.choice(list(places(out)))
        inside = out
        for key in way:
            inside = inside[key]
        if rng.random() < 0.2:
            del inside[last]
        elif rng.random() < 0.2 and isinstance(inside, dict):
            inside[rng.choice(KEYS)] = copy.deepcopy(rng.choice(JUNK))
        else:
            inside[last] = copy.deepcopy(rng.choice(JUNK))
        if not out:
            break
    return out


@pytest.mark.parametrize("seed", range(8))
def test_damage_is_told(seed: int) -> None:
    """Every problem has a place and words; nothing but the errors of edgesim comes out."""
    rng = random.Random(seed)
    found = [error for _ in range(25) if (error := complaint(damage(rng.choice(WHOLE), rng))) is not None]

    assert found
    assert all(error.message for error in found)
    problems = [problem for error in found if isinstance(error, ConfigError) for problem in error.problems]
    assert problems
    assert all(problem.message and problem.line > 0 for problem in problems)


def complaint(document: Any) -> EdgesimError | None:
    """What the loader says of a document; None when it loads."""
    try:
        parse_scenario(load_yaml(yaml.safe_dump(document, allow_unicode=True), "damaged.yaml"), FOLDER)
    except EdgesimError as error:
        return error
    return None
