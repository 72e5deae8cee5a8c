"""What a PoP gives to the guests of a worker: its variables, its files, and whom it may send requests to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesim.wasm.files import FileTree
from edgesim.wasm.guest import Grants

if TYPE_CHECKING:
    from edgesim.core.pop import Pop, Worker
    from edgesim.live.blobs import BlobStore
    from edgesim.live.outbound import OutboundNetwork


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
