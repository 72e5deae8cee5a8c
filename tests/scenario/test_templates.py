"""Templates: what they give, that they repeat, and every mistake in words."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest

from edgesim.model.stream import Stream
from edgesim.scenario.templates import EXPRESSIONS_MAX, parse

ROW = {"name": "João & Söhne"}


def render(text: str, seed: int = 1, number: int = 7) -> str:
    """The text for one request; the feeder `users` has one row."""
    return parse(text).render(Stream(seed), number, lambda _name: ROW, str)


def test_text_without_expressions_is_itself() -> None:
    """Single braces are text."""
    assert render("/a/{b}?c=}}") == "/a/{b}?c=}}"
    assert parse("/plain").calls == ()
    assert parse("").parts == ("",)


def test_whole_numbers_are_even() -> None:
    """Both ends come, and nothing beyond them."""
    found = Counter(int(render("{{ int(-1, 2) }}", seed)) for seed in range(4000))

    assert set(found) == {-1, 0, 1, 2}
    assert all(abs(count - 1000) < 150 for count in found.values())


def test_ranks_follow_zipf() -> None:
    """With exponent 1 over three ranks the shares are 6/11, 3/11 and 2/11; every rank is in bounds."""
    found = Counter(int(render("{{zipf(3, 1)}}", seed)) for seed in range(11_000))

    assert [found[rank] / 1000 for rank in (1, 2, 3)] == pytest.approx([6, 3, 2], abs=0.25)
    assert {render("{{ zipf(1, 0) }}", seed) for seed in range(50)} == {"1"}


def test_uuids_are_uuids() -> None:
    """Version 4, variant RFC 9562, all different."""
    found = {UUID(render("{{ uuid() }}", seed)) for seed in range(200)}

    assert len(found) == 200
    assert {u.version for u in found} == {4}
    assert {u.variant for u in found} == {"specified in RFC 4122"}


def test_numbers_and_fields() -> None:
    """The arrival's number, and a row's field as it is to be escaped."""
    assert render("{{ number() }}-{{ users.name }}") == "7-João & Söhne"
    assert parse("{{ users.name }}").render(Stream(1), 0, lambda _: ROW, lambda _: "x") == "x"


def test_the_same_stream_gives_the_same_text() -> None:
    """Expressions draw in their order, so a request repeats."""
    text = "/{{ int(0, 999999) }}/{{ uuid() }}/{{ int(0, 999999) }}"

    assert render(text, 5) == render(text, 5)
    assert render(text, 5) != render(text, 6)
    _, first, _, second = render(text, 5).split("/")
    assert first != second


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ nothing }}", "'nothing' is not an expression; write int"),
        ("{{ open(1) }}", "'open\\(1\\)' is not an expression"),
        ("{{ }}", "'' is not an expression"),
        ("/a{{ int(1, 2)", "is not closed"),
        ("{{ int(2, 1) }}", "wrong arguments; int\\(a, b\\) takes two whole numbers"),
        ("{{ int(1) }}", "wrong arguments"),
        ("{{ int(1.5, 2) }}", "wrong arguments"),
        ("{{ zipf(0, 1) }}", "wrong arguments; zipf\\(n, s\\) takes 1 to 1,000,000 ranks"),
        ("{{ zipf(5) }}", "wrong arguments"),
        ("{{ zipf(5, 1, 2) }}", "wrong arguments"),
        ("{{ uuid(4) }}", "wrong arguments; uuid\\(\\) takes nothing"),
        ("{{ number(4) }}", "wrong arguments; number\\(\\) takes nothing"),
        ("{{ uuid() }}" * (EXPRESSIONS_MAX + 1), "more than 50 expressions"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    """What is wrong, and what to write."""
    with pytest.raises(ValueError, match=said) as caught:
        parse(text)

    assert "; " in str(caught.value)
