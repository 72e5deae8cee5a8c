"""The Wasm runtime of a process: inspects, compiles, loads and runs workers.

One per process. Modules are shared by every PoP in it and counted. A worker whose code is Winch's serves with it until
Cranelift's is there, and new instances are made of that. It knows nothing of pools, queues and cold-start states: those are
`core`'s.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from wasmtime import component as wasm_component

from edgesim import errors
from edgesim.errors import BundleError, StartError, TrustError
from edgesim.wasm.abi import Linked, abis
from edgesim.wasm.artifacts import ArtifactCache
from edgesim.wasm.compiler import Compiled, Compiler
from edgesim.wasm.engine import Ticker, make_engine
from edgesim.wasm.execution import Execution
from edgesim.wasm.flat.plan import Plan
from edgesim.wasm.guest import NO_GRANTS, GuestRequest, plain_get
from edgesim.wasm.keeping import KeptInstance
from edgesim.wasm.pace import Pace
from edgesim.wasm.report import FileReport, read_report

if TYPE_CHECKING:
    from pathlib import Path

    from edgesim.model.ids import PhaseName
    from edgesim.model.worker import Abi, Component, Limits
    from edgesim.wasm.compile import Answer, Floor
    from edgesim.wasm.engine import Tier
    from edgesim.wasm.execution import Call
    from edgesim.wasm.guest import Grants, GuestResponse

WARM_UP_WALL_S: Final = 2.0
_log: Final = logging.getLogger(__name__)


def _report(file: Path) -> FileReport:
    return read_report(file.read_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a worker's file is."""

    abi: Abi
    digest: str
    """sha256 of the file, lowercase hex."""
    size_bytes: int
    artifact_bytes: int
    compile_s: float
    memory_at_start_bytes: int
    """Linear memory that an instance begins with."""
    facts: Answer
    """What the compiler has found and done."""


class _Module:
    """A linked worker that any number of `LoadedWorker`s share."""

    __slots__ = ("abi", "artifact_bytes", "linked", "pace", "tier", "users", "warm", "warmed_with")

    def __init__(self, compiled: Compiled, linked: Linked) -> None:
        self.abi: Abi = compiled.facts.abi
        self.tier: Tier = compiled.facts.tier
        self.artifact_bytes = compiled.artifact.size_bytes
        self.linked = linked
        self.pace = Pace()
        self.users = 0
        self.warm = False
        """Whether it has had its warm-up run."""
        self.warmed_with: tuple[Limits, Grants] | None = None


class LoadedWorker:
    """One PoP's hold on a worker in memory. Give it back with `Runtime.release`."""

    __slots__ = ("_module", "_runtime", "abi", "digest", "phases", "released")

    def __init__(
        self, runtime: Runtime, module: _Module, digest: str, phases: tuple[tuple[PhaseName, float], ...]
    ) -> None:
        self._runtime = runtime
        self._module = module
        self.digest = digest
        self.abi = module.abi
        self.phases = phases
        """What this load really waited for: `compile` and/or `load`, or `shared` alone."""
        self.released = False

    @property
    def size_bytes(self) -> int:
        """Size of the artefact, which is what the module costs in memory at most."""
        return self._module.artifact_bytes

    @property
    def tier(self) -> Tier:
        """Whose code new instances run."""
        return self._module.tier

    @property
    def linked(self) -> Linked:
        """What new instances are made of, for callers that drive a guest themselves."""
        return self._module.linked

    async def run(
        self, request: GuestRequest, limits: Limits, grants: Grants = NO_GRANTS, *, kept: KeptInstance | None = None
    ) -> GuestResponse:
        """Serve one request in a fresh instance, or in `kept`.

        Returns when the guest has ended (`body` is bytes), or when its head is out and it waits (`body` is a stream, and
        `ended` is set). Cancelling it returns only after the guest has stopped.

        Args:
            request: what to serve.
            limits: what it may use.
            grants: what the PoP gives to this worker.
            kept: where an instance lives on. If it holds one, that serves; when the guest ends well and its ABI can serve
                again, it holds the instance afterwards, else it is empty.

        Raises:
            GuestTrapError, GuestWallError, GuestCpuError, GuestMemoryError, GuestOutputError: what ended the guest. After
                the head was sent, the body's `next()` raises them instead.
            EdgesimError: whatever the request's body raised.
        """
        if kept is None:
            call = self._module.linked.start(request, limits, grants)
        else:
            linked, instance = kept.take(self._module.linked)
            call = linked.start(request, limits, grants, instance)
        return await self._execution(call, limits, kept).run()

    async def prepare(self, limits: Limits, grants: Grants = NO_GRANTS) -> KeptInstance:
        """An instance that has not served yet. Raises GuestError when it cannot be made."""
        kept = KeptInstance()
        linked, _ = kept.take(self._module.linked)
        call = linked.start(_warm_up_request(limits), limits, grants)
        await self._execution(call, limits, kept).prepare()
        return kept

    def _execution(self, call: Call, limits: Limits, kept: KeptInstance | None) -> Execution:
        runtime = self._runtime
        return Execution(call, limits, runtime.ticker, runtime.pool, pace=self._module.pace, kept=kept)

    async def warm_up(self, limits: Limits, grants: Grants = NO_GRANTS) -> bool:
        """Run the guest once for `GET /`, without a way out, so that no request pays for pages that are touched first.

        What it answers, and whether it fails, does not matter. Once per module in a process: whether this was it.
        """
        module = self._module
        if module.warm:
            return False
        module.warm = True
        module.warmed_with = (limits, grants)
        await self._runtime.warm_up(module.linked, module.pace, limits, grants)
        return True


class Runtime:
    """See the module. `artifacts` is a directory that the processes of an installation share."""

    def __init__(self, artifacts: Path, *, threads: int = 2, floor: Floor = "auto") -> None:
        """Make the runtime.

        Args:
            artifacts: where compiled workers are kept.
            threads: how many guests may use CPU at the same time, beside the event loop's own.
            floor: how components run: `component` is always the component C API, for comparisons.
        """
        self.engine = make_engine(pooled=True)
        self._winch: Any = None
        self.ticker = Ticker(self.engine)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="wasm-guest")
        """Where guests go on that need more CPU than the event loop gives them."""
        self._compiler = Compiler(ArtifactCache(artifacts), floor)
        self._modules: dict[str, _Module] = {}
        self._loading: dict[str, asyncio.Task[tuple[_Module, tuple[tuple[PhaseName, float], ...]]]] = {}
        self._improving: dict[str, asyncio.Task[None]] = {}

    async def inspect(self, data_path: Path) -> Inspection:
        """Validate a worker's file in a subprocess, and leave its artefact in the cache.

        Raises:
            BundleTooLargeError: larger than 64 MiB.
            AbiMismatchError: valid Wasm, but no worker; says what it exports and what is expected.
            BundleError: not valid Wasm, or it imports what edgesim does not have.
            StorageError: the artefact cannot be written.
        """
        begin = perf_counter()
        compiled = await self._compiler.first(data_path)
        self._improve(data_path, compiled)
        compile_s = perf_counter() - begin
        return Inspection(
            abi=compiled.facts.abi,
            digest=compiled.facts.digest,
            size_bytes=compiled.facts.size_bytes,
            artifact_bytes=compiled.artifact.size_bytes,
            compile_s=compile_s,
            memory_at_start_bytes=(await asyncio.to_thread(_report, data_path)).memory_at_start_bytes,
            facts=compiled.facts,
        )

    async def load(self, bundle: Path, component: Component) -> LoadedWorker:
        """Bring a worker into memory. Concurrent loads of one digest do the work once.

        Raises:
            StartError: the file is gone, is not what the release says, or does not compile.
        """
        begin = perf_counter()
        digest = component.digest
        module = self._modules.get(digest)
        phases: tuple[tuple[PhaseName, float], ...]
        if module is not None:
            phases = (("shared", 0.0),)
        else:
            task = self._loading.get(digest)
            first = task is None
            if task is None:
                task = asyncio.create_task(self._load(bundle, component), name=f"wasm-load-{digest[:12]}")
                task.add_done_callback(lambda _: self._loading.pop(digest, None))
                self._loading[digest] = task
            try:
                # The work is shared: one PoP that gives up must not take it from the others.
                loaded, phases = await asyncio.shield(task)
            except BundleError as exc:
                raise StartError(exc.message, where=str(bundle), help=exc.help) from exc
            if not first:
                phases = (("shared", perf_counter() - begin),)
            module = self._modules.setdefault(digest, loaded)
        module.users += 1
        return LoadedWorker(self, module, digest, phases)

    def release(self, worker: LoadedWorker) -> None:
        """Give a worker back. Its module is freed with the last one, when no guest of it runs any more. Idempotent."""
        if worker.released:
            return
        worker.released = True
        module = worker._module
        module.users -= 1
        if module.users == 0 and self._modules.get(worker.digest) is module:
            del self._modules[worker.digest]

    async def warm_up(self, linked: Linked, pace: Pace, limits: Limits, grants: Grants) -> None:
        """Run a guest once for nothing; see `LoadedWorker.warm_up`."""
        limits = replace(limits, wall_s=min(limits.wall_s, WARM_UP_WALL_S))
        call = linked.start(_warm_up_request(limits), limits, replace(grants, outbound=None))
        with suppress(errors.EdgesimError):
            response = await Execution(call, limits, self.ticker, self.pool, pace=pace).run()
            if not isinstance(response.body, bytes):
                response.body.close()
            if response.ended is not None and not response.ended.done:
                ended = asyncio.Event()
                response.ended.parked.append(ended.set)
                await ended.wait()

    async def improved(self, digest: str) -> None:
        """Wait until no better code for a worker is being made in this process."""
        task = self._improving.get(digest)
        if task is not None:
            await asyncio.shield(task)

    async def close(self) -> None:
        """Stop the threads. Cancels loads and compilations; guests must have ended."""
        for task in [*self._loading.values(), *self._improving.values()]:
            task.cancel()
            with suppress(asyncio.CancelledError, errors.EdgesimError):
                await task
        self._modules.clear()
        self.ticker.close()
        self.pool.shutdown(wait=True)

    async def _load(self, bundle: Path, component: Component) -> tuple[_Module, tuple[tuple[PhaseName, float], ...]]:
        phases: list[tuple[PhaseName, float]] = []
        begin = perf_counter()
        compiled = await asyncio.to_thread(self._compiler.find, component.digest)
        if compiled is None or compiled.facts.abi != component.abi:
            compiled = await self._compiler.first(bundle)
            if compiled.facts.digest != component.digest:
                raise TrustError("the worker's file is not the one that was released", where=str(bundle))
            if compiled.facts.abi != component.abi:
                raise StartError(
                    f"the release says {component.abi}, but the file is {compiled.facts.abi}", where=str(bundle)
                )
            phases.append(("compile", perf_counter() - begin))
            begin = perf_counter()
        linked = await asyncio.to_thread(self._link, compiled)
        phases.append(("load", perf_counter() - begin))
        self._improve(bundle, compiled)
        return _Module(compiled, linked), tuple(phases)

    def _engine(self, tier: Tier) -> Any:
        """The engine that runs the code of a tier. Winch's is made when it is needed."""
        if tier == "cranelift":
            return self.engine
        if self._winch is None:
            self._winch = make_engine("winch", pooled=True)
            self.ticker.add(self._winch)
        return self._winch

    def _link(self, compiled: Compiled) -> Linked:
        """Map the artefact and connect the host functions, on a thread."""
        facts = compiled.facts
        abi, engine, path = abis()[facts.abi], self._engine(facts.tier), str(compiled.artifact.path)
        try:
            if facts.form == "component":
                return abi.link(engine, wasm_component.Component.deserialize_file(engine, path))
            module = wasmtime.Module.deserialize_file(engine, path)
            return abi.link_flat(engine, module, Plan.from_json(facts.plan)) if facts.plan else abi.link(engine, module)
        except wasmtime.WasmtimeError as exc:
            raise StartError(f"the compiled worker cannot be loaded: {str(exc).splitlines()[0]}") from exc

    # -- better code --------------------------------------------------------------------------------------------------

    def _improve(self, bundle: Path, compiled: Compiled) -> None:
        """Have Cranelift compile what Winch has, in the background."""
        digest = compiled.facts.digest
        if compiled.facts.tier == "cranelift" or digest in self._improving:
            return
        task = asyncio.create_task(self._swap(bundle, compiled), name=f"wasm-improve-{digest[:12]}")
        task.add_done_callback(lambda _: self._improving.pop(digest, None))
        self._improving[digest] = task

    async def _swap(self, bundle: Path, compiled: Compiled) -> None:
        """Put Cranelift's code in the place of Winch's for the instances that are made from now on."""
        digest = compiled.facts.digest
        try:
            better = await self._compiler.better(bundle, compiled.facts)
            if digest not in self._modules:
                return
            linked = await asyncio.to_thread(self._link, better)
        except errors.EdgesimError as exc:
            _log.warning("%s keeps the code of its first compilation: %s", digest[:12], exc)
            return
        module = self._modules.get(digest)
        if module is not None and module.warmed_with is not None:
            await self.warm_up(linked, module.pace, *module.warmed_with)
        if module is not None:
            module.linked, module.tier, module.artifact_bytes = linked, "cranelift", better.artifact.size_bytes


def _warm_up_request(limits: Limits) -> GuestRequest:
    return plain_get(asyncio.get_running_loop().time() + limits.wall_s, host="warm-up.invalid")
