"""A scenario's timeline on the virtual clock: the same actions as live, as external events of the kernel.

Kills and faults act at once. A PoP host takes as long to come back, and a deployment as long to get on its way, as the profile
says.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from edgesim.core.faults import LinkFault, OriginFault
from edgesim.errors import NotFoundError, RolloutError
from edgesim.model.events import PopReported
from edgesim.model.ids import AppName, HostId, PopId
from edgesim.scenario.steps import Action, BreakLink, BreakOrigin, Deploy, Power, Rollback, Steer
from edgesim.scenario.timeline import Mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.model.events import Event
    from edgesim.model.worker import Release
    from edgesim.scenario.spec import Scenario
    from edgesim.sim.run import Simulation

    Ended = Callable[[str], None]

ROLLOUT_TIMEOUT_S: Final = 60.0
"""Longest time until every PoP has a version that the timeline deploys, as live."""


class Apps(Protocol):
    """What can be deployed."""

    def release(self, path: str, version: Callable[[AppName], int], *, prefetch: bool) -> Release:
        """The release of the app in `path`; its version is asked for by the app's name."""
        ...


class _Rollout:
    """How far a generation is: PoPs that have not reported it yet."""

    def __init__(self, name: str, waiting: set[PopId], ended: Ended) -> None:
        self.name = name
        self.all = len(waiting)
        self.waiting = waiting
        self.failed: list[str] = []
        self._ended: Ended | None = ended

    def end(self, error: str = "") -> None:
        """Tell how it went. The second and later calls change nothing."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(error)


class Rollouts:
    """Every deployment of a run, from the reports of its PoPs."""

    def __init__(self) -> None:
        self._by_gen: dict[int, _Rollout] = {}
        self._releases: dict[AppName, list[Release]] = {}
        """By app, in the order of their versions."""
        self._in_force: dict[AppName, Release] = {}

    def next_version(self, app: AppName) -> int:
        """The number of the app's next version."""
        return len(self._releases.get(app, ())) + 1

    def earlier(self, app: AppName, version: int) -> Release:
        """The release to go back to; 0 for the one before what is in force. Raises NotFoundError."""
        current = self._in_force.get(app)
        wanted = version or (current.version - 1 if current else 0)
        found = [release for release in self._releases.get(app, ()) if release.version == wanted]
        if not found:
            raise NotFoundError(f"there is no version {wanted} of {app} to go back to")
        return found[0]

    def begin(self, simulation: Simulation, release: Release, ended: Ended) -> None:
        """Roll a release out now; `ended` is called with nothing, or with what went wrong."""
        known = self._releases.setdefault(release.app, [])
        if release not in known:
            known.append(release)
        self._in_force[release.app] = release
        gen = simulation.roll_out(release)
        rollout = _Rollout(f"{release.app}@{release.version}", set(simulation.pops), ended)
        self._by_gen[gen] = rollout
        simulation.kernel.at(simulation.kernel.now_s + ROLLOUT_TIMEOUT_S, partial(self._late, rollout))

    def note(self, event: Event) -> None:
        """An event of the world; what PoPs report is what we are after."""
        if event.__class__ is not PopReported or event.state not in {"ready", "failed"}:
            return
        for gen, rollout in self._by_gen.items():
            if event.gen >= gen and event.pop in rollout.waiting:
                rollout.waiting.remove(event.pop)
                if event.state == "failed":
                    rollout.failed.append(event.pop)
                if not rollout.waiting:
                    self._judge(rollout)

    @staticmethod
    def _judge(rollout: _Rollout) -> None:
        if rollout.failed:
            what = f"{rollout.name} failed on {len(rollout.failed)} of {rollout.all} PoPs"
            rollout.end(f"{RolloutError.code}: {what}")
        else:
            rollout.end()

    @staticmethod
    def _late(rollout: _Rollout) -> None:
        missing = f"{len(rollout.waiting)} of {rollout.all} PoPs"
        rollout.end(f"{RolloutError.code}: {rollout.name} is not ready within {ROLLOUT_TIMEOUT_S:g} s on {missing}")


class Timeline:
    """Carries a timeline out."""

    def __init__(
        self,
        scenario: Scenario,
        simulation: Simulation,
        apps: Apps,
        rollouts: Rollouts,
        *,
        begin_s: float,
        mark: Callable[[Mark], None],
    ) -> None:
        self._scenario = scenario
        self._simulation = simulation
        self._apps = apps
        self._rollouts = rollouts
        self._begin_s = begin_s
        self._mark = mark
        self.open = len(scenario.timeline)
        """Actions that have not ended."""
        for index, entry in enumerate(scenario.timeline):
            simulation.kernel.at(begin_s + entry.at_s, partial(self._begin, index))

    def _begin(self, index: int) -> None:
        self._note(index, "begin")
        self._do(self._scenario.timeline[index].step.action(), partial(self._end, index))

    def _do(self, action: Action, ended: Ended) -> None:
        """Do one thing to the edge; `ended` is called when it is done."""
        edge, simulation = self._simulation.edge, self._simulation
        match action:
            case Deploy() | Rollback():
                self._after(0.0 if edge is None else edge.deploy_s, partial(self._roll_out, action, ended))
            case Power(verb="kill"):
                for pop in self._pops(action):
                    simulation.world.kill(pop)
                ended("")
            case Power():
                starts_s = edge.start_host_s if edge is not None and action.kind == "host" else 0.0
                self._after(starts_s, partial(self._restart, action, ended))
            case Steer():
                simulation.pops[PopId(action.pop)].draining = action.verb == "drain"
                ended("")
            case BreakOrigin() | BreakLink():
                self._break(action)
                self._after(action.for_s, partial(ended, ""))

    def _roll_out(self, action: Deploy | Rollback, ended: Ended) -> None:
        if isinstance(action, Deploy):
            release = self._apps.release(action.path, self._rollouts.next_version, prefetch=action.prefetch)
        else:
            try:
                release = self._rollouts.earlier(AppName(action.app or self._scenario.target.app), action.version)
            except NotFoundError as error:
                ended(f"{error.code}: {error.message}")
                return
        self._rollouts.begin(self._simulation, release, ended)

    def _restart(self, action: Power, ended: Ended) -> None:
        for pop in self._pops(action):
            self._simulation.bring_back(self._simulation.pops[pop])
        ended("")

    def _break(self, action: BreakOrigin | BreakLink) -> None:
        simulation = self._simulation
        now_s = simulation.kernel.now_s
        until_s = now_s + action.for_s
        if isinstance(action, BreakOrigin):
            simulation.faults.add(
                OriginFault(
                    origin=action.origin,
                    until_s=until_s,
                    refuse=action.refuse,
                    status=action.status,
                    delay_s=action.delay_s,
                ),
                now_s,
            )
            return
        pops = (
            pop.spec.id
            for pop in simulation.pops.values()
            if action.pop in {"", pop.spec.id} and action.region in {"", pop.spec.region}
        )
        fault = LinkFault(
            pops=frozenset(pops),
            peer=action.peer,
            until_s=until_s,
            add_s=action.add_s,
            jitter_s=action.jitter_s,
            loss=action.loss,
            cut=action.cut,
        )
        simulation.faults.add(fault, now_s)

    def _pops(self, action: Power) -> list[PopId]:
        """The PoP, or those of the PoP host."""
        if action.kind == "pop":
            return [PopId(action.id)]
        return [pop for pop, host in self._simulation.host_of.items() if host == HostId(action.id)]

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        """Now, or so much later."""
        if seconds > 0.0:
            self._simulation.kernel.at(self._simulation.kernel.now_s + seconds, action)
        else:
            action()

    def _end(self, index: int, error: str) -> None:
        self.open -= 1
        self._note(index, "end", error)

    def _note(self, index: int, edge: str, error: str = "") -> None:
        at_s = self._simulation.kernel.now_s - self._begin_s
        self._mark(Mark(entry=index, edge=edge, at_s=at_s, error=error))  # type: ignore[arg-type] # begin or end
