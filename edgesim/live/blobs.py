"""Content-addressed files on disk: what is stored under a sha256 is those bytes, or it is not there.

Rules: a blob is written to a temporary file, hashed on the way, fsynced and renamed; a failed write leaves nothing behind.
A blob that was there before this process started is hashed once before its first use, since a disk can lie. Several
callers that want the same blob share one download. Blobs are never executed from here, and nothing deletes them but a
failed verification. Blocking methods are for threads (`asyncio.to_thread`); `ensure` and `receive` are for the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
from typing import TYPE_CHECKING, Final

import aiohttp

from edgesim.errors import BundleTooLargeError, ControlPlaneError, EdgesimError, InputError, StorageError, TrustError
from edgesim.model.ids import Digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterator, Sequence
    from pathlib import Path

CHUNK_BYTES: Final = 1 << 18
BLOB_LIMIT_BYTES: Final = 64 << 20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PULL_TIMEOUT: Final = aiohttp.ClientTimeout(total=120, sock_connect=3, sock_read=15)


class BlobStore:
    """Blobs in one directory, named by their sha256. One per process, shared by all its PoPs."""

    def __init__(self, root: Path) -> None:
        """Open or create the directory, with mode 0700. Raises StorageError."""
        self.root: Final = root
        self._pulls: dict[Digest, asyncio.Task[Path]] = {}
        self._verified: set[Digest] = set()
        with _storage(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in root.glob("*.tmp"):
                if not _alive(left):
                    left.unlink(missing_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where the blob is or would be. Raises InputError when it is not a sha256."""
        if not _DIGEST.fullmatch(digest):
            raise InputError(f"not a sha256 digest: {digest[:80]!r}", help="64 lowercase hex digits are expected")
        return self.root / digest

    def has(self, digest: Digest) -> bool:
        """Whether the blob is on disk."""
        return self.path(digest).is_file()

    def verify(self, digest: Digest) -> bool:
        """Whether the blob is on disk with the right content; a damaged one is removed. Blocks."""
        path = self.path(digest)
        if not path.is_file():
            return False
        with _storage(path), path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != digest:
            self._verified.discard(digest)
            path.unlink(missing_ok=True)
            return False
        self._verified.add(digest)
        return True

    def put(self, content: bytes | Path) -> Digest:
        """Store bytes or a copy of a file; durable when it returns. Blocks.

        Raises:
            StorageError: when the disk is full or the directory cannot be written; nothing is left behind.
        """
        sink = _Sink(self.root)
        try:
            if isinstance(content, bytes):
                sink.write(content)
            else:
                with _storage(content), content.open("rb") as file:
                    while chunk := file.read(CHUNK_BYTES):
                        sink.write(chunk)
            return self._commit(sink, None)
        finally:
            sink.close()

    async def receive(self, digest: Digest, chunks: AsyncIterable[bytes], *, limit: int = BLOB_LIMIT_BYTES) -> int:
        """Store a stream of bytes under its announced digest; its size when it is durable.

        Raises:
            BundleTooLargeError: after `limit` bytes.
            TrustError: when the content has another sha256.
            StorageError: when the disk is full. In each case nothing is left behind.
        """
        self.path(digest)
        sink = _Sink(self.root)
        try:
            async for chunk in chunks:
                if sink.size + len(chunk) > limit:
                    raise BundleTooLargeError(
                        f"the file is larger than {limit} bytes",
                        help="build it with optimisation and without debug information",
                    )
                sink.write(chunk)
            await asyncio.to_thread(self._commit, sink, digest)
        finally:
            sink.close()
        return sink.size

    async def ensure(self, digest: Digest, size: int, session: aiohttp.ClientSession, urls: Sequence[str]) -> Path:
        """The blob's path, pulled from the first source with a good copy when it is not here.

        Args:
            digest: its sha256.
            size: its signed size in bytes; a source that sends more is cut off.
            session: carries the token in its default headers.
            urls: sources in the order of trial, each serving `/blobs/sha256/<digest>`.

        Raises:
            TrustError: when the last source sent other bytes.
            ControlPlaneError: when no source could be reached or had it.
            StorageError: when the disk is full.
        """
        path = self.path(digest)
        if digest in self._verified and path.exists():
            return path
        task = self._pulls.get(digest)
        if task is None:
            task = asyncio.create_task(self._pull(digest, size, session, tuple(urls)), name=f"pull {digest[:12]}")
            self._pulls[digest] = task
            task.add_done_callback(lambda done: self._pulled(digest, done))
        # One caller's cancellation must not end the others' download.
        return await asyncio.shield(task)

    def fetching(self, digest: Digest) -> bool:
        """Whether a download of the blob is under way."""
        return digest in self._pulls

    async def close(self) -> None:
        """End running downloads."""
        tasks = list(self._pulls.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _pulled(self, digest: Digest, task: asyncio.Task[Path]) -> None:
        self._pulls.pop(digest, None)
        if not task.cancelled():
            task.exception()  # Seen, also when every caller has gone.

    async def _pull(self, digest: Digest, size: int, session: aiohttp.ClientSession, urls: tuple[str, ...]) -> Path:
        if await asyncio.to_thread(self.verify, digest):
            return self.path(digest)
        last: EdgesimError = ControlPlaneError(f"no source for the blob {digest[:12]}", help="is the control plane up?")
        for url in urls:
            try:
                await self._pull_from(url, digest, size, session)
            except StorageError:
                raise
            except EdgesimError as exc:
                last = exc
            else:
                return self.path(digest)
        raise last

    async def _pull_from(self, url: str, digest: Digest, size: int, session: aiohttp.ClientSession) -> None:
        """One attempt at one source; the blob is stored when it returns."""
        where = f"{url}/blobs/sha256/{digest}"
        try:
            async with session.get(where, timeout=_PULL_TIMEOUT, allow_redirects=False) as response:
                if response.status != 200:
                    raise ControlPlaneError(
                        f"the blob {digest[:12]} is not there: status {response.status}", where=where
                    )
                await self.receive(digest, response.content.iter_chunked(CHUNK_BYTES), limit=size)
        except BundleTooLargeError as exc:
            raise TrustError(f"the blob is larger than its signed size of {size} bytes", where=where) from exc
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise ControlPlaneError(
                f"cannot pull the blob {digest[:12]}: {str(exc) or type(exc).__name__}", where=where
            ) from exc

    def _commit(self, sink: _Sink, expected: Digest | None) -> Digest:
        digest = sink.digest()
        if expected is not None and digest != expected:
            raise TrustError(
                f"the content has the sha256 {digest[:12]}…, not the announced {expected[:12]}…",
                help="it was changed on the way; nothing has been stored",
            )
        sink.commit(self.root / digest)
        self._verified.add(digest)
        return digest


class _Sink:
    """A temporary file that hashes what is written to it. Its methods raise StorageError."""

    def __init__(self, root: Path) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._path = root / f"{os.urandom(8).hex()}.{os.getpid()}.tmp"
        with _storage(root):
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._hash.update(chunk)
        view = memoryview(chunk)
        with _storage(self._path.parent):
            while view:
                view = view[os.write(self._fd, view) :]

    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())

    def commit(self, path: Path) -> None:
        """Make it durable under its name: content first, then the directory entry."""
        with _storage(path.parent):
            os.fsync(self._fd)
            self._path.replace(path)
            sync_directory(path.parent)

    def close(self) -> None:
        os.close(self._fd)
        self._path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make renames in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _alive(temporary: Path) -> bool:
    """Whether the process that writes this temporary file still runs."""
    try:
        os.kill(int(temporary.name.split(".")[-2]), 0)
    except (ValueError, IndexError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Map failed file operations onto StorageError."""
    try:
        yield
    except OSError as exc:
        raise storage_error(exc, path) from exc


def storage_error(exc: OSError, path: Path) -> StorageError:
    """The error for a failed file operation at `path`."""
    if exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StorageError(
            "the disk is full; nothing has been stored", where=str(path), help="free some space and try again"
        )
    return StorageError(f"cannot use the state directory: {exc.strerror or exc}", where=str(path))
