"""Random calls of the stream and future built-ins: whatever a guest passes, it is served, trapped or ended; and nothing else happens."""

import random

import pytest

from edgesim.errors import GuestError
from tests.support.p3 import EXIT, P3Guests
from tests.support.wasm import read_all

NUMBERS = (0, 1, 2, 3, 4, 5, 8, 64, 1024, 65_535, 131_068, 131_072, 0x7FFF_FFFF, -1)
CALLS = {
    "read": 3, "write": 3, "cancel-read": 1, "drop-readable": 1, "drop-writable": 1, "trailers-write": 2, "trailers-drop": 1,
    "join": 2, "set-drop": 1, "set-poll": 2, "subtask-drop": 1, "subtask-cancel": 1, "consume": 3, "response-new": 5,
}  # fmt: skip
RESULTS = {"read", "write", "cancel-read", "trailers-write", "set-poll", "subtask-cancel"}
MADE = ("(drop (call $stream-new))", "(drop (call $trailers-new))", "(drop (call $set-new))", "(drop (call $fields-new))",
        "(drop (call $wait-for (i64.const 1000000)))")  # fmt: skip


def program(rng: random.Random) -> str:
    """A few handles, then calls with small numbers, which may be handles, and hostile ones."""
    lines = [rng.choice(MADE) for _ in range(rng.randrange(1, 8))]
    for _ in range(rng.randrange(1, 12)):
        name = rng.choice(list(CALLS))
        numbers = [rng.choice(NUMBERS) if rng.random() < 0.4 else rng.randrange(1, 12) for _ in range(CALLS[name])]
        call = f"(call ${name} {' '.join(f'(i32.const {number})' for number in numbers)})"
        lines.append(f"(drop {call})" if name in RESULTS else call)
    return "\n".join(lines)


@pytest.fixture
def guests():
    """Makes and runs guests."""
    guests = P3Guests()
    yield guests
    guests.close()


@pytest.mark.parametrize("seed", range(6))
async def test_random_calls(guests, seed):
    """Forty programs each."""
    rng = random.Random(seed)
    served = ended = 0
    for _ in range(40):
        try:
            response = await guests.run(f"{program(rng)} (call $hello) {EXIT}")
            body = await read_all(response)
        except GuestError:
            ended += 1
        else:
            served += body == b"hello"

    assert served + ended == 40
    assert ended
