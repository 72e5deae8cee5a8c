"""From pydantic's errors to problems of a file."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from edgesim.config.units import Bytes, Form, Seconds, Share
from edgesim.config.validation import FileModel, did_you_mean, validate
from edgesim.config.yaml_source import load_yaml
from edgesim.errors import ConfigError


class Step(FileModel):
    """A model inside another."""

    wait: Seconds
    share: Share = 0.5
    kind: Literal["ramp", "steady"] = "steady"


class File(FileModel):
    """A model of a whole file."""

    version: Literal[1]
    name: str
    steps: Annotated[list[Step], Field(max_length=3)] = []
    named: dict[str, Step] = {}
    other: Step | None = None
    rate: Annotated[int, Field(ge=1)] = 1
    max_in_flight: Annotated[int, Field(alias="maxInFlight")] = 1


def problems(text: str) -> list[tuple[int, int, str, str]]:
    """Line, column, message and help of every problem of a document."""
    with pytest.raises(ConfigError) as error:
        validate(load_yaml(text), File)
    return [(p.line, p.col, p.message, p.help) for p in error.value.problems]


def test_a_right_file():
    """A document without mistakes becomes the model."""
    file = validate(load_yaml("version: 1\nname: x\nsteps: [{wait: 500ms, share: 20%}]\nmaxInFlight: 4\n"), File)

    assert file.steps[0].wait == 0.5
    assert file.steps[0].share == 0.2
    assert file.max_in_flight == 4


def test_all_mistakes_at_once():
    """Unknown and missing keys, units, types, ranges and a repeated key are reported together, in order."""
    text = (
        "version: 2\n"
        "nmae: x\n"
        "steps:\n"
        "  - {wait: soon, shaer: 20%}\n"
        "  - {wait: 1s, kind: rampp}\n"
        "  - nothing\n"
        "named: {a: {wiat: 3}}\n"
        "other: {share: 120%, wait: 1s}\n"
        "rate: 0\n"
        "maxInflight: 3\n"
        "rate: '7'\n"
    )

    assert problems(text) == [
        (1, 1, "the key 'name' is missing", "add `name: …`"),
        (1, 10, "must be 1, not 2", "write 1"),
        (2, 1, "unknown key 'nmae'", "did you mean 'name'?"),
        (4, 12, "'soon' is not a duration", "a duration looks like 500ms, 30s, 2m or 1h; a bare number is seconds"),
        (4, 18, "unknown key 'shaer'", "did you mean 'share'?"),
        (5, 22, "'rampp' is not one of 'ramp' or 'steady'", "did you mean 'ramp'?"),
        (6, 5, "expected a mapping (`key: value`), not 'nothing'", ""),
        (7, 12, "the key 'wait' is missing", "add `wait: …`"),
        (7, 13, "unknown key 'wiat'", "did you mean 'wait'?"),
        (8, 16, "'120%' is not a share", "a share looks like 20% or 0.2, from 0% to 100%"),
        (9, 7, "0: must be at least 1", "a whole number of at least 1"),
        (10, 1, "unknown key 'maxInflight'", "did you mean 'maxInFlight'?"),
        (11, 1, "the key 'rate' is repeated", "remove one of them; it stands already on line 9"),
    ]


def test_text_is_never_taken_for_a_number():
    """Quoted numbers and booleans are mistakes, with what was expected."""
    messages = [message for _, _, message, _ in problems("version: 1\nname: 5\nrate: '7'\nsteps: {}\n")]

    assert messages == [
        "expected text, not 5",
        "expected a whole number of at least 1, not '7'",
        "expected a list, not a mapping",
    ]


def test_limits_of_lists():
    """A list that is too long is reported once."""
    text = "version: 1\nname: x\nsteps: [" + ", ".join(["{wait: 1s}"] * 4) + "]\n"

    assert problems(text) == [(3, 8, "expected at most 3 entries, not 4", "write at most 3 entries")]


@pytest.mark.parametrize(
    ("text", "message"), [("", "the file is empty"), ("[]", "expected a mapping (`key: value`), not a list")]
)
def test_no_mapping_at_all(text, message):
    """An empty file and one of the wrong kind have one problem."""
    assert [p[2] for p in problems(text)] == [message]


def test_a_part_of_a_document():
    """A part is checked at its place in the file."""
    source = load_yaml("a:\n  b: {wiat: 1s}\n")

    with pytest.raises(ConfigError) as error:
        validate(source, Step, ("a", "b"))

    assert [(p.line, p.col, p.field) for p in error.value.problems] == [(2, 6, "a.b.wait"), (2, 7, "a.b.wiat")]


def test_every_bound_comes_with_its_unit_and_range():
    """Durations, sizes, lengths, one-word choices and text with a pattern say what is expected there."""

    class Bounded(FileModel):
        wait: Annotated[Seconds, Field(ge=0.05, le=60)] = 1
        size: Annotated[Bytes, Field(gt=0, lt=64 << 10)] = 1
        name: Annotated[str, Field(min_length=1, max_length=4)] = "x"
        code: Annotated[str, Field(pattern="^[A-Z]$"), Form("a code: one capital letter")] | None = None
        kind: Literal["hub-graph"] = "hub-graph"
        share: Annotated[float, Field(ge=0, le=1)] = 0.5

    with pytest.raises(ConfigError) as error:
        validate(load_yaml("wait: 0ms\nsize: 64KiB\nname: ''\ncode: zz\nkind: hubgraph\nshare: 2\n"), Bounded)

    assert [(p.message, p.help) for p in error.value.problems] == [
        ("'0ms': must be at least 50ms", "a duration from 50ms to 1m"),
        ("'64KiB': must be less than 64KiB", "a size of more than 0B and of less than 64KiB"),
        ("'': must have at least 1 character", "text of 1 to 4 characters"),
        ("'zz' is not a code", "one capital letter"),
        ("must be 'hub-graph', not 'hubgraph'", "did you mean 'hub-graph'?"),
        ("2: must be at most 1", "a number from 0 to 1"),
    ]


def test_did_you_mean():
    """The nearest known word, else what is known, else nothing."""
    assert did_you_mean("proximty", ["proximity", "anycast"]) == "did you mean 'proximity'?"
    assert did_you_mean("TOKYO", ["Tokyo"]) == "did you mean 'Tokyo'?"
    assert did_you_mean("zzz", ["b", "a"], what="words") == "words: a, b"
    assert did_you_mean("zzz", []) == ""
