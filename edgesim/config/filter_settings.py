"""`[application.tool.edgesim] filters`, and what `[component.<id>.tool.edgesim]` says about a component that is a filter.

Spin ignores the `tool` tables of an application and of a component, so a manifest with filters still runs there, unfiltered.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import ConfigDict, Field, StrictStr

from edgesim.config.validation import FileModel, did_you_mean
from edgesim.config.yaml_source import clip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgesim.config.yaml_source import YamlSource
    from edgesim.errors import Problem

_AT: Final = ("application", "tool", "edgesim", "filters")


class FilterTable(FileModel):
    """The part of a component's table that only filters read. Every key is optional."""

    configuration: StrictStr | dict[str, Any] = ""
    """What the filter is configured with: text, or a table that it gets as JSON."""
    fail_open: bool = False
    """Whether a request goes on without the filter when it fails; else it ends with 502."""

    def configuration_text(self) -> str:
        """The configuration as the filter reads it."""
        return self.configuration if isinstance(self.configuration, str) else json.dumps(self.configuration)


class AppTable(FileModel):
    """`[application.tool.edgesim]`."""

    filters: Annotated[list[str], Field(max_length=16)] = Field(default_factory=list)
    """Components that every request passes, in this order, before worker or origin."""


class AppTools(FileModel):
    """Tables of tools: edgesim's own, and those of others, which are their business."""

    model_config = ConfigDict(extra="allow")

    edgesim: AppTable = AppTable()


def filters_in(data: Mapping[str, Any]) -> list[str]:
    """The filters that a raw manifest names; what has the wrong type is skipped."""
    found: Any = data
    for key in _AT:
        found = found.get(key) if isinstance(found, dict) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def filter_problems(source: YamlSource, components: Mapping[str, Any], routed: Sequence[Any]) -> Iterator[Problem]:
    """Filters that are not there, are named twice, or also have a route."""
    filters = filters_in(source.data)
    for i, name in enumerate(filters):
        at = (*_AT, i)
        if components and name not in components:
            hint = did_you_mean(name, components, what="components")
            yield source.problem(at, f"there is no component '{clip(name)}'", hint)
        elif name in filters[:i]:
            yield source.problem(at, f"the filter '{clip(name)}' is named twice", "a request passes a filter once")
        elif name in routed:
            message = f"the component '{clip(name)}' is a filter and has a route"
            yield source.problem(at, message, "a filter sees every request of its app: remove its [[trigger.http]]")
