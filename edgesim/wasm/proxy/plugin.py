"""One filter on one PoP: its configuration, what its VMs share, and a VM of its own for timers and queues.

The plugin's own VM is started once, when the PoP loads the filter: a filter that refuses its configuration is found out then,
not with the first request. It lives on only if it has set a timer, listens to a queue, or waits for an HTTP call.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgesim.wasm.proxy.calls import CallTasks
from edgesim.wasm.proxy.lifecycle import boot, deliver
from edgesim.wasm.proxy.run import FilterRun
from edgesim.wasm.proxy.spec import PLUGIN_CONTEXT
from edgesim.wasm.proxy.state import PluginState
from edgesim.wasm.proxy.steps import Steps, filter_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from edgesim.model.worker import Limits
    from edgesim.wasm.engine import Ticker
    from edgesim.wasm.guest import Grants, GuestRequest
    from edgesim.wasm.outbound import Outbound
    from edgesim.wasm.proxy.vm import Vm

_log: Final = logging.getLogger(__name__)


class Source(Protocol):
    """Where a filter's module comes from; it may be replaced by better code at any time."""

    @property
    def linked(self) -> Any:
        """The `ProxyModule` that new VMs are made of."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSettings:
    """What the manifest and the PoP say about a filter."""

    name: str
    """Id of the component."""
    limits: Limits
    grants: Grants
    configuration: bytes = b""
    """What `proxy_on_configure` reads."""
    identity: tuple[tuple[bytes, bytes], ...] = ()
    """Properties that do not depend on the request, by path."""
    fail_open: bool = False


class Plugin:
    """See the module. On the event loop only."""

    def __init__(self, source: Source, settings: PluginSettings, ticker: Ticker, pool: ThreadPoolExecutor) -> None:
        environ = [f"{k}={v}".replace("\0", "").encode(errors="replace") for k, v in settings.grants.environment]
        self.state = PluginState(settings.name, settings.limits, configuration=settings.configuration, environ=environ)
        name = settings.name.encode()
        self.state.identity.update({b"plugin_name": name, b"plugin_root_id": name, b"plugin_vm_id": name})
        self.state.identity.update(settings.identity)
        self.steps = Steps(ticker, pool)
        self.outbound: Outbound | None = settings.grants.outbound
        self.keeps_bodies = settings.fail_open
        """Whether a body that was read must be there again when the filter fails."""
        self._source = source
        self._vm: Vm | None = None
        self._calls: CallTasks | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._closed = False

    def instantiate(self) -> Vm:
        """A new VM with this plugin's limits. On any thread."""
        vm: Vm = self._source.linked.instantiate(self.state)
        vm.may_call = self.outbound is not None
        return vm

    def open(self, request: GuestRequest) -> FilterRun:
        """The run of one request. `request` is changed by it."""
        return FilterRun(self, request)

    async def start(self) -> None:
        """Start the plugin's own VM. Raises GuestError when the filter cannot start or refuses its configuration."""
        try:
            await self.steps.run(self._boot, self._cancel, inline=False)
        except Exception as exc:  # noqa: BLE001 - mapped once, here
            error = filter_error(exc, self.state.name, self._vm)
            self._stop()
            raise error from (exc if error is not exc else exc.__cause__)
        except BaseException:
            self._stop()
            raise
        vm, state = self._vm, self.state
        assert vm is not None
        self._calls = CallTasks(vm, self.outbound, ())
        self._calls.start()
        if state.tick_s or state.registered or self._calls.busy:
            self._task = asyncio.create_task(self._serve(vm, self._calls), name=f"proxy-wasm-{state.name}")
        else:
            self._stop()

    def wake(self) -> None:
        """There may be something in a queue that the plugin listens to."""
        if self.state.ready and self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def close(self) -> None:
        """Stop the timer and free the plugin's own VM. Requests under way end by themselves. Idempotent."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        else:
            self._stop()

    def _boot(self) -> None:
        vm = self._vm = self.instantiate()
        vm.begin()
        boot(vm)
        vm.end()

    async def _serve(self, vm: Vm, calls: CallTasks) -> None:
        """Timer, queues and responses, one after the other, on the pool, until there is nothing to wait for."""
        state, loop = self.state, asyncio.get_running_loop()
        last_s = loop.time()
        try:
            while state.tick_s or state.registered or calls.busy:
                self._wake = loop.create_future()
                if not state.ready:
                    left_s = max(0.0, last_s + state.tick_s - loop.time()) if state.tick_s else None
                    await calls.wait(self._wake, left_s)
                while state.ready:
                    queue = state.ready.popleft()
                    await self._step(vm, partial(vm.call, "proxy_on_queue_ready", PLUGIN_CONTEXT, queue))
                for response in calls.take_done():
                    await self._step(vm, partial(deliver, vm, response))
                if state.tick_s and loop.time() >= last_s + state.tick_s:
                    last_s = loop.time()
                    await self._step(vm, partial(vm.call, "proxy_on_tick", PLUGIN_CONTEXT))
                calls.start()
        except Exception as exc:  # noqa: BLE001 - requests are served without the timer; there is nobody else to tell
            state.tick_s = 0.0
            state.registered.clear()
            _log.warning("%s; its timer and queues have stopped", filter_error(exc, state.name, vm))
        finally:
            self._stop()

    async def _step(self, vm: Vm, step: Callable[[], object]) -> None:
        """One callback of the plugin's own VM, with a CPU limit of its own."""

        def timed() -> None:
            vm.started()
            vm.begin()
            step()
            vm.end()

        await self.steps.run(timed, self._cancel, inline=False)

    def _cancel(self) -> None:
        if self._vm is not None:
            self._vm.cancelled = True

    def _stop(self) -> None:
        """Nothing of the plugin's own VM runs any more: free it."""
        self._wake = None
        if self._calls is not None:
            self._calls.close()
        if self._vm is not None:
            self._vm.close()
            self._vm = None
