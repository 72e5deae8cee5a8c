"""The Prometheus text format, version 0.0.4, in chunks: a scrape must not create the latency that it reports.

`chunks` is a generator; between two chunks the caller lets the event loop run. One child (a histogram with all its lines) is
written in one go, so its buckets, count and sum belong together. prometheus_client writes the same samples, about ten times
slower and in one piece (benchmarks/scrape.py compares them in one run).
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from edgesim.observe.histogram import EDGES_S, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesim.observe.catalog import Metric
    from edgesim.observe.store import Labels, Number, Store

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LINES_PER_CHUNK: Final = 2000
"""About 0.3 ms of rendering."""

LE: Final = (*(repr(edge) for edge in EDGES_S), "+Inf")
"""Values of the label `le`, one per bucket."""
_ENDS: Final = tuple(f'le="{le}"}} ' for le in LE)


def chunks(store: Store, *, lines_per_chunk: int = LINES_PER_CHUNK) -> Iterator[str]:
    """The store in the text format, in pieces of about `lines_per_chunk` lines.

    The store may change between two pieces: children that appear meanwhile are left to the next scrape.
    """
    lines: list[str] = []
    for family in list(store.families()):
        metric = family.metric
        lines += (f"# HELP {metric.name} {_escape_help(metric.help)}", f"# TYPE {metric.name} {metric.kind}")
        children: list[tuple[Labels, Number | Histogram]] = list(family.children.items())
        for labels, child in children:
            if isinstance(child, Histogram):
                _histogram(lines, metric, labels, child)
            else:
                _number(lines, metric, labels, child)
            if len(lines) >= lines_per_chunk:
                lines.append("")
                yield "\n".join(lines)
                lines = []
    if lines:
        lines.append("")
        yield "\n".join(lines)


def render(store: Store) -> str:
    """The whole store in the text format."""
    return "".join(chunks(store))


def _histogram(lines: list[str], metric: Metric, labels: Labels, child: Histogram) -> None:
    pairs = _pairs(metric, labels)
    start = f"{metric.name}_bucket{{{pairs}," if pairs else f"{metric.name}_bucket{{"
    lines += [f"{start}{end}{count}" for end, count in zip(_ENDS, accumulate(child.counts), strict=True)]
    braces = f"{{{pairs}}}" if pairs else ""
    lines.append(f"{metric.name}_sum{braces} {child.sum_s!r}")
    lines.append(f"{metric.name}_count{braces} {child.count}")


def _number(lines: list[str], metric: Metric, labels: Labels, child: Number) -> None:
    pairs = _pairs(metric, labels)
    braces = f"{{{pairs}}}" if pairs else ""
    lines.append(f"{metric.name}{braces} {child.value!r}")


def _pairs(metric: Metric, labels: Labels) -> str:
    return ",".join(f'{name}="{escape_label(value)}"' for name, value in zip(metric.labels, labels, strict=True))


def escape_label(value: str) -> str:
    r"""`value` as it stands between the quotes of a label: backslash, quote and line feed are escaped."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
