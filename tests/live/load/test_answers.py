"""What answers say about themselves."""

from __future__ import annotations

import pytest

from edgesim.live.load.answers import attribution, server_timing
from edgesim.results.answered import Attribution


def test_the_front_doors_fields() -> None:
    """As the front door writes them."""
    headers = (
        ("x-edge-pop", "gru1"),
        ("x-edge-start", "absent; role=waiter"),
        ("server-timing", 'net;dur=12.500;desc="modelled network", execute;dur=0.250, total;dur=13.1'),
    )

    assert attribution(headers) == Attribution("gru1", "absent", "waiter", 0.0125, (("first_call", 0.00025),))


@pytest.mark.parametrize(
    ("start", "phases"),
    [
        ("disk; role=trigger", (("start", 0.004), ("load", 0.003), ("instantiate", 0.001), ("first_call", 0.002))),
        ("disk; role=boss", ()),
        ("fresh", ()),
        ("reused", ()),
    ],
)
def test_phases_belong_to_cold_starts(start: str, phases: tuple[tuple[str, float], ...]) -> None:
    """In their order; an answer of a warm worker has none, and unknown roles and entries make no new rows."""
    timing = "execute;dur=2, start;dur=4, load;dur=3, instantiate;dur=1, cpu;dur=9, evil;dur=5"

    assert attribution((("x-edge-start", start), ("server-timing", timing))).phases == phases


@pytest.mark.parametrize(
    ("value", "durations"),
    [
        ("net;dur=1.5", {"net": 1.5}),
        ("net ; DUR = 2", {"net": 2.0}),
        ('a;desc="x";dur="3.5", b', {"a": 3.5}),
        ("net;dur=fast, ;dur=1, =,", {}),
        ("", {}),
    ],
)
def test_server_timing(value: str, durations: dict[str, float]) -> None:
    """Malformed entries are left out."""
    assert server_timing(value) == durations


def test_foreign_answers() -> None:
    """A server that is no edge says nothing; hostile names are cut and cleaned."""
    assert attribution((("server", "x"),)) == Attribution("", "", "", None)
    assert attribution((("x-edge-pop", "a\x1b[31m" + "b" * 99),)).pop == "a[31m" + "b" * 58
