"""The wasmtime engine with edgesim's security switches, and the ticker that bounds guests' CPU slices.

Two engines per process serve modules and components: one for each compiler, since their code does not mix. Winch compiles six
times as fast as Cranelift, whose code is better: a worker starts with Winch's and goes on with Cranelift's. Component-model async
stays off: with it on, a stream or future value that crosses the C API aborts the whole process (rc 134, seen with wasmtime 50.0.1).
"""

from __future__ import annotations

import mmap
import threading
import time
from typing import Any, Final, Literal, TypeAlias

import wasmtime

from edgesim.wasm import raw

TICK_S: Final = 0.005
"""Length of a CPU slice: what a guest may hold a thread for before it yields."""
_LINGER_TICKS: Final = 200
"""How long the ticker goes on after the last guest, so that steady traffic does not wake a thread per request."""

Tier: TypeAlias = Literal["winch", "cranelift"]
"""Which compiler made a worker's code."""
_WINCH: Final = 2  # WASMTIME_STRATEGY_WINCH, for which the wheel has no word

ENGINE_TAG: Final = f"wasmtime-{raw.WASMTIME_VERSION}-epoch-nocmasync-2"
"""Names everything that an AOT artefact depends on beside its tier; raise its last part when the configuration below changes."""


MAX_GUESTS: Final = 3072
"""Guests that one process may run at the same time; one more is refused. Each reserves address space, not memory."""
_KIB: Final = 1024
_POOL: Final[dict[str, int]] = {
    "max_memory_size": 4 << 30,
    "max_core_instance_size": 1 << 20,
    "max_component_instance_size": 4 << 20,
    "max_core_instances_per_component": 64,
    "max_memories_per_component": 8,
    "max_memories_per_module": 8,
    "max_tables_per_component": 16,
    "max_tables_per_module": 16,
    "table_elements": 40_000,
    "linear_memory_keep_resident": 64 * _KIB,
    "table_keep_resident": 16 * _KIB,
    "async_stack_keep_resident": 32 * _KIB,
}
"""Sizes that JavaScript and Python components need. What stays resident is cleared by hand, which is cheaper than mapping:
a hello component took 100 µs of CPU with this pool and 147 µs without, on the same busy machine."""


_GUEST_BYTES: Final = 6 << 30
"""Address space to look for: 4 GiB and guard pages per memory, stacks and tables; the pool was seen to take two thirds."""


def _pool(guests: int) -> dict[str, int]:
    """Settings of a pool for that many guests."""
    totals = {"stacks": 1, "memories": 1, "component_instances": 1, "core_instances": 4, "tables": 2}
    return {f"total_{name}": guests * each for name, each in totals.items()} | _POOL


def make_engine(tier: Tier = "cranelift", *, pooled: bool = False, guests: int = MAX_GUESTS) -> Any:
    """A `wasmtime.Engine`: epoch interruption on, component-model async off, no threads.

    Args:
        tier: the compiler; code of one tier does not load into an engine of the other.
        pooled: keep a pool of memories and fiber stacks, for an engine that runs guests. It reserves about 12 TiB of address
            space; where that cannot be had (`ulimit -v`), the engine maps memory per guest instead.
        guests: size of the pool.
    """
    return wasmtime.Engine(_config(tier, _pool(guests) if pooled and _can_reserve(guests * _GUEST_BYTES) else {}))


def make_validator() -> Any:
    """An engine that also takes components of WASI 0.3, for the compiler's process alone, to look at hollow components with.

    Never run anything on it: a stream or future that crosses its C API aborts the process.
    """
    config = wasmtime.Config()
    raw.set_concurrency_support(config, enabled=True)
    raw.set_component_model_async(config, enabled=True)
    return wasmtime.Engine(config)


def _can_reserve(size_bytes: int) -> bool:
    """Whether that much address space can be had. The engine itself would abort the process if not."""
    try:
        mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0).close()
    except OSError:
        return False
    return True


def _config(tier: Tier, pool: dict[str, int]) -> Any:
    config = wasmtime.Config()
    if tier == "winch":
        raw.set_strategy(config, _WINCH)
    config.epoch_interruption = True
    config.wasm_threads = False
    raw.forbid_moving_memory(config)
    raw.set_component_model_async(config, enabled=False)
    raw.set_concurrency_support(config, enabled=False)
    if pool:
        raw.set_pool(config, pool)
    return config


class Ticker:
    """Increments the epoch of every engine each TICK_S while guests run; sleeps otherwise."""

    def __init__(self, *engines: Any) -> None:
        self._engines = list(engines)
        self._running = 0
        self._idle_ticks = 0
        self._wake = threading.Event()
        self._asleep = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, engine: Any) -> None:
        """Another engine to tick."""
        self._engines = [*self._engines, engine]

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
            for engine in self._engines:
                engine.increment_epoch()
            idle = 0 if self._running else idle + 1
            if idle < _LINGER_TICKS:
                continue
            self._wake.clear()
            self._asleep = True
            if not self._running and not self._closed:  # `enter` may have missed the flag: look again after setting it
                self._wake.wait()
            self._asleep = False
            idle = 0
