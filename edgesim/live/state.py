"""The state directory of an edge and its `run.json`: how commands find the edge that runs.

The directory is `$EDGESIM_STATE`, else the nearest `.edgesim/` in the working directory or above it. It is private
(0700), and so are the files in it (0600): `run.json` carries the API token. What the control plane and the PoP hosts
keep there is their own affair.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edgesim.errors import ControlPlaneError, StorageError
from edgesim.live import processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DIRECTORY_NAME: Final = ".edgesim"
RUN_FILE: Final = "run.json"
_LOCK_FILE: Final = "lock"
_RUN_FILE_BYTES_MAX: Final = 1 << 20

ChildState = Literal["starting", "ready", "backoff", "killed", "stopping", "stopped"]
"""`backoff`: died and will be restarted; `killed`: killed on purpose, down until it is restarted by hand."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer version may have written the file


class ChildRecord(_Model):
    """One process of the edge."""

    name: str
    role: str
    pid: int = 0
    """0 while it does not run."""
    start_ticks: int = 0
    """Start time of the process (`processes.start_ticks`)."""
    state: ChildState = "starting"
    restarts: int = 0
    urls: dict[str, str] = {}
    """Where it listens, by purpose: `data`, `metrics`, `api` …"""
    pops: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return processes.is_alive(self.pid, self.start_ticks)


class Ports(_Model):
    """Where the edge listens, on the loopback interface."""

    front_door: int
    api: int
    broker: int
    supervisor: int


class RunRecord(_Model):
    """What `run.json` says."""

    version: str
    pid: int
    """The supervisor."""
    start_ticks: int
    started_at: float
    """Seconds since the epoch."""
    ready: bool = False
    """Whether every process has been ready once."""
    topology: str
    world: str = ""
    """Name of the topology."""
    geoip_db: str = ""
    """The operator's own GeoIP database; empty when there is none."""
    processes: int = 3
    time_scale: float | None = None
    """What `edgesim up --time-scale` said; None where the topology says it."""
    endpoint: str
    front_door: str
    token: str
    supervisor_token: str
    ports: Ports
    children: tuple[ChildRecord, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the supervisor still runs."""
        return processes.is_alive(self.pid, self.start_ticks)

    def child(self, name: str) -> ChildRecord | None:
        """The child with this name, or None."""
        return next((c for c in self.children if c.name == name), None)


def find_state_dir(
    explicit: str | Path | None = None, *, cwd: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Path:
    """The state directory to use, which need not exist: flag, `$EDGESIM_STATE`, an existing one above, else here."""
    named = explicit or environ.get("EDGESIM_STATE")
    if named:
        return Path(named).absolute()
    here = (cwd or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / DIRECTORY_NAME).is_dir():
            return folder / DIRECTORY_NAME
    return here / DIRECTORY_NAME


def create_state_dir(path: Path) -> None:
    """Make the directory and its subfolders, private to this user.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        for folder in (path, path / "logs", path / "run"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
    except OSError as exc:
        raise StorageError(
            f"cannot create the state directory: {exc.strerror}",
            where=str(path),
            help="name a directory that you can write with --state or EDGESIM_STATE",
        ) from exc


def write_private(path: Path, data: bytes) -> None:
    """Replace the file `path` by `data` in one step, readable by this user only.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    temporary = ""
    try:
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # created with mode 0600
        with open(fd, "wb") as file:  # noqa: PTH123 - takes over the descriptor
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as exc:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise StorageError(
            f"cannot write the file: {exc.strerror}", where=str(path), help="free some disk space and try again"
        ) from exc


def write_run(state_dir: Path, record: RunRecord) -> None:
    """Write `run.json`, atomically."""
    write_private(state_dir / RUN_FILE, record.model_dump_json(indent=2).encode())


def remove_run(state_dir: Path) -> None:
    """Delete `run.json`; nothing happens when there is none."""
    (state_dir / RUN_FILE).unlink(missing_ok=True)


def read_run(state_dir: Path) -> RunRecord | None:
    """What `run.json` says, or None when there is none. The edge it tells of may be dead: see `RunRecord.alive`.

    Raises:
        StorageError: the file is there, but cannot be read or makes no sense.
    """
    path = state_dir / RUN_FILE
    help_text = "delete the file when no edge runs from this directory"
    try:
        with path.open("rb") as file:
            return RunRecord.model_validate_json(file.read(_RUN_FILE_BYTES_MAX))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StorageError(f"cannot read the file: {exc.strerror}", where=str(path), help=help_text) from exc
    except ValidationError as exc:
        raise StorageError("not a run.json of edgesim", where=str(path), help=help_text) from exc


def require_run(state_dir: Path) -> RunRecord:
    """The edge that runs from this directory.

    Raises:
        ControlPlaneError: none does.
    """
    record = read_run(state_dir)
    if record is None:
        raise ControlPlaneError(
            "no edge is running here", where=str(state_dir), help="start one with `edgesim up`, or name its --state"
        )
    if not record.alive:
        raise ControlPlaneError(
            f"the edge is gone: its supervisor (pid {record.pid}) died without cleaning up",
            where=str(state_dir),
            help="start it again with `edgesim up`",
        )
    return record


@contextlib.contextmanager
def hold_lock(state_dir: Path) -> Iterator[bool]:
    """Hold the directory's lock; False when another process holds it. The kernel frees it when the holder dies."""
    with (state_dir / _LOCK_FILE).open("a+b") as file:
        (state_dir / _LOCK_FILE).chmod(0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
