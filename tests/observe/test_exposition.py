"""The text format, read by prometheus_client's parser and checked by promtool."""

from __future__ import annotations

import subprocess

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from edgesim.live.metrics import RecorderCollector
from edgesim.observe import catalog
from edgesim.observe.exposition import chunks, render
from edgesim.observe.recorder import FilterValue, Recorder
from edgesim.observe.store import Store
from tests.support.events import traffic
from tests.support.tools import require_tool

POPS = ("fra1", "gru1", "nrt1")


def filled() -> Recorder:
    """A recorder that has seen some traffic."""
    recorder = Recorder(process="host1", version="0.1.0", python="3.11.2", started_s=1_760_000_000.5)
    for pop in POPS:
        recorder.add_pop(pop, slots=8)
    recorder.add_routes(POPS)
    for event in traffic(POPS, requests=100):
        recorder.handle(event)
    recorder.watch_filters(
        lambda: [FilterValue("fra1", "shop", "auth", kind, "seen", 3, 2) for kind in ("counter", "gauge", "histogram")]
    )
    recorder.loop_lag(0.0003)
    recorder.refused_document("fra1")
    return recorder


def test_the_parser_reads_what_the_collector_yields() -> None:
    """Text and collector have the same families, types, help and samples."""
    recorder = filled()

    parsed = list(text_string_to_metric_families(render(recorder.store)))
    collected = list(RecorderCollector(recorder).collect())

    assert [(f.name, f.type, f.documentation) for f in parsed] == [(f.name, f.type, f.documentation) for f in collected]
    for text, object_ in zip(parsed, collected, strict=True):
        assert {(s.name, *sorted(s.labels.items())): s.value for s in text.samples} == {
            (s.name, *sorted(s.labels.items())): s.value for s in object_.samples
        }
        assert len(text.samples) == len(object_.samples)


def test_every_metric_of_the_catalogue_is_written() -> None:
    """Traffic of a small edge fills all families but the one for overflows and those of load runs."""
    names = {family.metric.name for family in filled().store.families()}

    loads = {name for name, metric in catalog.CATALOG.items() if metric.scope == "load run"}

    assert names == set(catalog.CATALOG) - {catalog.LABEL_OVERFLOWS.name} - loads


def test_chunks_are_small_and_make_up_the_whole() -> None:
    """However it is cut, the text is the same, and no chunk is much longer than asked for."""
    store = filled().store

    pieces = list(chunks(store, lines_per_chunk=100))

    assert "".join(pieces) == render(store)
    assert max(piece.count("\n") for piece in pieces) < 200
    assert len(pieces) > 10


def test_children_may_appear_between_two_chunks() -> None:
    """A scrape goes on when requests make new series meanwhile."""
    recorder = filled()

    for number, _chunk in enumerate(chunks(recorder.store, lines_per_chunk=100)):
        recorder.store.number(catalog.REQUESTS, f"new{number}", "a", "ok", "fresh").value += 1
        recorder.store.histogram(catalog.REQUEST_DURATION, f"new{number}").record(0.1)


@given(
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))
)
def test_label_values_survive(value: str) -> None:
    """Backslashes, quotes and line feeds in a label come out as they went in."""
    store = Store()
    store.number(catalog.REQUESTS, "fra1", value or "x", "ok", "fresh").value = 3

    (family,) = text_string_to_metric_families(render(store))

    assert family.samples[0].labels["app"] == (value or "x")
    assert family.samples[0].value == 3


def test_promtool_has_nothing_to_say() -> None:
    """`promtool check metrics` accepts names, help, types and syntax without a remark."""
    promtool = require_tool("promtool")

    result = subprocess.run(
        [promtool, "check", "metrics"], input=render(filled().store), capture_output=True, text=True, timeout=30, check=False
    )  # fmt: skip

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
