"""Compiles workers in subprocesses, and keeps what they make in the artefact cache.

A worker's first code comes from Winch when Cranelift would take long; `better` makes Cranelift's, once per installation,
however many processes want it. Loading and running are `runtime.py`'s.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from edgesim import errors
from edgesim.errors import BundleError, BundleTooLargeError, StorageError
from edgesim.wasm.compile import MEMORY_BYTES, Answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgesim.wasm.artifacts import Artifact, ArtifactCache
    from edgesim.wasm.compile import Floor
    from edgesim.wasm.engine import Tier

MAX_BUNDLE_BYTES: Final = 64 << 20
COMPILE_TIMEOUT_S: Final = 180.0
"""A JavaScript worker of 13 MB takes 17 s of CPU; three times that on a machine that is busy."""
_LOCK_POLL_S: Final = 0.25
_TIERS: Final[tuple[Tier, ...]] = ("cranelift", "winch")


class Compiled(NamedTuple):
    """A worker's code, and what is known of it."""

    artifact: Artifact
    facts: Answer


class Compiler:
    """The compilers of one process over a cache that processes share."""

    def __init__(self, artifacts: ArtifactCache, floor: Floor = "auto") -> None:
        self._artifacts = artifacts
        self._floor: Floor = floor

    def find(self, digest: str) -> Compiled | None:
        """The best trusted artefact of a worker. Reads whole files: call it on a thread."""
        for tier in _TIERS:
            artifact = self._artifacts.find(digest, self._variant(tier))
            if artifact is not None:
                return Compiled(artifact, Answer(**json.loads(artifact.facts)))
        return None

    async def first(self, source: Path) -> Compiled:
        """Validate a file, compile it the quick way, and keep the artefact.

        Raises:
            BundleTooLargeError: larger than 64 MiB.
            AbiMismatchError: valid Wasm, but no worker; says what it exports and what is expected.
            BundleError: not valid Wasm, or it imports what edgesim does not have.
            StorageError: the artefact cannot be written.
        """
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
        return await self._compile(source, "auto")

    async def better(self, source: Path, facts: Answer) -> Compiled:
        """Cranelift's code for a worker that has Winch's; waits while another process makes it. Raises as `first`."""
        with _file_lock(self._artifacts.lock(facts.digest)) as lock:
            while not lock():  # noqa: ASYNC110 - another process holds it
                await asyncio.sleep(_LOCK_POLL_S)
            found = await asyncio.to_thread(self.find, facts.digest)
            if found is not None and found.facts.tier == "cranelift":
                return found
            return await self._compile(source, "cranelift", facts.abi)

    async def _compile(self, source: Path, tier: Tier | Literal["auto"], *known: str) -> Compiled:
        """Compile in a subprocess and adopt the result."""
        scratch = self._artifacts.scratch()
        try:
            facts = Answer(**await _run_compiler(source, scratch, tier, self._floor, *known))
            artifact = await asyncio.to_thread(
                self._artifacts.adopt, scratch, facts.digest, self._variant(facts.tier), json.dumps(asdict(facts))
            )
        finally:
            scratch.unlink(missing_ok=True)
        return Compiled(artifact, facts)

    def _variant(self, tier: Tier) -> str:
        return f"{self._floor}-{tier}"


@contextmanager
def _file_lock(path: Path) -> Iterator[Any]:
    """A function that tries to take the lock of a file, which is given back at the end, or when the process dies."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take() -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        yield take
    finally:
        os.close(file)


async def _run_compiler(source: Path, target: Path, *arguments: str) -> dict[str, Any]:
    """The compiler's answer. Raises the error that it names. Kills it when cancelled."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "edgesim.wasm.compile", str(source), str(target), *arguments,
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
        if b"memory allocation of" in log or process.returncode == -signal.SIGKILL:
            raise BundleError(
                f"compiling the worker takes more than {MEMORY_BYTES >> 30} GiB of memory",
                where=str(source),
                help="build it for size, with fewer functions",
            ) from None
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
