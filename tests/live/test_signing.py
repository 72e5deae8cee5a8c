"""Signed envelopes: only the right document, for the right PoP, from the right key, and never an older one."""

from __future__ import annotations

import json

import pytest

from edgesim.core.desired import DesiredDocument, Generation
from edgesim.errors import InputError, StorageError, TrustError
from edgesim.live.signing import ENVELOPE_LIMIT_BYTES, Signer, Verifier


def document(gen: int = 2, pop: str = "gru1") -> DesiredDocument:
    """An empty document."""
    return DesiredDocument(pop=pop, epoch=1, gen=gen, issued_s=1.0, apps=())


@pytest.fixture
def signer(tmp_path) -> Signer:
    """A new key."""
    return Signer.load_or_create(tmp_path / "signing.key")


def test_round_trip(signer):
    """What was sealed opens, also the same generation again."""
    verifier = Verifier(signer.public_hex)

    assert verifier.open(signer.seal(document()), pop="gru1") == document()
    assert verifier.open(signer.seal(document()), pop="gru1", newest=Generation(1, 2)) == document()


def test_the_key_is_kept_and_private(tmp_path):
    """The key survives a restart, in a file that only we can read."""
    first, second = (Signer.load_or_create(tmp_path / "k") for _ in range(2))

    assert first.public_hex == second.public_hex
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert [f.name for f in tmp_path.iterdir()] == ["k"]


def test_public_key_file(tmp_path, signer):
    """PoP hosts get the public key by file; the private one is not in it."""
    signer.write_public(tmp_path / "signing.pub")
    verifier = Verifier.load(tmp_path / "signing.pub")

    assert verifier.open(signer.seal(document()), pop="gru1") == document()
    assert (tmp_path / "signing.key").read_bytes().hex() not in (tmp_path / "signing.pub").read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda e: {**e, "payload": e["payload"].replace('"gen":2', '"gen":3')},
        lambda e: {**e, "payload": e["payload"] + " "},
        lambda e: {**e, "sig": "00" * 64},
        lambda e: {**e, "sig": "zz"},
        lambda e: {**e, "sig": ""},
        lambda e: {**e, "kid": "0" * 16},
        lambda e: {**e, "kid": 5},
        lambda e: {**e, "payload": {}},
        lambda e: {**e, "payload": "\ud800"},
        lambda _: {},
        lambda _: [],
        lambda _: None,
    ],
)
def test_tampered_envelopes(signer, change):
    """Any change is refused."""
    envelope = json.loads(signer.seal(document()))

    with pytest.raises(TrustError):
        Verifier(signer.public_hex).open(json.dumps(change(envelope)).encode(), pop="gru1")


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b" " * (ENVELOPE_LIMIT_BYTES + 1)])
def test_garbage(signer, raw):
    """What is no envelope is refused, also one that is too large or too deep."""
    with pytest.raises(TrustError):
        Verifier(signer.public_hex).open(raw, pop="gru1")


def test_wrong_pop_older_generation_other_key(tmp_path, signer):
    """Genuine documents are refused too when they are not meant for here and now."""
    verifier = Verifier(signer.public_hex)
    other = Signer.load_or_create(tmp_path / "other.key")

    with pytest.raises(TrustError, match="for the PoP gru1"):
        verifier.open(signer.seal(document()), pop="fra1")
    with pytest.raises(TrustError, match="older than"):
        verifier.open(signer.seal(document()), pop="gru1", newest=Generation(1, 3))
    with pytest.raises(TrustError, match="older than"):
        verifier.open(signer.seal(document(gen=9)), pop="gru1", newest=Generation(2, 0))
    with pytest.raises(TrustError, match="unknown key"):
        verifier.open(other.seal(document()), pop="gru1")


def test_a_signature_is_for_desired_documents_only(signer):
    """The same bytes signed without the domain prefix do not pass."""
    envelope = json.loads(signer.seal(document()))
    envelope["sig"] = signer._key.sign(envelope["payload"].encode()).hex()

    with pytest.raises(TrustError, match="signature"):
        Verifier(signer.public_hex).open(json.dumps(envelope).encode(), pop="gru1")


def test_bad_key_files(tmp_path):
    """Damaged keys, readable keys, no directory: errors that say what to do."""
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "short").chmod(0o600)
    Signer.load_or_create(tmp_path / "open")
    (tmp_path / "open").chmod(0o640)

    with pytest.raises(TrustError, match="damaged"):
        Signer.load_or_create(tmp_path / "short")
    with pytest.raises(TrustError, match="0640"):
        Signer.load_or_create(tmp_path / "open")
    with pytest.raises(StorageError):
        Signer.load_or_create(tmp_path / "no" / "key")
    with pytest.raises(StorageError, match="public key"):
        Verifier.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="64 hex"):
        Verifier("abc")
