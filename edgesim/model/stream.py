"""One random stream per request: a counter-based generator (SplitMix64, Steele et al., OOPSLA 2014).

A stream is a pure function of its key, so a request draws the same numbers live and simulated, and a fork for background
work never interleaves with its parent. Not for secrets.
"""

from __future__ import annotations

from typing import Final

_GAMMA: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1
_PIECE: Final = _GAMMA << 8 & _MASK
_TO_UNIT: Final = 2.0**-53


def mix(z: int) -> int:
    """SplitMix64's finaliser: a 64-bit value that looks random for each 64-bit `z`."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def key(seed: int, *parts: int | str) -> int:
    """A 64-bit key from a seed and names or numbers, stable across processes and platforms."""
    state = mix((seed + _GAMMA) & _MASK)
    for part in parts:
        if isinstance(part, str):
            for byte in part.encode():
                state = mix((state ^ byte) + _GAMMA & _MASK)
            state = mix((state ^ 0x100) + _GAMMA & _MASK)
        else:
            state = mix((state ^ (part & _MASK)) + _GAMMA & _MASK)
    return state


def numbered(base: int, number: int) -> Stream:
    """The stream of the `number`-th request of a run whose key is `base`.

    The run's one sequence is dealt out in pieces of 256 numbers, which costs no mixing: every request pays for this.
    """
    return Stream(base + number * _PIECE)


class Stream:
    """Uniform numbers, 64 bits at a time."""

    __slots__ = ("_state",)

    def __init__(self, state: int) -> None:
        self._state = state & _MASK

    def bits(self) -> int:
        """The next 64 random bits."""
        self._state = z = (self._state + _GAMMA) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def uniform(self) -> float:
        """The next number in [0, 1), with 53 bits."""
        self._state = z = (self._state + _GAMMA) & _MASK  # as `bits`, written out: each request draws several
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) * _TO_UNIT

    def fork(self, name: str) -> Stream:
        """An independent stream for background work; the parent does not advance."""
        return Stream(key(self._state, name))
