"""One simulation: a topology on the kernel, with arrivals, deploys and faults at given times.

Results are the events that the flows publish; `on_event` decides what is kept of them. A run is a pure function of its
arguments and the seed. Reading files and printing is the CLI's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgesim.config.policies import make_pop
from edgesim.core.beat import beat
from edgesim.core.desired import DesiredDocument, assign
from edgesim.core.faults import FaultedNetwork, Faults, faulted_origin
from edgesim.core.front_door import Door, Network, front_door
from edgesim.core.health import HealthTable
from edgesim.core.request import Connection, Request
from edgesim.core.rollout import apply_desired
from edgesim.core.router import RankingPolicy, Router
from edgesim.model.ids import HostId
from edgesim.model.stream import key, numbered
from edgesim.sim.kernel import Kernel
from edgesim.sim.machine import Machine
from edgesim.sim.world import SimWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from edgesim.core.pop import Pop
    from edgesim.model.events import Event
    from edgesim.model.geo import Place
    from edgesim.model.ids import AppName, Digest, PopId
    from edgesim.model.topology import Topology
    from edgesim.model.worker import Release
    from edgesim.results.profile import EdgeProfile
    from edgesim.sim.costs import Measured
    from edgesim.sim.leaves import Costs

DEADLINE_S = 10.0


class Simulation:
    """A world that runs on virtual time."""

    def __init__(
        self,
        topology: Topology,
        *,
        network: Network,
        policy: RankingPolicy,
        costs: Costs,
        seed: int,
        on_event: Callable[[Event], None],
        hosts: int = 3,
        kernel: Kernel | None = None,
        measured: Mapping[Digest, Measured] | None = None,
        edge: EdgeProfile | None = None,
        time_scale: float = 1.0,
        tells_requests: bool = True,
    ) -> None:
        """Set a world up.

        Args:
            topology: its PoPs and routing.
            network: delays between clients and PoPs.
            policy: the routing policy.
            costs: what things take whose costs were not measured.
            seed: of everything that is drawn.
            on_event: told of everything but beats.
            hosts: processes that the PoPs are dealt out to, as `edgesim up --processes`.
            kernel: another one than the usual.
            measured: costs by the digest of a component's file.
            edge: the edge's own share of each request's time; None leaves it out.
            time_scale: how much of the modelled network time passes.
            tells_requests: False when `on_event` does not look at single requests.
        """
        self.kernel = kernel or Kernel()
        self.pops = {spec.id: make_pop(spec) for spec in topology.pops}
        self.host_of = assign(list(self.pops), [HostId(f"host{n + 1}") for n in range(hosts)])
        health = HealthTable(self.pops, topology.routing.health)
        self.door = Door(
            router=Router(policy, topology.pops, health),
            health=health,
            network=network,
            retry=topology.routing.retry,
            time_scale=time_scale,
        )
        self.world = SimWorld(
            self.kernel,
            pops=self.pops,
            host_of=self.host_of,
            health=health,
            costs=costs,
            on_event=on_event,
            measured=measured,
            seed=seed,
            machine=None if edge is None else Machine(edge, self.host_of.values()),
            tells_requests=tells_requests,
        )
        self.edge = edge
        self.faults = Faults(seed)
        """Faults of origins and links; taken in with `watch_faults`."""
        self._bus_s = costs.bus_s if edge is None else edge.distribute_s
        self._seed = seed
        self._gen = 0
        self._releases: dict[AppName, Release] = {}
        self._documents: dict[PopId, DesiredDocument] = {}
        for host in dict.fromkeys(self.host_of.values()):
            pops = [self.pops[pop] for pop, carrier in self.host_of.items() if carrier == host]
            self.world.spawn(
                beat(self.world, host, "sim", pops, topology.routing.health.interval_s), f"beat:{host}"
            )  # fmt: skip

    def deploy(self, at_s: float, release: Release) -> None:
        """Roll a release out to every PoP at `at_s`."""
        self.kernel.at(at_s, lambda: self.roll_out(release))

    def kill(self, at_s: float, pop: PopId) -> None:
        """Kill a PoP at `at_s`."""
        self.kernel.at(at_s, lambda: self.world.kill(pop))

    def restart(self, at_s: float, pop: PopId) -> None:
        """Start a killed PoP again at `at_s`, with what it has on disk."""
        self.kernel.at(at_s, lambda: self.bring_back(self.pops[pop]))

    def watch_faults(self) -> None:
        """Let what is in `faults` happen. Put last before the run, since it stands before network and origins."""
        world, door = self.world, self.door
        door.network = FaultedNetwork(door.network, self.faults, world.now)
        world.fetch_origin = faulted_origin(world, world.fetch_origin, self.faults, time_scale=door.time_scale)
        world.faults = self.faults

    def arrive(self, arrivals: Iterable[tuple[float, AppName, str, Place]]) -> None:
        """Requests to come: (time, app, path, client), sorted by time. Each comes on a connection of its own."""
        self.kernel.feed(self._actions(arrivals))

    def run(self, until_s: float) -> None:
        """Run to `until_s` and end what is still under way."""
        self.kernel.run(until_s)
        self.kernel.close()

    def _actions(self, arrivals: Iterable[tuple[float, AppName, str, Place]]) -> Iterator[tuple[float, Any]]:
        base = key(self._seed)
        for number, (at_s, app, path, place) in enumerate(arrivals):
            # Positional: id, app, method, target, headers, body, place, connection, stream; keywords cost more than all else.
            request = Request(
                "", app, "GET", path, (), None, place, Connection(), numbered(base, number), at_s, at_s + DEADLINE_S
            )
            yield at_s, lambda request=request: self.kernel.spawn(front_door(self.world, self.door, request), "request")

    def roll_out(self, release: Release) -> int:
        """Send a release on its way to every PoP now; returns the generation of its documents."""
        self._gen += 1
        self._releases[release.app] = release
        for pop in self.pops.values():
            document = DesiredDocument(
                pop=pop.spec.id, epoch=1, gen=self._gen, issued_s=0.0, apps=tuple(self._releases.values())
            )
            self._documents[pop.spec.id] = document
            self.world.spawn(self._distribute(pop, document, self._bus_s), f"deploy:{pop.spec.id}")
        return self._gen

    def bring_back(self, pop: Pop) -> None:
        """Begin a PoP's next life now, with what it has on disk; one that lives is left alone."""
        if not pop.alive:
            pop.restart()
            document = self._documents.get(pop.spec.id)
            if document is not None:
                self.world.spawn(self._distribute(pop, document, 0.0), f"restart:{pop.spec.id}")

    async def _distribute(self, pop: Pop, document: DesiredDocument, delay_s: float) -> None:
        await self.world.sleep(delay_s)
        while (link := self.faults.link(pop.spec.id, "control-plane", self.world.now())) is not None and link.cut:
            await self.world.sleep(link.until_s - self.world.now())  # retained: it comes when the way is there again
        if pop.alive:
            await apply_desired(self.world, pop, document, delay_s)
