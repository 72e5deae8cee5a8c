"""Variables of an app: Spin's `[variables]` with their defaults, and the templates of components that use them.

A template is text with `{{ name }}` in it. Values come from the defaults in the manifest alone: there are no providers, so a
required variable without a default cannot be deployed.

Source: Spin, "Dynamic and Runtime Application Configuration".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, StringConstraints

from edgesim.config.validation import FileModel, did_you_mean
from edgesim.config.yaml_source import clip
from edgesim.model.outbound import FORM, parse_allowed_host

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgesim.config.yaml_source import YamlSource
    from edgesim.errors import Problem

_TEMPLATE: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_GIVE: Final = "add it to [variables], with a default"
VariableName = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9]|_[a-z0-9])*$", max_length=128)]
Value = Annotated[str, StringConstraints(max_length=8 << 10, pattern=r"^[^\x00]*$")]


class Variable(FileModel):
    """One variable of the app."""

    default: Value | None = None
    required: bool = False
    secret: bool = False
    """Only taken in: values of variables are part of the release, and not hidden there."""


Variables = Annotated[dict[VariableName, Variable], Field(max_length=128)]
ComponentVariables = Annotated[dict[VariableName, Value], Field(max_length=128)]
Templates = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=512)]], Field(max_length=64)]
"""`allowed_outbound_hosts`: looked at by `variable_problems`, when the templates in them are known."""


def resolve(template: str, defaults: Mapping[str, str]) -> str:
    """The text of a template. Raises KeyError for a variable without a value."""
    return _TEMPLATE.sub(lambda found: defaults[found[1]], template)


def defaults_of(variables: Any) -> dict[str, str]:
    """The defaults in a `[variables]` table as it was read; what has another form is left out."""
    table = variables if isinstance(variables, dict) else {}
    found = {name: entry.get("default") for name, entry in table.items() if isinstance(entry, dict)}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def variable_problems(source: YamlSource) -> Iterator[Problem]:
    """Templates that name no variable with a value, and hosts that are none."""
    data = source.data
    variables = data.get("variables")
    declared = variables if isinstance(variables, dict) else {}
    defaults = defaults_of(variables)
    for name, entry in declared.items():
        if isinstance(entry, dict) and "default" not in entry:
            yield source.problem(
                ("variables", name),
                f"the variable '{clip(name)}' has no default, and there are no providers of variables yet",
                'write default = "…"',
                on_key=True,
            )
    components = data.get("component")
    for key, table in components.items() if isinstance(components, dict) else ():
        if not isinstance(table, dict):
            continue
        for at, template in _templates(key, table):
            missing = [name for name in _TEMPLATE.findall(template) if name not in defaults]
            undeclared = [name for name in missing if name not in declared]
            if undeclared:
                hint = did_you_mean(undeclared[0], declared, what="variables") if declared else _GIVE
                yield source.problem(at, f"there is no variable '{clip(undeclared[0])}'", hint)
            if not missing and "allowed_outbound_hosts" in at:
                yield from _host_problem(source, at, resolve(template, defaults))


def _templates(key: str, table: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every template of a component, with its place."""
    variables = table.get("variables")
    for name, text in variables.items() if isinstance(variables, dict) else ():
        if isinstance(text, str):
            yield ("component", key, "variables", name), text
    hosts = table.get("allowed_outbound_hosts")
    for i, text in enumerate(hosts if isinstance(hosts, list) else ()):
        if isinstance(text, str):
            yield ("component", key, "allowed_outbound_hosts", i), text


def _host_problem(source: YamlSource, at: tuple[str | int, ...], entry: str) -> Iterator[Problem]:
    """What is wrong with an entry of `allowed_outbound_hosts`."""
    try:
        parse_allowed_host(entry)
    except ValueError as exc:
        yield source.problem(at, clip(str(exc), 200), FORM)
