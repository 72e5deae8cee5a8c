"""Where a worker's guests begin, by what those before them have used."""

from __future__ import annotations

from edgesim.wasm.pace import INLINE_CPU_S, PROBATION_RUNS, Pace


def test_a_worker_is_trusted_at_first():
    """A thread hop for each small guest would cost more than the guest."""
    assert not Pace().heavy


def test_a_heavy_guest_moves_the_next_ones_to_the_pool():
    """One is enough."""
    pace = Pace()
    pace.ran(INLINE_CPU_S * 1.01)

    assert pace.heavy


def test_probation_ends_after_as_many_light_guests():
    """Not one earlier."""
    pace = Pace()
    pace.ran(1.0)
    for _ in range(PROBATION_RUNS - 1):
        pace.ran(INLINE_CPU_S)

    assert pace.heavy

    pace.ran(0.0)

    assert not pace.heavy


def test_a_heavy_guest_on_probation_begins_it_anew():
    """Light guests in between do not add up."""
    pace = Pace()
    pace.ran(1.0)
    for _ in range(PROBATION_RUNS - 1):
        pace.ran(0.0)
    pace.ran(1.0)
    pace.ran(0.0)

    assert pace.heavy
