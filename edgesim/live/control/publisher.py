"""What goes out: the control plane's presence and every PoP's signed document, retained, as often as it is needed.

Rules: publishing is level-triggered. Everything goes out at each connect, since the broker may have lost all of it; a PoP
that has not acknowledged its generation gets its document again every 30 s, and when a report of it shows that. What is
published was committed before: `edgesim/live/control/service.py` sees to that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from edgesim.config.messages import ControlPresence, encode
from edgesim.core.desired import (
    CONTROL_TOPIC,
    NO_GENERATION,
    DesiredDocument,
    desired_topic,
    needs_document,
    reported_topic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgesim.core.desired import Generation
    from edgesim.live.bus import Bus
    from edgesim.live.signing import Signer
    from edgesim.model.events import PopReported
    from edgesim.model.ids import AppName, HostId, PopId
    from edgesim.model.worker import Release

RECONCILE_S: Final = 30.0
_REPUBLISH_S: Final = 2.0
"""A document that went out less than this ago is still on its way."""

Sealed = dict["PopId", tuple[DesiredDocument, bytes]]


def seal_all(
    signer: Signer,
    desired: Mapping[PopId, Mapping[AppName, int]],
    generation: Generation,
    release_of: Callable[[AppName, int], Release],
    *,
    issued_s: float,
) -> Sealed:
    """Every PoP's signed document. For a thread: thousands of signatures would stall the loop.

    Raises:
        InputError: when a document would be too large.
    """
    sealed: Sealed = {}
    for pop, apps in desired.items():
        document = DesiredDocument(
            pop=pop,
            epoch=generation.epoch,
            gen=generation.gen,
            issued_s=issued_s,
            apps=tuple(release_of(app, version) for app, version in sorted(apps.items())),
        )
        sealed[pop] = (document, signer.seal(document))
    return sealed


class Publisher:
    """The documents in force, and when they were last sent."""

    def __init__(self, assignment: Mapping[PopId, HostId], *, boot: str, api_url: str) -> None:
        self.generation: Generation = NO_GENERATION
        self.sealed: Sealed = {}
        self._assignment = assignment
        self._boot, self._api_url = boot, api_url
        self._sent_s: dict[PopId, float] = {}
        self._abandoned: list[str] = []

    def load(self, generation: Generation, placements: Mapping[PopId, HostId]) -> None:
        """Start from what the database has; topics of PoPs that moved or went since will be cleared."""
        self.generation = generation
        for pop, host in placements.items():
            if self._assignment.get(pop) != host:
                self._abandoned += [desired_topic(host, pop), reported_topic(host, pop)]

    def adopt(self, bus: Bus, generation: Generation, sealed: Sealed) -> None:
        """Make committed documents the ones in force, and publish them."""
        self.generation, self.sealed = generation, sealed
        self.publish_all(bus)

    def publish_all(self, bus: Bus) -> None:
        """Everything that is retained."""
        bus.publish(CONTROL_TOPIC, self.presence(up=True), retain=True)
        for topic in self._abandoned:
            bus.publish(topic, b"", retain=True)
        for pop in self.sealed:
            self._publish(bus, pop)

    def remind(self, bus: Bus, report: PopReported) -> None:
        """Send a PoP its document again when its report is of an older one."""
        sent_ago_s = time.monotonic() - self._sent_s.get(report.pop, 0.0)
        if needs_document(self.sealed[report.pop][0], report) and sent_ago_s >= _REPUBLISH_S:
            self._publish(bus, report.pop)

    def reconcile(self, bus: Bus, reports: Mapping[PopId, PopReported]) -> None:
        """Send again what has not been acknowledged."""
        for pop, (document, _) in self.sealed.items():
            if needs_document(document, reports.get(pop)):
                self._publish(bus, pop)

    def presence(self, *, up: bool) -> bytes:
        """The control plane's presence; with `up` false also its will."""
        epoch, gen = self.generation
        return encode(ControlPresence(up=up, boot=self._boot, epoch=epoch, gen=gen, api_url=self._api_url))

    def _publish(self, bus: Bus, pop: PopId) -> None:
        self._sent_s[pop] = time.monotonic()
        bus.publish(desired_topic(self._assignment[pop], pop), self.sealed[pop][1], retain=True)
