"""`edgesim locate`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from edgesim.cli.main import run
from edgesim.live import processes
from edgesim.live.state import Ports, RunRecord, write_run
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
        (["8.8.8.8"], 1, "= help: name a GeoLite2 or GeoIP2 file that knows it with --geoip-db"),
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


def test_the_file_of_the_running_edge(tmp_path, capsys):
    """What is no simulated client is looked up in the file that `up --geoip-db` named; simulated clients stay."""
    own = tmp_path / "own.mmdb"
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Own-City")
    place = {"country": {"iso_code": "GB"}, "location": {"latitude": 51.5, "longitude": -0.1}}
    writer.insert_network(IPSet(["81.2.69.0/24"]), place)
    writer.to_db_file(str(own))
    pid = os.getpid()
    write_run(
        tmp_path,
        RunRecord(
            version="0.1.0", pid=pid, start_ticks=processes.start_ticks(pid), started_at=0.0, topology="/t",
            geoip_db=str(own), endpoint="", front_door="", token="", supervisor_token="",
            ports=Ports(front_door=1, api=2, broker=3, supervisor=4),
        ),
    )  # fmt: skip
    state = ["--state", str(tmp_path)]
    codes = [run(["locate", ip, *state]) for ip in ("81.2.69.142", client_address(1, 0, 5), "8.8.8.8")]
    out, err = capsys.readouterr()

    assert codes == [0, 0, 1]
    assert "81.2.69.142: GB at 51.50 -0.10  (own.mmdb)" in out
    assert "Tokyo, JP" in out
    assert "8.8.8.8 is not in own.mmdb" in err


@pytest.mark.skipif("EDGESIM_TEST_DATA" not in os.environ, reason="EDGESIM_TEST_DATA is not set")
def test_a_file_of_the_users(tmp_path, capsys):
    """MaxMind's own test file."""
    database = Path(os.environ["EDGESIM_TEST_DATA"]) / "GeoIP2-City-Test.mmdb"
    code = run(["locate", "81.2.69.142", "--geoip-db", str(database), "--state", str(tmp_path)])

    assert code == 0
    assert capsys.readouterr().out.startswith("81.2.69.142: London, GB at 51.51 -0.09")
