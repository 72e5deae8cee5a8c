"""Signed envelopes for desired documents: Ed25519 over the exact bytes that travel, with a domain prefix.

Rules: the control plane alone has the private key (a 0600 file in its directory); PoP hosts get public keys. What is signed
is text, never re-serialised JSON. A document for another PoP, of an older generation, under an unknown key or with any byte
changed is refused with TrustError; the caller keeps the last good one. There is no expiry: a PoP serves on while the
control plane is away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgesim.config.messages import DESIRED_LIMIT_BYTES, decode_desired, encode_desired
from edgesim.core.desired import NO_GENERATION, Generation
from edgesim.errors import InputError, StorageError, TrustError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgesim.core.desired import DesiredDocument
    from edgesim.model.ids import PopId

DOMAIN: Final = b"edgesim-desired-v1\0"
"""Keeps a signature from being valid for anything but a desired document."""
ENVELOPE_LIMIT_BYTES: Final = 2 * DESIRED_LIMIT_BYTES
"""The payload is JSON inside JSON: its quotes are escaped once more."""


class Signer:
    """Seals desired documents with the control plane's private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.public_hex: Final = raw.hex()
        """The public key, 32 bytes in hex: what PoP hosts get."""
        self.kid: Final = key_id(raw)

    @classmethod
    def load_or_create(cls, path: Path) -> Signer:
        """The key in the file, or a new one that is written there with mode 0600.

        Raises:
            TrustError: when others may read or write the file, or it holds no Ed25519 key.
            StorageError: when it cannot be read or written.
        """
        try:
            with contextlib.suppress(FileExistsError):
                _create(path)
            mode = path.stat().st_mode & 0o777
            seed = path.read_bytes()
        except OSError as exc:
            raise StorageError(f"cannot keep the signing key: {exc.strerror}", where=str(path)) from exc
        if mode & 0o077:
            raise TrustError(
                f"the signing key has mode {mode:04o}: others on this machine may use it",
                where=str(path),
                help=f"if you trust it still, chmod 600 {path}; otherwise delete it, and a new key will be made",
            )
        if len(seed) != 32:
            raise TrustError(
                "the signing key file is damaged",
                where=str(path),
                help="delete it; a new key will be made at the next start",
            )
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def write_public(self, path: Path) -> None:
        """Write the public key, in hex, for PoP hosts to `Verifier.load`. Raises StorageError."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(f"{self.public_hex}\n")
            temporary.replace(path)
        except OSError as exc:
            temporary.unlink(missing_ok=True)
            raise StorageError(f"cannot write the public key: {exc.strerror}", where=str(path)) from exc

    def seal(self, document: DesiredDocument) -> bytes:
        """The document in its signed envelope. Raises InputError when it is larger than its limit."""
        payload = encode_desired(document)
        signature = self._key.sign(DOMAIN + payload.encode())
        return json.dumps({"payload": payload, "kid": self.kid, "sig": signature.hex()}).encode()


class Verifier:
    """Opens envelopes with the public keys that a PoP host was given."""

    def __init__(self, public_hex: str | Mapping[str, str]) -> None:
        """Take one public key in hex, or several by key id.

        Raises:
            InputError: when a key is not 32 bytes in hex.
        """
        keys = [public_hex] if isinstance(public_hex, str) else list(public_hex.values())
        self._keys: dict[str, Ed25519PublicKey] = {}
        for text in keys:
            try:
                raw = bytes.fromhex(text)
                self._keys[key_id(raw)] = Ed25519PublicKey.from_public_bytes(raw)
            except ValueError as exc:
                raise InputError(
                    "not an Ed25519 public key: 64 hex digits are expected",
                    help="take it from the control plane's presence",
                ) from exc

    @classmethod
    def load(cls, path: Path) -> Verifier:
        """With the public key in a file, as `Signer.write_public` wrote it.

        Raises:
            StorageError: when the file cannot be read.
            InputError: when it holds no key.
        """
        try:
            return cls(path.read_text(errors="replace").strip())
        except OSError as exc:
            raise StorageError(
                f"cannot read the control plane's public key: {exc.strerror}",
                where=str(path),
                help="is the control plane up?",
            ) from exc

    def open(self, raw: bytes, *, pop: PopId, newest: Generation = NO_GENERATION) -> DesiredDocument:
        """The document in an envelope, if everything about it is right.

        Args:
            raw: the envelope as received.
            pop: the PoP that it must be for.
            newest: the highest generation that this PoP ever accepted; the same one may come again.

        Raises:
            TrustError: when the envelope is malformed or too large, its key unknown, its signature wrong, its document
                malformed, for another PoP, or older than `newest`.
        """
        where = f"desired document of {pop}"
        payload, kid, signature = _parts(raw, where)
        key = self._keys.get(kid)
        if key is None:
            raise TrustError(
                f"signed with the unknown key {kid[:64]!r}",
                where=where,
                help="was the control plane given a new state directory?",
            )
        try:
            key.verify(signature, DOMAIN + payload.encode())
        except InvalidSignature as exc:
            raise TrustError("the signature does not fit the document", where=where, help=_FORGED) from exc
        document = decode_desired(payload)
        if document.pop != pop:
            raise TrustError(f"it is for the PoP {document.pop}", where=where, help=_FORGED)
        if document.generation < newest:
            raise TrustError(
                f"generation {tuple(document.generation)} is older than {tuple(newest)}",
                where=where,
                help="an older document was replayed; a rollback is a new generation",
            )
        return document


_FORGED: Final = "somebody else publishes on the broker; the last good document stays in force"


def key_id(public: bytes) -> str:
    """Short name of a public key: the first 16 hex digits of its sha256."""
    return hashlib.sha256(public).hexdigest()[:16]


def _create(path: Path) -> None:
    """Write a new private key; never over an existing one. Raises FileExistsError."""
    seed = Ed25519PrivateKey.generate().private_bytes_raw()
    # Linked into place when complete, so that a crash or a second starter never leaves half a key.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(seed)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _parts(raw: bytes, where: str) -> tuple[str, str, bytes]:
    """Payload, key id and signature of an envelope. Raises TrustError."""
    if len(raw) > ENVELOPE_LIMIT_BYTES:
        raise TrustError(
            f"envelope of {len(raw)} bytes; the limit is {ENVELOPE_LIMIT_BYTES}", where=where, help=_FORGED
        )
    try:
        envelope = json.loads(raw)
        payload, kid, signature = envelope["payload"], envelope["kid"], bytes.fromhex(envelope["sig"])
        payload.encode()
        kid.encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise TrustError("not a signed envelope (payload, kid, sig)", where=where, help=_FORGED) from exc
    return payload, kid, signature
