"""wasi:random: the operating system's randomness for all three interfaces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from edgesim.errors import GuestTrapError
from edgesim.wasm.linking import HostTable

if TYPE_CHECKING:
    from edgesim.wasm.component import ComponentGuest

TABLE: Final = HostTable()
_MAX_BYTES: Final = 1 << 20


@TABLE.add("wasi:random/random", "get-random-bytes")
@TABLE.add("wasi:random/insecure", "get-insecure-random-bytes")
def random_bytes(_guest: ComponentGuest, size: int) -> bytes:
    """Random bytes, at most 1 MiB at once."""
    if size > _MAX_BYTES:
        raise GuestTrapError(f"the worker asked for {size} random bytes at once, the limit is {_MAX_BYTES}")
    return os.urandom(size)


@TABLE.add("wasi:random/random", "get-random-u64")
@TABLE.add("wasi:random/insecure", "get-insecure-random-u64")
def random_u64(_guest: ComponentGuest) -> int:
    """64 random bits."""
    return int.from_bytes(os.urandom(8), "little")


@TABLE.add("wasi:random/insecure-seed", "insecure-seed")
def insecure_seed(guest: ComponentGuest) -> tuple[int, int]:
    """128 random bits, for hash tables."""
    return random_u64(guest), random_u64(guest)
