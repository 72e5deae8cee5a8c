"""TOML files as plain values that remember where in the file they stand: `tomllib` reads, a small scanner finds positions.

The result is the same kind of document as for YAML, so validation and messages are shared. The scanner runs only on text
that `tomllib` has accepted, and need not check anything itself.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

from edgesim.config.yaml_source import KeyPath, YamlSource, _Spot
from edgesim.errors import ManifestError, Problem, UsageError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES: Final = 1 << 20
_AT: Final = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_SPACE: Final = re.compile(r"[ \t]*")
_SCALAR: Final = re.compile(r"[^,\]}\n#]+")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")' + r"|'''.*?'{3,5}(?!')" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'", re.DOTALL
)


def load_toml(path: Path) -> YamlSource:
    """Read a TOML file.

    Raises:
        ManifestError: the text is not TOML, not UTF-8, or larger than 1 MiB.
        UsageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror or exc}", where=str(path), help="check the path") from exc
    if len(data) > MAX_BYTES:
        raise ManifestError([_whole(path, "the file is larger than 1 MiB")])
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise ManifestError([_whole(path, "the file is not UTF-8 text")]) from exc
    text = text.replace("\r\n", "\n")
    lines = text.splitlines()
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ManifestError([_syntax(exc, path, lines)]) from exc
    return YamlSource(name=str(path), data=values, lines=lines, spots=_Scanner(text).scan())


def _whole(path: Path, message: str) -> Problem:
    return Problem(file=str(path), line=0, col=0, field="", message=message)


def _syntax(error: tomllib.TOMLDecodeError, path: Path, lines: list[str]) -> Problem:
    """The message of tomllib with its position taken out of the text."""
    match = _AT.fullmatch(str(error))
    message, line, col = (match[1], match[2], match[3]) if match else (str(error), None, None)
    number = int(line) if line else max(1, len(lines))
    return Problem(
        file=str(path),
        line=number,
        col=int(col) if col else 1,
        field="",
        message=f"not TOML: {message[:1].lower()}{message[1:]}",
        source=lines[number - 1] if number <= len(lines) else "",
    )


class _Scanner:
    """Walks over valid TOML and notes where keys and values begin."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._spots: dict[KeyPath, _Spot] = {}
        self._arrays: dict[KeyPath, int] = {}
        """Arrays of tables, and how many elements they have so far."""
        starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._line_starts = starts

    def scan(self) -> dict[KeyPath, Any]:
        """Every path of the document with its position."""
        self._spots[()] = _Spot((0, 0), None)
        table: KeyPath = ()
        while self._blank():
            if self._peek("["):
                table = self._header()
            else:
                self._pair(table)
        return self._spots

    def _peek(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _blank(self) -> bool:
        """Skip space, line ends and comments; whether there is more."""
        match = _BLANK.match(self._text, self._at)
        if match:
            self._at = match.end()
        return self._at < len(self._text)

    def _position(self, at: int) -> tuple[int, int]:
        line = self._line(at)
        return line, at - self._line_starts[line]

    def _line(self, at: int) -> int:
        low, high = 0, len(self._line_starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._line_starts[middle] <= at else (low, middle)
        return low

    def _keys(self) -> tuple[str, ...]:
        """A dotted key."""
        keys: list[str] = []
        while True:
            self._space()
            if self._text[self._at] in "\"'":
                match = _STRING.match(self._text, self._at)
                assert match is not None
                keys.append(str(next(iter(tomllib.loads(f"{match[0]} = 0")))))
            else:
                match = _BARE_KEY.match(self._text, self._at)
                assert match is not None
                keys.append(match[0])
            self._at = match.end()
            self._space()
            if not self._peek("."):
                return tuple(keys)
            self._at += 1

    def _space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _header(self) -> KeyPath:
        """`[a.b]` or `[[a.b]]`: the path of the table that begins."""
        start = self._at
        array = self._peek("[[")
        self._at += 2 if array else 1
        path: KeyPath = ()
        keys = self._keys()
        for position, key in enumerate(keys, 1):
            path = (*path, key)
            if array and position == len(keys):
                self._note(path, start)
                self._arrays[path] = self._arrays.get(path, 0) + 1
            if path in self._arrays:
                path = (*path, self._arrays[path] - 1)
            self._note(path, start)
        self._at += 2 if array else 1
        return path

    def _note(self, path: KeyPath, at: int, key: int | None = None) -> None:
        self._spots.setdefault(path, _Spot(self._position(at), self._position(at if key is None else key)))

    def _pair(self, table: KeyPath) -> None:
        """`key = value`."""
        start = self._at
        path = table
        keys = self._keys()
        for key in keys[:-1]:
            path = (*path, key)
            self._note(path, start)
        self._at += 1  # the equals sign
        self._space()
        self._value((*path, keys[-1]), start)

    def _value(self, path: KeyPath, key: int | None) -> None:
        self._note(path, self._at, key)
        if self._peek("["):
            self._at += 1
            index = 0
            while self._blank() and not self._peek("]"):
                self._value((*path, index), None)
                index += 1
                self._blank()
                self._at += self._peek(",")
            self._at += 1
        elif self._peek("{"):
            self._at += 1
            while self._blank() and not self._peek("}"):
                self._pair(path)
                self._blank()
                self._at += self._peek(",")
            self._at += 1
        else:
            match = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
