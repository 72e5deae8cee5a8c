"""Finds policies by file name: a policy is one file that defines a class `Policy`; there is no list to edit.

A policy is named as its file, with dashes for underscores: `keep_warm.py` is `keep-warm`.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from edgesim.config.validation import did_you_mean
from edgesim.errors import UsageError


def names(package: str) -> tuple[str, ...]:
    """The policies of a family (`edgesim.policies.routing`) by name, sorted; files with a leading underscore are none."""
    path = import_module(package).__path__
    files = (info.name for info in pkgutil.iter_modules(path) if not info.name.startswith("_"))
    return tuple(sorted(file.replace("_", "-") for file in files))


@cache
def load(package: str) -> dict[str, type]:
    """Every policy of a family, name to class.

    Args:
        package: `edgesim.policies.routing`.
    """
    policies: dict[str, type] = {}
    for name in names(package):
        policy = import_module(f"{package}.{name.replace('-', '_')}").Policy
        assert isinstance(policy, type), f"{package}.{name}.Policy is not a class"
        assert getattr(policy, "name", None) == name, f"{package}.{name}.Policy must be called '{name}', as its file"
        policies[name] = policy
    return policies


def find(package: str, name: str) -> type:
    """The policy `name` of a family.

    Raises:
        UsageError: there is none with this name.
    """
    known = load(package)
    if name not in known:
        kind = package.rpartition(".")[2]
        raise UsageError(f"no {kind} policy '{name}'", help=did_you_mean(name, known, what=f"{kind} policies"))
    return known[name]
