"""YAML files as plain values that remember where in the file they stand.

Used for every file that a person writes (topology, scenarios, access classes), so that each mistake is reported as
`file:line:col` with the line itself, all mistakes at once. The reader is stricter and safer than YAML 1.1: scalars
resolve as in YAML 1.2's core schema (so `NO` is Norway, not false), keys may not repeat, and anchors, aliases and tags are
refused, since aliases grow a small file without bound. It checks form only; what a file means is its loader's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

from edgesim.errors import ConfigError, Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_NODES: Final = 200_000

KeyPath: TypeAlias = tuple[str | int, ...]
"""The way to a value: mapping keys and list indices, `("pops", 3, "lat")`."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml reads 4,200 PoPs 10 times as fast

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class _Spot:
    """Zero-based line and column of a value, and of its key where it has one."""

    value: tuple[int, int]
    key: tuple[int, int] | None


@dataclass(slots=True)
class YamlSource:
    """A YAML document with the positions of its values."""

    name: str
    """How the file is called in messages."""
    data: Any
    """The document as dict, list, str, int, float, bool or None. Keys of mappings are always text."""
    problems: list[Problem] = field(default_factory=list)
    """What was wrong with the form (repeated keys); loaders report these together with their own."""
    lines: list[str] = field(default_factory=list)
    spots: dict[KeyPath, _Spot] = field(default_factory=dict)

    def problem(self, path: Iterable[str | int], message: str, help: str = "", *, on_key: bool = False) -> Problem:  # noqa: A002 - the CLI's word
        """A problem at `path`, or at the nearest value around it when nothing stands there.

        Args:
            path: where the value is; `()` is the whole document.
            message: what is wrong.
            help: what to write instead.
            on_key: point at the key rather than at its value.
        """
        whole = tuple(path)
        at = whole
        while at and at not in self.spots:
            at = at[:-1]
            on_key = False
        spot = self.spots.get(at, _Spot((0, 0), None))
        line, col = spot.key if on_key and spot.key else spot.value
        return self.problem_at(line, col, whole, message, help)

    def has(self, path: Iterable[str | int]) -> bool:
        """Whether the document has a value at `path`."""
        return tuple(path) in self.spots

    def fail(self, problems: Iterable[Problem] = ()) -> None:
        """Raise all problems as one ConfigError, in the order of the file; return when there are none.

        Raises:
            ConfigError: there is at least one problem.
        """
        found = dict.fromkeys([*self.problems, *problems])
        if found:
            raise ConfigError(sorted(found, key=lambda p: (p.line, p.col)))

    def problem_at(self, line: int, col: int, path: KeyPath, message: str, help: str = "") -> Problem:  # noqa: A002
        """A problem at a zero-based line and column."""
        source = self.lines[line] if line < len(self.lines) else ""
        name = ".".join(map(str, path))
        return Problem(
            file=self.name, line=line + 1, col=col + 1, field=name, message=message, help=help, source=source
        )


def load_yaml(source: Path | str, name: str = "") -> YamlSource:
    """Read a YAML file (`Path`) or text (`str`).

    Args:
        source: the file, or the text itself.
        name: how to call it in messages; the path by default.

    Returns:
        The document. Its `problems` hold repeated keys and the like: pass them on with `YamlSource.fail`.

    Raises:
        ConfigError: the text is not YAML, or is too large or too deep.
        UsageError: the file cannot be read.
    """
    shown = name or (str(source) if isinstance(source, Path) else "<text>")
    text = _read(source, shown)
    document = YamlSource(name=shown, data=None, lines=text.splitlines())
    try:
        _check_events(text, document)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as exc:
        raise ConfigError([_syntax_problem(exc, text, document)]) from exc
    if node is not None:
        document.data = _construct(node, (), document, None)
    return document


def _read(source: Path | str, shown: str) -> str:
    """The text of the source, within the size limit."""
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except OSError as exc:
            hint = "check the path; `edgesim up` without --topology uses the world that ships with edgesim"
            raise UsageError(f"cannot read {shown}: {exc.strerror or exc}", where=shown, help=hint) from exc
    else:
        raw = source.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_BYTES:
        raise ConfigError(
            [_whole(shown, f"the file is larger than {MAX_BYTES >> 20} MiB", "split it, or remove what is not needed")]
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        problem = Problem(
            file=shown, line=line, col=1, field="", message="the file is not UTF-8 text", help="save it as UTF-8"
        )
        raise ConfigError([problem]) from exc


def _whole(shown: str, message: str, help: str) -> Problem:  # noqa: A002
    return Problem(file=shown, line=1, col=1, field="", message=message, help=help)


def _check_events(text: str, document: YamlSource) -> None:
    """Refuse what could make the document grow beyond its text, before any node is built."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_Loader):
        line, col = _at(event)
        if getattr(event, "anchor", None) is not None:
            what = "an alias (*name)" if isinstance(event, yaml.AliasEvent) else "an anchor (&name)"
            problem = document.problem_at(
                line, col, (), f"{what} is not supported here", "write the value out, or quote it"
            )
            raise ConfigError([problem])
        if getattr(event, "tag", None) is not None:
            problem = document.problem_at(
                line, col, (), "tags (!name) are not supported", "remove it, or quote the value"
            )
            raise ConfigError([problem])
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            limit = f"more than {MAX_DEPTH} levels deep" if depth > MAX_DEPTH else f"more than {MAX_NODES:,} values"
            raise ConfigError(
                [document.problem_at(line, col, (), f"the document is too large: {limit}", "make it smaller")]
            )


def _syntax_problem(exc: yaml.YAMLError, text: str, document: YamlSource) -> Problem:
    """The parser's complaint at the place where it gave up."""
    if isinstance(exc, yaml.MarkedYAMLError):
        mark = exc.problem_mark or exc.context_mark
        line, col = (mark.line, mark.column) if mark else (0, 0)
        why = exc.problem or exc.context or "cannot be parsed"
        while line > 0 and line >= len(document.lines):  # an error at the end of the text points at its last line
            line, col = line - 1, 0
    else:
        position = min(int(getattr(exc, "position", 0) or 0), len(text))
        line, col = text.count("\n", 0, position), position - (text.rfind("\n", 0, position) + 1)
        why = str(getattr(exc, "reason", "") or "cannot be read")
    hint = (
        "look for a tab, a missing space after `:`, an unclosed bracket or quote, or indentation that does not line up"
    )
    return document.problem_at(line, col, (), f"not valid YAML: {why}", hint)


def _construct(node: yaml.Node, path: KeyPath, document: YamlSource, key: tuple[int, int] | None) -> Any:
    """The value of a node; its position is noted on the way."""
    document.spots[path] = _Spot(_at(node), key)
    if isinstance(node, yaml.MappingNode):
        return _construct_mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(child, (*path, index), document, None) for index, child in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)  # the three kinds of node
    return _scalar(node)


def _construct_mapping(node: yaml.MappingNode, path: KeyPath, document: YamlSource) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key_node, value_node in node.value:
        at = _at(key_node)
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(
                document.problem_at(*at, path, "a key must be plain text", "write it as `name: value`")
            )
            continue
        key = str(key_node.value)
        if key in out:
            first = document.spots[(*path, key)].key
            where = f"it stands already on line {first[0] + 1}" if first else ""
            document.problems.append(
                document.problem_at(
                    *at, (*path, key), f"the key '{clip(key)}' is repeated", f"remove one of them; {where}"
                )
            )
            continue
        out[key] = _construct(value_node, (*path, key), document, at)
    return out


def _scalar(node: yaml.ScalarNode) -> Any:
    """A scalar by YAML 1.2's core schema, decimal numbers only; what is quoted stays text."""
    text = str(node.value)
    if node.style in {"'", '"', "|", ">"}:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _at(what: yaml.Node | yaml.Event) -> tuple[int, int]:
    """Zero-based line and column of a node or event."""
    mark = what.start_mark
    return (mark.line, mark.column) if mark is not None else (0, 0)


def clip(value: object, limit: int = 60) -> str:
    """A value as text for a message: printable, and not longer than `limit` characters."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"
