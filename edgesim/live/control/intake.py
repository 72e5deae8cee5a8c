"""What is looked at before anything is stored: the app's name, and each component's file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from edgesim.config.releases import APP_PATTERN, ComponentModel, ComponentSettings, component_value
from edgesim.errors import NotFoundError, UsageError
from edgesim.model.ids import AppName, Digest
from edgesim.model.worker import check_memory

if TYPE_CHECKING:
    from edgesim.config.messages import DeployRequest
    from edgesim.config.releases import DeployComponent
    from edgesim.live.blobs import BlobStore
    from edgesim.model.worker import Abi, Component


class Inspected(Protocol):
    """What an inspection of a Wasm file must tell."""

    @property
    def abi(self) -> Abi:
        """The guest ABI that the file exports."""
        ...

    @property
    def memory_at_start_bytes(self) -> int:
        """Linear memory that an instance begins with."""
        ...


Inspect = Callable[[Path], Awaitable[Inspected]]
"""Finds out what a file is; raises BundleError for what cannot be served (`wasm.runtime.Runtime.inspect`)."""

_APP: Final = re.compile(APP_PATTERN)


def check_app(app: str) -> AppName:
    """The name, if it can be an app's. Raises UsageError."""
    if not _APP.fullmatch(app):
        raise UsageError(
            f"{app[:64]!r} cannot be an app's name",
            help="a DNS label of at most 40 characters: lowercase letters, digits and hyphens, since it becomes a host name",
        )
    return AppName(app)


async def check_component(wanted: DeployComponent, blobs: BlobStore, inspect: Inspect) -> Component:
    """A component with its size and ABI, found out from its blob.

    Raises:
        NotFoundError: when the blob, or that of a bundled file, has not been uploaded.
        UsageError: when a bundled file has another size than was said.
        BundleError: when it is no Wasm file that can be served, or begins with more memory than it may have.
    """
    digest = Digest(wanted.digest)
    await _check_blob(digest, f"component {wanted.id!r}", blobs)
    for file in wanted.files:
        what = f"the file {file.path} of component {wanted.id!r}"
        await _check_blob(Digest(file.digest), what, blobs)
        size_bytes = blobs.path(Digest(file.digest)).stat().st_size
        if size_bytes != file.size_bytes:
            raise UsageError(f"{what} has {size_bytes} bytes, not {file.size_bytes}", help="deploy it again")
    path = blobs.path(digest)
    inspected = await inspect(path)
    settings = {name: getattr(wanted, name) for name in ComponentSettings.model_fields}
    component = component_value(
        ComponentModel(id=wanted.id, digest=digest, size_bytes=path.stat().st_size, abi=inspected.abi, **settings)
    )
    check_memory(component.id, inspected.memory_at_start_bytes, component.limits)
    return component


async def _check_blob(digest: Digest, what: str, blobs: BlobStore) -> None:
    """Raises NotFoundError when the blob is not here."""
    if not await asyncio.to_thread(blobs.verify, digest):
        raise NotFoundError(
            f"the blob of {what} is not here: {digest[:12]}…", help=f"upload it first: PUT /v1/blobs/sha256/{digest}"
        )


async def check_components(request: DeployRequest, blobs: BlobStore, inspect: Inspect) -> tuple[Component, ...]:
    """Every component of a deployment, each in a role that it can play.

    Raises:
        NotFoundError, BundleError: as `check_component`.
        UsageError: a filter has a route, or a worker is named as a filter.
    """
    components = tuple([await check_component(c, blobs, inspect) for c in request.components])
    abis = {c.id: c.abi for c in components}
    for route in request.routes:
        if abis[route.component] == "proxy-wasm":
            raise UsageError(
                f"the component {route.component!r} is a Proxy-Wasm filter and cannot serve {route.pattern}",
                help="name it in [application.tool.edgesim] filters, and give the route to a worker or to nobody",
            )
    for name in request.filters:
        if abis[name] != "proxy-wasm":
            raise UsageError(
                f"the component {name!r} is no filter: its file is {abis[name]}",
                help="filters are Proxy-Wasm modules, which export proxy_abi_version_0_2_1",
            )
    return components
