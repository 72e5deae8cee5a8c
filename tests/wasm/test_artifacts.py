"""The artefact cache loads only what this installation wrote."""

import json
import os
import resource
import signal

import pytest

from edgesim.errors import StorageError
from edgesim.wasm.artifacts import ArtifactCache

DIGEST = "a" * 64


@pytest.fixture
def cache(tmp_path):
    """An empty cache in a fresh directory."""
    return ArtifactCache(tmp_path / "aot")


def store(cache: ArtifactCache, content: bytes = b"native code" * 100, digest: str = DIGEST):
    """Put an artefact into the cache as the runtime does."""
    scratch = cache.scratch()
    scratch.write_bytes(content)
    return cache.adopt(scratch, digest, "auto-cranelift", "wagi")


def test_what_was_adopted_is_found(cache):
    """Content, ABI and size come back; the scratch file is gone."""
    artifact = store(cache)

    assert cache.find(DIGEST, "auto-cranelift") == artifact
    assert artifact.path.read_bytes() == b"native code" * 100
    assert artifact.size_bytes == 1100
    assert cache.find("b" * 64, "auto-cranelift") is None
    assert not list(artifact.path.parent.glob("tmp-*"))


def test_directory_key_and_files_are_private(cache):
    """0700 and 0600: native code and its key are nobody else's business."""
    path = store(cache).path

    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert (path.parent / "key").stat().st_mode & 0o777 == 0o600
    assert all(f.stat().st_mode & 0o077 == 0 for f in path.parent.iterdir())


def test_two_processes_share_one_key(cache, tmp_path):
    """A second cache on the directory trusts what the first wrote."""
    store(cache)

    assert ArtifactCache(tmp_path / "aot").find(DIGEST, "auto-cranelift") is not None


@pytest.mark.parametrize("at", [0, 550, 1099])
def test_a_flipped_bit_is_not_loaded(cache, at):
    """Anywhere in the file."""
    path = store(cache).path
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)

    assert cache.find(DIGEST, "auto-cranelift") is None


@pytest.mark.parametrize("size", [0, 1, 1099])
def test_a_truncated_artefact_is_not_loaded(cache, size):
    """A crash or a full disk may leave half a file."""
    path = store(cache).path
    os.truncate(path, size)

    assert cache.find(DIGEST, "auto-cranelift") is None


def test_a_forged_artefact_is_not_loaded(cache, tmp_path):
    """Another installation's artefact, with its valid signature, is not ours."""
    other = ArtifactCache(tmp_path / "other")
    forged = store(other, b"evil")
    for file in forged.path.parent.glob(f"{DIGEST}*"):
        target = tmp_path / "aot" / file.name
        target.write_bytes(file.read_bytes())
        target.chmod(0o600)

    assert other.find(DIGEST, "auto-cranelift") is not None
    assert cache.find(DIGEST, "auto-cranelift") is None


def test_an_artefact_under_another_name_is_not_loaded(cache):
    """The signature holds for one digest and one ABI."""
    path = store(cache).path
    for suffix in (".cwasm", ".json"):
        source = path.with_suffix(suffix)
        source.with_name(source.name.replace(DIGEST, "c" * 64)).write_bytes(source.read_bytes())
        source.with_name(source.name.replace(DIGEST, "c" * 64)).chmod(0o600)
    sidecar = path.with_suffix(".json")
    record = json.loads(sidecar.read_text())

    assert cache.find("c" * 64, "auto-cranelift") is None
    sidecar.write_text(json.dumps(record | {"facts": "wasi-http"}))
    assert cache.find(DIGEST, "auto-cranelift") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"facts": "wagi", "mac": 3}',
        '{"facts": "wagi", "mac": "\\u00e9"}',
        '{"facts": "wagi", "mac": "\\ud800"}',
        '{"facts": "\\ud800", "mac": ""}',
        pytest.param("[" * 100_000, id="nested"),
    ],
)
def test_a_broken_sidecar_is_not_loaded(cache, text):
    """Whatever stands there, it is an artefact less."""
    path = store(cache).path
    path.with_suffix(".json").write_text(text)

    assert cache.find(DIGEST, "auto-cranelift") is None


def test_a_sidecar_that_is_no_file_is_not_loaded(cache):
    """A pipe would never end, and what is not ours says nothing."""
    sidecar = store(cache).path.with_suffix(".json")
    sidecar.unlink()
    os.mkfifo(sidecar, 0o600)

    assert cache.find(DIGEST, "auto-cranelift") is None


def test_an_artefact_that_others_may_write_is_not_loaded(cache):
    """Mode and owner count, not the signature alone."""
    path = store(cache).path
    path.chmod(0o620)

    assert cache.find(DIGEST, "auto-cranelift") is None


def test_a_link_is_not_followed(cache, tmp_path):
    """A symbolic link could lead anywhere."""
    path = store(cache).path
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    assert cache.find(DIGEST, "auto-cranelift") is None


def test_a_directory_that_others_may_enter_is_refused(tmp_path):
    """Said at start, with what to do."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(StorageError, match="this user alone") as caught:
        ArtifactCache(tmp_path / "open")

    assert "chmod go-rwx" in caught.value.help


def test_a_damaged_key_is_refused(cache, tmp_path):
    """Not replaced silently: every artefact would be lost."""
    (tmp_path / "aot" / "key").write_bytes(b"short")
    with pytest.raises(StorageError, match="key is damaged"):
        ArtifactCache(tmp_path / "aot")


def test_a_full_disk_is_a_storage_error(cache):
    """The kernel refuses the sidecar: the error is ours, and nothing half stands in the cache."""
    scratch = cache.scratch()
    scratch.write_bytes(b"x" * 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(StorageError, match="cannot be stored"):
            cache.adopt(scratch, DIGEST, "auto-cranelift", "wagi")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)

    assert cache.find(DIGEST, "auto-cranelift") is None
