"""Tables of measured round trips."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesim.config import rtt_table
from edgesim.config.rtt_table import load_rtt_table
from edgesim.errors import ConfigError, UsageError
from edgesim.model.geo import LatLon

HEAD = "from,src_lat,src_lon,to,dst_lat,dst_lon,rtt_ms\n"


def table(tmp_path, text):
    """The file with this text, loaded."""
    path = tmp_path / "rtt.csv"
    path.write_text(text, encoding="utf-8")
    return load_rtt_table(path)


def test_rows(tmp_path):
    """Degrees and milliseconds; other columns are ignored, and so is a byte order mark."""
    expected = [(LatLon(1.5, 103.8), LatLon(-33.9, 151.2), 0.0925)]

    assert table(tmp_path, HEAD + "sin,1.5,103.8,syd,-33.9,151.2,92.5\n") == expected
    assert (
        table(tmp_path, "\ufeff" + HEAD.replace("rtt_ms", "rtt_p95_ms") + "sin,1.5,103.8,syd,-33.9,151.2,92.5\n")
        == expected
    )


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "no column src_lat"),
        ("a,b\n1,2\n", 1, "no column src_lat, src_lon, dst_lat, dst_lon, rtt_ms or rtt_p95_ms"),
        (HEAD, 1, "the table has no rows"),
        (HEAD + "a,1,2,b,3,4,5\na,91,2,b,3,4,5\n", 3, "src_lat is no number in its range: '91'"),
        (HEAD + "a,1,2,b,3,4,0\n", 2, "rtt_ms is no number in its range: '0'"),
        (HEAD + "a,1,2,b,3,nan,7\n", 2, "dst_lon is no number in its range: 'nan'"),
        (HEAD + "a,1,2,b,3\n", 2, "dst_lon is no number in its range: None"),
        (HEAD + "a,1,2,b,3,x,7\n", 2, "dst_lon is no number in its range: 'x'"),
    ],
)
def test_mistakes(tmp_path, text, line, says):
    """Each with its line."""
    with pytest.raises(ConfigError) as caught:
        table(tmp_path, text)
    first = caught.value.problems[0]

    assert first.line == line
    assert says in first.message


def test_many_mistakes_are_bounded(tmp_path):
    """A file that is something else does not fill the screen."""
    with pytest.raises(ConfigError) as caught:
        table(tmp_path, HEAD + "x,x,x,x,x,x,x\n" * 1000)

    assert 20 <= len(caught.value.problems) <= 25


def test_files_that_cannot_be_read(tmp_path):
    """A missing file and one that is no text."""
    binary = tmp_path / "b.csv"
    binary.write_bytes(b"\xff\xfe\x00")

    for path in (tmp_path / "none.csv", binary):
        with pytest.raises(UsageError, match="cannot read the table"):
            load_rtt_table(path)


def test_a_file_without_end_is_not_read_to_it(monkeypatch):
    """A device says that its size is 0."""
    monkeypatch.setattr(rtt_table, "_BYTES_MAX", 1 << 20)

    with pytest.raises(UsageError, match="is larger than 1 MiB"):
        load_rtt_table(Path("/dev/zero"))
