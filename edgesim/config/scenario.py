"""`scenarios/*.yaml` to a `Scenario`: every mistake at once, each with its line, the expected form and a suggestion.

Three steps, as for topologies: form and types (pydantic, `edgesim/config/scenario_file.py`), what refers to what
(`edgesim/config/scenario_check.py`), then values. Words that are planned but not built yet are refused by name. The language
is described in docs/scenarios.md.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from edgesim.config.feeders import read_rows
from edgesim.config.resources import resource_path
from edgesim.config.scenario_check import References, find_app
from edgesim.config.scenario_clients import population
from edgesim.config.scenario_file import ScenarioFile
from edgesim.config.scenario_load import LoadFile, PhaseFile, PopulationFile
from edgesim.config.scenario_requests import RequestFile, SessionFile
from edgesim.config.validation import problems_from_pydantic
from edgesim.config.yaml_source import YamlSource, clip, load_yaml
from edgesim.errors import UsageError
from edgesim.scenario.spec import (
    Diurnal,
    Expectation,
    Feeder,
    FlashCrowd,
    Load,
    Phase,
    RequestSpec,
    Scenario,
    Session,
    SessionStep,
    Target,
    Think,
    TimelineEntry,
)
from edgesim.scenario.steps import Deploy
from edgesim.scenario.templates import Template
from edgesim.scenario.templates import parse as parse_template
from edgesim.scenario.thresholds import DEFAULT_VALIDITY, Threshold, parse

if TYPE_CHECKING:
    from edgesim.config.scenario_steps import StepFile

AT_ONCE_S: Final = 0.001
"""How long a flash crowd takes to rise or decay that does so at once: rates are linear between points."""
_NUMBER: Final = re.compile(r'"(\{\{\s*(?:int|zipf|number)\([^()"]*\)\s*\}\})"')
"""A JSON text that is nothing but an expression for a number."""


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
    problems = list(References(source, folder).problems())
    try:
        file = ScenarioFile.model_validate(source.data)
    except ValidationError as exc:
        source.fail([*problems_from_pydantic(exc, source, ScenarioFile), *problems])
        raise  # not reached: a ValidationError has at least one error
    source.fail(problems)
    return _build(file, folder)


# -- values -----------------------------------------------------------------------------------------------------------


def _build(file: ScenarioFile, folder: Path) -> Scenario:
    populations = file.populations or [PopulationFile(name="world")]
    requests = file.requests or [RequestFile(name="root", get="/")]
    names = [r.name for r in requests]
    load = _load(file.load, [p.name for p in populations], names)
    timeline = [_entry(e.at, e.name, e.step_file, folder) for e in file.timeline]
    return Scenario(
        name=file.name,
        description=file.description,
        target=Target(app=file.target.app, url=file.target.url, host=file.target.host),
        load=load,
        populations=tuple(population(p, clocks=load.diurnal is not None) for p in populations),
        requests=tuple(_request(r) for r in requests),
        timeline=tuple(sorted(timeline, key=lambda e: e.at_s)),
        thresholds=_thresholds(file),
        sessions=tuple(_session(s, names) for s in file.sessions),
        feeders=tuple(Feeder(name=f.name, order=f.order, rows=read_rows(f, folder)) for f in file.feeders),
    )


def _load(file: LoadFile, populations: list[str], requests: list[str]) -> Load:
    day = file.diurnal
    return Load(
        phases=tuple(_phase(p, populations, requests) for p in file.phases),
        arrivals=file.arrivals,
        seed=file.seed,
        max_in_flight=file.max_in_flight,
        diurnal=None
        if day is None
        else Diurnal(day_s=day.day, start_s=day.start_at, peak_s=day.peak_at, trough=day.trough),
    )


def _phase(file: PhaseFile, populations: list[str], requests: list[str]) -> Phase:
    crowd = file.flash_crowd
    return Phase(
        name=file.name,
        duration_s=file.duration,
        rate_from=file.arrival_rate,
        rate_to=file.arrival_rate if file.ramp_to is None else file.ramp_to,
        record=file.record,
        flash=None
        if crowd is None
        else FlashCrowd(
            add=crowd.add,
            at_s=crowd.at,
            rise_s=max(crowd.rise, AT_ONCE_S),
            hold_s=crowd.hold,
            decay_s=max(crowd.decay, AT_ONCE_S),
            population=populations.index(crowd.population) if crowd.population else -1,
            request=requests.index(crowd.request) if crowd.request else -1,
        ),
    )


def _request(file: RequestFile) -> RequestSpec:
    method, target = file.line
    headers = {name.lower(): value for name, value in file.headers.items()}
    body = file.body
    is_json = file.json_body is not None
    if is_json:
        headers.setdefault("content-type", "application/json")
        body = _NUMBER.sub(r"\1", json.dumps(file.json_body, separators=(",", ":"), ensure_ascii=False))
    texts = {"target": target, "body": body, **headers}
    parsed = ((name, parse_template(text)) for name, text in texts.items())
    templates: tuple[tuple[str, Template], ...] = tuple((name, template) for name, template in parsed if template.calls)
    expect = file.expect
    return RequestSpec(
        name=file.name,
        weight=file.weight,
        method=method,
        target=target,
        headers=tuple(headers.items()),
        body=body.encode(),
        expect=Expectation(
            statuses=frozenset(expect.status),
            headers=tuple((n.lower(), None if v == "exists" else v) for n, v in expect.header.items()),
            body=tuple(expect.body.contains),
            json=tuple((tuple(path.split(".")), value) for path, value in expect.body.json_values.items()),
        ),
        templates=templates,
        is_json=is_json,
    )


def _session(file: SessionFile, requests: list[str]) -> Session:
    none = Think(kind="constant", low_s=0.0)
    steps = [SessionStep(request=requests.index(s.request), think=s.think) for s in file.flow for _ in range(s.repeat)]
    first = SessionStep(request=steps[0].request, think=none)
    return Session(name=file.name, weight=file.weight, steps=(first, *steps[1:]))


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
    found = tuple(replace(parse(t.check, t.kind), abort=t.abort_on_fail, after_s=t.after) for t in file.thresholds)
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
