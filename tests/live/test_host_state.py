"""What a PoP host keeps on disk: torn, foreign and forged files are worth nothing."""

from __future__ import annotations

import pytest

from edgesim.core.desired import DesiredDocument
from edgesim.errors import StorageError
from edgesim.live.host_state import HostState
from edgesim.live.signing import Signer, Verifier
from edgesim.model.ids import Digest
from tests.support.request_path import FRA, LHR


@pytest.fixture
def signer(tmp_path):
    """The control plane's key."""
    return Signer.load_or_create(tmp_path / "key")


@pytest.fixture
def state(tmp_path):
    """A host's folder."""
    return HostState(tmp_path / "pops")


def document(pop=FRA):
    """An empty document."""
    return DesiredDocument(pop=pop, epoch=1, gen=2, issued_s=1.0, apps=())


def test_what_was_kept_is_found(state, signer, tmp_path):
    """Documents and components, per PoP, in files that others cannot read."""
    state.keep_document(FRA, signer.seal(document()))
    state.keep_disk(FRA, {Digest("a" * 64), Digest("b" * 64)})

    assert state.document(FRA, Verifier(signer.public_hex)) == document()
    assert state.disk(FRA) == {"a" * 64, "b" * 64}
    assert (state.document(LHR, Verifier(signer.public_hex)), state.disk(LHR)) == (None, set())
    assert {f.stat().st_mode & 0o077 for f in (tmp_path / "pops").rglob("*")} == {0}


def test_forged_torn_and_foreign_documents(state, signer, tmp_path):
    """Cut off, changed, another PoP's, or another key's: as if there were none."""
    good = signer.seal(document())
    other = Signer.load_or_create(tmp_path / "other")
    verifier = Verifier(signer.public_hex)
    for raw in (
        good[:-9],
        good.replace(b"2", b"3", 1),
        b"",
        b"\xff\x00",
        signer.seal(document(LHR)),
        other.seal(document()),
    ):
        state.keep_document(FRA, raw)

        assert state.document(FRA, verifier) is None


@pytest.mark.parametrize("raw", [b"", b"[", b"5", b"null", b'{"a": 1}', b"\xff", b"[1, null, [], {}]"])
def test_torn_lists_of_components(state, tmp_path, raw):
    """A list that is none is empty; what is no text in it is left out."""
    state.keep_disk(FRA, set())
    (tmp_path / "pops" / "fra1" / "disk.json").write_bytes(raw)

    assert state.disk(FRA) <= {"a"}


def test_a_folder_that_cannot_be_written(tmp_path):
    """The operator is told which one; the old state stays."""
    (tmp_path / "pops").write_text("a file in the way")

    with pytest.raises(StorageError):
        HostState(tmp_path / "pops").keep_disk(FRA, set())
