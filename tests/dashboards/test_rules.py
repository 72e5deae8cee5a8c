"""The recording and alerting rules, checked and unit-tested by Prometheus' own promtool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgesim.config.resources import resource_path
from edgesim.observe.catalog import CATALOG, sample_names
from edgesim.observe.summary import NOT_ERRORS
from tests.support.tools import require_tool

FOLDER = resource_path("dashboards")
CASES = Path(__file__).with_name("rules_test.yml")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(
        [require_tool("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_files_are_valid() -> None:
    """Rules and the configuration that loads them."""
    for arguments in (("check", "rules", FOLDER / "rules.yml"), ("check", "config", FOLDER / "prometheus.yml")):
        done = promtool(*arguments)

        assert done.returncode == 0, done.stderr


def test_the_rules_say_what_they_should() -> None:
    """Each case of rules_test.yml."""
    done = promtool("test", "rules", CASES)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("edgesim_pop_up == 0", "edgesim_pop_up == 1"),
        ("for: 15s", "for: 2m"),
        ("> 0.5 and on (pop) pop:edgesim_requests:rate1m > 1", "> 0.5"),
        ('role!="deploy"', 'role!="x"'),
        ('up{job="edgesim"} == 0', "up == 0"),
        ("client_gone|ok", "ok"),
        ("> 0.01", "> 0.05"),
    ],
)
def test_the_cases_find_faults(tmp_path: Path, was: str, becomes: str) -> None:
    """A rule that is changed is found: cases that cannot fail protect nothing."""
    text = (FOLDER / "rules.yml").read_text()
    assert was in text
    (tmp_path / "rules.yml").write_text(text.replace(was, becomes))
    cases = tmp_path / "rules_test.yml"
    cases.write_text(CASES.read_text().replace("../../dashboards/rules.yml", "rules.yml"))

    assert promtool("test", "rules", cases).returncode == 1


def test_every_alert_is_tested() -> None:
    """Each fires in a case, for the series that it names and no other."""
    tests = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test.get("alert_rule_test", ())]

    assert {case["alertname"] for case in tests if case["exp_alerts"]} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_alerts_say_what_to_do(name: str) -> None:
    """A name, a severity, what happened, and where to look."""
    rule = ALERTS[name]

    assert name.startswith("Edgesim")
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_are_about_metrics_of_the_catalogue(rule: dict[str, Any]) -> None:
    """Each name is a sample that some process exports, or a recorded series; errors are what the summary calls errors."""
    known = {name for metric in CATALOG.values() for name in sample_names(metric)} | RECORDED | {"up"}
    names = set(re.findall(r"(?<![\w:])(?:[a-z]+:)?edgesim_[a-z_]+(?::\w+)?", rule["expr"]))

    assert names <= known
    assert names or "up{" in rule["expr"]
    for excluded in re.findall(r'outcome!~"([^"]*)"', rule["expr"]):
        assert set(excluded.split("|")) == set(NOT_ERRORS)
