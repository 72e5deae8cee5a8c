"""The cache of compiled workers: native code, so it is loaded only if this installation wrote it.

Layout of the directory (mode 0700, ours): `key` (32 random bytes, 0600), and per worker and way of compiling it
`<digest>-<variant>-<engine tag>.cwasm` with a `.json` that holds what the compiler says of it and an HMAC-SHA256 over name,
that text and the artefact. An artefact that is missing, truncated, altered or
signed with another key is treated as absent and compiled again. The processes of one installation share the directory:
files appear by rename, and the sidecar last.

What this does not stop: a program that runs as our own user and can read the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesim.errors import StorageError
from edgesim.wasm.engine import ENGINE_TAG

if TYPE_CHECKING:
    from pathlib import Path

_KEY_BYTES: Final = 32
_MAX_SIDECAR_BYTES: Final = 16 << 20
"""The plan of a Python component, with its 165 imports, takes some 200 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A compiled worker that this installation wrote."""

    path: Path
    facts: str
    """What the compiler said of it, as JSON."""
    size_bytes: int


class ArtifactCache:
    """Artefacts by content digest, for this version of the engine."""

    def __init__(self, root: Path) -> None:
        """Make or check the directory. Raises StorageError when it is not ours alone."""
        self._root = root
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_owner(root, stat.S_IFDIR)
            self._key = self._load_key()
        except OSError as exc:
            raise StorageError(
                f"the artefact directory cannot be used: {exc.strerror}",
                where=str(root),
                help="free some space, or check its owner",
            ) from exc

    def find(self, digest: str, variant: str) -> Artifact | None:
        """The trusted artefact for a worker, or None. Reads the whole file: call it on a thread."""
        path, sidecar = self._paths(digest, variant)
        try:
            _check_owner(path, stat.S_IFREG)
            _check_owner(sidecar, stat.S_IFREG)
            if sidecar.stat().st_size > _MAX_SIDECAR_BYTES:
                return None
            record = json.loads(sidecar.read_bytes())
            facts, mac = record["facts"], record["mac"]
            expected = self._mac(path, digest, variant, facts)
            size_bytes = path.stat().st_size
            if not isinstance(mac, str) or not hmac.compare_digest(mac.encode(), expected.encode()):
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, StorageError):
            return None  # absent or not ours: it will be compiled, which is always right
        return Artifact(path=path, facts=facts, size_bytes=size_bytes)

    def scratch(self) -> Path:
        """A new path in the directory for a compiler to write to."""
        return self._root / f"tmp-{os.getpid()}-{secrets.token_hex(8)}"

    def lock(self, digest: str) -> Path:
        """The file whose lock a process holds while it compiles a worker again, so that only one does."""
        return self._root / f"{digest}.lock"

    def adopt(self, scratch: Path, digest: str, variant: str, facts: str) -> Artifact:
        """Sign what our compiler wrote and put it into place. Raises StorageError, for example when the disk is full."""
        path, sidecar = self._paths(digest, variant)
        note = self.scratch()
        try:
            scratch.chmod(0o600)
            mac = self._mac(scratch, digest, variant, facts)
            size_bytes = scratch.stat().st_size
            note.write_text(json.dumps({"facts": facts, "mac": mac}))
            note.chmod(0o600)
            scratch.replace(path)
            note.replace(sidecar)
        except OSError as exc:
            with suppress(OSError):
                note.unlink(missing_ok=True)
            raise StorageError(
                f"a compiled worker cannot be stored: {exc.strerror}",
                where=str(self._root),
                help="free some space and deploy again",
            ) from exc
        return Artifact(path=path, facts=facts, size_bytes=size_bytes)

    def _paths(self, digest: str, variant: str) -> tuple[Path, Path]:
        stem = f"{digest}-{variant}-{ENGINE_TAG}"
        return self._root / f"{stem}.cwasm", self._root / f"{stem}.json"

    def _mac(self, path: Path, digest: str, variant: str, facts: str) -> str:
        """HMAC-SHA256 over the engine tag, digest, variant and facts, and the file's content."""
        mac = hmac.new(self._key, f"{ENGINE_TAG}\n{digest}\n{variant}\n{facts}\n".encode(), hashlib.sha256)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                mac.update(block)
        return mac.hexdigest()

    def _load_key(self) -> bytes:
        """The installation's key, made by whichever process comes first."""
        path = self._root / "key"
        if not path.exists():
            mine = self.scratch()
            with os.fdopen(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):
                os.link(mine, path)  # unlike rename, never replaces the key of a process that was faster
            mine.unlink()
        _check_owner(path, stat.S_IFREG)
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise StorageError("the artefact key is damaged", where=str(path), help="delete the file and start again")
        return key


def _check_owner(path: Path, kind: int) -> None:
    """Refuse what is not ours, or what others may write. Raises StorageError."""
    status = path.lstat()
    if stat.S_IFMT(status.st_mode) != kind or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise StorageError(
            "compiled workers are native code: their directory and files must belong to this user alone",
            where=str(path),
            help=f"chmod go-rwx {path}, or choose another state directory",
        )
