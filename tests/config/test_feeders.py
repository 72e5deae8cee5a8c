"""Feeders: rows from files and from the scenario, and every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgesim.config import feeders
from edgesim.config.feeders import read_rows
from edgesim.config.scenario_requests import FeederFile
from edgesim.errors import UsageError


def rows(folder: Path, **source: object) -> tuple[dict[str, str], ...]:
    """What a feeder gives."""
    return read_rows(FeederFile.model_validate({"name": "f", **source}), folder)


def test_csv_json_and_rows(tmp_path: Path) -> None:
    """All of them become texts; a byte order mark and quoted commas are read."""
    (tmp_path / "a.csv").write_bytes('\ufeffname,n\n"a, b",1\nJoão,\n'.encode())
    (tmp_path / "a.json").write_text(json.dumps([{"n": 1.5, "yes": True}]))

    assert rows(tmp_path, csv="a.csv") == ({"name": "a, b", "n": "1"}, {"name": "João", "n": ""})
    assert rows(tmp_path, json="a.json") == ({"n": "1.5", "yes": "true"},)
    assert rows(tmp_path, rows=[{"n": 1}, {"n": "x"}]) == ({"n": "1"}, {"n": "x"})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "there are no rows"),
        ("a.csv", b"a,b\n", "there are no rows"),
        ("a.csv", b"a,b\n1,2,3\n", "line 2 of 'a.csv' has 3 values, not 2"),
        ("a.csv", b"a,b\n\n1\n", "line 3 of 'a.csv' has 1 values, not 2"),
        ("a.csv", b"a,a\n1,2\n", "'a.csv' names a field twice"),
        ("a.csv", b'a,b\n"1,2\n', "line 2 of 'a.csv' is not CSV: unexpected end of data"),
        ("a.csv", b'a,b\n1,"x\r\ny: z"\n', "a line break or another control character"),
        ("a.csv", b"\xff\xfe", "is not UTF-8"),
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"{}", "there are no rows"),
        ("a.json", b"[1]", "there are no rows"),
        ("a.json", b'[{"a": 1}, {"b": 1}]', "row 2 has other fields"),
        ("a.json", b'[{"a": [1]}]', "row 1 has a value that is no text"),
        ("a.json", b'[{"a": 1}, {"a": NaN}]', "row 2 has a value that is no text"),
        ("a.json", b'[{"a": 1e999}]', "row 1 has a value that is no text"),
        ("a.json", b'[{"a": null}]', "row 1 has a value that is no text"),
        ("a.json", b'[{"a": "x\\ny"}]', "a line break or another control character"),
    ],
)
def test_files_that_hold_no_rows(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """What is wrong, and what to do."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UsageError, match=said) as caught:
        rows(tmp_path, **{name[2:]: name})

    assert caught.value.help


def test_a_file_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    """A device says that its size is 0."""
    with pytest.raises(UsageError, match="'/dev/zero' is larger than 16 MiB"):
        rows(tmp_path, csv="/dev/zero")


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and rows are bounded."""
    (tmp_path / "a.csv").write_text("a\n1\n2\n3\n")
    monkeypatch.setattr(feeders, "ROWS_MAX", 2)
    with pytest.raises(UsageError, match="there are 3 rows; the limit is 2"):
        rows(tmp_path, csv="a.csv")
    monkeypatch.setattr(feeders, "BYTES_MAX", 2)
    with pytest.raises(UsageError, match="is larger than"):
        rows(tmp_path, csv="a.csv")
