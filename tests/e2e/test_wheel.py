"""The built wheel, installed into an empty environment: the command runs, and the data that it needs is in it.

What edgesim depends on is taken from the environment that runs the tests (a `.pth` file names its site-packages), so that
nothing is downloaded. edgesim itself must come from the wheel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.e2e.edge import ROOT, free_ports

pytestmark = pytest.mark.e2e


def run(*argv: object, cwd: Path, timeout_s: float = 60.0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in `cwd` with nothing of this environment that could lead to the checkout."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("EDGESIM_", "PYTHON", "VIRTUAL_"))
    }
    return subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env=kept | environment,
        timeout=timeout_s,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    built = run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT,
        cwd=folder, timeout_s=180.0,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return next(folder.glob("edgesim-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of programs of a new environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("environment")
    made = run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    assert made.returncode == 0, made.stderr
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip())
    done = run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--no-index", wheel, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # A plain path, not site.addsitedir: .pth files over there, the checkout's own among them, must not be read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin"


def test_the_wheel_has_the_package_and_its_data_and_no_more(wheel):
    """Data files are below edgesim/data; tests, benchmarks and scripts are not in it; the licence is."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}

    assert {"edgesim"} == {top for top in tops if not top.endswith(".dist-info")}
    assert {
        "edgesim/data/topology.yaml",
        "edgesim/data/pops/sites.csv",
        "edgesim/data/pops/hub_graph.json",
        "edgesim/data/scenarios/demo.yaml",
        "edgesim/data/dashboards/edgesim-overview.json",
        "edgesim/data/dashboards/rules.yml",
        "edgesim/data/workers/hello/hello.wasm",
        "edgesim/data/workers/hello/hello.c",
        "edgesim/data/workers/ab-split/worker.wasm",
        "edgesim/data/workers/templates/js/app.js",
        "edgesim/data/workers/templates/js/.gitignore",
        "edgesim/results/report/assets/uplot.min.js",
        "edgesim/results/report/assets/uplot.LICENSE",
        "edgesim/results/report/assets/land.LICENSE",
    } <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc") or "node_modules" in name]
    assert wheel.stat().st_size < 4_000_000  # large workers are built, never shipped


def test_a_simulated_run_has_a_report_without_a_checkout(installed, tmp_path):
    """Scenario, world, profile, and everything the page carries are in the wheel."""
    page = tmp_path / "report.html"
    done = run(installed / "edgesim", "sim", "run", "smoke", "--out", "summary.json", "--html", page, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "uPlot" in page.read_text(encoding="utf-8")


def test_edgesim_comes_from_the_wheel(installed, tmp_path):
    """Not from the checkout, or the other tests prove nothing."""
    shown = run(installed / "python", "-c", "import edgesim; print(edgesim.__file__)", cwd=tmp_path)

    assert shown.returncode == 0, shown.stderr
    assert installed.parent in Path(shown.stdout.strip()).parents


def test_version(installed, tmp_path):
    """The command says its version; --json says what it runs on."""
    plain = run(installed / "edgesim", "version", cwd=tmp_path)
    told = json.loads(run(installed / "edgesim", "version", "--json", cwd=tmp_path).stdout)

    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.split() == ["edgesim", told["version"]]
    assert "wasmtime" in told["packages"]


def test_the_packaged_topology_is_valid(installed, tmp_path):
    """The default world in the wheel passes its own check."""
    where = run(
        installed / "python", "-c",
        "from edgesim.config.resources import resource_path; print(resource_path('topology.yaml'))", cwd=tmp_path,
    ).stdout.strip()  # fmt: skip
    checked = run(installed / "edgesim", "topology", "validate", where, cwd=tmp_path)

    assert installed.parent in Path(where).parents
    assert checked.returncode == 0, checked.stderr
    assert "20 PoPs" in checked.stdout + checked.stderr


def test_a_project_begins_with_a_template_of_the_wheel(installed, tmp_path):
    """`init`, and the hidden files too."""
    made = run(installed / "edgesim", "init", "shop", "--template", "assemblyscript", cwd=tmp_path)

    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in (tmp_path / "shop").iterdir()) == [
        ".gitignore", "README.md", "package.json", "spin.toml", "wagi.ts", "worker.ts",
    ]  # fmt: skip


def test_an_edge_starts_serves_and_stops(installed, tmp_path):
    """`up`, `status`, `deploy` of the packaged worker, a request, `down`: all from the wheel."""
    edgesim, state = installed / "edgesim", {"EDGESIM_STATE": str(tmp_path / "state")}
    port, api, broker = free_ports(3)
    worker = run(
        installed / "python", "-c",
        "from edgesim.config.resources import resource_path; print(resource_path('workers/hello'))", cwd=tmp_path,
    ).stdout.strip()  # fmt: skip
    up = run(
        edgesim, "up", "--detach", "--processes", "1", "--time-scale", "0", "--port", port, "--api-port", api,
        "--broker-port", broker, cwd=tmp_path, **state,
    )  # fmt: skip
    assert up.returncode == 0, up.stderr
    try:
        status = run(edgesim, "status", "--json", cwd=tmp_path, **state)
        deployed = run(edgesim, "deploy", worker, cwd=tmp_path, **state)
        answer = run(edgesim, "curl", "--from", "Tokyo", "http://hello.localhost/", cwd=tmp_path, **state)
    finally:
        down = run(edgesim, "down", cwd=tmp_path, **state)

    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["ready"] is True
    assert deployed.returncode == 0, deployed.stderr
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("hello from nrt1")
    assert down.returncode == 0, down.stderr
    assert run(edgesim, "status", cwd=tmp_path, **state).returncode == 3
