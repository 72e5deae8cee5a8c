"""Scenario files: what they become, every mistake at once, the published schema."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from edgesim.config.resources import resource_path
from edgesim.config.scenario import find_scenario, load_scenario, parse_scenario, scenario_schema
from edgesim.config.scenario_steps import STEPS
from edgesim.config.yaml_source import load_yaml
from edgesim.errors import ConfigError, UsageError
from edgesim.scenario.rates import expected
from edgesim.scenario.spec import Scenario
from edgesim.scenario.steps import Deploy, Power
from edgesim.scenario.thresholds import METRICS

HERE = Path(__file__).parent
SHIPPED = sorted(resource_path("scenarios").glob("*.yaml"))

MINIMAL = """\
version: 1
name: minimal
target: {app: hello}
load: {phases: [{name: only, duration: 2s, arrivalRate: 5}]}
"""


def parse(text: str, folder: Path = HERE) -> Scenario:
    """The scenario in a text."""
    return parse_scenario(load_yaml(text, "test.yaml"), folder)


def complaints(text: str) -> list[str]:
    """Every problem of a text, as `line:col field: message`."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [f"{p.line}:{p.col} {p.field}: {p.message}" for p in caught.value.problems]


def test_defaults() -> None:
    """Who names nothing gets clients everywhere, one request, Poisson arrivals, and a check of the generator's lag."""
    scenario = parse(MINIMAL)

    (population,), (request,), (threshold,) = scenario.populations, scenario.requests, scenario.thresholds
    assert len({c.metro.id for c in population.clients}) >= 60
    assert (request.method, request.target) == ("GET", "/")
    assert (threshold.text, threshold.kind) == ("generator.lag.p99 < 10ms", "validity")
    assert (scenario.load.arrivals, scenario.load.max_in_flight) == ("poisson", 2000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("requests: [{name: r, get: /, post: /, weight: x}]", "6:12 requests.0: exactly one of `get`, `post`,"),
        ("requests: [{name: r, get: /, body: x, wait: 3}]", "6:12 requests.0: a get has no body"),
        ("requests: [{name: 7, put: /, body: x, json: 1}]", "6:12 requests.0: `body` and `json` exclude each other"),
        ("timeline: [{at: soon, kill: {pop: a, host: b}}]", "6:29 timeline.0.kill: exactly one of `pop` and `host`"),
        ("timeline: [{at: soon, kill: {pop: a}, deploy: {}}]", "6:12 timeline.0: exactly one action is needed"),
        ("timeline: [{at: soon}]", "6:12 timeline.0: exactly one action is needed"),
        ("thresholds: ['http.error_rate{phase=nope} < 1ms']", "6:14 thresholds.0: there is no phase 'nope'"),
    ],
)
def test_rules_between_keys_do_not_wait_for_the_form(text: str, expected: str) -> None:
    """What does not fit together is reported with mistakes of form, in the same part of the file and in others."""
    found = complaints(
        "version: 1\nname: x\ntarget: {app: a, url: b}\n" + MINIMAL.splitlines()[3] + "\nfoo: 1\n" + text
    )

    assert "3:9 target: exactly one of `app` and `url` is needed" in found
    assert "5:1 foo: unknown key 'foo'" in found
    assert [f for f in found if f.startswith(expected)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("requests: [{name: r, gte: /}]", ["unknown key 'gte'"]),
        ("timeline: [{at: 1s, purge: {}}]", ["'purge' is not supported yet"]),
        ("timeline: [{at: 1s, kill: {pop: null}}]", ["expected text, not nothing"]),
        ("timeline: [{at: 1s, deploy: {}}]", ["the key 'path' is missing"]),
    ],
)
def test_one_mistake_is_one_problem(text: str, expected: list[str]) -> None:
    """A mistyped or planned word is not said to be missing too."""
    assert [found.partition(": ")[2] for found in complaints(MINIMAL + text)] == expected


def test_everything_that_can_be_written(tmp_path: Path) -> None:
    """Each key arrives where it belongs, in base units."""
    (tmp_path / "app").mkdir()
    scenario = parse(
        """\
version: 1
name: full
description: all of it
target: {url: "http://127.0.0.1:8080", host: shop.localhost}
load:
  model: open
  arrivals: constant
  seed: 42
  maxInFlight: 10
  phases:
    - {name: warm up, duration: 500ms, arrivalRate: 0, rampTo: 50, record: false}
    - {name: steady, duration: 1m, arrivalRate: 50.5}
populations:
  - {name: eu, weight: 45, country: [DE, FR], access: lte}
  - {name: asia, weight: 0.5, metros: [Tokyo, sao paulo]}
requests:
  - {name: home, weight: 70, get: "/?q=1", headers: {Accept: "*/*"}, expect: {status: 200, header: {X-Edge-Pop: exists}}}
  - {name: put, put: /kv, body: hello, expect: {status: [200, 204], header: {via: 1.1 edgesim}}}
  - {name: json, post: /kv, json: {n: 1, no: [true, null]}}
  - {name: gone, delete: /kv}
timeline:
  - {at: 20s, kill: {host: host1}}
  - {at: 10, deploy: {path: app, prefetch: false}}
  - {at: 30s, restart: {host: host1}}
thresholds:
  - http.response_time.p99{phase=warm up} < 120ms
  - {check: generator.lag.p99 < 50ms, kind: validity}
""",
        tmp_path,
    )

    warm, steady = scenario.load.phases
    assert (warm.duration_s, warm.rate_from, warm.rate_to, warm.record) == (0.5, 0.0, 50.0, False)
    assert (steady.duration_s, steady.rate_from, steady.rate_to) == (60.0, 50.5, 50.5)
    assert {c.access for c in scenario.populations[0].clients} == {"lte"}
    assert {c.metro.country for c in scenario.populations[0].clients} == {"DE", "FR"}
    assert {c.metro.city for c in scenario.populations[1].clients} == {"Tokyo", "Sao Paulo"}
    home, put, json_, gone = scenario.requests
    assert home.headers == (("accept", "*/*"),)
    assert home.expect.headers == (("x-edge-pop", None),)
    assert (put.method, put.body, put.expect.statuses) == ("PUT", b"hello", frozenset({200, 204}))
    assert (json_.body, json_.headers) == (b'{"n":1,"no":[true,null]}', (("content-type", "application/json"),))
    assert gone.method == "DELETE"
    deploy, kill, restart = scenario.timeline
    assert [deploy.at_s, kill.at_s, restart.at_s] == [10.0, 20.0, 30.0]
    assert deploy.step.action() == Deploy(path=str(tmp_path / "app"), prefetch=False)
    assert kill.step.action() == Power(kind="host", id="host1", verb="kill")
    assert [deploy.label, kill.label] == ["deploy app without prefetch", "kill host host1"]
    assert [t.kind for t in scenario.thresholds] == ["requirement", "validity"]


def test_shapes_sessions_and_data(tmp_path: Path) -> None:
    """The rest of the language arrives where it belongs."""
    (tmp_path / "users.csv").write_text("name,id\nada,1\n", encoding="utf-8")
    scenario = parse(
        """\
version: 1
name: more
target: {app: hello}
load:
  diurnal: {day: 10m, startAt: "06:30", peakAt: 21:00, trough: 20%}
  phases:
    - {name: p, duration: 1m, arrivalRate: 5, flashCrowd: {add: 50, at: 1s, rise: 2s, hold: 3s, decay: 4s, population: jp}}
populations:
  - {name: others, metros: [London]}
  - {name: jp, cidr: [240.0.64.0/18]}
requests:
  - {name: home, get: "/{{ users.id }}", headers: {x-id: "{{ uuid() }}"}, expect: {body: {contains: hi, json: {a.0: 1}}}}
  - {name: buy, post: /, json: {n: "{{ int(1, 3) }}", who: "{{ users.name }}"}}
sessions:
  - {name: s, flow: [{request: home}, {request: buy, think: {min: 1s, max: 2s}, repeat: 2}, {request: home, think: {mean: 3s}}]}
feeders:
  - {name: users, csv: users.csv, order: sequential}
thresholds:
  - {check: http.error_rate < 5%, abortOnFail: true, after: 10s}
""",
        tmp_path,
    )

    day, flash = scenario.load.diurnal, scenario.load.phases[0].flash
    assert day is not None
    assert (day.day_s, day.start_s, day.peak_s, day.trough) == (600.0, 23_400.0, 75_600.0, 0.2)
    assert flash is not None
    assert (flash.add, flash.at_s, flash.rise_s, flash.hold_s, flash.decay_s) == (50.0, 1.0, 2.0, 3.0, 4.0)
    assert (flash.population, flash.request) == (1, -1)
    assert {c.metro.city for c in scenario.populations[1].clients} == {"Tokyo"}
    assert {c.utc_offset_s for c in scenario.populations[1].clients} == {9 * 3600.0}
    home, buy = scenario.requests
    assert [name for name, _ in home.templates] == ["target", "x-id"]
    assert (home.expect.body, home.expect.json) == (("hi",), ((("a", "0"), 1),))
    assert buy.body == b'{"n":{{ int(1, 3) }},"who":"{{ users.name }}"}'
    assert [step.request for step in scenario.sessions[0].steps] == [0, 1, 1, 0]
    assert [step.think.kind for step in scenario.sessions[0].steps] == ["constant", "uniform", "uniform", "exponential"]
    assert scenario.feeder("users").rows == ({"name": "ada", "id": "1"},)
    assert (scenario.thresholds[0].abort, scenario.thresholds[0].after_s) == (True, 10.0)


def test_population_weights_follow_the_catalogue() -> None:
    """A metro's share is its weight; the shares of its access classes add up to it."""
    (population,) = parse(MINIMAL + "populations: [{name: p, metros: [Tokyo, Frankfurt]}]\n").populations
    by_city: dict[str, float] = {}
    for clients in population.clients:
        by_city[clients.metro.city] = by_city.get(clients.metro.city, 0.0) + clients.weight

    assert by_city == pytest.approx({c.metro.city: c.metro.weight for c in population.clients})


def test_every_mistake_at_once() -> None:
    """The golden list: form, units, names, references and planned words of one file, each at its place."""
    with pytest.raises(ConfigError) as caught:
        load_scenario(HERE / "bad_scenario.yaml")

    found = [f"{p.line}:{p.col} {p.field}: {p.message} | {p.help}".rstrip(" |") for p in caught.value.problems]
    assert found == (HERE / "bad_scenario.out").read_text().splitlines()
    assert all(p.source for p in caught.value.problems)


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        ("requests: [{name: a, get: /, body: x}]\n", "5:12 requests.0: a get has no body"),
        ("requests: [{name: a, post: /, body: x, json: 1}]\n", "5:12 requests.0: `body` and `json` exclude each other"),
        ('requests: [{name: a, get: /, headers: {a: "b\\nc"}}]\n', "5:43 requests.0.headers.a: this cannot be sent"),
        ("requests: [{name: a, get: /, expect: {status: 99}}]\n", "5:47 requests.0.expect.status: 99: must be"),
        ("populations: [{name: a, weight: 0}]\n", "5:33 populations.0.weight: 0: must be more than 0"),
        ("timeline: [{at: 2s, kill: {pop: a}}]\n", "5:17 timeline.0.at: this comes after the end of the load (2s)"),
        (
            "timeline: [{at: 0s, kill: {pop: a}}, {at: 1s, kill: {pop: a}}]\n",
            "5:59 timeline.1.kill.pop: pop 'a' is dead by then",
        ),
        ("thresholds: ['http.error_rate{phase=x} < 1%']\n", "5:14 thresholds.0: there is no phase 'x'"),
        (
            "populations: [{name: p, metros: [London], cidr: [240.0.64.0/18]}]\n",
            "5:15 populations.0: nobody is in this population",
        ),
        ("populations: [{name: p, cidr: [240.255.0.0/16]}]\n", "5:15 populations.0: nobody is in this population"),
        ("fleet: {pops: 3}\n", "5:8 fleet: 'fleet' is not supported yet"),
        ("feeders: [{name: f}]\n", "5:11 feeders.0: exactly one of `csv`, `json` and `rows` is needed"),
        (
            "feeders: [{name: f, rows: [{a: 1}, {b: 1}]}]\n",
            "5:27 feeders.0.rows: row 2 has other fields than the first",
        ),
        ("feeders: [{name: f, json: ../conftest.txt}]\n", "5:27 feeders.0.json: cannot read '../conftest.txt'"),
        ("load: {phases: []}\n", "5:1 load: the key 'load' is repeated"),
        (
            "sessions: [{name: s, flow: [{request: nope}]}]\n",
            "5:39 sessions.0.flow.0.request: there is no request 'nope'",
        ),
        ("timeline: [{at: 0s, origin: {status: 42, for: 1s}}]\n", "5:29 timeline.0.origin: `status` must be from 200"),
        (
            "populations: [{name: p, cidr: [300.0.0.0/8]}]\n",
            "5:32 populations.0.cidr.0: '300.0.0.0/8' is not a network",
        ),
        (
            "thresholds: [{check: http.error_rate < 1%, abortOnFail: 7}]\n",
            "5:57 thresholds.0.abortOnFail: expected true",
        ),
    ],
)
def test_single_mistakes(addition: str, complaint: str) -> None:
    """One mistake gives one complaint at its place."""
    (found,) = complaints(MINIMAL + addition)

    assert found.startswith(complaint)


@pytest.mark.parametrize("text", ["", "[]", "17", "load: 3", "load: {phases: 3}\ntimeline: {}\nthresholds: [[]]"])
def test_documents_of_another_shape(text: str) -> None:
    """A file that is something else is a list of problems, never a crash."""
    assert complaints(text)


@pytest.mark.parametrize(
    "url", ["http://example.com", "http://10.0.0.1:80", "https://127.0.0.1", "http://127.0.0.1/x", "http://127.0.0.1:x"]
)
def test_only_this_machine_can_be_a_target(url: str) -> None:
    """A typo must not send load to somebody else."""
    (found,) = complaints(MINIMAL.replace("{app: hello}", f"{{url: '{url}'}}"))

    assert found.startswith("3:15 target.url: ")


@pytest.mark.parametrize("path", SHIPPED, ids=[p.stem for p in SHIPPED])
def test_shipped_scenarios_are_valid(path: Path) -> None:
    """What ships loads."""
    assert load_scenario(path).name == path.stem


def test_shipped_scenarios_are_found_by_name() -> None:
    """`edgesim load run smoke` works from an installed wheel; an unknown name says what there is."""
    assert find_scenario("smoke").name == "smoke.yaml"
    with pytest.raises(UsageError, match="there is no scenario 'nope'") as caught:
        find_scenario("nope")

    assert caught.value.help.endswith(": " + ", ".join(path.stem for path in SHIPPED))


def test_published_schema_is_current() -> None:
    """Regenerate with `python -m edgesim.config.scenario`."""
    assert resource_path("scenarios/scenario.v1.schema.json").read_text(encoding="utf-8") == scenario_schema()


def test_schema_knows_steps_and_hides_planned_words() -> None:
    """Each step in the folder is in the schema; what is refused is not offered."""
    schema = scenario_schema()

    assert all(f'"{name.title()}Step"' in schema for name in STEPS)
    assert "x-reserved" not in schema
    assert "strategy" not in schema


def documented() -> list[str]:
    """The scenarios in docs/scenarios.md."""
    text = (HERE.parents[1] / "docs" / "scenarios.md").read_text(encoding="utf-8")
    return [block.partition("```")[0] for block in text.split("```yaml\n")[1:]]


def as_an_editor(text: str) -> list[str]:
    """What an editor with the published schema underlines: the paths of everything wrong."""
    schema = json.loads(resource_path("scenarios/scenario.v1.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    document = yaml.safe_load(text)
    return sorted({".".join(map(str, error.absolute_path)) for error in validator.iter_errors(document)})


def test_the_schema_is_a_schema() -> None:
    """By its own standard."""
    schema = json.loads(scenario_schema())

    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=[p.stem for p in SHIPPED])
def test_an_editor_accepts_what_ships(path: Path) -> None:
    """And every file names the schema in its first line."""
    text = path.read_text(encoding="utf-8")

    assert as_an_editor(text) == []
    assert text.startswith("# yaml-language-server: $schema=./scenario.v1.schema.json\n")


def test_the_examples_of_the_documentation_are_scenarios() -> None:
    """Each loads, and an editor accepts it."""
    examples = documented()

    assert [parse(text, HERE).name for text in examples] == [
        "gru-dies",
        "three-days",
        "news",
        "shoppers",
        "all-steps",
    ]
    assert [as_an_editor(text) for text in examples] == [[]] * len(examples)


@pytest.mark.parametrize(
    ("addition", "where"),
    [
        ("foo: 1\n", ""),
        ("requests: [{name: a, gte: /}]\n", "requests.0"),
        ("requests: [{name: a, get: /, expect: {status: ok}}]\n", "requests.0.expect.status"),
        ("populations: [{name: a, weight: 0}]\n", "populations.0.weight"),
        ("timeline: [{at: 2s, kil: {pop: a}}]\n", "timeline.0"),
        ("timeline: [{at: 2s, origin: {status: 503}}]\n", "timeline.0.origin"),
        ("sessions: [{name: a, flow: []}]\n", "sessions.0.flow"),
        ("thresholds: [{check: a, kind: b}]\n", "thresholds.0"),
    ],
)
def test_an_editor_underlines_mistakes(addition: str, where: str) -> None:
    """Mistyped keys, wrong types and missing keys are found without edgesim."""
    assert where in as_an_editor(MINIMAL + addition)


def test_documentation() -> None:
    """The tables of the documentation name every step, metric, expression and shipped scenario."""
    text = (HERE.parents[1] / "docs" / "scenarios.md").read_text(encoding="utf-8")

    assert all(f"| `{step}` |" in text for step in STEPS)
    assert all(f"`{path.stem}`" in text for path in SHIPPED)
    assert {name.rpartition(".")[0] if unit == "s" else name for name, unit in METRICS.items()} <= {
        part.rpartition(".")[0] if ".p" in part else part for part in text.split("`")
    }
    keys = {key for part in json.loads(scenario_schema())["$defs"].values() for key in part["properties"]}
    assert {key for key in keys if not re.search(rf"[`{{ .]{key}[`:]", text)} == set()


def test_a_rollback_needs_an_app() -> None:
    """A target that is a URL has none."""
    text = MINIMAL.replace("{app: hello}", '{url: "http://127.0.0.1:80"}')

    assert complaints(text + "timeline: [{at: 1s, rollback: {}}]\n") == [
        "5:31 timeline.0.rollback: `app` is needed",
    ]
    assert parse(text + "timeline: [{at: 1s, rollback: {app: a}}]\n").timeline


def test_a_crowd_that_comes_at_once_is_all_there() -> None:
    """Without a rise or a decay, the extra requests are the rate times the time."""
    crowd = MINIMAL.replace("arrivalRate: 5", "arrivalRate: 5, flashCrowd: {add: 100, at: 500ms, hold: 1s}")

    assert expected(parse(crowd)) == pytest.approx(10 + 100, rel=0.01)


def test_a_crowd_that_would_never_come_is_told() -> None:
    """`at` counts from the beginning of the phase, not of the run."""
    crowd = MINIMAL.replace("arrivalRate: 5", "arrivalRate: 5, flashCrowd: {add: 100, at: 2s}")

    found = complaints(crowd)

    assert len(found) == 1
    assert found[0].endswith("load.phases.0.flashCrowd.at: this comes after the end of the phase (2s)")
