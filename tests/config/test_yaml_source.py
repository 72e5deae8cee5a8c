"""YAML with positions: what is read, what is refused, and where messages point."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.config.yaml_source import MAX_BYTES, clip, load_yaml
from edgesim.errors import ConfigError, UsageError


def test_scalars_follow_yaml_1_2():
    """Norway, yes, clock times and dates stay text; numbers, booleans and null are read."""
    source = load_yaml("[NO, yes, 12:30, 2020-01-01, 0x1f, 7, -2.5, 1e3, true, null, ~, '7', \"true\"]")

    assert source.data == ["NO", "yes", "12:30", "2020-01-01", "0x1f", 7, -2.5, 1000.0, True, None, None, "7", "true"]
    assert source.problems == []


def test_positions_of_keys_and_values():
    """A problem points at a value or its key, counts from one and carries the line."""
    source = load_yaml("a: 1\npops:\n  - fra1\n  - {id: gru1, slots: many}\n", "t.yaml")

    value = source.problem(("pops", 1, "slots"), "no", "yes")
    assert (value.file, value.line, value.col, value.field) == ("t.yaml", 4, 23, "pops.1.slots")
    assert value.source == "  - {id: gru1, slots: many}"
    assert (value.message, value.help) == ("no", "yes")
    key = source.problem(("pops", 1, "slots"), "no", on_key=True)
    assert (key.line, key.col) == (4, 16)


def test_missing_value_points_at_what_is_around_it():
    """What is not in the file is reported where it should stand."""
    source = load_yaml("a:\n  b: {c: 1}\n")

    problem = source.problem(("a", "b", "x", 3), "missing")

    assert (problem.line, problem.col, problem.field) == (2, 6, "a.b.x.3")


def test_repeated_keys_are_problems_and_the_first_counts():
    """Both of two repeated keys are reported, each with the line of the first."""
    source = load_yaml("a: 1\nb: {c: 1, c: 2}\na: 2\n")

    assert source.data == {"a": 1, "b": {"c": 1}}
    with pytest.raises(ConfigError) as error:
        source.fail()
    assert [(p.line, p.col, p.field) for p in error.value.problems] == [(2, 11, "b.c"), (3, 1, "a")]
    assert "line 1" in error.value.problems[1].help


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1, 2", 1, "not valid YAML"),
        ("a: 1\n\tb: 2", 2, "tab"),
        ("a: 1\n--- \nb: 2", 2, "another document"),
        ("a: 1\nb: &x 2", 2, "anchor"),
        ("a: *x", 1, "alias"),
        ("a: \x01", 1, "not valid YAML"),
        ("[" * 100 + "]" * 100, 1, "levels deep"),
        ("a: {b: c}: d", 1, "not valid YAML"),
        ("\n\n a: 'x", 3, "not valid YAML"),
    ],
)
def test_what_is_refused(text, line, words):
    """Bad syntax, aliases and depth end in one problem with a line, never in a traceback of the parser."""
    with pytest.raises(ConfigError) as error:
        load_yaml(text, "t.yaml")

    (problem,) = error.value.problems
    assert problem.line == line
    assert words in problem.message


@pytest.mark.parametrize("text", ["a: !!python/object:os.system x", "!!int 3", "a: !x {b: 1}", "b: ! c"])
def test_tags_are_refused(text):
    """A tag is reported and never constructed."""
    with pytest.raises(ConfigError, match="tags"):
        load_yaml(text)


def test_compound_keys_are_problems():
    """A key that is no text is reported."""
    (problem,) = load_yaml("{[1, 2]: 3}").problems

    assert (problem.line, problem.col, problem.message) == (1, 2, "a key must be plain text")


def test_size_limit():
    """A file above the limit is refused before it is parsed."""
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_yaml("#" * (MAX_BYTES + 1))


def test_files(tmp_path: Path):
    """A missing file, a folder and a binary file each have a clear error."""
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"a: 1\nb: \xff\xfe")

    with pytest.raises(UsageError, match="No such file"):
        load_yaml(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="cannot read"):
        load_yaml(tmp_path)
    with pytest.raises(ConfigError, match="not UTF-8") as error:
        load_yaml(binary)
    assert error.value.problems[0].line == 2


def test_problems_are_in_the_order_of_the_file():
    """Problems found in any order are reported from top to bottom, each once."""
    source = load_yaml("a: 1\nb: 2\n")
    first, second = source.problem(("a",), "x"), source.problem(("b",), "y")

    with pytest.raises(ConfigError) as error:
        source.fail([second, first, second])

    assert error.value.problems == (first, second)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_problem(text):
    """No text makes the reader raise anything but a ConfigError with a line in the file."""
    try:
        source = load_yaml(text)
        lines = [source.problem((), "x").line]
    except ConfigError as error:
        lines = [problem.line for problem in error.problems]

    assert min(lines) >= 1


@given(st.text(max_size=200))
def test_clip_is_short_and_printable(text):
    """Text for messages is bounded and cannot move the terminal's cursor."""
    clipped = clip(text)

    assert len(clipped) <= 60
    assert clipped.isprintable()
