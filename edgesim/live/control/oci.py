"""Releases as OCI images, in an image-layout directory that other tools can read.

One manifest per release (`application/vnd.oci.image.manifest.v1+json`), a Wasm config, one `application/wasm` layer per
component, one data layer per bundled file. What OCI has no word for (routes, limits, environment) is in the annotation `dev.edgesim.release`. Equal content
gives equal digests: no time is in the manifest. `index.json` is derived from the database and may be lost.
Sources: OCI image-spec 1.1 (image-layout.md, manifest.md), CNCF TAG Runtime "Wasm OCI artifact layout".
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from edgesim.live.blobs import BlobStore, storage_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from edgesim.model.ids import Digest
    from edgesim.model.worker import Component, Release, Route

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.wasm.config.v0+json"
LAYER_TYPE: Final = "application/wasm"
DATA_TYPE: Final = "application/vnd.wasm.content.layer.v1+data"
"""Of bundled files; Spin's word."""
RELEASE_ANNOTATION: Final = "dev.edgesim.release"
_NO_TIME: Final = "1970-01-01T00:00:00Z"


class ImageLayout:
    """The directory: `oci-layout`, `index.json`, and the blobs under `blobs/sha256`."""

    def __init__(self, root: Path) -> None:
        """Open or create it. Raises StorageError."""
        self._root = root
        self.blobs: Final = BlobStore(root / "blobs" / "sha256")
        self._write("oci-layout", {"imageLayoutVersion": "1.0.0"})

    def put_release(
        self, components: Sequence[Component], routes: Sequence[Route], *, filters: Sequence[str] = (), prefetch: bool
    ) -> Digest:
        """Store config and manifest of a release whose components are stored; the manifest's digest. Blocks.

        Raises:
            StorageError: when the disk is full.
        """
        p2 = any(c.abi in ("wasi-http", "wasi-http-p3") for c in components)
        config = {
            "created": _NO_TIME,
            "architecture": "wasm",
            "os": "wasip2" if p2 else "wasip1",
            "layerDigests": [f"sha256:{c.digest}" for c in components],
        }
        config_digest = self.blobs.put(_json(config))
        release = {
            "routes": [[r.pattern, r.component] for r in routes],
            "filters": list(filters),
            "prefetch": prefetch,
            "components": {c.id: _settings(c) for c in components},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, config_digest, len(_json(config))),
            "layers": [
                {
                    **_descriptor(LAYER_TYPE, c.digest, c.size_bytes),
                    "annotations": {"org.opencontainers.image.title": f"{c.id}.wasm"},
                }
                for c in components
            ]
            + [
                {
                    **_descriptor(DATA_TYPE, f.digest, f.size_bytes),
                    "annotations": {"org.opencontainers.image.title": f.path.lstrip("/")},
                }
                for f in dict.fromkeys(f for c in components for f in c.files)
            ],
            "annotations": {RELEASE_ANNOTATION: _json(release).decode()},
        }
        return self.blobs.put(_json(manifest))

    def write_index(self, releases: Iterable[Release]) -> None:
        """Name every release `app:version`. Blocks. Raises StorageError."""
        manifests = []
        for release in releases:
            path = self.blobs.path(release.digest)
            size = path.stat().st_size if path.exists() else 0
            manifests.append(
                {
                    **_descriptor(MANIFEST_TYPE, release.digest, size),
                    "annotations": {"org.opencontainers.image.ref.name": f"{release.app}:{release.version}"},
                }
            )
        self._write("index.json", {"schemaVersion": 2, "manifests": manifests})

    def _write(self, name: str, document: object) -> None:
        path = self._root / name
        temporary = path.with_name(f"{name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(_json(document))
            temporary.replace(path)
        except OSError as exc:
            temporary.unlink(missing_ok=True)
            raise storage_error(exc, path) from exc


def _settings(component: Component) -> dict[str, object]:
    """What a layer does not say about a component."""
    settings = asdict(component)
    for said in ("id", "digest", "size_bytes"):
        del settings[said]
    return settings


def _descriptor(media_type: str, digest: Digest, size: int) -> dict[str, str | int]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
