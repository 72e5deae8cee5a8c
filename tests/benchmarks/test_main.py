"""`python -m benchmarks`: its last line."""

import pytest

from benchmarks.__main__ import choose, verdict

MET = {"id": "a", "value": 1, "goal": "<= 2", "ok": True}
MISSED = {"id": "b", "value": 3, "goal": "<= 2", "ok": False}
UNMEASURED = {"id": "c", "value": None, "goal": "<= 2", "ok": None}
WITHOUT_GOAL = {"id": "d", "value": 5, "goal": None, "ok": None}


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([MET, WITHOUT_GOAL], "no goal missed"),
        ([MET, UNMEASURED, UNMEASURED | {"id": "e"}], "no goal missed, 2 not measured: c, e"),
        ([MISSED, UNMEASURED], "1 missed: b, 1 not measured: c"),
        ([UNMEASURED | {"goal": None}], "no goal missed, 1 not measured: c"),
    ],
)
def test_verdict(results, words):
    """What was not measured is told apart from what has met its goal, and from what has none."""
    assert verdict(results) == words


def test_the_longest_name_counts():
    """An ID that begins with the name of another benchmark is not an entry of that one."""
    assert choose(["startup-300", "startup-memory"]) == {"startup-300": [], "startup": ["startup-memory"]}
