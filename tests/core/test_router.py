"""Choosing among ranked PoPs, and the retry budget."""

from __future__ import annotations

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from edgesim.core import router as router_module
from edgesim.core.health import HealthTable
from edgesim.core.router import RetryBudget, Router
from edgesim.model.geo import LatLon, Place
from edgesim.model.topology import HealthSpec, RetrySpec
from tests.support.request_path import BERLIN, FRA, GRU, LHR, Nearest, request, spec


class Counting(Nearest):
    """Counts how often it is asked."""

    calls = 0

    def rank(self, client, pops):
        """As Nearest."""
        self.calls += 1
        return super().rank(client, pops)


def router(policy=None, **states):
    """A router over three PoPs with these states."""
    specs = [spec(FRA), spec(LHR), spec(GRU)]
    health = HealthTable([s.id for s in specs], HealthSpec())
    for pop in (FRA, LHR, GRU):
        state = states.get(str(pop), "ready")
        if state == "down":
            health.fail(pop, 0.0)
        else:
            health.beat(pop, state, 0.0)
    return Router(policy or Nearest(), specs, health)


def test_the_best_that_is_up_and_not_tried():
    """By rank, without those that are out or had their chance."""
    assert router().choose(request(), 0.0) == FRA
    assert router().choose(request(failed=[FRA]), 0.0) == LHR
    assert router(fra1="down").choose(request(), 0.0) == LHR
    assert router(fra1="starting", lhr1="draining").choose(request(), 0.0) == GRU


def test_it_fails_open():
    """None up: the best one that does not drain, since a stale table must not turn an edge off."""
    assert router(fra1="draining", lhr1="down", gru1="down").choose(request(), 0.0) == LHR
    assert router(fra1="down", lhr1="down", gru1="down").choose(request(failed=[FRA]), 0.0) == LHR
    assert router(fra1="draining", lhr1="draining", gru1="draining").choose(request(), 0.0) is None
    assert router().choose(request(failed=[FRA, LHR, GRU]), 0.0) is None
    assert router().choose(request(pinned=LHR, failed=[LHR]), 0.0) is None


def test_rankings_are_kept_per_metro_and_bounded(monkeypatch):
    """One ranking per metro or tenth of a degree, and never more than the bound."""
    monkeypatch.setattr(router_module, "RANKINGS_MAX", 4)
    policy = Counting()
    r = router(policy)
    for _ in range(3):
        r.ranking(BERLIN)
    for n in range(10):
        r.ranking(Place(address="", at=LatLon(float(n), 0.0)))
        r.ranking(Place(address="", at=LatLon(n + 0.01, 0.01)))

    assert policy.calls == 11
    assert len(r._rankings) <= 4


def test_budget_by_share_and_by_attempts():
    """Second attempts: a share of the active requests, but at least some; never more than the attempts in all."""
    budget = RetryBudget(RetrySpec(attempts=3, budget=0.25, min_concurrency=1))
    budget.active = 8

    assert budget.allows(1, retrying=False)
    budget.retrying = 1
    assert budget.allows(1, retrying=False)
    budget.retrying = 2
    assert not budget.allows(1, retrying=False)
    assert budget.allows(2, retrying=True)  # it is one of the two itself
    assert not budget.allows(3, retrying=True)


@given(active=st.integers(0, 500), attempts=st.integers(1, 4), minimum=st.integers(0, 5), share=st.floats(0.0, 1.0))
def test_budget_is_never_exceeded(active, attempts, minimum, share):
    """However many ask, at most the larger of the share and the minimum (rounded up) may retry at once."""
    budget = RetryBudget(RetrySpec(attempts=attempts, budget=share, min_concurrency=minimum))
    budget.active = active
    for _ in range(active):
        budget.retrying += budget.allows(1, retrying=False)

    assert budget.retrying <= ceil(max(minimum, share * active))
    assert attempts > 1 or budget.retrying == 0
