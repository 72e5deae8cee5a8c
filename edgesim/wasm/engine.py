"""The wasmtime engine with edgesim's security switches, and the ticker that bounds guests' CPU slices.

One engine per process serves modules and components. Component-model async stays off: with it on, a stream or future value
that crosses the C API aborts the whole process (rc 134, seen with wasmtime 50.0.1).
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import wasmtime

from edgesim.wasm import raw

TICK_S: Final = 0.005
"""Length of a CPU slice: what a guest may hold a thread for before it yields."""
_LINGER_TICKS: Final = 200
"""How long the ticker goes on after the last guest, so that steady traffic does not wake a thread per request."""

ENGINE_TAG: Final = f"wasmtime-{raw.WASMTIME_VERSION}-cranelift-epoch-nocmasync-1"
"""Names everything that an AOT artefact depends on; raise its last part when the configuration below changes."""


def make_engine() -> Any:
    """A `wasmtime.Engine`: Cranelift, epoch interruption on, component-model async off, no threads."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.wasm_threads = False
    raw.set_component_model_async(config, enabled=False)
    raw.set_concurrency_support(config, enabled=False)
    return wasmtime.Engine(config)


class Ticker:
    """Increments the engine's epoch every TICK_S while guests run; sleeps otherwise."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._running = 0
        self._idle_ticks = 0
        self._wake = threading.Event()
        self._asleep = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def enter(self) -> None:
        """A guest starts. Called on the event loop's thread only, as is `leave`."""
        self._running += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wasm-ticker", daemon=True)
            self._thread.start()
        elif self._asleep:
            self._wake.set()

    def leave(self) -> None:
        """A guest has ended."""
        self._running -= 1

    def close(self) -> None:
        """Stop the thread. No guest may run any more."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        idle = 0
        while not self._closed:
            time.sleep(TICK_S)
            self._engine.increment_epoch()
            idle = 0 if self._running else idle + 1
            if idle < _LINGER_TICKS:
                continue
            self._wake.clear()
            self._asleep = True
            if not self._running and not self._closed:  # `enter` may have missed the flag: look again after setting it
                self._wake.wait()
            self._asleep = False
            idle = 0
