"""What a PoP host keeps on disk, per PoP: the last good desired document as it was signed, and which components it has.

Documents are kept as received and verified again when they are read, so a forged file is worth no more than a forged
message. Writing is atomic; a torn or foreign file is treated as absent.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgesim.errors import TrustError
from edgesim.live.blobs import storage_error
from edgesim.live.state import write_private
from edgesim.model.ids import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from edgesim.core.desired import DesiredDocument
    from edgesim.live.signing import Verifier
    from edgesim.model.ids import PopId


class HostState:
    """The folder of one PoP host."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def document(self, pop: PopId, verifier: Verifier) -> DesiredDocument | None:
        """The last good document; None when there is none that can be trusted."""
        try:
            return verifier.open((self._root / pop / "desired.json").read_bytes(), pop=pop)
        except (OSError, TrustError):
            return None

    def disk(self, pop: PopId) -> set[Digest]:
        """The components that the PoP has fetched."""
        try:
            digests = json.loads((self._root / pop / "disk.json").read_bytes())
            return {Digest(d) for d in digests if isinstance(d, str)}
        except (OSError, ValueError, TypeError):
            return set()

    def keep_document(self, pop: PopId, raw: bytes) -> None:
        """Replace the last good document. Raises StorageError."""
        self._write(pop, "desired.json", raw)

    def keep_disk(self, pop: PopId, digests: set[Digest]) -> None:
        """Replace the list of components. Raises StorageError."""
        self._write(pop, "disk.json", json.dumps(sorted(digests)).encode())

    def _write(self, pop: PopId, name: str, data: bytes) -> None:
        folder = self._root / pop
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(folder / name, data)
        except OSError as exc:
            raise storage_error(exc, folder) from exc
