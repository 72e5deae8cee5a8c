"""`edgesim topology`: validate, generate, show."""

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


def test_generate_to_a_file(tmp_path, capsys):
    """The file is valid, and the output says what the world is like and what to do next."""
    file = tmp_path / "world.yaml"
    code = run(["topology", "generate", "--pops", "30", "-o", str(file)])
    out = capsys.readouterr().out

    assert code == 0
    assert out.startswith(f"wrote {file}: 30 PoPs in ")
    assert f"edgesim up --topology {file}" in out
    assert run(["topology", "validate", str(file)]) == 0


def test_generate_to_stdout(capsys):
    """The file alone on stdout, what is to be said on stderr; sites that are made up are told."""
    code = run(["topology", "generate", "--pops", "25", "--region", "oc"])
    out, err = capsys.readouterr()

    assert code == 0
    assert out.startswith("# Made by `edgesim topology generate --pops 25 --region oc`")
    assert "made up around metros" in err


def test_generate_overwrites_only_its_own(tmp_path, capsys):
    """A file of the user's own stays as it is; one that was generated is replaced."""
    own, made = tmp_path / "own.yaml", tmp_path / "made.yaml"
    own.write_text("version: 1\n")

    assert run(["topology", "generate", "--pops", "5", "-o", str(own)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert own.read_text() == "version: 1\n"
    assert run(["topology", "generate", "--pops", "5", "-o", str(made)]) == 0
    assert run(["topology", "generate", "--pops", "6", "-o", str(made)]) == 0
    assert "world-6" in made.read_text()


def test_generate_where_nothing_can_be_written(tmp_path, capsys):
    """A folder that is not there: exit code 2 and the reason."""
    code = run(["topology", "generate", "--pops", "5", "-o", str(tmp_path / "no" / "x.yaml")])

    assert code == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_show(monkeypatch, capsys):
    """A map no wider than the terminal, every region with its mark and count; letters where there is no colour."""
    monkeypatch.setenv("COLUMNS", "90")
    code = run(["topology", "show", str(resource_path("topology.yaml"))])
    lines = capsys.readouterr().out.splitlines()

    assert code == 0
    assert max(map(len, lines)) <= 90
    assert "\x1b" not in "".join(lines)
    rows = {line.split()[1]: line.split()[:4] for line in lines if line[1:3] == "  "}
    assert rows["apac"] == ["b", "apac", "4", "4"]
    assert "world-20 has 20 PoPs in 16 countries and 9 regions" in lines[-1]


def test_show_without_a_file(monkeypatch, tmp_path, capsys):
    """The world that `edgesim up` would take: EDGESIM_TOPOLOGY, else topology.yaml here, else the one that ships."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGESIM_TOPOLOGY", raising=False)

    assert run(["topology", "show"]) == 0
    assert "world-20" in capsys.readouterr().out
    (tmp_path / "topology.yaml").write_text(
        "version: 1\nname: mine\npops: [fra1]\norigins: {demo: {kind: builtin, at: fra}}\n"
    )
    assert run(["topology", "show"]) == 0
    assert "mine has 1 PoP in 1 country and 1 region" in capsys.readouterr().out
    monkeypatch.setenv("EDGESIM_TOPOLOGY", str(resource_path("topology.yaml")))
    assert run(["topology", "show"]) == 0
    assert "world-20" in capsys.readouterr().out


def test_show_as_json(capsys):
    """The same document as that of `validate`."""
    run(["topology", "show", "--json", str(resource_path("topology.yaml"))])

    assert json.loads(capsys.readouterr().out)["schema"] == "edgesim.topology.v1"
