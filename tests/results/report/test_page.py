"""The page as text: small, complete, and without anything of others."""

import base64
import hashlib
import re

import pytest

from edgesim.results.report import render
from tests.results.report.documents import EVIL, assets, document

SIZE_MAX_BYTES = 200_000


def test_a_run_over_300_pops_is_a_small_file():
    """Everything inlined, under 200 KB."""
    page = render(document(), assets())

    assert len(page.encode()) < SIZE_MAX_BYTES


def test_nothing_is_fetched():
    """No element that loads something, no style that does, and a policy that forbids both."""
    page = render(document(pops=3), assets())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)

    assert re.findall(r"<(?:link|img|iframe|object|embed|base|a)\b|\bsrc=|@import|url\(", page) == []
    assert "default-src &#x27;none&#x27;" in policy
    assert "unsafe-eval" not in policy
    assert re.findall(r"script-src ([^;]*)", policy.replace("&#x27;", "'"))[0].count("'sha256-") == 2


def test_the_policy_names_the_scripts_that_are_there():
    """A browser would run no other."""
    page = render(document(pops=3), assets())
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]

    assert len(hashes) == 2
    assert all(f"sha256-{value}" in page for value in hashes)


def test_names_of_users_are_text():
    """Wherever a name comes from: scenario, phases, PoPs, checks, labels, errors, command."""
    summary = document(pops=3, name=EVIL)
    summary["timeline_failures"] = summary["left_down"] = summary["left_drained"] = summary["unchecked"] = [EVIL]
    summary["aborted"] = EVIL
    summary["populations"][0]["name"] = summary["requests"][0]["name"] = EVIL
    summary["thresholds"][0]["check"] = summary["timeline"][0]["label"] = EVIL
    summary["pops"][0]["pop"] = summary["places"]["pops"][0]["city"] = EVIL
    summary["starts"][EVIL] = summary["statuses"][EVIL] = summary["totals"]["outcomes"][EVIL] = 1
    summary["cold_starts"][0]["phase"] = summary["cold_starts"][0]["role"] = EVIL
    summary["incidents"][0]["label"] = EVIL
    summary["run"]["profile"] = {EVIL: EVIL}
    summary["run"]["versions"] = {EVIL: EVIL}

    page = render(summary, assets())

    assert "<script>window" not in page
    assert "<img" not in page
    assert page.count("<script") == 3


@pytest.mark.parametrize(("world", "lag"), [("live", True), ("simulated", False)])
def test_only_live_runs_have_a_generator(world, lag):
    """A simulated run has no lag to show, but a profile."""
    page = render(document(pops=3, world=world), assets())

    assert ('id="chart-lag"' in page) is lag
    assert ("Profile: name" in page) is not lag


def test_what_is_vendored_says_whose_it_is():
    """Licences travel with the file."""
    page = render(document(pops=3), assets())

    assert "uPlot (v1.6.32)" in page
    assert "Copyright (c) 2022 Leon Sorokin" in page
    assert "Michael Bostock" in page


def test_a_run_without_anything_is_a_page_too():
    """No thresholds, no PoPs, no timeline, nothing timed."""
    summary = document(pops=2)
    summary |= {
        "thresholds": [],
        "pops": [],
        "places": {"pops": []},
        "incidents": [],
        "timeline": [],
        "cold_starts": [],
        "series": {},
    }
    summary["starts"] = {}

    assert "no thresholds" in render(summary, assets())


def test_replications_are_shown():
    """Means with their confidence intervals, each in its unit; none when there was one run."""
    summary = document(pops=3, world="simulated")
    before = render(summary, assets())
    figures = [
        {"figure": "response p99", "unit": "s", "mean": 0.1234, "half_width": 0.0056},
        {"figure": "cold starts", "unit": "count", "mean": 12.5, "half_width": None},
    ]
    summary["replications"] = {"count": 5, "confidence": 0.95, "figures": figures}
    page = render(summary, assets())

    assert "Replications" not in before
    for text in ("5 runs", "95 % confidence", "response p99", "123 ms", "\N{PLUS-MINUS SIGN} 5.60 ms", "12.5"):
        assert text in page


def test_a_place_served_by_many_pops_names_some():
    """A long list is cut, and says so."""
    page = render(document(pops=40), assets())

    assert re.search(r" and \d+ more PoPs<", page)


def test_what_makes_a_run_worth_less_is_said():
    """Above everything but the verdict."""
    summary = document(pops=3)
    before = render(summary, assets())
    summary |= {
        "aborted": "http.error_rate < 1%",
        "left_down": ["host host2"],
        "left_drained": ["gru1"],
        "unchecked": ["the body"],
    }
    page = render(summary, assets())

    assert "Ended early" not in before
    for text in (
        "Ended early: http.error_rate &lt; 1%",
        "host host2 was still down",
        "pop gru1 was still drained",
        "simulated: the body",
    ):
        assert text in page


def test_a_phase_has_one_colour_in_the_bars_of_all_roles():
    """Also where a role lacks the phases before it."""
    summary = document(pops=3)
    triggers = [dict(row, role="trigger") for row in summary["cold_starts"] if row["role"] == "trigger"]
    waiters = [dict(row, role="waiter") for row in triggers if row["phase"] != "fetch"]
    summary["cold_starts"] = triggers + waiters

    keys = re.findall(r'<span><i class="(c\d)"></i>(\w+) ', render(summary, assets()))

    assert len(keys) == 5
    assert len({phase for _, phase in keys}) == len(set(keys)) == 3
