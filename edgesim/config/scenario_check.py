"""What in a scenario file refers to what: checks between keys, on the raw document, so that every mistake is told at once.

That includes the files that a scenario names. Form and types are the models' (`edgesim/config/scenario_file.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from edgesim.config.feeders import read_rows
from edgesim.config.resources import resource_path
from edgesim.config.scenario_clients import population
from edgesim.config.scenario_file import TargetFile
from edgesim.config.scenario_load import PopulationFile
from edgesim.config.scenario_requests import METHODS, SOURCES, FeederFile, RequestFile
from edgesim.config.scenario_steps import STEPS, EntryFile
from edgesim.config.units import parse_duration
from edgesim.config.validation import FileModel, did_you_mean
from edgesim.config.yaml_source import YamlSource, clip
from edgesim.errors import UsageError
from edgesim.scenario import templates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgesim.errors import Problem

_TAG: Final = re.compile(r"""[{,]\s*(phase|population|request)\s*=\s*["']?([^{},"']*[^{},"'\s])""")
"""A tag of a threshold, also of one that is wrong otherwise."""


_LISTS: Final = ("populations", "requests", "sessions", "feeders", "timeline", "thresholds")


class References:
    """Checks between the parts of a document that may be wrong in other ways too."""

    def __init__(self, source: YamlSource, folder: Path) -> None:
        self._source = source
        self._folder = folder
        data = source.data if isinstance(source.data, dict) else {}
        self._data = data
        self._load = data["load"] if isinstance(data.get("load"), dict) else {}
        self._lists: dict[str, list[Any]] = {
            "phases": _list(self._load.get("phases")),
            **{key: _list(data.get(key)) for key in _LISTS},
        }

    def problems(self) -> Iterator[Problem]:
        """Every broken reference."""
        yield from self._unique(("load", "phases"), "phases")
        yield from self._unique(("populations",), "populations")
        for key in ("requests", "sessions", "feeders"):
            yield from self._unique((key,), key)
        yield from self._target()
        yield from self._populations()
        yield from self._requests()
        yield from self._crowds()
        yield from self._sessions()
        yield from self._feeders()
        yield from self._actions()
        yield from self._tags()
        yield from self._timeline()

    def _unique(self, path: tuple[str, ...], key: str) -> Iterator[Problem]:
        seen: set[str] = set()
        for index, name in enumerate(self._names(key)):
            if name is not None and name in seen:
                message = f"the name '{clip(name)}' is used twice"
                yield self._source.problem((*path, index, "name"), message, "give each its own name")
            elif name is not None:
                seen.add(name)

    def _names(self, key: str) -> list[str | None]:
        entries = self._lists[key]
        return [e["name"] if isinstance(e, dict) and isinstance(e.get("name"), str) else None for e in entries]

    def _target(self) -> Iterator[Problem]:
        target = self._data.get("target")
        if isinstance(target, dict) and _not_one(target, ("app", "url"), TargetFile):
            message, hint = "exactly one of `app` and `url` is needed", "write for example {app: hello}"
            yield self._source.problem(("target",), message, hint)

    def _populations(self) -> Iterator[Problem]:
        """Populations of nobody."""
        for index, entry in enumerate(self._lists["populations"]):
            try:
                file = PopulationFile.model_validate(entry)
            except ValidationError:
                continue  # reported with the form
            if not population(file).clients:
                message = "nobody is in this population: no client fits all of it"
                yield self._source.problem(("populations", index), message, "widen `cidr`, or name other cities")

    def _requests(self) -> Iterator[Problem]:
        """Requests without a method, with several, and with a body where none can be."""
        for index, entry in enumerate(self._lists["requests"]):
            if not isinstance(entry, dict):
                continue
            path = ("requests", index)
            given = [m for m in METHODS if entry.get(m) is not None]
            has_body, has_json = bool(entry.get("body")), entry.get("json") is not None
            if _not_one(entry, METHODS, RequestFile):
                message = "exactly one of `get`, `post`, `put` and `delete` is needed"
                yield self._source.problem(path, message, "write for example get: /")
            elif given and given[0] in {"get", "delete"} and (has_body or has_json):
                yield self._source.problem(path, f"a {given[0]} has no body", "use `post` or `put`")
            if has_body and has_json:
                yield self._source.problem(path, "`body` and `json` exclude each other", "remove one")

    def _crowds(self) -> Iterator[Problem]:
        """Flash crowds of a population, or after a request, that does not exist, or after the end of their phase."""
        for index, phase in enumerate(self._lists["phases"]):
            crowd = phase.get("flashCrowd") if isinstance(phase, dict) else None
            if not isinstance(crowd, dict):
                continue
            path = ("load", "phases", index, "flashCrowd")
            at_s, phase_s = _seconds(crowd.get("at")), _seconds(phase.get("duration"))
            if at_s is not None and phase_s is not None and at_s >= phase_s:
                message = f"this comes after the end of the phase ({phase_s:g}s)"
                yield self._source.problem((*path, "at"), message, "`at` counts from the beginning of the phase")
            for tag, key in (("population", "populations"), ("request", "requests")):
                name = crowd.get(tag)
                known = self._known(key)
                if isinstance(name, str) and name and name not in known:
                    hint = did_you_mean(name, known, what=f"{key} of this scenario")
                    yield self._source.problem((*path, tag), f"there is no {tag} '{clip(name)}'", hint)
            if crowd.get("request") and self._lists["sessions"]:
                message = "a flash crowd begins sessions here, not requests"
                yield self._source.problem((*path, "request"), message, "remove it, or the sessions")

    def _sessions(self) -> Iterator[Problem]:
        """Sessions of requests that do not exist, and requests that are in no session."""
        known, used = self._known("requests"), set()
        for index, session in enumerate(self._lists["sessions"]):
            flow = session.get("flow") if isinstance(session, dict) else None
            for number, step in enumerate(_list(flow)):
                name = step.get("request") if isinstance(step, dict) else None
                if not isinstance(name, str):
                    continue
                used.add(name)
                if name not in known:
                    hint = did_you_mean(name, known, what="requests of this scenario")
                    path = ("sessions", index, "flow", number, "request")
                    yield self._source.problem(path, f"there is no request '{clip(name)}'", hint)
        for index, name in enumerate(self._names("requests")):
            if self._lists["sessions"] and name is not None and name not in used:
                hint = "add it to a session's flow, or remove it"
                yield self._source.problem(("requests", index), f"no session has the request '{clip(name)}'", hint)

    def _feeders(self) -> Iterator[Problem]:
        """Feeders without rows, and expressions about fields that a feeder has not."""
        fields: dict[str, set[str] | None] = {}
        for index, entry in enumerate(self._lists["feeders"]):
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                continue
            path, name = ("feeders", index), entry["name"]
            fields[name] = None
            if _not_one(entry, SOURCES, FeederFile):
                message = "exactly one of `csv`, `json` and `rows` is needed"
                yield self._source.problem(path, message, "write for example csv: users.csv")
                continue
            try:
                rows = read_rows(FeederFile.model_validate(entry), self._folder)
            except ValidationError:
                continue  # reported with the form
            except UsageError as exc:
                key = next(source for source in SOURCES if entry.get(source))
                yield self._source.problem((*path, key), exc.message, exc.help)
                continue
            fields[name] = set(rows[0])
        for index, entry in enumerate(self._lists["requests"]):
            for inside, call in _calls(entry):
                yield from self._field(("requests", index, *inside), call, fields)

    def _field(
        self, path: tuple[str | int, ...], call: templates.Call, fields: dict[str, set[str] | None]
    ) -> Iterator[Problem]:
        if call.feeder not in fields:
            hint = did_you_mean(call.feeder, fields, what="feeders") if fields else "add `feeders`"
            yield self._source.problem(path, f"there is no feeder '{clip(call.feeder)}'", hint)
        elif (known := fields[call.feeder]) is not None and call.field not in known:
            hint = did_you_mean(call.field, known, what="fields")
            yield self._source.problem(path, f"the feeder '{call.feeder}' has no field '{clip(call.field)}'", hint)

    def _known(self, key: str) -> list[str]:
        """Names in a list of the file, or of what stands for it when it is left out."""
        default = {"populations": "world", "requests": "root"}.get(key, "")
        return [name for name in self._names(key) if name] if self._lists[key] else [default]

    def _actions(self) -> Iterator[Problem]:
        """Timeline entries without an action, with several, and with one whose fields do not fit together."""
        for index, entry in enumerate(self._lists["timeline"]):
            if not isinstance(entry, dict):
                continue
            if _not_one(entry, tuple(STEPS), EntryFile):
                hint = f"one of: {', '.join(STEPS)}"
                yield self._source.problem(("timeline", index), "exactly one action is needed", hint)
            for verb, model in STEPS.items():
                step = entry.get(verb)
                if not isinstance(step, dict):
                    continue
                try:
                    found = model.model_validate(step)
                except ValidationError:
                    continue  # reported with the form
                try:
                    found.step()
                except ValueError as exc:
                    message, _, hint = str(exc).partition("; ")
                    yield self._source.problem(("timeline", index, verb), message, hint)

    def _tags(self) -> Iterator[Problem]:
        """Thresholds about a phase, population or request that does not exist."""
        known = {
            "phase": self._known("phases"),
            "population": self._known("populations"),
            "request": self._known("requests"),
        }
        for index, entry in enumerate(self._lists["thresholds"]):
            text = entry.get("check") if isinstance(entry, dict) else entry
            for tag, value in _TAG.findall(str(text)):
                if tag in known and value not in known[tag]:
                    hint = did_you_mean(value, known[tag], what=f"{tag}s of this scenario")
                    path = ("thresholds", index, "check") if isinstance(entry, dict) else ("thresholds", index)
                    yield self._source.problem(path, f"there is no {tag} '{clip(value)}'", hint)

    def _timeline(self) -> Iterator[Problem]:
        """Entries after the end, restarts of what has not been killed, apps that are not there."""
        end_s = self._duration_s()
        down: set[tuple[str, str]] = set()
        entries = [(i, e) for i, e in enumerate(self._lists["timeline"]) if isinstance(e, dict)]
        for index, entry in sorted(entries, key=lambda item: (_seconds(item[1].get("at")) or 0.0, item[0])):
            at_s = _seconds(entry.get("at"))
            if at_s is not None and end_s is not None and at_s >= end_s:
                message = f"this comes after the end of the load ({end_s:g}s)"
                yield self._source.problem(("timeline", index, "at"), message, "move it, or make the last phase longer")
            yield from self._power(index, entry, down)
            yield from self._rollback(index, entry)
            deploy = entry.get("deploy")
            if isinstance(deploy, dict) and isinstance(deploy.get("path"), str) and deploy["path"]:
                path = deploy["path"]
                if find_app(path, self._folder) is None:
                    hint = "paths are relative to the scenario's file, else they name what ships with edgesim"
                    yield self._source.problem(
                        ("timeline", index, "deploy", "path"), f"there is no '{clip(path)}'", hint
                    )

    def _rollback(self, index: int, entry: dict[str, Any]) -> Iterator[Problem]:
        step, target = entry.get("rollback"), self._data.get("target")
        if isinstance(step, dict) and not step.get("app") and isinstance(target, dict) and not target.get("app"):
            hint = "write for example {app: hello}, since the target is a URL"
            yield self._source.problem(("timeline", index, "rollback"), "`app` is needed", hint)

    def _power(self, index: int, entry: dict[str, Any], down: set[tuple[str, str]]) -> Iterator[Problem]:
        for verb in ("kill", "restart"):
            step = entry.get(verb)
            for kind in ("pop", "host"):
                if not isinstance(step, dict) or not isinstance(step.get(kind), str):
                    continue
                target = (kind, step[kind])
                if verb == "kill" and target in down:
                    message = f"{kind} '{clip(step[kind])}' is dead by then"
                    yield self._source.problem(("timeline", index, verb, kind), message, "restart it before")
                elif verb == "restart" and target not in down:
                    message = f"{kind} '{clip(step[kind])}' has not been killed by then"
                    yield self._source.problem(("timeline", index, verb, kind), message, "add a `kill` before")
                (down.add if verb == "kill" else down.discard)(target)

    def _duration_s(self) -> float | None:
        """Length of all phases; None when one is not a duration."""
        lengths = [_seconds(p.get("duration")) if isinstance(p, dict) else None for p in self._lists["phases"]]
        return None if not lengths or None in lengths else sum(x for x in lengths if x is not None)


def _not_one(given: dict[str, Any], names: tuple[str, ...], model: type[FileModel]) -> bool:
    """Whether not exactly one of `names` is given. None at all is no news when another key is a typo, or not built yet."""
    count = sum(1 for name in names if given.get(name) not in (None, ""))
    known = {f.alias or name for name, f in model.model_fields.items() if f.annotation is not type(None)}
    return count > 1 or (count == 0 and set(given) <= known)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _seconds(value: Any) -> float | None:
    try:
        return parse_duration(value)
    except ValueError:
        return None


def find_app(path: str, folder: Path) -> Path | None:
    """The app that a deploy step names: relative to `folder`, else what ships with edgesim; None when neither exists."""
    local = folder / path
    if local.exists():
        return local.absolute()
    try:
        return resource_path(path)
    except UsageError:
        return None


def _calls(entry: Any) -> Iterator[tuple[tuple[str, ...], templates.Call]]:
    """The expressions of a request that take from feeders, with where they are."""
    for path, text in _texts(entry):
        try:
            calls = templates.parse(text).calls
        except ValueError:
            continue  # reported with the form
        for call in calls:
            if call.name == "feeder":
                yield path, call


def _texts(entry: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """The texts of a request that may have expressions."""
    given = entry if isinstance(entry, dict) else {}
    for name in (*METHODS, "body"):
        if isinstance(given.get(name), str):
            yield (name,), given[name]
    headers = given.get("headers")
    for name, value in (headers if isinstance(headers, dict) else {}).items():
        if isinstance(value, str):
            yield ("headers", str(name)), value
    todo = [given.get("json")]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            yield ("json",), value
        elif isinstance(value, dict | list):
            todo.extend(value.values() if isinstance(value, dict) else value)
