"""What requests say, and what comes next in a session: the same whoever asks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgesim.model.stream import Stream
from edgesim.scenario.arrivals import Arrival, arrivals, following, think_s
from edgesim.scenario.compose import compose, row_of
from edgesim.scenario.spec import Feeder, Load, Phase, RequestSpec, Scenario, Session, SessionStep, Think
from edgesim.scenario.templates import parse
from tests.live.load.scenarios import BASE

ROWS = ({"name": "João"}, {"name": 'a "b"'}, {"name": "c/d"})
NONE = Think(kind="constant", low_s=0.0)


def request(name: str, **texts: str) -> RequestSpec:
    """A request whose target, body or header fields may have expressions."""
    templates = tuple((part, parse(text)) for part, text in texts.items() if parse(text).calls)
    headers = tuple((part, text) for part, text in texts.items() if part not in {"target", "body"})
    return RequestSpec(
        name=name,
        weight=1.0,
        method="POST",
        target=texts.get("target", "/"),
        headers=headers,
        body=texts.get("body", "").encode(),
        templates=templates,
        is_json="body" in texts,
    )


def scenario(order: str = "circular", *, sessions: bool = False) -> Scenario:
    """Two requests with data; as a session of three steps when asked for."""
    steps = (
        SessionStep(request=0, think=NONE),
        SessionStep(request=1, think=Think(kind="constant", low_s=0.5)),
        SessionStep(request=0, think=Think(kind="constant", low_s=3.0)),
    )
    load = Load(
        phases=(
            Phase(name="a", duration_s=2.0, rate_from=4.0, rate_to=4.0),
            Phase(name="b", duration_s=2.0, rate_from=4.0, rate_to=4.0),
        ),
        arrivals="constant",
    )
    return replace(
        BASE,
        load=load,
        timeline=(),
        requests=(
            request("get", target="/{{ users.name }}/{{ int(0, 1000000) }}", accept="{{ users.name }}", via="x"),
            request("post", body='{"n":{{ int(1, 3) }},"who":"{{ users.name }}"}'),
        ),
        feeders=(Feeder(name="users", order=order, rows=ROWS),),
        sessions=(Session(name="s", weight=1.0, steps=steps),) if sessions else (),
    )


def test_values_are_escaped_for_where_they_go() -> None:
    """Percent-encoded in a path, as they are in a header, escaped in JSON."""
    get = compose(scenario(), Arrival(2, 0.0, 0, 0, 0, 0))
    post = compose(scenario(), Arrival(1, 0.0, 0, 0, 0, 1))

    assert get.target.startswith("/c%2Fd/")
    assert get.headers == (("accept", "c/d"), ("via", "x"))
    assert json.loads(post.body)["who"] == 'a "b"'
    assert json.loads(post.body)["n"] in {1, 2, 3}


def test_a_request_without_templates_is_as_written() -> None:
    """The usual case costs nothing."""
    assert compose(BASE, Arrival(0, 0.0, 0, 0, 0, 0)) == ("/", (), b"")


def test_each_arrival_and_step_draws_for_itself() -> None:
    """The same arrival repeats; another, or another step of the session, differs."""
    one = compose(scenario(), Arrival(3, 0.0, 0, 0, 0, 0)).target

    assert compose(scenario(), Arrival(3, 9.0, 1, 1, 0, 0)).target == one
    assert compose(scenario(), Arrival(6, 0.0, 0, 0, 0, 0)).target != one
    assert compose(scenario(), Arrival(3, 0.0, 0, 0, 0, 0, 0, 1)).target != one


@pytest.mark.parametrize("order", ["circular", "random", "sequential"])
def test_rows_by_order(order: str) -> None:
    """Circular and sequential rows come in order; random ones are all drawn, and repeat."""
    feeder = scenario(order).feeder("users")
    found = [row_of(feeder, 1, number)["name"] for number in range(60)]

    assert found == [row_of(feeder, 1, number)["name"] for number in range(60)]
    if order == "random":
        assert set(found) == {row["name"] for row in ROWS}
        assert found[:6] != [row["name"] for row in (*ROWS, *ROWS)] or found[6:12] != found[:6]
    else:
        assert found[:4] == [row["name"] for row in (*ROWS, ROWS[0])]


def test_the_load_ends_with_the_last_sequential_row() -> None:
    """Each row is used once."""
    assert [a.number for a in arrivals(scenario("sequential"))] == [0, 1, 2]
    assert len(list(arrivals(scenario("circular")))) == 16


def test_a_session_goes_on_after_its_answers() -> None:
    """The next request comes a time to think after the answer, in the phase of that time; none after the load's end."""
    first = next(arrivals(scenario(sessions=True)))
    second = following(scenario(sessions=True), first, 1.75)
    assert second is not None
    third = following(scenario(sessions=True), second, 3.0)

    assert (first.session, first.step, first.request) == (0, 0, 0)
    assert (second.number, second.at_s, second.phase, second.request, second.step) == (first.number, 2.25, 1, 1, 1)
    assert third is None  # 6 s is beyond the load
    assert following(scenario(sessions=True), replace(second, step=2), 0.0) is None
    assert following(scenario(), Arrival(0, 0.0, 0, 0, 0, 0), 0.0) is None


def test_times_to_think() -> None:
    """Constant, within bounds, and exponential with its mean."""
    uniform = [think_s(Think(kind="uniform", low_s=1.0, high_s=3.0), Stream(n)) for n in range(500)]
    exponential = [think_s(Think(kind="exponential", low_s=2.0), Stream(n)) for n in range(4000)]

    assert think_s(Think(kind="constant", low_s=1.5), Stream(1)) == 1.5
    assert min(uniform) >= 1.0
    assert max(uniform) <= 3.0
    assert sum(uniform) / 500 == pytest.approx(2.0, abs=0.1)
    assert sum(exponential) / 4000 == pytest.approx(2.0, rel=0.1)
