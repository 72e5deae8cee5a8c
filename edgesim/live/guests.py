"""Workers on real Wasm: bundles from the blob store, modules and instances from the runtime."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from edgesim.core.request import Response, Timings
from edgesim.errors import EdgesimError, StartError, StorageError
from edgesim.live.filters import end_filter, filter_request, filter_response, guest_request, metric_values, start_plugin
from edgesim.live.grants import make_grants
from edgesim.live.http_server import too_large
from edgesim.model.http import header
from edgesim.model.worker import Reuse
from edgesim.wasm.keeping import KeptInstance
from edgesim.wasm.proxy.plugin import Plugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import aiohttp

    from edgesim.core.filters import Filtering
    from edgesim.core.instances import Instance
    from edgesim.core.pop import Pop, Worker
    from edgesim.core.request import Request
    from edgesim.live.blobs import BlobStore
    from edgesim.live.outbound import OutboundNetwork
    from edgesim.model.ids import PhaseName
    from edgesim.observe.recorder import FilterValue
    from edgesim.wasm.guest import Grants
    from edgesim.wasm.runtime import LoadedWorker, Runtime


class WasmGuests:
    """The guests of one PoP host. Its PoPs share files and modules, but each waits for its own start."""

    def __init__(
        self,
        blobs: BlobStore,
        runtime: Runtime,
        session: aiohttp.ClientSession,
        sources: Sequence[str],
        outbound: OutboundNetwork | None = None,
    ) -> None:
        self._blobs = blobs
        self._runtime = runtime
        self._session = session
        self._sources = tuple(sources)
        """Base URLs that blobs are pulled from, the nearest first."""
        self._outbound = outbound
        self._filters: dict[Worker, str] = {}
        """Loaded filters, and the PoP of each."""

    async def fetch_bundle(self, pop: Pop, worker: Worker) -> PhaseName:
        """Pull the component's file and those of its bundle, once per process.

        Raises:
            StartError: no source has a good copy, or the disk is full.
        """
        del pop  # the blob store is the process's
        component = worker.component
        shared = self._blobs.has(component.digest) or self._blobs.fetching(component.digest)
        try:
            await self._blobs.ensure(component.digest, component.size_bytes, self._session, self._sources)
            for file in component.files:
                await self._blobs.ensure(file.digest, file.size_bytes, self._session, self._sources)
        except StorageError as exc:
            raise StartError(f"{component.id}: {exc.message}", help=exc.help) from exc
        except EdgesimError as exc:
            raise StartError(f"{component.id} could not be fetched: {exc.message}", help=exc.help) from exc
        return "shared" if shared else "fetch"

    async def load_worker(self, pop: Pop, worker: Worker) -> tuple[tuple[PhaseName, float], ...]:
        """Compile if no trusted artefact exists, load, link.

        Raises:
            StartError: the file is not a worker after all, or a limit was hit.
        """
        component = worker.component
        # A file of an earlier life of this process is hashed before its first use, and pulled again if the disk has lied.
        await self.fetch_bundle(pop, worker)
        try:
            loaded = await self._runtime.load(self._blobs.path(component.digest), component)
        except StartError:
            raise
        except EdgesimError as exc:
            raise StartError(f"{component.id} could not be loaded: {exc.message}", help=exc.help) from exc
        phases = loaded.phases
        grants = make_grants(pop, worker, self._blobs, self._outbound)
        if component.abi == "proxy-wasm":
            try:
                worker.handle = (loaded, await start_plugin(self._runtime, loaded, pop, worker, grants))
                self._filters[worker] = str(pop.spec.id)
            except BaseException:
                self._runtime.release(loaded)
                raise
        else:
            worker.handle = (loaded, grants)
            phases += await self._warm_up(worker, loaded, grants)
        worker.loaded_bytes, worker.instance_bytes = loaded.size_bytes, 0
        if loaded.abi in ("wasi-http", "wasi-http-p3"):
            # It lets no second request in while it serves one. Spin ignores the count for WASI 0.2 too.
            worker.reuse = replace(component.reuse, max_instance_concurrent_reuse_count=(1, 1))
        else:
            worker.reuse = Reuse()  # a command ends with its request
        return phases

    async def _warm_up(
        self, worker: Worker, loaded: LoadedWorker, grants: Grants
    ) -> tuple[tuple[PhaseName, float], ...]:
        """One run for nothing, when a deployment has caused the start: a request that waits would only wait longer."""
        if worker.users:
            return ()
        begin = perf_counter()
        ran = await loaded.warm_up(worker.component.limits, grants)
        return (("warm_up", perf_counter() - begin),) if ran else ()

    def unload_worker(self, pop: Pop, worker: Worker) -> None:
        """Give this PoP's use of the module back."""
        del pop
        if worker.handle is not None:
            if isinstance(worker.handle[1], Plugin):
                worker.handle[1].close()
                del self._filters[worker]
            self._runtime.release(worker.handle[0])
            worker.handle = None

    async def run_worker(self, pop: Pop, worker: Worker, request: Request, instance: Instance | None) -> Response:
        """Run the guest, in a fresh instance or in the one that is kept."""
        del pop
        handle: tuple[LoadedWorker, Grants] = worker.handle
        loaded, grants = handle
        limits = worker.component.limits
        announced = header(request.headers, "content-length")
        if announced is not None and int(announced) > limits.body_bytes:
            raise too_large(limits.body_bytes)  # before the worker answers: afterwards it could only be broken off
        kept: KeptInstance | None = None
        stood_ready = instance is not None and instance.handle is not None
        if instance is not None and (instance.again or instance.handle is not None):
            kept = instance.handle or KeptInstance()
        answer = await loaded.run(
            guest_request(request, worker.release.pattern(request.path)),
            limits,
            grants,
            kept=kept,
        )
        _estimate(worker, answer.memory_bytes)
        if instance is not None and kept is not None:
            if answer.ended is None or answer.ended.done:
                _keep(instance, kept)
            else:  # before the pool's own look at it, which is parked when this has returned
                answer.ended.parked.append(partial(_keep, instance, kept))
        return Response(
            answer.status,
            "ok",
            headers=answer.headers,
            body=answer.body,
            timings=Timings(
                instantiate_s=0.0 if stood_ready else answer.instantiate_s,
                init_s=answer.init_s,
                execute_s=answer.execute_s,
                cpu_s=answer.cpu_s,
            ),
            memory_bytes=answer.memory_bytes,
            subrequests=answer.subrequests,
            ended=answer.ended,
        )

    async def filter_request(self, pop: Pop, worker: Worker, request: Request, filtering: Filtering) -> None:
        """Run the filter's way in, in a fresh VM."""
        del pop
        await filter_request(worker, request, filtering)

    async def filter_response(
        self, pop: Pop, worker: Worker, request: Request, response: Response, filtering: Filtering
    ) -> None:
        """Run the filter's way back, in the same VM."""
        del pop, worker
        await filter_response(request, response, filtering)

    def filter_values(self) -> Iterator[FilterValue]:
        """What the metrics of loaded filters stand at."""
        for worker, pop in self._filters.items():
            yield from metric_values(pop, worker)

    def end_filter(self, worker: Worker, filtering: Filtering) -> None:
        """Free the VM."""
        del worker
        end_filter(filtering)

    async def make_instance(self, pop: Pop, worker: Worker, instance: Instance) -> None:
        """Instantiate, and run what the guest does before its first request. Raises GuestError."""
        del pop
        loaded, grants = worker.handle
        kept = await loaded.prepare(worker.component.limits, grants)
        _keep(instance, kept)
        _estimate(worker, kept.memory_bytes())

    def drop_instance(self, pop: Pop, worker: Worker, instance: Instance) -> None:
        """Free a kept instance."""
        del pop, worker
        kept, instance.handle = instance.handle, None
        if kept is not None:
            kept.close()


def _estimate(worker: Worker, memory_bytes: int) -> None:
    """What the budget counts for the next new instance: the least that one has needed.

    So a single request that makes its guest grow does not cost all others their room. What a kept instance takes is known.
    """
    if memory_bytes and not 0 < worker.instance_bytes <= memory_bytes:
        worker.instance_bytes, worker.watched = memory_bytes, True


def _keep(instance: Instance, kept: KeptInstance) -> None:
    """A run is over: the pool may have what is left of it."""
    if kept:
        instance.handle = kept
        instance.bytes = kept.memory_bytes() or instance.bytes
    else:
        instance.handle = None
