"""Where metric values live: families of children, one child per combination of label values, bounded.

Looking a child up costs a dict access and some checks; callers on the hot path keep the child. Nothing is ever removed
except by `Family.clear` (gauges that are recomputed). Rendering is `exposition.py`.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from edgesim.observe.catalog import CATALOG, DEFAULT_LABEL_LIMIT, LABEL_LIMITS, LABEL_OVERFLOWS, NONE, OTHER, Metric
from edgesim.observe.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA: Final = "edgesim.stats/1"
Labels = tuple[str, ...]


class Number:
    """The value of a counter or gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


C = TypeVar("C", Number, Histogram)


class Family(Generic[C]):
    """One metric and its children by label values, in the order of `metric.labels`."""

    __slots__ = ("_limits", "_make", "_overflow", "_seen", "children", "metric")

    def __init__(self, metric: Metric, make: Callable[[], C], overflow: Callable[[str], None]) -> None:
        self.metric = metric
        self.children: dict[Labels, C] = {}
        self._make: Callable[[], C] = make
        self._overflow = overflow
        self._limits = tuple(LABEL_LIMITS.get(label, DEFAULT_LABEL_LIMIT) for label in metric.labels)
        self._seen: tuple[set[str], ...] = tuple(set() for _ in metric.labels)

    def child(self, *values: str) -> C:
        """The child with these label values, made at first use. Values beyond a label's limit become `OTHER`."""
        found = self.children.get(values)
        if found is not None:
            return found
        assert len(values) == len(self.metric.labels), (self.metric.name, values)
        labels = tuple(self._admit(index, value or NONE) for index, value in enumerate(values))
        found = self.children.get(labels)
        if found is None:
            found = self.children[labels] = self._make()
        return found

    def clear(self) -> None:
        """Forget all children, and the label values that were seen."""
        self.children.clear()
        for seen in self._seen:
            seen.clear()

    def _admit(self, index: int, value: str) -> str:
        seen = self._seen[index]
        if value not in seen:
            if len(seen) >= self._limits[index]:
                self._overflow(self.metric.labels[index])
                return OTHER
            seen.add(value)
        return value


class Store:
    """All families of the catalogue."""

    def __init__(self) -> None:
        self.numbers: dict[str, Family[Number]] = {}
        self.histograms: dict[str, Family[Histogram]] = {}
        for metric in CATALOG.values():
            if metric.kind == "histogram":
                self.histograms[metric.name] = Family(metric, Histogram, self._count_overflow)
            else:
                self.numbers[metric.name] = Family(metric, Number, self._count_overflow)

    def number(self, metric: Metric, *values: str) -> Number:
        """The counter or gauge of `metric` with these label values."""
        return self.numbers[metric.name].child(*values)

    def histogram(self, metric: Metric, *values: str) -> Histogram:
        """The histogram of `metric` with these label values."""
        return self.histograms[metric.name].child(*values)

    def families(self) -> Iterator[Family[Number] | Family[Histogram]]:
        """Families that have children, in the order of the catalogue."""
        for name in CATALOG:
            family = self.numbers.get(name) or self.histograms[name]
            if family.children:
                yield family

    def to_json(self, *, boot: str = "") -> dict[str, Any]:
        """What other processes need to merge this store into theirs, as JSON-able values.

        `boot` names this life of the process: its counters begin at 0 in the next one.
        `metrics` is a list of name, label values, and number or histogram. Histograms that are empty are left out.
        """
        return {"schema": SCHEMA, "boot": boot, "metrics": list(self._states())}

    def json_chunks(self, *, boot: str = "", per_chunk: int = 200) -> Iterator[str]:
        """The text of `to_json` in pieces of `per_chunk` values, so that an event loop can run in between."""
        yield f'{{"schema": "{SCHEMA}", "boot": {json.dumps(boot)}, "metrics": ['
        states = self._states()
        separator = ""
        while piece := list(islice(states, per_chunk)):
            yield separator + json.dumps(piece)[1:-1]
            separator = ", "
        yield "]}"

    @classmethod
    def from_json(cls, state: object) -> Store:
        """The store that `to_json` wrote; metrics that this version does not know are left out.

        Raises:
            ValueError: the state has another schema, or is not shaped like one.
        """
        if not isinstance(state, dict) or state.get("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        self = cls()
        try:
            for name, labels, value in state["metrics"]:
                metric = CATALOG.get(name)
                if metric is None or not metric.mergeable:
                    continue
                if len(labels) != len(metric.labels) or not all(isinstance(label, str) for label in labels):
                    raise ValueError(f"labels of {name}: {labels!r}")
                if metric.kind == "histogram":
                    self.histogram(metric, *labels).merge(Histogram.from_json(value))
                else:
                    self.number(metric, *labels).value += value
        except (AttributeError, KeyError, TypeError) as exc:
            raise ValueError(f"malformed {SCHEMA}: {exc!r}") from exc
        return self

    def merge(self, other: Store, *, gauges: bool = True) -> None:
        """Add the values of another process's store, where adding makes sense; its gauges only if asked for."""
        for name, numbers in other.numbers.items():
            if numbers.metric.mergeable and (gauges or numbers.metric.kind != "gauge"):
                for labels, number in numbers.children.items():
                    self.numbers[name].child(*labels).value += number.value
        for name, histograms in other.histograms.items():
            for labels, histogram in histograms.children.items():
                self.histograms[name].child(*labels).merge(histogram)

    def _states(self) -> Iterator[list[Any]]:
        for family in list(self.families()):
            if not family.metric.mergeable:
                continue
            children: list[tuple[Labels, Number | Histogram]] = list(family.children.items())
            for labels, child in children:
                if isinstance(child, Number):
                    yield [family.metric.name, list(labels), child.value]
                elif any(child.counts):
                    yield [family.metric.name, list(labels), child.to_json()]

    def _count_overflow(self, label: str) -> None:
        self.numbers[LABEL_OVERFLOWS.name].child(label).value += 1
