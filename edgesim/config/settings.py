"""Settings of a running edge: what `edgesim up` was asked for, and what each process of it is told.

The supervisor writes one `ProcessConfig` per child as a JSON file (mode 0600, it carries secrets) and names it on the
child's command line. Nothing here starts a process or reads a topology: see `edgesim/live/supervisor.py` and
`edgesim/config/topology.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgesim.errors import UsageError

LOOPBACK: Final = "127.0.0.1"
FRONT_DOOR_PORT: Final = 8080
API_PORT: Final = 8081
BROKER_PORT: Final = 18830
PROCESSES_MAX: Final = 64

Role = Literal["control", "pop-host", "front-door"]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
PopName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UpSettings(_Model):
    """What the operator asked `edgesim up` for."""

    state_dir: Path
    """Absolute path of the state directory."""
    topology: Path
    """Absolute path of the topology file."""
    processes: Annotated[int, Field(ge=1, le=PROCESSES_MAX)] = 3
    """PoP host processes; 1 means that the whole edge runs in one process."""
    port: Port = FRONT_DOOR_PORT
    """Port of the front door."""
    api_port: Port = API_PORT
    broker: str = "auto"
    """`auto`, `mosquitto`, `embedded`, or the URL of a broker that already runs (`mqtt://host:port`)."""
    broker_port: Port = BROKER_PORT
    """Port of the private broker; not used when `broker` is a URL."""
    time_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    """Share of a modelled delay that is really waited for; None takes the topology's."""
    geoip_db: Path | None = None
    """The operator's own City database; None takes the generated one."""

    @property
    def own_broker(self) -> bool:
        """Whether the control plane starts the broker itself."""
        return "://" not in self.broker

    @property
    def endpoint(self) -> str:
        """Base URL of the API."""
        return f"http://{LOOPBACK}:{self.api_port}"


class HostSpec(_Model):
    """One PoP host process and the PoPs that it carries."""

    name: Name
    pops: tuple[PopName, ...]


class ProcessConfig(_Model):
    """All that one process of the edge needs to know. Every path is absolute."""

    role: Role
    name: Name
    """`control`, `host1` …, `front-door`: also the MQTT shard and login of a PoP host."""
    parent_pid: int = 0
    """The supervisor: the process exits when it dies. 0 when there is none (all in one process)."""
    state_dir: Path
    topology: Path
    port: Annotated[int, Field(ge=0, le=65535)]
    """Where this process listens with its main service: front door, API; 0 (any free port) for PoP hosts."""
    endpoint: str
    """Base URL of the API."""
    front_door: str
    """Base URL of the front door."""
    token: str
    """Bearer token of the API."""
    hop_token: str
    """Shared by front door and PoP hosts: proves that a request came through the front door."""
    broker: str = "auto"
    """As in `UpSettings.broker`. The control process starts the broker unless this is a URL."""
    broker_host: str = LOOPBACK
    broker_port: Port = BROKER_PORT
    broker_credentials: Path
    """JSON file (0600) with a login and password per process name, written by whoever starts the broker."""
    public_key: Path
    """Ed25519 public key that desired documents are verified with."""
    geoip_db: Path | None = None
    time_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    hosts: tuple[HostSpec, ...]
    """Every PoP host with its PoPs."""
    supervisor_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Where the supervisor takes commands (`SupervisorClient`)."""
    supervisor_token: str = ""
    log: Path
    """The process's log; its stderr already goes there."""

    @property
    def pops(self) -> tuple[str, ...]:
        """The PoPs that this process carries; empty unless it is a PoP host."""
        return next((h.pops for h in self.hosts if h.name == self.name), ())

    @classmethod
    def read(cls, path: Path) -> ProcessConfig:
        """The configuration in the file `path`.

        Raises:
            UsageError: the file cannot be read, or is not a process configuration.
        """
        help_text = "these files are written by `edgesim up`; start the edge with it"
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as exc:
            raise UsageError(
                f"cannot read the process configuration: {exc.strerror}", where=str(path), help=help_text
            ) from exc
        except ValidationError as exc:
            raise UsageError(
                f"not a process configuration of this version: {exc.error_count()} problems",
                where=str(path),
                help=help_text,
            ) from exc


def assign_pops(pops: tuple[str, ...], processes: int) -> tuple[HostSpec, ...]:
    """Deal the PoPs out to at most `processes` hosts, `host1` first.

    PoPs that stand beside each other in the topology (a region, usually) land on different hosts, so that the death of
    one host leaves a near PoP alive; a PoP that is added at the end moves no other.
    """
    count = max(1, min(processes, len(pops)))
    return tuple(HostSpec(name=f"host{i + 1}", pops=pops[i::count]) for i in range(count))
