"""Scenario files: what they become, every mistake at once, the published schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesim.config.resources import resource_path
from edgesim.config.scenario import find_scenario, load_scenario, parse_scenario, scenario_schema
from edgesim.config.scenario_steps import STEPS
from edgesim.config.yaml_source import load_yaml
from edgesim.errors import ConfigError, UsageError
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
        ("fleet: {pops: 3}\n", "5:8 fleet: 'fleet' is not supported yet"),
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


def test_documentation() -> None:
    """The example of the documentation loads, and its tables name every step and metric."""
    text = (HERE.parents[1] / "docs" / "scenarios.md").read_text(encoding="utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]

    assert parse(example, HERE).name == "gru-dies"
    assert all(f"| `{step}` |" in text for step in STEPS)
    assert {name.rpartition(".")[0] if unit == "s" else name for name, unit in METRICS.items()} <= {
        part.rpartition(".")[0] if ".p" in part else part for part in text.split("`")
    }
