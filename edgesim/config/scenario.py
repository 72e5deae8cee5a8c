"""`scenarios/*.yaml` to a `Scenario`: every mistake at once, each with its line, the expected form and a suggestion.

Three steps, as for topologies: form and types (pydantic), what refers to what (on the raw document, so that both kinds of
mistake are reported together), then values. Words that are planned but not built yet are refused by name. The language is
described in docs/scenarios.md; its models are `edgesim/config/scenario_file.py`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from edgesim.config.catalogue import find_metro, load_access, load_metros
from edgesim.config.resources import resource_path
from edgesim.config.scenario_file import (
    METHODS,
    STEPS,
    EntryFile,
    PopulationFile,
    RequestFile,
    ScenarioFile,
    StepFile,
    TargetFile,
)
from edgesim.config.units import parse_duration
from edgesim.config.validation import FileModel, did_you_mean, problems_from_pydantic
from edgesim.config.yaml_source import YamlSource, clip, load_yaml
from edgesim.errors import UsageError
from edgesim.scenario.spec import (
    Clients,
    Expectation,
    Load,
    Phase,
    Population,
    RequestSpec,
    Scenario,
    Target,
    TimelineEntry,
)
from edgesim.scenario.steps import Deploy
from edgesim.scenario.thresholds import DEFAULT_VALIDITY, Threshold, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesim.errors import Problem
    from edgesim.model.geo import Metro

_TAG: Final = re.compile(r"""[{,]\s*(phase|population|request)\s*=\s*["']?([^{},"']*[^{},"'\s])""")
"""A tag of a threshold, also of one that is wrong otherwise."""


def find_scenario(name: str) -> Path:
    """The file `name`, or the one of this name that ships with edgesim (`demo`, `scenarios/demo.yaml`).

    Raises:
        UsageError: there is neither.
    """
    if Path(name).exists():
        return Path(name)
    for candidate in (name, f"scenarios/{name}", f"scenarios/{name}.yaml"):
        try:
            return resource_path(candidate)
        except UsageError:
            continue
    ships = ", ".join(sorted(path.stem for path in resource_path("scenarios").glob("*.yaml")))
    raise UsageError(
        f"there is no scenario '{clip(name)}'", where=name, help=f"name a YAML file, or one that ships: {ships}"
    )


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file. Paths in it are relative to its folder, else they name what ships with edgesim.

    Raises:
        ConfigError: the file has mistakes; all of them are listed.
        UsageError: the file cannot be read.
    """
    return parse_scenario(load_yaml(path), path.parent)


def parse_scenario(source: YamlSource, folder: Path) -> Scenario:
    """The scenario in a YAML document; `folder` is where its relative paths begin.

    Raises:
        ConfigError: the document has mistakes; all of them are listed.
    """
    problems = list(_References(source, folder).problems())
    try:
        file = ScenarioFile.model_validate(source.data)
    except ValidationError as exc:
        source.fail([*problems_from_pydantic(exc, source, ScenarioFile), *problems])
        raise  # not reached: a ValidationError has at least one error
    source.fail(problems)
    return _build(file, folder)


# -- what refers to what ----------------------------------------------------------------------------------------------


class _References:
    """Checks between the parts of a document that may be wrong in other ways too."""

    def __init__(self, source: YamlSource, folder: Path) -> None:
        self._source = source
        self._folder = folder
        data = source.data if isinstance(source.data, dict) else {}
        self._data = data
        self._load = data["load"] if isinstance(data.get("load"), dict) else {}
        self._lists: dict[str, list[Any]] = {
            "phases": _list(self._load.get("phases")),
            **{key: _list(data.get(key)) for key in ("populations", "requests", "timeline", "thresholds")},
        }

    def problems(self) -> Iterator[Problem]:
        """Every broken reference."""
        yield from self._unique(("load", "phases"), "phases")
        yield from self._unique(("populations",), "populations")
        yield from self._unique(("requests",), "requests")
        yield from self._target()
        yield from self._requests()
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
            "phase": self._names("phases"),
            "population": self._names("populations") if self._lists["populations"] else ["world"],
            "request": self._names("requests") if self._lists["requests"] else ["root"],
        }
        for index, entry in enumerate(self._lists["thresholds"]):
            text = entry.get("check") if isinstance(entry, dict) else entry
            for tag, value in _TAG.findall(str(text)):
                if tag in known and value not in known[tag]:
                    hint = did_you_mean(value, (n for n in known[tag] if n), what=f"{tag}s of this scenario")
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
            deploy = entry.get("deploy")
            if isinstance(deploy, dict) and isinstance(deploy.get("path"), str) and deploy["path"]:
                path = deploy["path"]
                if find_app(path, self._folder) is None:
                    hint = "paths are relative to the scenario's file, else they name what ships with edgesim"
                    yield self._source.problem(
                        ("timeline", index, "deploy", "path"), f"there is no '{clip(path)}'", hint
                    )

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


# -- values -----------------------------------------------------------------------------------------------------------


def _build(file: ScenarioFile, folder: Path) -> Scenario:
    load = file.load
    phases = tuple(
        Phase(
            name=p.name,
            duration_s=p.duration,
            rate_from=p.arrival_rate,
            rate_to=p.arrival_rate if p.ramp_to is None else p.ramp_to,
            record=p.record,
        )
        for p in load.phases
    )
    populations = file.populations or [PopulationFile(name="world")]
    requests = file.requests or [RequestFile(name="root", get="/")]
    timeline = [_entry(e.at, e.name, e.step_file, folder) for e in file.timeline]
    return Scenario(
        name=file.name,
        description=file.description,
        target=Target(app=file.target.app, url=file.target.url, host=file.target.host),
        load=Load(phases=phases, arrivals=load.arrivals, seed=load.seed, max_in_flight=load.max_in_flight),
        populations=tuple(_population(p) for p in populations),
        requests=tuple(_request(r) for r in requests),
        timeline=tuple(sorted(timeline, key=lambda e: e.at_s)),
        thresholds=_thresholds(file),
    )


def _population(file: PopulationFile) -> Population:
    metros: dict[int, Metro] = {m.id: m for m in map(find_metro, file.metros)}
    countries = set(file.country)
    everywhere = not metros and not countries
    metros |= {m.id: m for m in load_metros() if everywhere or m.country in countries}
    plan = load_access()
    clients = tuple(
        Clients(metro=metro, access=access, weight=metro.weight * share)
        for metro in metros.values()
        for access, share in ({file.access: 1.0} if file.access else plan.mix(metro.country)).items()
        if share > 0
    )
    return Population(name=file.name, weight=file.weight, clients=clients)


def _request(file: RequestFile) -> RequestSpec:
    method, target = file.line
    headers = {name.lower(): value for name, value in file.headers.items()}
    body = file.body.encode()
    if file.json_body is not None:
        headers.setdefault("content-type", "application/json")
        body = json.dumps(file.json_body, separators=(",", ":")).encode()
    expect = Expectation(
        statuses=frozenset(file.expect.status),
        headers=tuple((n.lower(), None if v == "exists" else v) for n, v in file.expect.header.items()),
    )
    return RequestSpec(
        name=file.name,
        weight=file.weight,
        method=method,
        target=target,
        headers=tuple(headers.items()),
        body=body,
        expect=expect,
    )


def _entry(at_s: float, name: str, file: StepFile, folder: Path) -> TimelineEntry:
    step = file.step()
    label = f"{name} {step}"
    action = step.action()
    if isinstance(action, Deploy):
        found = find_app(action.path, folder)
        assert found is not None, "checked with the references"
        step = file.model_copy(update={"path": str(found)}).step()
    return TimelineEntry(at_s=at_s, step=step, label=label)


def _thresholds(file: ScenarioFile) -> tuple[Threshold, ...]:
    found = tuple(parse(t.check, t.kind) for t in file.thresholds)
    if any(t.kind == "validity" and t.metric == "generator.lag" for t in found):
        return found
    return (*found, parse(DEFAULT_VALIDITY, "validity"))


def scenario_schema() -> str:
    """The JSON Schema of scenario files, for editors: what `scenarios/scenario.v1.schema.json` holds."""
    schema = ScenarioFile.model_json_schema(by_alias=True)
    _publish(schema)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "edgesim scenario, version 1"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _publish(part: Any) -> None:
    """Take out what is of no use to an editor: words that are reserved, and titles made of field names."""
    if isinstance(part, dict):
        properties = part.get("properties")
        if isinstance(properties, dict):
            for name in [n for n, p in properties.items() if isinstance(p, dict) and p.get("x-reserved")]:
                del properties[name]
            for value in properties.values():
                value.pop("title", None)
        if isinstance(part.get("title"), str):
            del part["title"]
        for value in part.values():
            _publish(value)
    elif isinstance(part, list):
        for value in part:
            _publish(value)


if __name__ == "__main__":
    sys.stdout.write(scenario_schema())
