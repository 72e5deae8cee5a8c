"""`edgesim locate`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgesim.cli.main import run
from edgesim.model.address import client_address


def test_a_simulated_client(tmp_path, capsys):
    """geoip2 reads the generated database: metro 1 is Tokyo."""
    address = client_address(1, 0, 5)
    code = run(["locate", address, "--state", str(tmp_path), "--json"])
    document = json.loads(capsys.readouterr().out)

    assert code == 0
    assert (document["city"], document["country"], document["timezone"]) == ("Tokyo", "JP", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["8.8.8.8"], 1, "8.8.8.8 is not in"),
        (["here"], 2, "'here' is not an IP address"),
        (["8.8.8.8", "--geoip-db", "/nonexistent.mmdb"], 2, "cannot read the database"),
        (["8.8.8.8", "--geoip-db", __file__], 2, "not a GeoIP database"),
    ],
)
def test_what_cannot_be_located(tmp_path, capsys, arguments, code, says):
    """Each mistake has its own message, and no traceback."""
    got = run(["locate", *arguments, "--state", str(tmp_path)])
    err = capsys.readouterr().err

    assert got == code
    assert says in err
    assert "Traceback" not in err


@pytest.mark.skipif("EDGESIM_TEST_DATA" not in os.environ, reason="EDGESIM_TEST_DATA is not set")
def test_a_file_of_the_users(tmp_path, capsys):
    """MaxMind's own test file."""
    database = Path(os.environ["EDGESIM_TEST_DATA"]) / "GeoIP2-City-Test.mmdb"
    code = run(["locate", "81.2.69.142", "--geoip-db", str(database), "--state", str(tmp_path)])

    assert code == 0
    assert capsys.readouterr().out.startswith("81.2.69.142: London, GB at 51.51 -0.09")
