"""Lives of instances: drawn limits, and when one may serve again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgesim.core.instances import Instance, Instances
from edgesim.model.stream import Stream
from edgesim.model.worker import Reuse

COUNTS = st.tuples(st.integers(1, 50), st.integers(0, 50)).map(lambda pair: (pair[0], pair[0] + pair[1]))
TIMES = st.tuples(st.floats(0, 100), st.floats(0, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(uses=COUNTS, active=COUNTS, idle=TIMES, seed=st.integers(0, 1 << 64))
def test_limits_lie_in_their_ranges_and_follow_the_stream(uses, active, idle, seed):
    """One stream gives one life; a range of one value draws nothing from it."""
    reuse = Reuse(
        max_instance_reuse_count=uses, max_instance_concurrent_reuse_count=active, idle_instance_timeout_s=idle
    )
    one, other, stream = Instance(0), Instance(0), Stream(seed)
    one.draw(reuse, stream)
    other.draw(reuse, Stream(seed))
    drawn = sum(low != high for low, high in (uses, active, idle))
    after = Stream(seed)
    for _ in range(drawn):
        after.bits()

    assert uses[0] <= one.max_uses <= uses[1]
    assert active[0] <= one.max_active <= active[1]
    assert idle[0] <= one.idle_timeout_s <= idle[1]
    assert (one.max_uses, one.max_active, one.idle_timeout_s) == (
        other.max_uses,
        other.max_active,
        other.idle_timeout_s,
    )
    assert stream.bits() == after.bits()


def test_every_count_of_a_range_is_drawn():
    """Both ends occur, about equally often."""
    reuse, stream = Reuse(max_instance_reuse_count=(1, 4)), Stream(1)
    seen = dict.fromkeys(range(1, 5), 0)
    for _ in range(4000):
        instance = Instance(0)
        instance.draw(reuse, stream)
        seen[instance.max_uses] += 1

    assert all(850 < count < 1150 for count in seen.values())


def test_when_an_instance_is_free():
    """Made, not broken, below both counts."""
    instance = Instance(0)
    instance.draw(Reuse(max_instance_reuse_count=(2, 2), max_instance_concurrent_reuse_count=(2, 2)), Stream(1))
    assert (instance.again, instance.free) == (True, False)
    instance.handle = "made"
    instance.uses = instance.active = 1

    assert instance.free
    instance.broken = True
    assert (instance.again, instance.free) == (False, False)
    instance.broken = False
    instance.uses = 2
    assert (instance.again, instance.free) == (False, False)


def test_joining_takes_the_first_with_room():
    """In the order in which they were made."""
    them, full, first, second = Instances(), Instance(0), Instance(0), Instance(0)
    for instance in (full, first, second):
        instance.max_uses, instance.max_active, instance.handle = 9, 2, "made"
        them.shared[instance] = None
    full.active = 2

    assert them.join() is first
    first.active = second.active = 2
    assert them.join() is None
