"""The Wasm runtime of a process: inspects, compiles, loads and runs workers.

One per process. Modules are shared by every PoP in it and counted; each request gets a fresh store and instance. It knows
nothing of pools, queues and cold-start states: those are `core`'s.
"""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from wasmtime import component as wasm_component

from edgesim import errors
from edgesim.errors import BundleError, BundleTooLargeError, StartError, StorageError, TrustError
from edgesim.wasm.abi import Linked, abis
from edgesim.wasm.artifacts import Artifact, ArtifactCache
from edgesim.wasm.engine import Ticker, make_engine
from edgesim.wasm.execution import Execution
from edgesim.wasm.guest import NO_GRANTS

if TYPE_CHECKING:
    from pathlib import Path

    from edgesim.model.ids import PhaseName
    from edgesim.model.worker import Abi, Component, Limits
    from edgesim.wasm.guest import Grants, GuestRequest, GuestResponse

MAX_BUNDLE_BYTES: Final = 64 << 20
COMPILE_TIMEOUT_S: Final = 180.0
"""A JavaScript worker of 13 MB takes 17 s of CPU; three times that on a machine that is busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a worker's file is."""

    abi: Abi
    digest: str
    """sha256 of the file, lowercase hex."""
    size_bytes: int
    artifact_bytes: int
    compile_s: float


class _Module:
    """A linked worker that any number of `LoadedWorker`s share."""

    __slots__ = ("abi", "linked", "users")

    def __init__(self, abi: Abi, linked: Linked) -> None:
        self.abi: Abi = abi
        self.linked = linked
        self.users = 0


class LoadedWorker:
    """One PoP's hold on a worker in memory. Give it back with `Runtime.release`."""

    __slots__ = ("_module", "_runtime", "abi", "digest", "phases", "released", "size_bytes")

    def __init__(
        self,
        runtime: Runtime,
        module: _Module,
        digest: str,
        size_bytes: int,
        phases: tuple[tuple[PhaseName, float], ...],
    ) -> None:
        self._runtime = runtime
        self._module = module
        self.digest = digest
        self.abi = module.abi
        self.size_bytes = size_bytes
        """Size of the artefact, which is what the module costs in memory at most."""
        self.phases = phases
        """What this load really waited for: `compile` and/or `load`, or `shared` alone."""
        self.released = False

    async def run(self, request: GuestRequest, limits: Limits, grants: Grants = NO_GRANTS) -> GuestResponse:
        """Serve one request in a fresh instance.

        Returns when the guest has ended (`body` is bytes), or when its head is out and it waits (`body` is a stream, and
        `ended` is set). Cancelling it returns only after the guest has stopped.

        Raises:
            GuestTrapError, GuestWallError, GuestCpuError, GuestMemoryError, GuestOutputError: what ended the guest. After
                the head was sent, the body's `next()` raises them instead.
            EdgesimError: whatever the request's body raised.
        """
        call = self._module.linked.start(request, limits, grants)
        return await Execution(call, limits, self._runtime.ticker, self._runtime.pool).run()


class Runtime:
    """See the module. `artifacts` is a directory that the processes of an installation share."""

    def __init__(self, artifacts: Path, *, threads: int = 2) -> None:
        self.engine = make_engine(pooled=True)
        self.ticker = Ticker(self.engine)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="wasm-guest")
        """Where guests go on that need more CPU than the event loop gives them."""
        self._artifacts = ArtifactCache(artifacts)
        self._modules: dict[str, _Module] = {}
        self._loading: dict[str, asyncio.Task[tuple[_Module, int, tuple[tuple[PhaseName, float], ...]]]] = {}
        self._sizes: dict[str, int] = {}

    async def inspect(self, data_path: Path) -> Inspection:
        """Validate a worker's file in a subprocess, and leave its artefact in the cache.

        Raises:
            BundleTooLargeError: larger than 64 MiB.
            AbiMismatchError: valid Wasm, but no worker; says what it exports and what is expected.
            BundleError: not valid Wasm, or it imports what edgesim does not have.
            StorageError: the artefact cannot be written.
        """
        begin = perf_counter()
        artifact, answer = await self._compile(data_path)
        return Inspection(
            abi=artifact.abi,
            digest=answer["digest"],
            size_bytes=answer["size_bytes"],
            artifact_bytes=artifact.size_bytes,
            compile_s=perf_counter() - begin,
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
                loaded, self._sizes[digest], phases = await asyncio.shield(task)
            except BundleError as exc:
                raise StartError(exc.message, where=str(bundle), help=exc.help) from exc
            if not first:
                phases = (("shared", perf_counter() - begin),)
            module = self._modules.setdefault(digest, loaded)
        module.users += 1
        return LoadedWorker(self, module, digest, self._sizes[digest], phases)

    def release(self, worker: LoadedWorker) -> None:
        """Give a worker back. Its module is freed with the last one, when no guest of it runs any more. Idempotent."""
        if worker.released:
            return
        worker.released = True
        module = worker._module
        module.users -= 1
        if module.users == 0 and self._modules.get(worker.digest) is module:
            del self._modules[worker.digest]
            self._sizes.pop(worker.digest, None)

    async def close(self) -> None:
        """Stop the threads. Cancels loads; guests must have ended."""
        for task in list(self._loading.values()):
            task.cancel()
            with suppress(asyncio.CancelledError, errors.EdgesimError):
                await task
        self._modules.clear()
        self.ticker.close()
        self.pool.shutdown(wait=True)

    async def _load(
        self, bundle: Path, component: Component
    ) -> tuple[_Module, int, tuple[tuple[PhaseName, float], ...]]:
        phases: list[tuple[PhaseName, float]] = []
        begin = perf_counter()
        artifact = await asyncio.to_thread(self._artifacts.find, component.digest)
        if artifact is None or artifact.abi != component.abi:
            artifact, answer = await self._compile(bundle)
            if answer["digest"] != component.digest:
                raise TrustError("the worker's file is not the one that was released", where=str(bundle))
            if artifact.abi != component.abi:
                raise StartError(f"the release says {component.abi}, but the file is {artifact.abi}", where=str(bundle))
            phases.append(("compile", perf_counter() - begin))
            begin = perf_counter()
        linked = await asyncio.to_thread(self._link, artifact)
        phases.append(("load", perf_counter() - begin))
        return _Module(artifact.abi, linked), artifact.size_bytes, tuple(phases)

    def _link(self, artifact: Artifact) -> Linked:
        """Map the artefact and connect the host functions, on a thread."""
        abi = abis()[artifact.abi]
        kind = wasmtime.Module if abi.binary == "module" else wasm_component.Component
        try:
            return abi.link(self.engine, kind.deserialize_file(self.engine, str(artifact.path)))
        except wasmtime.WasmtimeError as exc:
            raise StartError(f"the compiled worker cannot be loaded: {str(exc).splitlines()[0]}") from exc

    async def _compile(self, source: Path) -> tuple[Artifact, dict[str, Any]]:
        """Compile in a subprocess and adopt the result."""
        try:
            size_bytes = source.stat().st_size  # noqa: ASYNC240 - one system call
        except OSError as exc:
            raise BundleError(f"the worker's file cannot be read: {exc.strerror}", where=str(source)) from exc
        if size_bytes > MAX_BUNDLE_BYTES:
            raise BundleTooLargeError(
                f"the file has {size_bytes / (1 << 20):.1f} MiB, the limit is {MAX_BUNDLE_BYTES >> 20} MiB",
                where=str(source),
                help="strip it (wasm-tools strip), or build it for size",
            )
        scratch = self._artifacts.scratch()
        try:
            answer = await _run_compiler(source, scratch)
            artifact = await asyncio.to_thread(self._artifacts.adopt, scratch, answer["digest"], answer["abi"])
        finally:
            scratch.unlink(missing_ok=True)
        return artifact, answer


async def _run_compiler(source: Path, target: Path) -> dict[str, Any]:
    """The compiler's answer. Raises the error that it names. Kills it when cancelled."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edgesim.wasm.compile", str(source), str(target),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(COMPILE_TIMEOUT_S):
            answer_bytes, log = await process.communicate()
    except TimeoutError:
        raise BundleError(
            f"the worker did not compile within {COMPILE_TIMEOUT_S:g} s", where=str(source), help="build it for size"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        answer: dict[str, Any] = json.loads(answer_bytes)
    except ValueError:
        tail = log.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise BundleError(
            f"the compiler ended with code {process.returncode}: {tail[0][:300]}", where=str(source)
        ) from None
    if "error" in answer:
        kind = {
            "AbiMismatchError": errors.AbiMismatchError,
            "StorageError": StorageError,
        }.get(answer["error"], BundleError)
        raise kind(answer["message"], where=str(source), help=answer["help"])
    return answer
