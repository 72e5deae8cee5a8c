"""The formulas and the distributions of the claims, against values that are known otherwise."""

from __future__ import annotations

from statistics import fmean, pvariance

import pytest

from edgesim.model.stream import Stream
from edgesim.sim.validation import markov, pollaczek_khinchine
from edgesim.sim.validation.sample_path import first_in_first_out
from edgesim.sim.validation.service import Deterministic, Exponential, HyperExponential, Lognormal
from edgesim.sim.validation.station import Queue, Visit

M = Exponential(1.0)


def queue(service=M, slots=1, load=0.5):
    """A queue whose runs do not matter."""
    return Queue(service=service, slots=slots, load=load, customers=1)


def test_erlang():
    """Small systems by hand: B(1, a) = a / (1 + a), B(2, 1) = 1/5, C(2, 1) = 1/3; a printed table's B(10, 5)."""
    assert markov.erlang_b(1, 0.25) == pytest.approx(0.2)
    assert markov.erlang_b(2, 1.0) == pytest.approx(1 / 5)
    assert markov.erlang_b(10, 5.0) == pytest.approx(0.018385, abs=1e-6)
    assert markov.erlang_c(1, 0.7) == pytest.approx(0.7)
    assert markov.erlang_c(2, 1.0) == pytest.approx(1 / 3)


def test_both_formulas_agree_where_they_overlap():
    """M/M/1 is a case of M/M/c and of M/G/1, and constant services wait half as long."""
    one = queue(load=0.8)

    assert markov.mean_wait_s(one) == pytest.approx(4.0)
    assert pollaczek_khinchine.mean_wait_s(one) == pytest.approx(4.0)
    assert pollaczek_khinchine.mean_wait_s(queue(Deterministic(1.0), load=0.8)) == pytest.approx(2.0)


@pytest.mark.parametrize("service", [Deterministic(0.01), Lognormal(0.01, 1.5), HyperExponential(0.01, 3.0)])
def test_the_distributions_have_the_moments_that_they_say(service):
    """Mean and squared coefficient of variation of 100,000 draws."""
    stream = Stream(7)
    drawn = [service.draw(stream) for _ in range(100_000)]
    mean_s = fmean(drawn)

    assert mean_s == pytest.approx(service.mean_s, rel=0.015)
    assert pvariance(drawn, mean_s) / mean_s**2 == pytest.approx(service.scv, rel=0.06)
    assert min(drawn) > 0.0


def test_first_in_first_out():
    """Three customers at two slots: the third waits for the one that is free first."""
    came = [Visit(at_s, 0.0, 0.0, service_s, refused=False) for at_s, service_s in ((0.0, 4.0), (0.5, 1.0), (1.0, 1.0))]

    assert list(first_in_first_out(came, 2)) == [0.0, 0.0, 0.5]
    assert list(first_in_first_out(came, 1)) == [0.0, 3.5, 4.0]
