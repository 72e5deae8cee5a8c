"""Facts about operating-system processes and ports, read from /proc, and the tie between a child and its parent.

Linux only. Everything that cannot be read (another user's process) is reported as unknown, never guessed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_PR_SET_PDEATHSIG: Final = 1
_TCP_LISTEN: Final = "0A"
_CMDLINE_MAX: Final = 4096


def die_with_parent(expected_ppid: int, sig: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send `sig` to this process when its parent ends; call it first thing in a child.

    The child does it itself, which needs no code between fork and exec in the parent. A parent that died before the
    call is noticed by its pid, and ends this process at once. The tie is to the parent's thread that started the child.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0) != 0:  # pragma: no cover - fails for invalid signals only
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if os.getppid() != expected_ppid:
        sys.exit("edgesim: the parent process is gone")


def start_ticks(pid: int) -> int:
    """When the process started, in clock ticks since boot (proc(5), field 22 of stat); 0 when there is none.

    Together with the pid it names one process for good: a recycled pid has another start time. A zombie counts as gone.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The command's name stands in parentheses and may hold spaces and parentheses itself: count from the last one.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return 0 if fields[0] in "ZX" else int(fields[19])
    return 0


def is_alive(pid: int, ticks: int) -> bool:
    """Whether the process `pid` that started at `ticks` still runs."""
    return ticks > 0 and start_ticks(pid) == ticks


def command_line(pid: int) -> list[str]:
    """The process's arguments, cut at 4 KB; empty when they cannot be read."""
    with contextlib.suppress(OSError):
        with (_PROC / str(pid) / "cmdline").open("rb") as file:
            raw = file.read(_CMDLINE_MAX)
        return [part.decode(errors="replace") for part in raw.rstrip(b"\0").split(b"\0")] if raw else []
    return []


@dataclass(frozen=True, slots=True)
class Holder:
    """Who listens on a port."""

    pid: int
    """0 when the process belongs to another user and cannot be seen."""
    argv: tuple[str, ...]

    def __str__(self) -> str:
        if not self.pid:
            return "another user's process"
        program = " ".join((Path(self.argv[0]).name, *self.argv[1:])) if self.argv else "a process"
        return f"{program if len(program) <= 80 else program[:79] + '…'} (pid {self.pid})"


def port_holder(port: int) -> Holder | None:
    """The process that listens on the TCP port `port` of this machine, or None when there is none to be seen."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and _holds(entry / "fd", wanted):
            pid = int(entry.name)
            return Holder(pid, tuple(command_line(pid)))
    return Holder(0, ())


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether this process could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT are no obstacle
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _listening_inodes(port: int) -> set[str]:
    """Inodes of the sockets that listen on `port` (columns of /proc/net/tcp, proc(5))."""
    inodes = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _TCP_LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def _holds(fds: Path, wanted: set[str]) -> bool:
    """Whether one of the process's file descriptors is one of the `wanted` sockets."""
    with contextlib.suppress(OSError):
        for fd in fds.iterdir():
            with contextlib.suppress(OSError):
                if str(fd.readlink()) in wanted:
                    return True
    return False
