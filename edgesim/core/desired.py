"""What every PoP shall run, as values: desired documents, their order, which host carries which PoP, and rollout progress.

Rules: generations compare as `(epoch, gen)`; a rollback is a new, higher generation with older releases, so an older one
is always refused. A decision is a value that the PoP host carries out. The topics of the bus are named here because both
ends and the broker's access rules need them. Nothing here signs, sends or stores: `edgesim/live/{signing,bus}.py` do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from edgesim.model.events import PopReported
    from edgesim.model.ids import AppName, HostId, PopId
    from edgesim.model.worker import Release


class Generation(NamedTuple):
    """Order of desired documents. A new database is a new epoch, so a lost one never revives old documents."""

    epoch: int
    """Milliseconds since 1970 when the control plane's database was made."""
    gen: int
    """Counter of the whole control plane, raised by each deployment."""


NO_GENERATION: Final = Generation(0, 0)
"""Before the first document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredDocument:
    """Everything that one PoP shall run. Apps that are not in it shall stop."""

    pop: PopId
    epoch: int
    gen: int
    issued_s: float
    """When it was signed, in seconds since 1970; the start of the `distribute` phase."""
    apps: tuple[Release, ...]
    v: int = 1

    @property
    def generation(self) -> Generation:
        """Its place in the order of documents."""
        return Generation(self.epoch, self.gen)


# -- the PoP host's decision ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Bring the PoP to the document's state. Releases that are in force already are in neither list."""

    start: tuple[Release, ...]
    """New apps and other versions of known ones, in the document's order."""
    stop: tuple[AppName, ...]
    """Apps that the document no longer has."""


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """The document in force; report its state again."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Older than what is in force: refuse it."""

    current: Generation


Decision: TypeAlias = Apply | AlreadyThere | Stale


def decide(current: DesiredDocument | None, incoming: DesiredDocument) -> Decision:
    """What a PoP does with a document, given the one in force (None before the first)."""
    if current is None:
        return Apply(start=incoming.apps, stop=())
    if incoming.generation < current.generation:
        return Stale(current.generation)
    if incoming.generation == current.generation:
        return AlreadyThere()
    before = {release.app: release for release in current.apps}
    wanted = {release.app for release in incoming.apps}
    return Apply(
        start=tuple(r for r in incoming.apps if before.get(r.app) != r),
        stop=tuple(r.app for r in current.apps if r.app not in wanted),
    )


# -- which host carries which PoP -------------------------------------------------------------------------------------


def assign(pops: Sequence[PopId], hosts: Sequence[HostId]) -> dict[PopId, HostId]:
    """PoPs to PoP hosts, dealt round robin in the topology's order.

    A topology lists the PoPs of a region side by side, so dealing spreads each region over hosts and one host's death
    does not take a region with it.

    Raises:
        ValueError: when there are PoPs but no hosts.
    """
    if pops and not hosts:
        raise ValueError("PoPs need at least one host")
    return {pop: hosts[i % len(hosts)] for i, pop in enumerate(pops)}


# -- rollout progress -------------------------------------------------------------------------------------------------

RolloutState = Literal["pending", "downloading", "compiling", "ready", "failed", "superseded", "down"]
"""A PoP's place in a rollout: `superseded` when a later deployment came first, `down` when its host is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopProgress:
    """How far a deployment is on one PoP."""

    pop: PopId
    host: HostId
    state: RolloutState
    why: str = ""
    """What failed, for people."""
    distribute_s: float = 0.0
    """From signing to arrival at the PoP, measured there; 0 while unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a deployment is in all."""

    pops: tuple[PopProgress, ...]

    def count(self, state: RolloutState) -> int:
        """PoPs in this state."""
        return sum(1 for p in self.pops if p.state == state)

    @property
    def done(self) -> bool:
        """Whether nothing will change any more: every PoP is ready, failed or superseded."""
        return all(p.state in {"ready", "failed", "superseded"} for p in self.pops)

    @property
    def ok(self) -> bool:
        """Whether every PoP serves the version, or a later one."""
        return all(p.state in {"ready", "superseded"} for p in self.pops)

    @property
    def failed(self) -> tuple[PopProgress, ...]:
        """PoPs that could not start it."""
        return tuple(p for p in self.pops if p.state == "failed")


def rollout_state(
    *,
    app: AppName,
    version: int,
    deployed: Generation,
    wanted_version: int,
    reported: PopReported | None,
    host_up: bool,
) -> RolloutState:
    """A PoP's place in the deployment of `app@version`, from its last report.

    Args:
        app: the app.
        version: the version whose rollout is asked about.
        deployed: the generation that brought this version to the PoP.
        wanted_version: the version that the PoP shall run now; differs after a later deployment.
        reported: the PoP's last report; None before the first.
        host_up: whether the PoP's host is connected.
    """
    if reported is not None and Generation(reported.epoch, reported.gen) >= deployed:
        if reported.apps.get(app) == version:
            return "ready"
        if wanted_version == version:
            # `ready` without the app says that the report is from before the app's turn: not ready for this app.
            return "pending" if reported.state == "ready" else reported.state
    if wanted_version != version:
        return "superseded"
    return "pending" if host_up else "down"


def rollout_progress(
    *,
    app: AppName,
    version: int,
    deployed: Generation,
    assignment: Mapping[PopId, HostId],
    desired: Mapping[PopId, Mapping[AppName, int]],
    reports: Mapping[PopId, PopReported],
    hosts_up: Container[HostId],
) -> Progress:
    """How far the deployment of `app@version` is, PoP by PoP; arguments as in `rollout_state`."""
    rows = []
    for pop, host in assignment.items():
        report = reports.get(pop)
        state = rollout_state(
            app=app,
            version=version,
            deployed=deployed,
            wanted_version=desired[pop].get(app, 0),
            reported=report,
            host_up=host in hosts_up,
        )
        current = report is not None and Generation(report.epoch, report.gen) >= deployed
        rows.append(
            PopProgress(
                pop=pop,
                host=host,
                state=state,
                why=report.why if report is not None and state == "failed" else "",
                distribute_s=report.distribute_s if report is not None and current else 0.0,
            )
        )
    return Progress(pops=tuple(rows))


def needs_document(wanted: DesiredDocument, reported: PopReported | None) -> bool:
    """Whether the PoP has not yet acknowledged the document that it shall have."""
    return reported is None or Generation(reported.epoch, reported.gen) < wanted.generation


def contradicts(wanted: DesiredDocument, reported: PopReported) -> bool:
    """Whether a PoP holds a generation that this control plane cannot have issued.

    That happens when the database was restored from an older copy: the next generation must exceed what PoPs hold.
    Versions are not compared: a PoP where a release failed rightly serves another one than it shall.
    """
    return Generation(reported.epoch, reported.gen) > wanted.generation


# -- who is who across restarts ---------------------------------------------------------------------------------------


class BootOrder:
    """Tells a process's current messages from those of its earlier lives, without trusting clocks.

    A message of a boot that was replaced is old, however late it comes; within a boot `seq` must grow. Remembers
    the last 16 boots per source.
    """

    __slots__ = ("_old", "_seen")

    _REMEMBERED: Final = 16

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, int]] = {}
        self._old: dict[str, list[str]] = {}

    def accept(self, source: str, boot: str, seq: int) -> bool:
        """Whether the message is news; if so it becomes the newest."""
        current = self._seen.get(source)
        if current is not None:
            if boot == current[0] and seq <= current[1]:
                return False
            if boot != current[0]:
                old = self._old.setdefault(source, [])
                if boot in old:
                    return False
                old.append(current[0])
                del old[: -self._REMEMBERED]
        self._seen[source] = (boot, seq)
        return True

    def current(self, source: str) -> str:
        """The newest boot of the source; empty when it was never seen."""
        return self._seen.get(source, ("", 0))[0]


# -- topics of the bus (`es1` is the protocol's version) --------------------------------------------------------------

CONTROL_TOPIC: Final = "es1/cp"
"""Retained, also the will: the control plane's presence, epoch and generation."""
DESIRED_FILTER: Final = "es1/d/+/+"
REPORTED_FILTER: Final = "es1/r/+/+"
HEALTH_FILTER: Final = "es1/h/+"
PRESENCE_FILTER: Final = "es1/p/+"


def desired_topic(host: HostId, pop: PopId) -> str:
    """Retained, QoS 1: the PoP's signed desired document."""
    return f"es1/d/{host}/{pop}"


def desired_filter(host: HostId) -> str:
    """All desired documents of a host: its one subscription."""
    return f"es1/d/{host}/+"


def reported_topic(host: HostId, pop: PopId) -> str:
    """Retained, QoS 1, on change only: what the PoP runs."""
    return f"es1/r/{host}/{pop}"


def health_topic(host: HostId) -> str:
    """QoS 0, 2 Hz: every PoP that is alive in the host."""
    return f"es1/h/{host}"


def presence_topic(process: str) -> str:
    """Retained, QoS 1, also the will: whether the process is there, and its addresses."""
    return f"es1/p/{process}"
