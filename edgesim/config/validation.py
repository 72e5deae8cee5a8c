"""From pydantic's errors to problems of a file: where, what, the expected form and a suggestion, all at once.

`FileModel` is the base of everything that is read from YAML; `validate` checks a whole document.
"""

from __future__ import annotations

import difflib
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from edgesim.config.units import Form
from edgesim.config.yaml_source import clip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

    from edgesim.config.yaml_source import YamlSource
    from edgesim.errors import Problem

M = TypeVar("M", bound=BaseModel)


class FileModel(BaseModel):
    """Something a person writes in a file: unknown keys are errors, text is never taken for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=False)


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping (`key: value`)",
    "model_type": "a mapping (`key: value`)",
    "model_attributes_type": "a mapping (`key: value`)",
}
"""Pydantic's error types (strict mode) and what was expected there."""


def validate(source: YamlSource, model: type[M], path: tuple[str | int, ...] = ()) -> M:
    """The document, or the part of it at `path`, as an instance of `model`.

    Raises:
        ConfigError: with every problem of the document, its form included.
    """
    data = source.data
    for part in path:
        data = data[part]
    try:
        value = model.model_validate(data)
    except ValidationError as exc:
        source.fail(problems_from_pydantic(exc, source, model, path))
        raise  # not reached: a ValidationError has at least one error
    source.fail()
    return value


def problems_from_pydantic(
    error: ValidationError, source: YamlSource, model: type[BaseModel], path: tuple[str | int, ...] = ()
) -> list[Problem]:
    """Every error of a validation as a problem of the file it came from.

    Args:
        error: what `model.model_validate(data)` raised.
        source: the document.
        model: the model; its field names are what unknown keys are compared with.
        path: where `data` stands in the document; `()` when it is the whole.
    """
    return [_problem(details, source, model, path) for details in error.errors(include_url=False)]


def did_you_mean(word: str, known: Iterable[str], *, what: str = "known") -> str:
    """A suggestion for a mistyped word: the nearest known one, else the (first) known ones; empty when none is known."""
    names = sorted(set(known))
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{by_lower[near[0]]}'?"
    if not names:
        return ""
    return f"{what}: {', '.join(names[:12])}" + (", …" if len(names) > 12 else "")


def _problem(details: ErrorDetails, source: YamlSource, model: type[BaseModel], base: tuple[str | int, ...]) -> Problem:
    kind = details["type"]
    path = _path_in(source, base, details["loc"], missing=kind == "missing")
    name = str(details["loc"][-1]) if details["loc"] else ""
    if kind == "extra_forbidden":
        hint = did_you_mean(name, _keys_at(model, path[len(base) : -1]), what="keys that may stand here")
        return source.problem(path, f"unknown key '{clip(name)}'", hint, on_key=True)
    if kind == "missing":
        return source.problem(path, f"the key '{name}' is missing", f"add `{name}: …`")
    notes = _Notes(model, path[len(base) :], on_key=bool(details["loc"]) and details["loc"][-1] == "[key]")
    message, hint = _words(details, notes)
    return source.problem(path, message, hint, on_key=notes.on_key)


class _Notes:
    """What the model says about the value at a path: its form in words, and its bounds."""

    def __init__(self, model: type[BaseModel], path: tuple[int | str, ...], *, on_key: bool) -> None:
        self.on_key = on_key
        kinds: list[Any] = [model]
        for i, part in enumerate(path):
            if on_key and i == len(path) - 1:
                kinds = [get_args(kind)[0] for each in kinds for kind in _plain(each) if get_origin(kind) is dict]
            else:
                kinds = [below for each in kinds for kind in _plain(each) for below in _below(kind, part)]
        self._all = [note for kind in kinds for note in _metadata(kind)]
        self.whole = any(t is int for kind in kinds for t in _plain(kind))
        self.form = next((note for note in self._all if isinstance(note, Form)), None)

    def bound(self, *names: str) -> Any:
        """The first bound of one of these names (`ge`, `max_length`, …); None when there is none."""
        found = (getattr(note, name, None) for note in self._all for name in names)
        return next((bound for bound in found if bound is not None), None)

    def show(self, bound: float) -> str:
        """A bound in the unit of the value."""
        return (self.form.show if self.form else _plainly)(bound)

    def expected(self, default: str) -> str:
        """The form with the bounds of a number: `a duration from 50ms to 1m`."""
        low, high = self.bound("ge"), self.bound("le")
        above, below = self.bound("gt"), self.bound("lt")
        words = [self.form.text if self.form else default]
        if low is not None and high is not None:
            words.append(f"from {self.show(low)} to {self.show(high)}")
        else:
            pairs = ((low, "of at least"), (above, "of more than"), (high, "of at most"), (below, "of less than"))
            words.append(" and ".join(f"{word} {self.show(limit)}" for limit, word in pairs if limit is not None))
        return " ".join(filter(None, words))

    def length(self, what: str) -> str:
        """The bounds of a length: `1 to 64 characters`; `what` is the plural."""
        low, high = self.bound("min_length"), self.bound("max_length")
        if low is not None and high is not None:
            return f"{low} to {high} {what}"
        return f"at least {low} {what}" if high is None else f"at most {high} {what}"


def _plainly(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _metadata(kind: Any) -> list[Any]:
    """The notes in `Annotated`, through unions; those of pydantic's `Field` taken out of it."""
    if get_origin(kind) is Annotated:
        own = [n for note in kind.__metadata__ for n in (note.metadata if isinstance(note, FieldInfo) else [note])]
        return [*own, *_metadata(kind.__origin__)]
    if get_origin(kind) in {Union, UnionType}:
        return [note for member in get_args(kind) for note in _metadata(member)]
    return []


_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
"""Pydantic's error types for numbers out of range: the name of the bound, and its word."""


def _words(details: ErrorDetails, notes: _Notes) -> tuple[str, str]:
    """What is wrong with a value, and what is expected."""
    kind, given, shown = details["type"], details["input"], _shown(details["input"])
    context: dict[str, Any] = details.get("ctx") or {}
    hint = str(context.get("help", ""))
    if hint:
        message = details["msg"]
    elif not details["loc"] and given is None:
        message, hint = "the file is empty", "write its keys as `key: value`"
    elif kind in _EXPECTED:
        number = kind in {"int_type", "int_from_float", "float_type"}
        form = notes.expected(_EXPECTED[kind]) if number or notes.form else _EXPECTED[kind]
        message = f"expected {form}, not {shown}"
    elif kind in {"literal_error", "enum"}:
        message, hint = _choice(str(context["expected"]), shown, str(given))
    elif kind in _BOUNDS:
        name, word = _BOUNDS[kind]
        message = f"{shown}: must be {word} {notes.show(context[name])}"
        hint = notes.expected("a whole number" if notes.whole else "a number")
    elif kind in {"too_short", "too_long", "string_too_short", "string_too_long"}:
        message, hint = _length(kind, shown, context, notes)
    elif kind == "value_error":
        message, _, hint = str(context["error"]).partition("; ")
    elif kind == "string_pattern_mismatch" and notes.form:
        what, _, hint = notes.form.text.partition(": ")
        message = f"{shown} is not {what}"
    else:
        text = details["msg"]
        for theirs, ours in (("Input should be", "must be"), ("String should", "must"), ("List should", "must")):
            text = text.replace(theirs, ours)
        message = f"{shown}: {text[:1].lower()}{text[1:]}"
        hint = notes.expected("") if notes.form else ""
    return message, hint


def _length(kind: str, shown: str, context: dict[str, Any], notes: _Notes) -> tuple[str, str]:
    """The words for text, lists and mappings that are too short or too long."""
    bound, word = ("min_length", "least") if kind.endswith("short") else ("max_length", "most")
    limit = context[bound]
    if kind.startswith("string"):
        return f"{shown}: must have at {word} {limit} {'character' if limit == 1 else 'characters'}", (
            notes.form.text if notes.form else f"text of {notes.length('characters')}"
        )
    message = f"expected at {word} {limit} {'entry' if limit == 1 else 'entries'}, not {context['actual_length']}"
    return message, notes.form.text if notes.form else f"write {notes.length('entries')}"


def _choice(expected: str, shown: str, given: str) -> tuple[str, str]:
    """The words for a value that is none of a fixed set; `expected` is pydantic's list, `'a', 'b' or 'c'`."""
    if " or " not in expected:
        hint = did_you_mean(given, [expected.strip("'")])
        return f"must be {expected}, not {shown}", hint if hint.startswith("did") else f"write {expected}"
    options = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    hint = did_you_mean(given, options)
    return f"{shown} is not one of {expected}", hint if hint.startswith("did") else ""


def _shown(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case str():
            return f"'{clip(value)}'"
        case _:
            return clip(value)


def _path_in(
    source: YamlSource, path: tuple[int | str, ...], loc: tuple[int | str, ...], *, missing: bool
) -> tuple[int | str, ...]:
    """The part of pydantic's location below `path` that exists in the file: it also names validators and union members."""
    for part in loc:
        if source.has((*path, part)):
            path = (*path, part)
    if missing and loc:
        path = (*path, loc[-1])
    return path


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    """The keys that a mapping at `path` may have, over all members of unions on the way."""
    types: list[Any] = [model]
    for part in path:
        types = [t for kind in types for below in _below(kind, part) for t in _plain(below)]
    models = [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return {info.alias or name for kind in models for name, info in kind.model_fields.items()}


def _below(kind: Any, part: int | str) -> list[Any]:
    """The types, with their notes, of the value at `part` inside a value of the plain type `kind`."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = [info for name, info in kind.model_fields.items() if part in {name, info.alias}]
        return [Annotated[(f.annotation, *f.metadata)] if f.metadata else f.annotation for f in fields]
    origin, args = get_origin(kind), get_args(kind)
    if not isinstance(origin, type) or not args:
        return []
    if isinstance(part, int):
        return [args[0]]
    return [args[1]] if len(args) == 2 and isinstance(part, str) else []


def _plain(kind: Any) -> list[Any]:
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return [t for member in get_args(kind) for t in _plain(member)]
    return [kind]
