"""What a manifest says about building its components: Spin's `[component.<id>.build]`.

Only that is read here, so that an app can be built whose files are not there yet; the whole is checked by `manifest.py`
afterwards. Commands are not run here.

Source: "Building Spin Application Code", spinframework.dev/v3/build; `command` is a line or a list of lines for the shell.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from edgesim.config.manifest import MANIFEST
from edgesim.config.toml_source import load_toml
from edgesim.config.validation import FileModel, did_you_mean, validate
from edgesim.errors import ConfigError, ManifestError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from edgesim.config.yaml_source import YamlSource

_OF_THE_SHELL: Final = frozenset(
    {".", ":", "[", "cd", "echo", "exec", "exit", "export", "false", "for", "if", "printf", "set", "source", "test", "true",
     "umask", "unset", "while", "(", "{", "!"}
)  # fmt: skip
_INSTALLERS: Final = frozenset(
    {
        "pip",
        "pip3",
        "pipx",
        "uv",
        "npm",
        "pnpm",
        "yarn",
        "bun",
        "cargo",
        "rustup",
        "apt-get",
        "brew",
        "make",
        "sh",
        "bash",
    }
)
"""Programs that may bring those which come after them."""
_ENDS_COMMAND: Final = frozenset({"&&", "||", ";", "|", "&", "(", ";;"})
Line = Annotated[str, Field(min_length=1, max_length=4096)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """How one component is built."""

    component: str
    commands: tuple[str, ...]
    """Lines for the shell, in order."""
    folder: Path
    """Where they run."""
    source: Path
    """The file that they are to make."""

    @property
    def programs(self) -> tuple[str, ...]:
        """What must be there before the commands run, as far as that can be seen without a shell; each once."""
        found: dict[str, None] = {}
        for program in (program for command in self.commands for program in programs_in(command)):
            found[program] = None
            if program in _INSTALLERS:
                break
        return tuple(found)


def programs_in(command: str) -> list[str]:
    """The programs that a line for the shell starts: the first word of each of its commands that is no assignment."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # an open quote: the shell says it better
        return []
    found, first = [], True
    for word in words:
        if word in _ENDS_COMMAND:
            first = True
        elif first and ("=" not in word or word.startswith("=")):
            first = False
            if word not in _OF_THE_SHELL and not set(word) & set("$`<>*?"):
                found.append(word)
    return found


def _lines(value: Any) -> Any:
    """One line is a list of one."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return value
    raise PydanticCustomError("command", "a command is a line of text, or a list of lines")


class _Build(FileModel):
    command: Annotated[list[Line], BeforeValidator(_lines), Field(min_length=1, max_length=32)]
    workdir: str = "."
    watch: list[str] = Field(default_factory=list)
    """For Spin's `watch`; not used."""


class _Component(FileModel):
    model_config = ConfigDict(extra="ignore")

    source: Any = None
    build: _Build | None = None


def load_build_steps(path: Path, component: str | None = None) -> list[BuildStep]:
    """The build steps of the app in `path`, a folder with spin.toml or the manifest itself.

    Args:
        path: where the app is.
        component: only this one's.

    Raises:
        UsageError: there is no manifest, nothing in it is to be built, or no component is called so.
        ManifestError: the manifest is no TOML, or a build table is wrong; with file:line:col.
    """
    file = path / MANIFEST if path.is_dir() else path
    if not file.exists():
        raise UsageError(
            f"there is no {file}", where=str(file), help=f"name a folder with {MANIFEST}; `edgesim init` makes one"
        )
    source = load_toml(file)
    tables = source.data.get("component")
    tables = (
        {key: table for key, table in tables.items() if isinstance(table, dict)} if isinstance(tables, dict) else {}
    )
    if component is not None and component not in tables:
        hint = did_you_mean(component[:64], tables, what="components")
        raise UsageError(f"there is no component '{component[:64]}' in {file}", where=str(file), help=hint)
    chosen = [key for key, table in tables.items() if "build" in table and component in (None, key)]
    if not chosen:
        what = f"there is no build command in {file}" + (f" for '{component}'" if component else "")
        hint = 'write what makes its file: [component.NAME.build] with command = "…"'
        raise UsageError(what, where=str(file), help=hint)
    return [_step(source, file.parent, key) for key in chosen]


def _step(source: YamlSource, folder: Path, key: str) -> BuildStep:
    """One component's. Raises ManifestError."""
    try:
        table = validate(source, _Component, ("component", key))
    except ConfigError as exc:
        raise ManifestError(exc.problems) from exc
    assert table.build is not None
    if not isinstance(table.source, str):
        message = "a component that is built names the file that comes out"
        raise ManifestError([source.problem(("component", key), message, 'source = "worker.wasm"', on_key=True)])
    workdir = folder / table.build.workdir
    if not workdir.is_dir():
        message = f"there is no folder {table.build.workdir}"
        raise ManifestError(
            [source.problem(("component", key, "build", "workdir"), message, "relative to the manifest")]
        )
    return BuildStep(
        component=key,
        commands=tuple(table.build.command),
        folder=workdir,
        source=folder / table.source,
    )
