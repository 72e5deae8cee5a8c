"""What the requests of one worker cost, for `edgesim run`: one record per request, and their sum for the end.

Exact maxima of all requests, medians of the latest ones; bounded in memory.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from edgesim.model.profiles import Usage

if TYPE_CHECKING:
    from edgesim.model.worker import Abi

LATEST: Final = 10_000
"""Requests that medians are of."""
CLIENT_GONE: Final = 499


@dataclass(slots=True, kw_only=True)
class Served:
    """One request to a worker, filled in as it goes on. Times are seconds."""

    method: str
    target: str
    component: str = ""
    """Empty when no route led to one."""
    status: int = CLIENT_GONE
    """What was sent; 499 when the client went away first."""
    wall_s: float = 0.0
    """From the request's head until the last byte of the answer was handed to the connection."""
    instantiate_s: float = 0.0
    cpu_s: float = 0.0
    """The start included."""
    start_cpu_s: float = 0.0
    memory_bytes: int = 0
    """0 where it cannot be seen."""
    wanted_memory: bool = False
    """Whether it was ended because it needed more memory than it may have."""
    subrequests: int = 0
    body_bytes: int = 0
    response_bytes: int = 0
    error: str = ""
    """What ended it, with its code; empty when nothing did."""
    help: str = ""
    log: str = ""
    ran: bool = False
    """Whether what a guest cost is known."""


class Tally:
    """The requests of one component."""

    def __init__(self, component: str, abi: Abi, bundle_bytes: int, memory_at_start_bytes: int) -> None:
        self.component = component
        self.abi: Abi = abi
        self._bundle_bytes = bundle_bytes
        self._memory_at_start_bytes = memory_at_start_bytes
        self.requests = 0
        self.failed = 0
        """Requests that the worker, or the host, ended with an error."""
        self._cpu_s: deque[float] = deque(maxlen=LATEST)
        self._wall_s: deque[float] = deque(maxlen=LATEST)
        self._instantiate_s: deque[float] = deque(maxlen=LATEST)
        self.cpu_max_s = self.wall_max_s = self.start_cpu_max_s = 0.0
        self.request_cpu_max_s = 0.0
        """Without the start."""
        self.memory_max_bytes = self.subrequests_max = self.body_max_bytes = self.response_max_bytes = 0

    def add(self, served: Served) -> None:
        """Count a request."""
        self.requests += 1
        self.failed += bool(served.error)
        if not served.ran:
            return
        self._cpu_s.append(served.cpu_s)
        self._wall_s.append(served.wall_s)
        self._instantiate_s.append(served.instantiate_s)
        self.cpu_max_s = max(self.cpu_max_s, served.cpu_s)
        self.request_cpu_max_s = max(self.request_cpu_max_s, served.cpu_s - served.start_cpu_s)
        self.start_cpu_max_s = max(self.start_cpu_max_s, served.start_cpu_s)
        self.wall_max_s = max(self.wall_max_s, served.wall_s)
        self.memory_max_bytes = max(self.memory_max_bytes, served.memory_bytes)
        self.subrequests_max = max(self.subrequests_max, served.subrequests)
        self.body_max_bytes = max(self.body_max_bytes, served.body_bytes)
        self.response_max_bytes = max(self.response_max_bytes, served.response_bytes)

    @property
    def cpu_p50_s(self) -> float | None:
        """Median CPU time of a request; None when no guest has run."""
        return median(self._cpu_s) if self._cpu_s else None

    @property
    def wall_p50_s(self) -> float | None:
        """Median time of a request."""
        return median(self._wall_s) if self._wall_s else None

    @property
    def instantiate_p50_s(self) -> float | None:
        """Median time to make an instance."""
        return median(self._instantiate_s) if self._instantiate_s else None

    def usage(self) -> Usage:
        """What the platforms' limits are compared with."""
        static = Usage(abi=self.abi, bundle_bytes=self._bundle_bytes, memory_at_start_bytes=self._memory_at_start_bytes)
        if not self._cpu_s:
            return static
        return Usage(
            abi=self.abi,
            bundle_bytes=self._bundle_bytes,
            memory_at_start_bytes=self._memory_at_start_bytes,
            requests=self.requests,
            cpu_ms=self.request_cpu_max_s * 1e3,
            wall_s=self.wall_max_s,
            memory_bytes=self.memory_max_bytes or None,
            startup_ms=self.start_cpu_max_s * 1e3,
            subrequests=self.subrequests_max,
            body_bytes=self.body_max_bytes,
            response_bytes=self.response_max_bytes,
        )
