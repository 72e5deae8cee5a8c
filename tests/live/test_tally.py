"""What requests cost in all."""

from __future__ import annotations

from edgesim.live.tally import Served, Tally
from edgesim.model.profiles import PROFILES, judge


def served(**values):
    """A request whose guest has run."""
    return Served(method="GET", target="/", status=200, ran=True, **values)


def test_medians_and_maxima():
    """Of what ran; failures count, and what never ran costs nothing."""
    tally = Tally("c", "wagi", 1000, 65536)
    for cpu_s in (0.001, 0.002, 0.060):
        tally.add(served(cpu_s=cpu_s, start_cpu_s=0.001, wall_s=0.1, memory_bytes=1 << 20, response_bytes=7))
    tally.add(Served(method="GET", target="/", status=503, error="E0501: full"))
    usage = tally.usage()

    assert (tally.requests, tally.failed) == (4, 1)
    assert (tally.cpu_p50_s, tally.cpu_max_s, tally.wall_p50_s) == (0.002, 0.060, 0.1)
    assert (usage.startup_ms, usage.memory_bytes, usage.response_bytes) == (1.0, 1 << 20, 7)
    assert round(usage.cpu_ms or 0, 6) == 59
    assert "one request used 60 ms of CPU time and the limit is 50 ms" in judge(PROFILES["fastly"], usage).line


def test_before_any_request_only_the_file_is_known():
    """Nothing is said of what has not been measured."""
    usage = Tally("c", "wagi", 1000, 65536).usage()

    assert (usage.bundle_bytes, usage.memory_at_start_bytes, usage.cpu_ms, usage.requests) == (1000, 65536, None, 0)
    assert Tally("c", "wagi", 1, 1).cpu_p50_s is None
