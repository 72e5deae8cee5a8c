"""Bodies that can be sent a second time, up to 64 KiB."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgesim.core.replay import REPLAY_BYTES_MAX, ReplayBody
from tests.support.request_path import CountedBody, read_all, run, sim_world


class Chunks:
    """A body of given chunks."""

    def __init__(self, chunks):
        self.chunks = list(chunks)

    async def next(self):
        """The next one."""
        return self.chunks.pop(0) if self.chunks else None


async def take(body, count):
    """Up to `count` chunks."""
    return [c for _ in range(count) if (c := await body.next()) is not None]


def test_exactly_the_limit_can_be_replayed():
    """64 KiB can, one byte more cannot."""
    whole, more = (ReplayBody(CountedBody(1, REPLAY_BYTES_MAX + extra)) for extra in (0, 1))
    for body in (whole, more):
        run(sim_world(), take(body, 1))

    assert whole.rewind()
    assert not more.rewind()


def test_closing_does_not_close_the_clients_stream():
    """A PoP that is done with it must not take it from the next."""
    source = CountedBody(2, 5)
    body = ReplayBody(source)
    body.close()

    assert source.closed == 0
    assert run(sim_world(), read_all(body)) == b"x" * 10


@given(
    chunks=st.lists(st.integers(1, REPLAY_BYTES_MAX // 2).map(lambda n: b"%d " % n * (n // 4 + 1)), max_size=6),
    reads=st.lists(st.integers(0, 7), max_size=4),
)
def test_every_attempt_reads_the_same(chunks, reads):
    """However far earlier attempts got, one that may rewind reads the body from its first byte to its last."""
    body, whole = ReplayBody(Chunks(chunks)), b"".join(chunks)
    for count in reads:
        part = run(sim_world(), take(body, count))

        assert whole.startswith(b"".join(part))
        if not body.rewind():
            assert len(whole) > REPLAY_BYTES_MAX
            return
    assert run(sim_world(), read_all(body)) == whole
