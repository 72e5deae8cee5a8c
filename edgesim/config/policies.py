"""Policies that a world file names: scaling and eviction, with their parameters, checked against the policies' own fields.

Written `{policy: keep-warm, count: 2}`, or `keep-warm` alone. A parameter is a field of the policy; a field `after_s` is written
`after` as a duration. A policy's bounds are in its fields' metadata. Also makes a PoP with the policies that its values name.
"""

from __future__ import annotations

from dataclasses import Field, fields
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from edgesim.config import registry
from edgesim.config.units import Form, parse_duration, show_duration
from edgesim.config.validation import did_you_mean
from edgesim.config.yaml_source import clip
from edgesim.core.pop import Pop
from edgesim.model.topology import PolicySpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesim.config.yaml_source import YamlSource
    from edgesim.errors import Problem
    from edgesim.model.topology import PopSpec
    from edgesim.policies.eviction._base import EvictionPolicy
    from edgesim.policies.scaling._base import ScalingPolicy

PACKAGES: Final = {"scaling": "edgesim.policies.scaling", "eviction": "edgesim.policies.eviction"}
"""Key in the file to the family of policies."""


def _choice(value: Any) -> Any:
    """A name, or a mapping that has one. What is in it is `policy_problems`' business."""
    if isinstance(value, str) or (isinstance(value, dict) and isinstance(value.get("policy"), str)):
        return value
    shown = "a mapping without `policy`" if isinstance(value, dict) else f"'{clip(str(value))}'"
    context = {"shown": shown, "help": "write {policy: keep-warm, count: 2}, or the policy's name alone"}
    raise PydanticCustomError("policy", "{shown} names no policy", context)


PolicyChoice = Annotated[Any, AfterValidator(_choice), Form("a policy's name, or a mapping {policy: …}")]
"""A policy as people write it."""


def make_pop(spec: PopSpec) -> Pop:
    """A PoP with the policies that its description names."""
    return Pop(
        spec,
        scaling=cast("ScalingPolicy", make_policy("scaling", spec.scaling)),
        eviction=cast("EvictionPolicy", make_policy("eviction", spec.eviction)),
    )


def make_policy(family: str, spec: PolicySpec) -> object:
    """The policy that a value names. Raises UsageError when there is none of this name."""
    return registry.find(PACKAGES[family], spec.policy)(**dict(spec.params))


def policy_spec(family: str, value: Any) -> PolicySpec:
    """The value of a choice without mistakes."""
    name, given = _split(value)
    policy = registry.load(PACKAGES[family])[name]
    return PolicySpec(policy=name, params=tuple((f.name, _read(f, given[key])) for key, f in _keys(policy, given)))


def policy_problems(source: YamlSource, path: tuple[str | int, ...], part: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong with the policies that a mapping at `path` names: their names, their parameters' names and values."""
    for family in PACKAGES:
        if part.get(family) is not None:
            yield from _problems(source, (*path, family), family, part[family])


def _problems(source: YamlSource, path: tuple[str | int, ...], family: str, value: Any) -> Iterator[Problem]:
    try:
        name, given = _split(_choice(value))
    except PydanticCustomError:
        return  # reported by its form
    policies = registry.load(PACKAGES[family])
    at = (*path, "policy") if isinstance(value, dict) else path
    if name not in policies:
        hint = did_you_mean(name, policies, what=f"{family} policies")
        yield source.problem(at, f"no {family} policy '{clip(name)}'", hint)
        return
    policy = policies[name]
    known = {_key(f): f for f in fields(policy)}
    for key, written in given.items():
        if key not in known:
            hint = did_you_mean(str(key), known, what="parameters") or "it has no parameters"
            message = f"{name} has no parameter '{clip(str(key))}'"
            yield source.problem((*path, key), message, hint, on_key=True)
            continue
        try:
            _read(known[key], written)
        except PydanticCustomError as exc:
            yield source.problem((*path, key), exc.message(), str((exc.context or {}).get("help", "")))


def _split(value: Any) -> tuple[str, dict[str, Any]]:
    """Name and parameters as written."""
    if isinstance(value, str):
        return value, {}
    return value["policy"], {key: each for key, each in value.items() if key != "policy"}


def _keys(policy: type, given: dict[str, Any]) -> Iterator[tuple[str, Field[Any]]]:
    return ((_key(f), f) for f in fields(policy) if _key(f) in given)


def _key(parameter: Field[Any]) -> str:
    """How a parameter is written."""
    return parameter.name.removesuffix("_s")


def _read(parameter: Field[Any], written: Any) -> float:
    """A parameter's value. Raises PydanticCustomError with the expected form."""
    seconds = parameter.name.endswith("_s")
    low, high = parameter.metadata["ge"], parameter.metadata["le"]
    show = show_duration if seconds else str
    form = f"{'a duration' if seconds else 'a whole number'} from {show(low)} to {show(high)}"
    if seconds:
        value = parse_duration(written)
    elif isinstance(written, int) and not isinstance(written, bool):
        value = written
    else:
        context = {"shown": clip(str(written)), "form": form}
        raise PydanticCustomError("policy", "expected {form}, not '{shown}'", context)
    if not low <= value <= high:
        context = {"shown": show(value), "word": "least" if value < low else "most", "help": form}
        context["limit"] = show(low if value < low else high)
        raise PydanticCustomError("policy", "{shown}: must be at {word} {limit}", context)
    return value
