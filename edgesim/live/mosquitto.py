"""mosquitto as a private child process: its files, its user, its life.

Rules: it listens on 127.0.0.1 with a generated configuration, passwords and access rules; it runs as an unprivileged user
when we are root, dies with its parent, and is started again on the same port with the same passwords when it dies alone.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import hashlib
import logging
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesim.errors import BrokerError, StorageError
from edgesim.live.acl import mosquitto_file
from edgesim.live.endpoint import LOOPBACK, MAX_PACKET_BYTES, BrokerEndpoint, OwnBroker, wait_free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX: Final = "edgesim-broker-"

_log = logging.getLogger(__name__)


class Mosquitto(OwnBroker):
    """mosquitto as a child process with a generated configuration."""

    kind: Final = "mosquitto"

    def __init__(self, binary: Path, port: int, passwords: Mapping[str, str]) -> None:
        """Prepare it; `start` runs the child."""
        super().__init__(port, passwords)
        self.restarts = 0
        """How often it was started again after dying alone."""
        self._binary = binary
        self._directory: Path | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The child's process id; 0 while there is none."""
        return self._child.pid if self._child is not None and self._child.returncode is None else 0

    async def start(self) -> BrokerEndpoint:
        """Write the configuration, start the child, wait until it listens."""
        self._port = await wait_free_port(self._port)
        user = _unprivileged()
        self._directory = self._write(user)
        try:
            await self._run(user)
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(self._keep(user), name="mosquitto")
        return BrokerEndpoint(LOOPBACK, self._port)

    async def stop(self) -> None:
        """End the child and remove its files."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        child, self._child = self._child, None
        if child is not None and child.poll() is None:
            child.terminate()
            if not await _ended(child, 2.0):
                child.kill()
                await _ended(child, 2.0)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _write(self, user: pwd.struct_passwd | None) -> Path:
        """The configuration in a private directory that the child's user owns.

        The state directory will not do: when root started us, an unprivileged mosquitto cannot traverse it.
        """
        try:
            _sweep()
            directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
            files = {
                "mosquitto.conf": _configuration(directory, self._port),
                "passwords": "".join(f"{login}:{_hashed(secret)}\n" for login, secret in self._passwords.items()),
                "acl": mosquitto_file(self._passwords),
            }
            for name, text in files.items():
                path = directory / name
                path.touch(mode=0o600)
                path.write_text(text)
                if user is not None:
                    os.chown(path, user.pw_uid, user.pw_gid)
            if user is not None:
                os.chown(directory, user.pw_uid, user.pw_gid)
        except OSError as exc:
            raise StorageError(
                f"cannot write the broker's configuration: {exc.strerror}", where=tempfile.gettempdir()
            ) from exc
        return directory

    async def _run(self, user: pwd.struct_passwd | None) -> None:
        """Start the child and wait until it listens."""
        assert self._directory is not None
        parent = os.getpid()
        log = self._directory / "log"
        try:
            with log.open("wb") as output:
                # Plain Popen: it forks in the loop's thread, whose life the death signal follows, under any loop.
                self._child = subprocess.Popen(  # noqa: ASYNC220, S603, RUF100 - returns after exec
                    [str(self._binary), "-c", str(self._directory / "mosquitto.conf")],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    user=user.pw_uid if user else None,
                    group=user.pw_gid if user else None,
                    extra_groups=[] if user else None,
                    cwd=self._directory,
                    start_new_session=True,  # Ctrl-C is for us; we stop it in our own order.
                    preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509 - one system call, after setuid
                )
        except (OSError, subprocess.SubprocessError) as exc:
            raise BrokerError(f"cannot start mosquitto: {exc}", where=str(self._binary)) from exc
        for _ in range(250):
            if self._child.poll() is not None:
                said = log.read_text(errors="replace").strip().splitlines()[-3:]
                raise BrokerError(
                    f"mosquitto ended at once with status {self._child.returncode}: {'; '.join(said) or 'it said nothing'}",
                    where=str(self._binary),
                    help="use --broker embedded to go on without it",
                )
            if await _listens(self._port):
                return
            await asyncio.sleep(0.02)
        raise BrokerError("mosquitto does not listen after 5 s", where=f"{LOOPBACK}:{self._port}")

    async def _keep(self, user: pwd.struct_passwd | None) -> None:
        """Start the child again whenever it dies."""
        delay_s = 0.1
        while True:
            assert self._child is not None
            while not await _ended(self._child, 3600.0):
                pass
            _log.warning("mosquitto died with status %s; starting it again", self._child.returncode)
            await asyncio.sleep(delay_s)
            try:
                await self._run(user)
                self.restarts += 1
                delay_s = 0.1
            except BrokerError as exc:
                _log.warning("%s", exc)
                delay_s = min(delay_s * 2, 5.0)


def _sweep() -> None:
    """Remove directories of parents that were killed before they could."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        parent = left.name.removeprefix(_PREFIX).partition("-")[0]
        if parent.isdigit() and not Path(f"/proc/{parent}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _configuration(directory: Path, port: int) -> str:
    """The configuration file. Persistence is off: the control plane republishes everything."""
    return f"""\
listener {port} {LOOPBACK}
allow_anonymous false
password_file {directory}/passwords
acl_file {directory}/acl
max_packet_size {MAX_PACKET_BYTES}
max_inflight_messages 100
max_queued_messages 20000
max_connections 10000
set_tcp_nodelay true
persistence false
log_dest stderr
log_type error
"""


def _hashed(password: str) -> str:
    """A password as mosquitto 2 stores it: `$7$iterations$salt$PBKDF2-HMAC-SHA512`. It is random, so 101 rounds do."""
    salt = os.urandom(12)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def _unprivileged() -> pwd.struct_passwd | None:
    """The user to run as when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("mosquitto", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise BrokerError("no unprivileged user (mosquitto or nobody) to run the broker as", help="use --broker embedded")


_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


def _die_with(parent: int) -> None:
    """In a child between fork and exec: end with the parent (Linux; prctl(2)). After setuid, which would undo it.

    By SIGKILL: it has nothing to save, and a mosquitto that ends in order publishes the wills of clients that live on.
    """
    prctl = getattr(_libc, "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


async def _ended(child: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Wait for a child's end through its pidfd, which works under every loop and in every thread; False at the timeout."""
    if child.poll() is not None:
        return True
    loop = asyncio.get_running_loop()
    fd = os.pidfd_open(child.pid)
    done = asyncio.Event()
    loop.add_reader(fd, done.set)
    try:
        async with asyncio.timeout(timeout_s):
            await done.wait()
    except TimeoutError:
        return child.poll() is not None
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    child.wait()
    return True


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
