"""What a PoP gives to the guests of a worker: its variables, its files, and whom it may send requests to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.model.ids import AppName, PopId
from edgesim.wasm.files import FileTree
from edgesim.wasm.guest import Grants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.config.manifest import ComponentSource
    from edgesim.core.pop import Pop, Worker
    from edgesim.live.blobs import BlobStore
    from edgesim.live.outbound import OutboundNetwork

LOCAL: Final = PopId("local")
"""PoP and region of a worker that runs without an edge."""


def make_grants(pop: Pop, worker: Worker, blobs: BlobStore, network: OutboundNetwork | None) -> Grants:
    """The grants of a worker that has been fetched to a PoP; without a network its guests may send requests to nobody."""
    component, app = worker.component, worker.release.app
    return Grants(
        environment=(
            *component.environment,
            ("EDGESIM_POP", str(pop.spec.id)),
            ("EDGESIM_REGION", pop.spec.region),
            ("EDGESIM_APP", str(app)),
            ("EDGESIM_VERSION", str(worker.release.version)),
        ),
        variables=component.variables,
        files=FileTree((f.path, blobs.path(f.digest), f.size_bytes) for f in component.files),
        outbound=None if network is None else network.worker(app, pop.spec.id, component.outbound),
    )


def local_grants(
    app: str,
    source: ComponentSource,
    network: OutboundNetwork | None = None,
    *,
    environment: Sequence[tuple[str, str]] = (),
    allowed: Sequence[str] = (),
) -> Grants:
    """The grants of a worker that runs from its source, without an edge.

    Args:
        app: name of its app.
        source: the component, whose files are read where they are.
        network: its way out, if it has one.
        environment: variables that win over the component's.
        allowed: hosts that it may send requests to beside those of its manifest.
    """
    return Grants(
        environment=(
            *(dict(source.environment) | dict(environment)).items(),
            ("EDGESIM_POP", str(LOCAL)),
            ("EDGESIM_REGION", str(LOCAL)),
            ("EDGESIM_APP", app),
            ("EDGESIM_VERSION", "0"),
        ),
        variables=source.variables,
        files=FileTree((f.path, f.file, f.size_bytes) for f in source.files),
        outbound=None if network is None else network.worker(AppName(app), LOCAL, (*source.outbound, *allowed)),
    )
