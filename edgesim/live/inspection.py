"""Looks at a worker's file without an edge: what it is, what it costs to compile and start here, where it could run.

The file's own facts are `wasm.report`'s, what is missing `wasm.offer`'s, published limits `model.profiles`'. Here they are put
together with a compilation and a few runs on this machine.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import BundleError, BundleTooLargeError, EdgesimError, UsageError
from edgesim.model.ids import Digest
from edgesim.model.profiles import Usage, Verdict, judge_all
from edgesim.model.worker import Component, Limits, check_memory
from edgesim.wasm.guest import NO_GRANTS, plain_get
from edgesim.wasm.offer import Missing, missing_imports
from edgesim.wasm.report import FileReport, read_report
from edgesim.wasm.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.model.worker import Abi
    from edgesim.wasm.guest import Grants, GuestResponse
    from edgesim.wasm.runtime import Inspection, LoadedWorker

FILE_BYTES_MAX: Final = 64 << 20
"""The bundle limit; a larger file is not read."""
RUNS: Final = 9
"""Requests whose median the estimate is, after a first one."""
_WALL_S: Final = 2.0
_RUNS_WALL_S: Final = 5.0
"""Runs end after this time, however many there were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Cold and warm starts as they were on this machine. Times are seconds."""

    load_s: float
    """From the artefact on disk to a linked module."""
    first_s: float
    """The first request: instance and call, with code that has never run."""
    instantiate_s: float
    """Median of the later requests, each in a fresh instance."""
    execute_s: float
    cpu_s: float
    """CPU time of such a request, its start included; median."""
    start_cpu_s: float
    """CPU time of its start alone; the largest."""
    runs: int
    status: int
    """What `GET /` was answered with; 0 when the guest failed."""
    error: str = ""
    """Why it failed."""
    memory_bytes: int = 0
    """Linear memory after a request; 0 where it cannot be seen."""


@dataclass(slots=True, kw_only=True)
class Inspected:
    """What is known of one file."""

    file: Path
    id: str
    """The component's id in its manifest; empty for a bare file."""
    report: FileReport
    missing: tuple[Missing, ...] = ()
    abi: Abi | None = None
    refusal: EdgesimError | None = None
    """Why it cannot be deployed."""
    compiled: dict[str, Any] = field(default_factory=dict)
    """What the compiler says: `tier`, `form` (how it runs), `why` not flat, `compile_s` and other phases."""
    artifact_bytes: int = 0
    start: Start | None = None
    limits: Limits = field(default_factory=Limits)
    verdicts: tuple[Verdict, ...] = ()


def read_file(file: Path) -> bytes:
    """A worker's file.

    Raises:
        UsageError: there is no such file, or it is a folder.
        BundleTooLargeError: it is larger than the bundle limit; it has not been read.
    """
    try:
        if file.is_dir():
            raise UsageError(f"{file} is a folder", where=str(file), help="name a .wasm file or a spin.toml")
        size = file.stat().st_size
        if not file.is_file():
            raise UsageError(f"{file} is not a file", where=str(file), help="name a .wasm file or a spin.toml")
        if size > FILE_BYTES_MAX:
            raise BundleTooLargeError(
                f"the file has {size / (1 << 20):.1f} MiB, the limit is {FILE_BYTES_MAX >> 20} MiB",
                where=str(file),
                help="strip it (wasm-tools strip), or build it for size",
            )
        return file.read_bytes()
    except OSError as exc:
        raise UsageError(f"cannot read {file}: {exc.strerror}", where=str(file), help="check the path") from exc


def file_report(file: Path) -> FileReport:
    """What a file says of itself. Raises as `inspect_file`."""
    try:
        return read_report(read_file(file))
    except BundleError as exc:
        raise type(exc)(exc.message, where=str(file), help=exc.help) from exc


async def inspect_file(
    file: Path,
    *,
    component_id: str = "",
    limits: Limits | None = None,
    grants: Grants = NO_GRANTS,
    full: bool = False,
    run: bool = True,
) -> Inspected:
    """Everything that can be found out about one file.

    Args:
        file: a Wasm binary.
        component_id: what its manifest calls it.
        limits: what its runs may use; those of a worker without a manifest by default.
        grants: what the guests of its runs get; no way out.
        full: wait for Cranelift's code where Winch's comes first, and measure with it.
        run: serve `GET /` a few times, without a way out, to measure starts.

    Raises:
        UsageError: it cannot be read.
        BundleError: it is not a Wasm binary, or cut off or broken. A valid one that edgesim cannot serve is no error here:
            see `refusal`.
    """
    report = await asyncio.to_thread(file_report, file)
    found = Inspected(
        file=file, id=component_id, report=report, missing=missing_imports(report), limits=limits or Limits()
    )
    with tempfile.TemporaryDirectory(prefix="edgesim-inspect-") as folder:
        runtime = Runtime(Path(folder), threads=os.cpu_count() or 2)
        try:
            await _compile(runtime, found, full=full)
            if found.abi is not None and found.abi != "proxy-wasm" and run and found.refusal is None:
                found.start = await _measure(runtime, found, grants)
        finally:
            await runtime.close()
    found.verdicts = judge_all(usage_of(found))
    return found


async def _compile(runtime: Runtime, found: Inspected, *, full: bool) -> None:
    try:
        compiled = await runtime.inspect(found.file)
    except BundleError as exc:
        found.refusal = exc
        return
    found.artifact_bytes = compiled.artifact_bytes
    found.compiled = _compiler_facts(compiled)
    found.abi = compiled.abi
    try:
        check_memory(found.id or found.file.name, compiled.memory_at_start_bytes, found.limits)
    except BundleError as exc:
        found.refusal = exc
    if full and found.compiled["tier"] == "winch":
        begin = perf_counter()
        await runtime.improved(compiled.digest)
        found.compiled["cranelift_s"] = perf_counter() - begin


def _compiler_facts(compiled: Inspection) -> dict[str, Any]:
    facts = compiled.facts
    return {
        "digest": compiled.digest,
        "tier": facts.tier,
        "form": facts.form,
        "why": facts.why,
        "wall_s": compiled.compile_s,
        "validate_s": facts.validate_s,
        "flatten_s": facts.flatten_s,
        "compile_s": facts.compile_s,
    }


async def _measure(runtime: Runtime, found: Inspected, grants: Grants) -> Start | None:
    """Load the worker and let it serve."""
    assert found.abi is not None
    component = Component(
        id=found.id or "worker",
        digest=Digest(found.compiled["digest"]),
        size_bytes=found.report.size_bytes,
        abi=found.abi,
        limits=found.limits,
    )
    begin = perf_counter()
    try:
        worker = await runtime.load(found.file, component)
    except EdgesimError as exc:
        found.refusal = exc
        return None
    load_s = perf_counter() - begin
    try:
        return await _serve(worker, found.limits, grants, load_s)
    finally:
        runtime.release(worker)


async def _serve(worker: LoadedWorker, limits: Limits, grants: Grants, load_s: float) -> Start:
    begin = perf_counter()
    answers: list[GuestResponse] = []
    error = ""
    first_s = 0.0
    while len(answers) <= RUNS and perf_counter() - begin < _RUNS_WALL_S:
        at = perf_counter()
        try:
            answer = await worker.run(plain_get(asyncio.get_running_loop().time() + _WALL_S), limits, grants)
            await drain(answer)
        except EdgesimError as exc:
            error = exc.message
            break
        first_s = first_s or perf_counter() - at
        answers.append(answer)
    later = answers[1:] or answers
    return Start(
        load_s=load_s,
        first_s=first_s,
        instantiate_s=_median(later, lambda a: a.instantiate_s + a.init_s),
        execute_s=_median(later, lambda a: a.execute_s),
        cpu_s=_median(later, lambda a: a.cpu_s),
        start_cpu_s=max((a.start_cpu_s for a in later), default=0.0),
        runs=len(answers),
        status=answers[-1].status if answers else 0,
        error=error,
        memory_bytes=max((a.memory_bytes for a in answers), default=0),
    )


def _median(answers: list[GuestResponse], value: Callable[[GuestResponse], float]) -> float:
    return median(value(a) for a in answers) if answers else 0.0


async def drain(answer: GuestResponse) -> int:
    """Read a body to its end; returns its bytes. Raises what ended the guest."""
    if isinstance(answer.body, bytes):
        return len(answer.body)
    size = 0
    try:
        while (chunk := await answer.body.next()) is not None:
            size += len(chunk)
    finally:
        answer.body.close()
        await ended(answer)
    return size


async def ended(answer: GuestResponse) -> None:
    """Wait until nothing of the guest runs any more."""
    if answer.ended is not None and not answer.ended.done:
        over = asyncio.Event()
        answer.ended.parked.append(over.set)
        await over.wait()


def usage_of(found: Inspected) -> Usage:
    """What the profiles judge: the file, and the runs that went well."""
    start = found.start
    served = start is not None and start.status > 0
    return Usage(
        abi=found.abi,
        bundle_bytes=found.report.size_bytes,
        memory_at_start_bytes=found.report.memory_at_start_bytes,
        requests=start.runs if start else 0,
        startup_ms=start.start_cpu_s * 1e3 if served and start else None,
        cpu_ms=max(0.0, start.cpu_s - start.start_cpu_s) * 1e3 if served and start else None,
        memory_bytes=start.memory_bytes or None if start else None,
    )
