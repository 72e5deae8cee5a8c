"""Request routing: the policy's ranking, filtered by health, and how often a request may be tried again.

The ranking of a place never changes while the topology stands, so it is computed once per metro and kept (bounded).
Health is looked at per request. Policies are in `edgesim/policies/routing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.core.health import HealthTable
    from edgesim.core.request import Request
    from edgesim.model.geo import Place
    from edgesim.model.ids import PopId
    from edgesim.model.topology import PopSpec, RetrySpec

RANKINGS_MAX: Final = 8192


class RankingPolicy(Protocol):
    """What the router asks of a routing policy."""

    def rank(self, client: Place, pops: Sequence[PopSpec]) -> tuple[PopId, ...]:
        """All PoPs, best first."""
        ...


class Router:
    """Ranks PoPs for a client and leaves out those that are not up."""

    def __init__(self, policy: RankingPolicy, pops: Sequence[PopSpec], health: HealthTable) -> None:
        self._policy = policy
        self._pops = tuple(pops)
        self._health = health
        self._rankings: dict[object, tuple[PopId, ...]] = {}

    def ranking(self, client: Place) -> tuple[PopId, ...]:
        """Every PoP, best first, whatever its health."""
        key: object = client.metro or (round(client.at.lat, 1), round(client.at.lon, 1))
        ranking = self._rankings.get(key)
        if ranking is None:
            if len(self._rankings) >= RANKINGS_MAX:
                self._rankings.clear()  # refilled within as many requests; simpler than an order of use
            ranking = self._rankings[key] = self._policy.rank(client, self._pops)
        return ranking

    def choose(self, request: Request, now_s: float) -> PopId | None:
        """The best PoP that is up and has not failed under this request; None when none is left, also for a pinned one.

        When none is up the router fails open, as AWS Global Accelerator and Envoy's panic mode do: the best one not tried
        and not draining, since a stale health table must not turn an edge off.
        """
        if request.pinned:
            return None
        is_up, tried = self._health.is_up, request.failed
        # The usual case first: a known metro whose ranking is there already.
        ranking = request.ranking or self._rankings.get(request.place.metro) or self.ranking(request.place)
        request.ranking = ranking
        for pop in ranking:
            if is_up(pop, now_s) and pop not in tried:
                return pop
        for pop in ranking:
            if pop not in tried and self._health.state(pop, now_s) != "draining":
                return pop
        return None


class RetryBudget:
    """Second attempts may be at most a share of the requests in flight (Envoy's retry budget)."""

    def __init__(self, spec: RetrySpec) -> None:
        self._spec = spec
        self.active = 0
        self.retrying = 0

    def allows(self, attempts: int, retrying: bool) -> bool:  # noqa: FBT001 - a count of one
        """Whether a request that has made `attempts` attempts may make another one now.

        Args:
            attempts: how many it has made.
            retrying: whether it counts in `retrying` itself already.
        """
        if attempts >= self._spec.attempts:
            return False
        return self.retrying - retrying < max(self._spec.min_concurrency, self._spec.budget * self.active)
