"""How a step of a filter is run: inline on the event loop while filters are quick, else on the runtime's pool.

A step is a piece of synchronous guest code: it cannot be moved to another thread once it has begun. A filter whose CPU time
is not known yet, or was once too much for the loop, therefore runs on the pool.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from edgesim.errors import GuestError, GuestTrapError
from edgesim.wasm.faults import as_guest_error
from edgesim.wasm.guest import Exited
from edgesim.wasm.off_loop import run_on
from edgesim.wasm.pace import INLINE_CPU_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from edgesim.wasm.engine import Ticker
    from edgesim.wasm.proxy.vm import Vm

T = TypeVar("T")


class Steps:
    """Runs the steps of one filter. On the event loop only."""

    __slots__ = ("_inline", "_pool", "_ticker")

    def __init__(self, ticker: Ticker, pool: ThreadPoolExecutor) -> None:
        self._ticker = ticker
        self._pool = pool
        self._inline: bool | None = None
        """None: not known yet."""

    @property
    def inline(self) -> bool:
        """Whether the next step may run on the loop."""
        return bool(self._inline)

    def note(self, cpu_s: float) -> None:
        """A step took so much CPU time. Once too much is too much for good."""
        if cpu_s > INLINE_CPU_S:
            self._inline = False
        elif self._inline is None:
            self._inline = True

    async def run(self, step: Callable[[], T], cancel: Callable[[], None], *, inline: bool | None = None) -> T:
        """The result of a step. When cancelled, it returns only after the step has ended; `cancel` makes that soon."""
        self._ticker.enter()
        try:
            if self.inline if inline is None else inline:
                return step()
            return await run_on(self._pool, step, cancel)
        finally:
            self._ticker.leave()

    def finish(self, step: Callable[[], None]) -> None:
        """Run a last step for which nobody waits: at once if it is quick, else on the pool."""
        if self.inline:
            self._ticker.enter()
            try:
                step()
            finally:
                self._ticker.leave()
            return
        try:
            job = asyncio.wrap_future(self._pool.submit(step))
        except RuntimeError:  # the runtime is closing, and the pool takes nothing any more
            step()
            return
        self._ticker.enter()
        job.add_done_callback(lambda _: self._ticker.leave())


def filter_error(exc: Exception, name: str, vm: Vm | None) -> Exception:
    """The error to report for what ended a filter, with its name. Defects of ours stay what they are.

    Args:
        exc: what was raised.
        name: of the filter.
        vm: its VM, still open; None when there is none any more.
    """
    if isinstance(exc, Exited):
        return GuestTrapError(f"the filter {name} exited with code {exc.code}{vm.log.tail() if vm else ''}")
    error = exc if vm is None else as_guest_error(exc, cast("Any", vm), vm.limits)
    if not isinstance(error, GuestError):
        return error
    if error.message.startswith("the worker "):
        message = f"the filter {name} {error.message.removeprefix('the worker ')}"
    else:
        message = f"the filter {name}: {error.message}"
    return type(error)(message, where=error.where, help=error.help)
