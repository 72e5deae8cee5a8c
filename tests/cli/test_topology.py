"""`edgesim topology validate`."""

import json

from edgesim.cli.main import run
from edgesim.config.resources import resource_path


def test_the_world_that_ships_is_right(capsys):
    """The default world: 20 PoPs, exit code 0."""
    code = run(["topology", "validate", str(resource_path("topology.yaml"))])

    assert code == 0
    assert "world-20 has 20 PoPs" in capsys.readouterr().out


def test_as_json(capsys):
    """PoPs with their coordinates."""
    run(["topology", "validate", "--json", str(resource_path("topology.yaml"))])
    document = json.loads(capsys.readouterr().out)

    assert document["schema"] == "edgesim.topology.v1"
    assert len(document["pops"]) == 20
    assert {"id", "city", "country", "lat", "lon"} == set(document["pops"][0])


def test_all_mistakes_at_once(tmp_path, capsys):
    """Every mistake with file:line:col, the line, a caret and a suggestion; exit code 2."""
    file = tmp_path / "bad.yaml"
    file.write_text("version: 1\nname: bad\nnetwork: {time_scal: 1}\npops:\n  - frx1\n  - fra1\n  - fra1\n")
    code = run(["topology", "validate", str(file)])
    err = capsys.readouterr().err

    assert code == 2
    assert f"--> {file}:3:11" in err
    assert "did you mean" in err
    assert f"--> {file}:5:5" in err
    assert f"{file}:7:5" in err
    assert err.count("\n  |") >= 3


def test_file_that_is_not_there(capsys):
    """Exit code 2 and the file's name."""
    code = run(["topology", "validate", "nope.yaml"])

    assert code == 2
    assert "nope.yaml" in capsys.readouterr().err
