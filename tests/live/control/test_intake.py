"""What a deployment must bring along before anything is stored."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from edgesim.config.releases import DeployComponent, FileModel
from edgesim.errors import BundleError, NotFoundError, UsageError
from edgesim.live.control.intake import check_component
from edgesim.live.control.oci import ImageLayout
from edgesim.model.ids import Digest
from edgesim.model.worker import MIB, Route
from tests.support.control import Inspected, inspect, wasm


@pytest.fixture
def images(tmp_path) -> ImageLayout:
    """An empty image layout."""
    return ImageLayout(tmp_path)


def component(images: ImageLayout, *files: FileModel) -> DeployComponent:
    """A component whose Wasm file is uploaded."""
    return DeployComponent(id="web", digest=images.blobs.put(wasm("a")), files=files)


async def test_bundled_files_must_be_uploaded_in_their_size(images):
    """Else the release would fail on every PoP."""
    digest = images.blobs.put(b"hello")
    missing = FileModel(path="/a", digest="0" * 64, size_bytes=5)
    wrong = FileModel(path="/a", digest=digest, size_bytes=6)

    with pytest.raises(NotFoundError, match="the file /a of component 'web' is not here"):
        await check_component(component(images, missing), images.blobs, inspect)
    with pytest.raises(UsageError, match="has 5 bytes, not 6"):
        await check_component(component(images, wrong), images.blobs, inspect)


async def test_more_memory_at_start_than_allowed(images):
    """Refused with both figures: every request would fail."""

    async def big(path):
        return Inspected(memory_at_start_bytes=192 * MIB + 65536)

    with pytest.raises(BundleError, match=r"'web' begins with 192.1 MiB .* limit of 128 MiB") as caught:
        await check_component(component(images), images.blobs, big)

    assert "193 MiB" in caught.value.help


async def test_bundled_files_are_layers_of_the_image(images):
    """With their names, so that another tool finds them."""
    digest = images.blobs.put(b"hello")
    file = FileModel(path="/assets/a", digest=digest, size_bytes=5)
    made = await check_component(component(images, file), images.blobs, inspect)
    release = images.put_release([made, made], [Route(pattern="/...", component="web")], prefetch=True)
    layers = json.loads(images.blobs.path(Digest(release)).read_bytes())["layers"]

    assert made.files[0].path == "/assets/a"
    assert [layer for layer in layers if layer["size"] == 5] == [
        {
            "mediaType": "application/vnd.wasm.content.layer.v1+data",
            "digest": f"sha256:{digest}",
            "size": 5,
            "annotations": {"org.opencontainers.image.title": "assets/a"},
        }
    ]


def test_hosts_are_checked_at_the_api_too():
    """Not every client has read the manifest with us."""
    with pytest.raises(ValidationError, match="no scheme"):
        DeployComponent(id="web", digest="0" * 64, outbound=("example.com",))
