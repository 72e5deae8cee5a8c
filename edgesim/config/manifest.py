"""Apps as their authors already have them: a folder with `spin.toml`, the manifest itself, or a bare `.wasm`.

Reads Spin's manifest, version 2. What edgesim does not do yet (key-value stores, databases, service chaining, …) is
refused by name, never ignored, since an app that asks for it would fail later and elsewhere. Limits of edgesim's own stand
in `[component.<id>.tool.edgesim]`, which Spin leaves alone. Whether the Wasm files are workers is not checked here: that is
the control plane's `inspect`.

Source: "Spin Application Manifest Reference" (v2), developer.fermyon.com/spin/v3/manifest-reference.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from edgesim.config.bundle import Bundle, FileEntries, FileSource, bundle_problems
from edgesim.config.filter_settings import AppTools, FilterTable, filter_problems, filters_in
from edgesim.config.messages import DeployRequest
from edgesim.config.releases import APP_PATTERN, COMPONENT_PATTERN, DeployComponent, LimitsModel, ReuseModel, RouteModel
from edgesim.config.releases import FileModel as BundledFileModel
from edgesim.config.reuse import ReuseTable
from edgesim.config.toml_source import load_toml
from edgesim.config.validation import FileModel, did_you_mean, problems_from_pydantic
from edgesim.config.variables import (
    ComponentVariables,
    Templates,
    Variables,
    defaults_of,
    resolve,
    variable_problems,
)
from edgesim.config.worker_limits import LimitsTable, find_profile
from edgesim.config.yaml_source import clip
from edgesim.errors import BundleError, ConfigError, ManifestError, Problem, UsageError
from edgesim.model.worker import Limits, Reuse, Route

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgesim.config.yaml_source import YamlSource

MANIFEST: Final = "spin.toml"
_PATHS: Final = "name a folder with spin.toml, a spin.toml, or a .wasm file"
_APP: Final = re.compile(APP_PATTERN)
_APP_HELP: Final = "an app's name is part of its host name: lowercase letters, digits and dashes, at most 40"
_COMPONENT: Final = re.compile(COMPONENT_PATTERN)
_COMPONENT_HELP: Final = "a letter or digit, then letters, digits, dots, dashes and underscores, at most 64 in all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSource:
    """One component of an app, before it is uploaded."""

    id: str
    file: Path
    environment: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    outbound: tuple[str, ...] = ()
    files: tuple[FileSource, ...] = ()
    limits: Limits = field(default_factory=Limits)
    reuse: Reuse = field(default_factory=Reuse)
    configuration: str = ""
    fail_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSource:
    """An app on disk."""

    name: str
    components: tuple[ComponentSource, ...]
    routes: tuple[Route, ...]
    filters: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The Wasm files and those that are bundled with them, each once."""
        return tuple(dict.fromkeys(f for c in self.components for f in (c.file, *(b.file for b in c.files))))

    def request(self, *, prefetch: bool = True, message: str = "") -> DeployRequest:
        """The deployment to ask the API for, once the files are uploaded. Reads the files.

        Raises:
            BundleError: a file cannot be read.
        """
        digests = {file: _digest(file) for file in self.files}
        return DeployRequest(
            components=tuple(
                DeployComponent(
                    id=c.id,
                    digest=digests[c.file],
                    limits=LimitsModel(**{name: getattr(c.limits, name) for name in LimitsModel.model_fields}),
                    environment=c.environment,
                    variables=c.variables,
                    outbound=c.outbound,
                    files=tuple(
                        BundledFileModel(path=f.path, digest=digests[f.file], size_bytes=f.size_bytes) for f in c.files
                    ),
                    reuse=ReuseModel(**asdict(c.reuse)),
                    configuration=c.configuration,
                    fail_open=c.fail_open,
                )
                for c in self.components
            ),
            routes=tuple(RouteModel(pattern=r.pattern, component=r.component) for r in self.routes),
            filters=self.filters,
            prefetch=prefetch,
            message=message,
        )


def load_app(path: Path, *, name: str | None = None, limits_profile: str | None = None) -> AppSource:
    """The app in `path`: a folder with spin.toml, a spin.toml, or a bare .wasm, which gets every path of the app.

    Args:
        path: where the app is.
        name: what to call it instead of what the manifest or the file name says.
        limits_profile: a platform of `model.profiles` whose limits the components get, save where the manifest has its own.

    Raises:
        ManifestError: the manifest is wrong or asks for what is not supported; every problem, with file:line:col.
        UsageError: there is no app in `path`, its name cannot be a host name, or there is no such profile.
    """
    if limits_profile is not None:
        find_profile(limits_profile)
    if name is not None and not _APP.fullmatch(name):
        raise UsageError(f"'{name}' cannot be an app's name", help=_APP_HELP)
    if path.is_dir():
        path = _manifest_in(path)
    if not path.exists():
        raise UsageError(f"there is no {path}", where=str(path), help=_PATHS)
    if not path.is_file():  # reading a pipe or a device would never end
        raise UsageError(f"{path} is not a file", where=str(path), help=_PATHS)
    if path.suffix == ".toml":
        return _load_manifest(path, name, limits_profile)
    if path.suffix == ".wasm":
        return _bare(path, name, limits_profile)
    raise UsageError(f"{path} is neither a manifest nor a .wasm file", where=str(path), help=_PATHS)


def _manifest_in(folder: Path) -> Path:
    """The manifest of a folder. Raises UsageError when there is none."""
    path = folder / MANIFEST
    if path.exists():
        return path
    foreign = [n for n in ("wrangler.toml", "wrangler.jsonc", "fastly.toml") if (folder / n).exists()]
    if foreign:
        raise UsageError(
            f"{foreign[0]} is not supported yet", where=str(folder / foreign[0]), help=f"write a {MANIFEST}"
        )
    raise UsageError(f"there is no {MANIFEST} in {folder}", where=str(folder), help=_PATHS)


def _bare(path: Path, name: str | None, limits_profile: str | None) -> AppSource:
    """An app of one file. It is called as the file, or as its folder when the file's name says nothing."""
    word = (name or path.stem).lower().replace("_", "-")
    if not _APP.fullmatch(word):
        raise UsageError(
            f"'{path.stem}' cannot be an app's name", where=str(path), help=f"give one with --app; {_APP_HELP}"
        )
    component = ComponentSource(id=word, file=path, limits=LimitsTable().limits(limits_profile))
    return AppSource(name=word, components=(component,), routes=(Route(pattern="/...", component=word),))


def _digest(file: Path) -> str:
    """sha256 of a file, lowercase hex."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise BundleError(f"cannot read {file}: {exc.strerror or exc}", where=str(file)) from exc


# -- the manifest as a model ----------------------------------------------------------------------------------------------


def _refuse(value: Any, info: ValidationInfo) -> Any:
    """Anything but emptiness is an error that names the feature."""
    if value:
        context = {"what": info.field_name or "this", "help": "remove it, or serve this app elsewhere for now"}
        raise PydanticCustomError("unsupported", "{what} is not supported yet", context)
    return value


Unsupported = Annotated[Any, AfterValidator(_refuse)]
"""A field that may be there, but empty."""


def _custom(message: str, help_text: str) -> PydanticCustomError:
    return PydanticCustomError("manifest", "{message}", {"message": message, "help": help_text})


def _route(value: Any) -> Any:
    """A route that edgesim serves: exact, or with Spin's trailing wildcard."""
    help_text = "a route looks like /users or /users/..."
    if isinstance(value, dict):
        raise _custom("a private route (service chaining) is not supported yet", "give the component a public route")
    if not isinstance(value, str) or not value.startswith("/"):
        raise _custom("a route begins with /", help_text)
    segments = value.split("/")
    for segment in segments[1:]:
        if segment.startswith((":", "*")):
            raise _custom(f"the wildcard '{segment}' in a route is not supported yet", help_text)
    if "..." in value[: -len("...")] or ("..." in value and segments[-1] != "..."):
        raise _custom("'...' stands at the end of a route, after a /", help_text)
    if re.search(r"[\s?#]", value):
        raise _custom("a route is a path, without spaces, query and fragment", help_text)
    return value


def _source(value: Any) -> Any:
    """A path in the file system."""
    if isinstance(value, dict):
        raise _custom("a remote source (url and digest) is not supported yet", "download the file and name its path")
    return value


def _component_name(value: Any) -> Any:
    """The id of a component that has its own table."""
    if isinstance(value, dict):
        raise _custom("a component inside its trigger is not supported yet", "give it a [component.<id>] table")
    return value


class _Executor(FileModel):
    type: Literal["http", "spin", "wagi"]
    """Only checked: the file itself says what it is."""
    argv: Unsupported = None
    entrypoint: Unsupported = None


class _HttpTrigger(FileModel):
    route: Annotated[str, BeforeValidator(_route)]
    component: Annotated[str, BeforeValidator(_component_name)]
    id: str = ""
    executor: _Executor | None = None


class _Triggers(FileModel):
    http: Annotated[list[_HttpTrigger], Field(min_length=1, max_length=256)]
    redis: Unsupported = None


class _EdgesimTable(LimitsTable, ReuseTable, FilterTable):
    """`[component.<id>.tool.edgesim]`."""


class _Tools(FileModel):
    """Tables of tools: edgesim's own, and those of others, which are their business."""

    model_config = ConfigDict(extra="allow")

    edgesim: _EdgesimTable = _EdgesimTable()


class _Component(FileModel):
    source: Annotated[str, BeforeValidator(_source)]
    description: str = ""
    environment: dict[str, str] = Field(default_factory=dict)
    build: Any = None
    """Read by `build_steps.py`."""
    tool: _Tools = _Tools()
    allowed_outbound_hosts: Templates = Field(default_factory=list)
    allowed_http_hosts: Unsupported = None
    files: FileEntries = Field(default_factory=list)
    exclude_files: list[str] = Field(default_factory=list)
    key_value_stores: Unsupported = None
    sqlite_databases: Unsupported = None
    ai_models: Unsupported = None
    variables: ComponentVariables = Field(default_factory=dict)
    dependencies: Unsupported = None
    dependencies_inherit_configuration: Unsupported = None
    targets: Unsupported = None
    profile: Unsupported = None


class _Application(FileModel):
    name: str
    version: str = ""
    description: str = ""
    authors: list[str] = Field(default_factory=list)
    trigger: Unsupported = None
    tool: AppTools = AppTools()


class _Manifest(FileModel):
    spin_manifest_version: Literal[2]
    application: _Application
    trigger: _Triggers
    component: Annotated[dict[str, _Component], Field(min_length=1, max_length=32)]
    variables: Variables = Field(default_factory=dict)


# -- from the model to values ---------------------------------------------------------------------------------------------


def _load_manifest(path: Path, name: str | None, limits_profile: str | None) -> AppSource:
    source = load_toml(path)
    _refuse_version_1(source)
    problems = [*_References(source, path.parent, name).problems(), *variable_problems(source)]
    model: _Manifest | None = None
    try:
        model = _Manifest.model_validate(source.data)
    except ValidationError as exc:
        problems += problems_from_pydantic(exc, source, _Manifest)
    try:
        source.fail(problems)
    except ConfigError as exc:
        raise ManifestError(exc.problems) from exc
    assert model is not None
    defaults = defaults_of(source.data.get("variables"))
    return AppSource(
        name=name or model.application.name,
        components=tuple(
            ComponentSource(
                id=key,
                file=(path.parent / table.source),
                environment=tuple(table.environment.items()),
                variables=tuple((variable, resolve(text, defaults)) for variable, text in table.variables.items()),
                outbound=tuple(resolve(entry, defaults) for entry in table.allowed_outbound_hosts),
                files=Bundle(path.parent, table.files, table.exclude_files).files,
                limits=table.tool.edgesim.limits(limits_profile),
                reuse=table.tool.edgesim.reuse(),
                configuration=table.tool.edgesim.configuration_text(),
                fail_open=table.tool.edgesim.fail_open,
            )
            for key, table in model.component.items()
        ),
        routes=tuple(Route(pattern=t.route, component=t.component) for t in model.trigger.http),
        filters=tuple(model.application.tool.edgesim.filters),
    )


def _refuse_version_1(source: YamlSource) -> None:
    """Version 1 manifests have another shape altogether: say that, and nothing else. Raises ManifestError."""
    for key in ("spin_manifest_version", "spin_version"):
        if source.data.get(key) in (1, "1"):
            hint = "convert it: spin doctor, or see Spin's documentation"
            raise ManifestError([source.problem((key,), "a version 1 manifest is not supported", hint)])


class _References:
    """What only the whole shows: names, files, and triggers and components that do not fit together.

    Reads the raw document, so that these problems are reported together with those of form; what has the wrong type is
    skipped here.
    """

    def __init__(self, source: YamlSource, folder: Path, name: str | None) -> None:
        self._source = source
        self._folder = folder
        self._name = name
        """The name that is given on the command line; the manifest's does not matter then."""
        self._components: dict[str, Any] = _table(source.data, "component")
        triggers = _table(source.data, "trigger").get("http")
        self._triggers = [t if isinstance(t, dict) else {} for t in triggers] if isinstance(triggers, list) else []

    def problems(self) -> Iterator[Problem]:
        """Every problem, in no particular order."""
        name = _table(self._source.data, "application").get("name")
        if self._name is None and isinstance(name, str) and not _APP.fullmatch(name):
            message = f"'{clip(name)}' cannot be an app's name here"
            yield self._source.problem(("application", "name"), message, _APP_HELP)
        yield from self._routes()
        yield from self._unrouted()
        yield from filter_problems(self._source, self._components, [t.get("component") for t in self._triggers])
        for key, table in self._components.items():
            if not _COMPONENT.fullmatch(key):
                message = f"'{clip(key)}' cannot be a component's id"
                yield self._source.problem(("component", key), message, _COMPONENT_HELP, on_key=True)
            if isinstance(table, dict):
                yield from self._file(key, table)
                yield from bundle_problems(self._source, self._folder, key, table)

    def _routes(self) -> Iterator[Problem]:
        """Triggers that lead nowhere, and routes that lead to two places."""
        patterns: set[str] = set()
        for i, trigger in enumerate(self._triggers):
            at = ("trigger", "http", i)
            component, route = trigger.get("component"), trigger.get("route")
            if isinstance(component, str) and self._components and component not in self._components:
                hint = did_you_mean(component, self._components, what="components")
                yield self._source.problem((*at, "component"), f"there is no component '{clip(component)}'", hint)
            if isinstance(route, str):
                if route in patterns:
                    message = f"the route {clip(route)} is given twice"
                    yield self._source.problem((*at, "route"), message, "remove one, or change its path")
                patterns.add(route)

    def _unrouted(self) -> Iterator[Problem]:
        """Components that no trigger names. Nothing is known of them while a trigger does not say where it leads."""
        routed = [trigger.get("component") for trigger in self._triggers]
        if not routed or not all(isinstance(component, str) for component in routed):
            return
        for key in self._components:
            if key not in routed and key not in filters_in(self._source.data):
                hint = f'add a [[trigger.http]] with component = "{clip(key)}", or remove it'
                message = f"no route leads to the component '{clip(key)}'"
                yield self._source.problem(("component", key), message, hint, on_key=True)

    def _file(self, key: str, table: dict[str, Any]) -> Iterator[Problem]:
        """A component whose file is not there."""
        file = table.get("source")
        if not isinstance(file, str) or (self._folder / file).is_file():
            return
        built = "command" in _table(table, "build")
        hint = "run `edgesim build`, which makes it" if built else "build it first, or correct the path"
        yield self._source.problem(("component", key, "source"), f"there is no file {clip(file)}", hint)


def _table(data: dict[str, Any], key: str) -> dict[str, Any]:
    """`data[key]` where it is a table, else an empty one."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}
