"""What a dashboard is made of, and the PromQL that its panels have in common.

Metrics come from `edgesim/observe/catalog.py`, so a renamed one cannot be forgotten here. How a board becomes Grafana's JSON is
`grafana.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edgesim.observe import catalog
from edgesim.observe.summary import NOT_ERRORS

if TYPE_CHECKING:
    from edgesim.observe.catalog import Metric

SINCE_START: Final = (
    " Cold starts are too rare for a rate: this counts all since the processes started, as `edgesim pops list` does."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel: a query for each legend, all with the same unit."""

    title: str
    description: str
    unit: str
    """Grafana's unit id: `s`, `reqps`, `short`, `bytes`, `percentunit`."""
    queries: tuple[tuple[str, str], ...]
    """Legend and PromQL."""
    kind: Literal["timeseries", "table", "stat"] = "timeseries"
    width: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """Something that the reader chooses: values of a label, several at a time."""

    name: str
    label: str
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard."""

    name: str
    """Its file is `edgesim-<name>.json`, and so is its uid."""
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


REGION: Final = Variable(name="region", label="Region", query=f"label_values({catalog.POP_INFO.name}, region)")
POP: Final = Variable(name="pop", label="PoP", query=f'label_values({catalog.POP_INFO.name}{{region=~"$region"}}, pop)')
"""The PoPs of the chosen regions: panels filter by PoP alone."""
APP: Final = Variable(name="app", label="App", query=f"label_values({catalog.FRONT_DOOR_REQUESTS.name}, app)")
VERSION: Final = Variable(
    name="version", label="Version", query=f'label_values({catalog.VERSION_REQUESTS.name}{{app=~"$app"}}, version)'
)
SCENARIO: Final = Variable(name="scenario", label="Scenario", query=f"label_values({catalog.LOAD_SENT.name}, scenario)")

AT_POP: Final = '{pop=~"$pop"}'
AT_POP_OF_APP: Final = '{pop=~"$pop", app=~"$app"}'
OF_APP: Final = '{app=~"$app"}'
OF_VERSION: Final = '{app=~"$app", version=~"$version"}'

_ERRORS: Final = f'outcome!~"{"|".join(sorted(NOT_ERRORS))}"'
_REGIONS: Final = f"on (pop) group_left (region) max by (pop, region) ({catalog.POP_INFO.name})"
"""The right side of a join that gives a PoP's series the label `region`."""


def rate(metric: Metric, by: str, where: str = AT_POP) -> str:
    """A counter's increase per second, by labels; by nothing when `by` is empty."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric.name}{where}[$__rate_interval]))"


def rate_by_region(metric: Metric, where: str = AT_POP) -> str:
    """The same by region."""
    return f"sum by (region) ({rate(metric, 'pop', where)} * {_REGIONS})"


def quantile(q: float, metric: Metric, by: str, where: str = AT_POP) -> str:
    """A histogram's quantile over the rate interval, by labels."""
    le = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({le}) (rate({metric.name}_bucket{where}[$__rate_interval])))"


def quantile_by_region(q: float, metric: Metric, where: str = AT_POP) -> str:
    """The same by region."""
    by_pop = f"sum by (le, pop) (rate({metric.name}_bucket{where}[$__rate_interval]))"
    return f"histogram_quantile({q}, sum by (le, region) ({by_pop} * {_REGIONS}))"


def quantile_since_start(q: float, metric: Metric, by: str, where: str = AT_POP) -> str:
    """A histogram's quantile since the processes started, by labels."""
    return f"histogram_quantile({q}, sum by (le, {by}) ({metric.name}_bucket{where}))"


def quantile_since_start_by_region(q: float, metric: Metric, where: str = AT_POP) -> str:
    """The same by region."""
    by_pop = f"sum by (le, pop) ({metric.name}_bucket{where})"
    return f"histogram_quantile({q}, sum by (le, region) ({by_pop} * {_REGIONS}))"


def gauge(metric: Metric, by: str = "pop", where: str = AT_POP) -> str:
    """A gauge, added up by labels."""
    return f"sum by ({by}) ({metric.name}{where})"


def failed_share(metric: Metric, by: str, where: str) -> str:
    """Requests that ended with an error of worker, origin or edge, as a share of all. 0 where none has failed."""
    failed = rate(metric, by, where.replace("}", f", {_ERRORS}}}"))
    every = rate(metric, by, where)
    none_failed = f"{every} * 0" if by else "vector(0)"
    return f"({failed} or {none_failed}) / {every}"
