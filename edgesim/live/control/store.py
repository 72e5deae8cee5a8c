"""What the control plane must not forget, in SQLite: the epoch, the generation, releases, and what each PoP shall run.

Rules: one connection in one thread; WAL with `synchronous=FULL`, so that what was acknowledged survives `kill -9` and power
loss; each change is one `BEGIN IMMEDIATE` transaction. Order of a deployment: blobs durable, then the commit here, then
publishing; a crash in between costs one republish. What processes report is not stored: they say it again when they
reconnect, and an old report is worse than none. Blobs are files (`edgesim/live/blobs.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from edgesim.config.messages import explain, release_model
from edgesim.config.releases import ReleaseModel
from edgesim.core.desired import Generation
from edgesim.errors import StorageError
from edgesim.model.ids import AppName, HostId, PopId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edgesim.model.worker import Release

SCHEMA_VERSION: Final = 1
BUSY_TIMEOUT_MS: Final = 5000
T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE releases (
    app TEXT NOT NULL, version INTEGER NOT NULL, content TEXT NOT NULL, message TEXT NOT NULL, created_s REAL NOT NULL,
    PRIMARY KEY (app, version)
) STRICT;
CREATE TABLE deployments (
    epoch INTEGER NOT NULL, gen INTEGER NOT NULL, app TEXT NOT NULL, version INTEGER NOT NULL, message TEXT NOT NULL,
    created_s REAL NOT NULL, PRIMARY KEY (epoch, gen)
) STRICT;
CREATE TABLE desired (
    pop TEXT NOT NULL, app TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (pop, app)
) STRICT;
CREATE TABLE placements (pop TEXT PRIMARY KEY, host TEXT NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRelease:
    """A release with what the operator said about it."""

    release: Release
    message: str
    created_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One change of what PoPs shall run: a deploy, or a rollback to an earlier version."""

    generation: Generation
    app: AppName
    version: int
    message: str
    created_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything in the store."""

    generation: Generation
    releases: tuple[StoredRelease, ...]
    """By app and version."""
    deployments: tuple[Deployment, ...]
    """By generation."""
    desired: Mapping[PopId, Mapping[AppName, int]]
    placements: Mapping[PopId, HostId]


class Store:
    """The database. Its methods may be awaited by several tasks; they run one after the other."""

    def __init__(self, path: Path) -> None:
        """Name the file; `open` opens it."""
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="control-store")
        self._db: sqlite3.Connection | None = None

    async def open(self, *, epoch_ms: int) -> State:
        """Open or create the database and read it.

        Args:
            epoch_ms: the epoch of a database that is made now, in milliseconds since 1970.

        Raises:
            StorageError: when it cannot be opened, is damaged, or comes from another version.
        """
        return await self._run(lambda: self._open(epoch_ms))

    async def deploy(self, release: Release, deployment: Deployment, pops: Sequence[PopId]) -> None:
        """Commit a new release as what `pops` shall run. Durable when it returns. Raises StorageError."""
        content = release_model(release).model_dump_json()
        row = (release.app, release.version, content, deployment.message, deployment.created_s)

        def change(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO releases VALUES (?, ?, ?, ?, ?)", row)
            _point(db, deployment, pops)

        await self._run(lambda: self._transact(change))

    async def point(self, deployment: Deployment, pops: Sequence[PopId]) -> None:
        """Commit an existing release as what `pops` shall run. Durable when it returns. Raises StorageError."""
        await self._run(lambda: self._transact(lambda db: _point(db, deployment, pops)))

    async def raise_generation(self, generation: Generation) -> None:
        """Commit a higher generation without another change. Raises StorageError."""
        await self._run(lambda: self._transact(lambda db: _set_generation(db, generation)))

    async def place(self, placements: Mapping[PopId, HostId], desired: Mapping[PopId, Mapping[AppName, int]]) -> None:
        """Commit which host carries which PoP and what they shall run, replacing all that was there."""

        def change(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM placements")
            db.execute("DELETE FROM desired")
            db.executemany("INSERT INTO placements VALUES (?, ?)", list(placements.items()))
            rows = [(pop, app, version) for pop, apps in desired.items() for app, version in apps.items()]
            db.executemany("INSERT INTO desired VALUES (?, ?, ?)", rows)

        await self._run(lambda: self._transact(change))

    async def close(self) -> None:
        """Close the database and end its thread. Idempotent."""

        def close() -> None:
            if self._db is not None:
                self._db.close()
                self._db = None

        with contextlib.suppress(RuntimeError):  # The thread has ended: closed before.
            await asyncio.get_running_loop().run_in_executor(self._thread, close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self, epoch_ms: int) -> State:
        with self._errors():
            new = not self._path.exists()
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._db = db
            if new:
                self._path.chmod(0o600)
            db.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                self._transact(lambda db: _create(db, epoch_ms))
            elif found != SCHEMA_VERSION:
                raise StorageError(
                    f"the database has schema {found}; this edgesim knows {SCHEMA_VERSION}",
                    where=str(self._path),
                    help="use the edgesim version that wrote it, or another state directory (EDGESIM_STATE)",
                )
            return _read(db)

    def _transact(self, change: Callable[[sqlite3.Connection], None]) -> None:
        assert self._db is not None, "open() comes first"
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                change(self._db)
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled back already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Map what SQLite and the disk say onto StorageError."""
        where = str(self._path)
        try:
            yield
        except sqlite3.Error as exc:
            if "full" in str(exc):
                raise StorageError(
                    "the disk is full; nothing has been changed", where=where, help="free some space and try again"
                ) from exc
            raise StorageError(
                f"the control plane's database: {exc}",
                where=where,
                help="is the state directory writable and its disk sound?",
            ) from exc
        except OSError as exc:
            raise StorageError(f"the control plane's database: {exc.strerror}", where=where) from exc
        except ValidationError as exc:
            raise StorageError(f"the control plane's database is damaged: {explain(exc)}", where=where) from exc


def _create(db: sqlite3.Connection, epoch_ms: int) -> None:
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            db.execute(statement)
    db.executemany("INSERT INTO meta VALUES (?, ?)", [("epoch", epoch_ms), ("gen", 0)])
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _set_generation(db: sqlite3.Connection, generation: Generation) -> None:
    values = [(generation.epoch, "epoch"), (generation.gen, "gen")]
    db.executemany("UPDATE meta SET value = ? WHERE key = ?", values)


def _point(db: sqlite3.Connection, deployment: Deployment, pops: Sequence[PopId]) -> None:
    """Within a transaction: the deployment's generation has its app at its version on these PoPs."""
    _set_generation(db, deployment.generation)
    app, version = deployment.app, deployment.version
    db.execute(
        "INSERT INTO deployments VALUES (?, ?, ?, ?, ?, ?)",
        (*deployment.generation, app, version, deployment.message, deployment.created_s),
    )
    db.executemany("INSERT OR REPLACE INTO desired VALUES (?, ?, ?)", [(pop, app, version) for pop in pops])


def _read(db: sqlite3.Connection) -> State:
    meta = dict(db.execute("SELECT key, value FROM meta"))
    desired: dict[PopId, dict[AppName, int]] = {}
    for pop, app, version in db.execute("SELECT pop, app, version FROM desired ORDER BY pop, app"):
        desired.setdefault(PopId(pop), {})[AppName(app)] = version
    return State(
        generation=Generation(meta["epoch"], meta["gen"]),
        releases=tuple(
            StoredRelease(
                release=ReleaseModel.model_validate_json(content).value(), message=message, created_s=created_s
            )
            for content, message, created_s in db.execute(
                "SELECT content, message, created_s FROM releases ORDER BY app, version"
            )
        ),
        deployments=tuple(
            Deployment(
                generation=Generation(epoch, gen),
                app=AppName(app),
                version=version,
                message=message,
                created_s=created_s,
            )
            for epoch, gen, app, version, message, created_s in db.execute(
                "SELECT epoch, gen, app, version, message, created_s FROM deployments ORDER BY epoch, gen"
            )
        ),
        desired=desired,
        placements={PopId(pop): HostId(host) for pop, host in db.execute("SELECT pop, host FROM placements")},
    )
