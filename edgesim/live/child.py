"""One child process of the supervisor: started, watched, restarted when it dies, held down when it was killed on purpose.

The child speaks JSON lines on its stdout: `{"ready": true, "pid": …, "urls": {…}}` once it serves, or `{"error": {…}}`
before it gives up. Everything else it prints, and all of its stderr, goes to its log. It runs in a session of its own, so
that Ctrl-C reaches the supervisor alone, which then drains in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from edgesim.errors import EdgesimError, ProcessError
from edgesim.live import processes
from edgesim.live.error_json import error_from_dict

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgesim.live.state import ChildRecord, ChildState

NoticeKind: TypeAlias = Literal["starting", "ready", "died", "killed", "restarting", "stopping", "stopped", "info"]

LINE_BYTES_MAX: Final = 1 << 16
LOG_BYTES_MAX: Final = 16 << 20
"""A log that grew beyond this is started afresh."""
_TAIL_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the operator should see."""

    kind: NoticeKind
    name: str
    """The process it is about."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the supervisor waits, in seconds."""

    ready_s: float = 30.0
    """For a child to become ready."""
    grace_s: float = 10.0
    """For a child to end after SIGTERM, before SIGKILL."""
    backoff_s: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
    """Before the first, second, … restart in a row; the last one stays."""
    healthy_s: float = 30.0
    """A child that lived this long starts again at the first backoff."""


class Child:
    """A child process over all its lives."""

    def __init__(
        self, record: ChildRecord, argv: Sequence[str], log: Path, notify: Callable[[Notice], None], patience: Patience
    ) -> None:
        self.record = record
        self._argv = tuple(argv)
        self._log = log
        self._notify = notify
        self._patience = patience
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._failure: EdgesimError | None = None
        self._hold = asyncio.Event()
        self._stop = asyncio.Event()
        self._restarting = False
        self._log_start = 0

    @property
    def name(self) -> str:
        """The process's name."""
        return self.record.name

    # -- commands -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the child for the first time and wait until it is ready.

        Raises:
            EdgesimError: what the child said before it ended, or ProcessError with the end of its log.
        """
        self._task = asyncio.create_task(self._run(), name=f"supervise {self.name}")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._ready.is_set():
            raise self._failure or ProcessError(f"{self.name} was stopped before it was ready")

    async def kill(self) -> None:
        """SIGKILL; the child stays down until `restart`."""
        self._hold.set()
        self._wake.set()
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        """End the child if it runs, start it, wait until it is ready.

        Raises:
            ProcessError: it does not become ready in time.
        """
        self._ready.clear()
        self._hold.clear()
        self._restarting = True
        self._wake.set()
        await self._end(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._ready.wait(), self._patience.ready_s)
        except TimeoutError as exc:
            raise self._failure or ProcessError(
                f"{self.name} did not become ready again", help=f"see {self._log}"
            ) from exc

    async def stop(self) -> None:
        """Drain: SIGTERM, then SIGKILL after the grace. Idempotent."""
        self._stop.set()
        self._wake.set()
        running = self._process is not None and self._process.returncode is None
        if running:
            self._set("stopping")
        await self._end(signal.SIGTERM)
        if self._task is not None:
            await asyncio.wait({self._task})
        self._set("stopped", pid=0, start_ticks=0, urls={})
        if running:
            self._notify(Notice("stopped", self.name, "stopped"))

    def kill_now(self) -> None:
        """SIGKILL without waiting, for an operator in a hurry."""
        self._signal(signal.SIGKILL)

    def trim_log(self) -> None:
        """Start the log afresh when it is over its limit; the child appends, so it goes on at the new end."""
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > LOG_BYTES_MAX:
                with self._log.open("r+b") as file:
                    file.truncate(0)
                self._log_start = 0

    # -- one life after another -----------------------------------------------------------------------------------

    async def _run(self) -> None:
        deaths = 0
        while not self._stop.is_set():
            if self._hold.is_set():
                self._set("killed")
                await self._wake.wait()
                self._wake.clear()
                deaths = 0
                continue
            self._restarting = False
            self._wake.clear()
            try:
                lived_s, was_ready, code = await self._live()
            except OSError as exc:  # no memory for a process, no room for its log: tried again like a death
                lived_s, was_ready, code = 0.0, False, 1
                self._failure = ProcessError(f"{self.name} cannot be started: {exc.strerror}", where=str(self._log))
                self._notify(Notice("info", self.name, self._failure.message))
            self._set(self.record.state, pid=0, start_ticks=0, urls={})
            if self._stop.is_set():
                return
            if not was_ready and not self.record.restarts and not self._hold.is_set():
                self._failure = self._failure or self._why_not_ready(code)
                self._set("stopped")
                return  # the first start: `start` tells the operator, nothing is retried
            self.record = self.record.model_copy(update={"restarts": self.record.restarts + 1})
            if self._hold.is_set():
                self._set("killed")
                self._notify(Notice("killed", self.name, "killed; it stays down until it is restarted"))
            elif not self._restarting:
                deaths = 0 if lived_s >= self._patience.healthy_s else deaths
                delay_s = self._patience.backoff_s[min(deaths, len(self._patience.backoff_s) - 1)]
                deaths += 1
                self._set("backoff")
                self._notify(Notice("died", self.name, f"{_ending(code)}; starting it again in {delay_s:g} s"))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), delay_s)

    async def _live(self) -> tuple[float, bool, int]:
        """One life of the process: how long it lived, whether it was ready, and its exit code."""
        self._failure = None
        began = time.monotonic()
        process = await self._spawn()
        try:
            await asyncio.wait_for(self._read_until_ready(process), self._patience.ready_s)
        except TimeoutError:
            self._failure = ProcessError(
                f"{self.name} was not ready within {self._patience.ready_s:g} s", help=f"see {self._log}"
            )
            self._signal(signal.SIGKILL)
        was_ready = self.record.state == "ready"
        await self._drain_output(process)
        code = await process.wait()
        return time.monotonic() - began, was_ready, code

    async def _spawn(self) -> Process:
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > LOG_BYTES_MAX // 4:
                self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as log:
            self._log.chmod(0o600)
            self._log_start = log.tell()
            self._process = process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                limit=LINE_BYTES_MAX,
            )
        self._set("starting", pid=process.pid, start_ticks=processes.start_ticks(process.pid))
        self._notify(Notice("starting", self.name, f"starting (pid {process.pid})"))
        if self._stop.is_set():  # stop() came while the process was being made
            self._signal(signal.SIGTERM)
        elif self._hold.is_set():
            self._signal(signal.SIGKILL)
        return process

    async def _read_until_ready(self, process: Process) -> None:
        """Read the child's lines until it is ready or closes its stdout."""
        assert process.stdout is not None
        while line := await _read_line(process.stdout):
            message = _json_object(line)
            if message.get("ready") is True:
                urls = message.get("urls")
                urls = {str(k): str(v) for k, v in urls.items()} if isinstance(urls, dict) else {}
                self._set("ready", urls=urls)
                self._ready.set()
                self._notify(Notice("ready", self.name, "ready " + " ".join(dict.fromkeys(urls.values()))))
                return
            if "error" in message:
                self._failure = error_from_dict(message["error"])

    async def _drain_output(self, process: Process) -> None:
        assert process.stdout is not None
        while await process.stdout.read(LINE_BYTES_MAX):  # a child must never block on its stdout
            pass

    async def _end(self, first: signal.Signals) -> None:
        """Send `first`, and SIGKILL after the grace; return when the process is gone."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._signal(first)
        try:
            await asyncio.wait_for(process.wait(), self._patience.grace_s)
        except TimeoutError:
            self._notify(Notice("info", self.name, f"did not end within {self._patience.grace_s:g} s; killing it"))
            self._signal(signal.SIGKILL)
            await process.wait()

    def _signal(self, sig: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(sig)

    def _set(self, state: ChildState, **changes: Any) -> None:
        self.record = self.record.model_copy(update={"state": state, **changes})

    def _why_not_ready(self, code: int) -> ProcessError:
        tail: list[str] = []
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(self._log_start, size - LINE_BYTES_MAX))
            tail = file.read().decode(errors="replace").rstrip().splitlines()[-_TAIL_LINES:]
        said = "".join(f"\n    {line}" for line in tail)
        return ProcessError(f"{self.name} {_ending(code)} before it was ready{said}", help=f"see {self._log}")


def _ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """The next line, an empty one for one that is too long, no bytes at the end."""
    try:
        return await stream.readline()
    except ValueError:  # asyncio's word for a line over the limit, which it has dropped
        return b"\n"


def _json_object(line: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(line)
        if isinstance(value, dict):
            return value
    return {}
