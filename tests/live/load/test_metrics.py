"""The metrics of a load run."""

from __future__ import annotations

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgesim.config.resources import resource_path
from edgesim.config.scenario import load_scenario
from edgesim.errors import PortInUseError
from edgesim.live.load.metrics import RunMetrics, serving
from edgesim.live.load.run import Progress
from edgesim.observe.exposition import render

SCENARIO = load_scenario(resource_path("scenarios/smoke.yaml"))


def progress(**changes):
    """A run in the middle of its second phase."""
    values = {
        "t_s": 3.0, "phase": 1, "sent": 30, "done": 4, "failed": 2, "dropped": 1, "in_flight": 5,
        "p50_s": 0.02, "p99_s": 0.09, "lag_p99_s": 0.001,
    }  # fmt: skip
    return Progress(**{**values, **changes})


def samples(metrics):
    """Values by name and labels without the scenario's name."""
    return {
        (sample.name, *(value for label, value in sample.labels.items() if label != "scenario")): sample.value
        for family in text_string_to_metric_families(render(metrics.store))
        for sample in family.samples
    }


def test_counters_exist_from_the_start():
    """At 0, so that the first scrape during the run shows an increase."""
    found = samples(RunMetrics(SCENARIO))

    for name in ("sent", "answered", "failed", "dropped"):
        assert found[f"edgesim_load_{name}_total",] == 0


def test_progress_adds_up():
    """What counts since the last progress is added up, what counts from the start is taken over."""
    metrics = RunMetrics(SCENARIO)
    metrics.progress(progress(sent=10, failed=0, dropped=0, phase=0))
    metrics.progress(progress())
    found = samples(metrics)

    assert found["edgesim_load_sent_total",] == 30
    assert found["edgesim_load_answered_total",] == 8
    assert found["edgesim_load_failed_total",] == 2
    assert found["edgesim_load_dropped_total",] == 1
    assert found["edgesim_load_in_flight",] == 5
    assert found["edgesim_load_response_seconds", "0.99"] == 0.09
    assert found["edgesim_load_lag_seconds", "0.99"] == 0.001
    phases = [phase.name for phase in SCENARIO.load.phases]
    assert [found["edgesim_load_phase", phase] for phase in phases] == [int(n == 1) for n in range(len(phases))]


def test_a_pause_keeps_the_last_quantiles():
    """No answer in half a second is no response time of 0."""
    metrics = RunMetrics(SCENARIO)
    metrics.progress(progress())
    metrics.progress(progress(p50_s=None, p99_s=None, lag_p99_s=None))

    assert samples(metrics)["edgesim_load_response_seconds", "0.5"] == 0.02


async def test_it_is_served_while_the_run_goes_on():
    """On loopback, in Prometheus' format, until the block ends; a port that is taken is a message."""
    metrics = RunMetrics(SCENARIO)
    metrics.progress(progress())
    async with serving(metrics, 0) as url, aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            text = await response.text()
        with pytest.raises(PortInUseError, match="cannot serve the run's metrics"):
            async with serving(metrics, int(url.split(":")[2].split("/")[0])):
                pass

        assert text == render(metrics.store)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)
