"""A scenario on the virtual clock: the file that `load run` takes, the results that it gives, without a second of waiting.

A run is a function of its arguments: topology, scenario with its seed, costs. Files and screens are the CLI's.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from edgesim.errors import EdgesimError, UsageError
from edgesim.results.abort import failed_early
from edgesim.results.collect import Results
from edgesim.scenario.steps import BreakLink, BreakOrigin
from edgesim.sim.clients import Clients
from edgesim.sim.leaves import Costs
from edgesim.sim.origins import ModelledOrigins
from edgesim.sim.run import Simulation
from edgesim.sim.timeline import Rollouts, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgesim.core.router import RankingPolicy
    from edgesim.model.ids import Digest
    from edgesim.model.rtt import NetworkModel
    from edgesim.model.topology import Topology
    from edgesim.model.worker import Release
    from edgesim.results.profile import EdgeProfile
    from edgesim.scenario.spec import Scenario
    from edgesim.scenario.timeline import Mark
    from edgesim.sim.costs import Measured
    from edgesim.sim.timeline import Apps

SETTLE_S: Final = 600.0
"""Longest time until the app is ready before the run."""
BEATS_S: Final = 2.0
"""From then to the first request: every PoP has been heard of."""
GRACE_S: Final = 75.0
"""How long answers and the timeline's actions may take after the last phase."""
STEP_S: Final = 1.0
"""Virtual time between two looks at how it goes."""


def run_scenario(
    scenario: Scenario,
    topology: Topology,
    *,
    network: NetworkModel,
    policy: RankingPolicy,
    release: Release,
    apps: Apps,
    access: tuple[str, ...],
    measured: Mapping[Digest, Measured],
    edge: EdgeProfile | None,
    hosts: int = 3,
    on_progress: Callable[[float, int], None] = lambda _at_s, _sent: None,
    on_mark: Callable[[Mark], None] = lambda _mark: None,
) -> Results:
    """Simulate a scenario from beginning to end.

    Args:
        scenario: what is sent, and what happens meanwhile; its seed is the run's.
        topology: the world.
        network: its delays.
        policy: its routing policy.
        release: version 1 of the app that the scenario is about, rolled out before the first phase.
        apps: what the timeline deploys.
        access: names of the access classes, in the order of the address plan.
        measured: costs by the digest of a component's file, of all components.
        edge: the edge's own share of each request's time; None leaves it out.
        hosts: processes that the PoPs are dealt out to, as `edgesim up --processes`.
        on_progress: told every second of virtual time: the time since the beginning, and requests sent.
        on_mark: told when an action of the timeline begins and ends.

    Raises:
        EdgesimError: the app cannot be started before the run.
    """
    rollouts = Rollouts()
    simulation = Simulation(
        topology,
        network=network,
        policy=policy,
        costs=Costs(),
        seed=scenario.load.seed,
        on_event=rollouts.note,
        hosts=max(1, min(hosts, len(topology.pops))),
        measured=measured,
        edge=edge,
        time_scale=topology.network.time_scale,
        tells_requests=False,  # the clients count their answers, the roll-outs look at reports
    )
    origins = ModelledOrigins(simulation.world, topology.origins, network, time_scale=topology.network.time_scale)
    simulation.world.fetch_origin = origins.fetch_origin
    if any(isinstance(entry.step.action(), BreakLink | BreakOrigin) for entry in scenario.timeline):
        simulation.watch_faults()
    try:
        begin_s = _settle(simulation, rollouts, release)
        results = Results(scenario)
        results.regions = {pop.id: pop.region for pop in topology.pops}

        def mark(mark: Mark) -> None:
            clients.count()  # answers belong to the segment in which they came
            results.marks.append(mark)
            on_mark(mark)

        clients = Clients(scenario, simulation, results, begin_s=begin_s, access=access)
        timeline = Timeline(scenario, simulation, apps, rollouts, begin_s=begin_s, mark=mark)
        simulation.kernel.feed(clients.actions())
        _run(simulation, clients, timeline, results, begin_s=begin_s, on_progress=on_progress)
    finally:
        simulation.kernel.close()
    return results


def _settle(simulation: Simulation, rollouts: Rollouts, release: Release) -> float:
    """Roll the app out; the time at which the run begins. Raises EdgesimError when it cannot be started."""
    ended: list[str] = []
    assert rollouts.next_version(release.app) == release.version
    rollouts.begin(simulation, release, ended.append)
    kernel = simulation.kernel
    while not ended and kernel.now_s < SETTLE_S:
        kernel.run(kernel.now_s + STEP_S)
    if ended != [""]:
        why = ended[0] if ended else "it took too long"
        raise EdgesimError(f"the app could not be started before the run: {why}")
    begin_s = ceil(kernel.now_s) + BEATS_S
    kernel.run(begin_s - BEATS_S / 2)
    return begin_s


def _run(
    simulation: Simulation,
    clients: Clients,
    timeline: Timeline,
    results: Results,
    *,
    begin_s: float,
    on_progress: Callable[[float, int], None],
) -> None:
    """Let virtual time pass until the last phase is over, every answer is there and the timeline is through.

    Or until a threshold with `abortOnFail` is missed.
    """
    at_s, duration_s = 0.0, results.scenario.load.duration_s
    while at_s < duration_s:
        at_s = min(at_s + STEP_S, duration_s)
        simulation.kernel.run(begin_s + at_s)
        clients.count()
        on_progress(at_s, clients.sent)
        if (missed := failed_early(results, at_s)) is not None:
            results.aborted = missed.text
            return
    while (clients.in_flight or timeline.open) and at_s < duration_s + GRACE_S:
        at_s += STEP_S
        simulation.kernel.run(begin_s + at_s)
    clients.count()
    results.elapsed_s = max(duration_s, clients.last_s)


def check_scenario(scenario: Scenario) -> None:
    """Refuse what cannot be simulated. Raises UsageError."""
    if not scenario.target.app:
        raise UsageError(
            f"the scenario sends its requests to {scenario.target.url}, which nobody can simulate",
            help="write target: {app: hello} for an app of the edge",
        )
