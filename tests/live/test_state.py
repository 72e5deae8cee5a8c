"""The state directory, run.json, and facts about processes."""

import os
import signal
import stat
import subprocess
import sys

import pytest

from edgesim.errors import ControlPlaneError, StorageError
from edgesim.live import processes
from edgesim.live.state import (
    ChildRecord,
    Ports,
    RunRecord,
    create_state_dir,
    find_state_dir,
    hold_lock,
    read_run,
    remove_run,
    require_run,
    write_private,
    write_run,
)

DEAD_PID = 2**22
"""Above the largest pid of a default Linux."""


def record(**changes):
    """A run of this very process."""
    values = {
        "version": "0.1.0",
        "pid": os.getpid(),
        "start_ticks": processes.start_ticks(os.getpid()),
        "started_at": 1.5,
        "topology": "/t.yaml",
        "endpoint": "http://127.0.0.1:8081",
        "front_door": "http://127.0.0.1:8080",
        "token": "secret",
        "supervisor_token": "secret2",
        "ports": Ports(front_door=8080, api=8081, broker=18830, supervisor=1),
    }
    return RunRecord(**(values | changes))


def test_where_the_state_is(tmp_path):
    """Flag before environment before an existing directory above before a new one here."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    new = find_state_dir(cwd=below, environ={})
    (tmp_path / ".edgesim").mkdir()
    above = find_state_dir(cwd=below, environ={})
    named = find_state_dir(cwd=below, environ={"EDGESIM_STATE": "/x/y"})
    flag = find_state_dir("/z", cwd=below, environ={"EDGESIM_STATE": "/x/y"})

    assert new == below / ".edgesim"
    assert above == tmp_path / ".edgesim"
    assert (str(named), str(flag)) == ("/x/y", "/z")


def test_directory_is_private(tmp_path):
    """0700 also when it was there before with another mode."""
    (tmp_path / "s").mkdir(mode=0o755)
    create_state_dir(tmp_path / "s")

    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "s" / "logs").stat().st_mode) == 0o700


def test_directory_that_cannot_be_made(tmp_path):
    """A file stands in the way: the path and what to do."""
    (tmp_path / "s").write_text("")
    with pytest.raises(StorageError) as caught:
        create_state_dir(tmp_path / "s" / "t")

    assert caught.value.where == str(tmp_path / "s" / "t")
    assert "--state" in caught.value.help


def test_run_file_round_trip(tmp_path):
    """What is written is read; 0600; nothing temporary stays; removal is idempotent."""
    child = ChildRecord(name="host1", role="pop-host", pid=1, start_ticks=2, urls={"data": "http://x"}, pops=("fra1",))
    written = record(children=(child,))
    write_run(tmp_path, written)
    mode = stat.S_IMODE((tmp_path / "run.json").stat().st_mode)
    names = [p.name for p in tmp_path.iterdir()]
    back = read_run(tmp_path)
    remove_run(tmp_path)
    remove_run(tmp_path)

    assert written == back
    assert child == back.child("host1")
    assert back.child("host2") is None
    assert mode == 0o600
    assert names == ["run.json"]
    assert read_run(tmp_path) is None


def test_file_of_a_newer_version(tmp_path):
    """Keys that are not known are ignored: an older CLI can still stop the edge."""
    write_run(tmp_path, record())
    file = tmp_path / "run.json"
    file.write_text(file.read_text().replace("{", '{"future": {"a": 1},', 1))

    assert read_run(tmp_path) == record()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"pid": "x"}'])
def test_broken_run_file(tmp_path, content):
    """A clear error with the file's name, never a traceback."""
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(StorageError) as caught:
        read_run(tmp_path)

    assert caught.value.where == str(tmp_path / "run.json")


def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    """The write fails as a whole: the old content stays, and no temporary file."""
    write_private(tmp_path / "f", b"old")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_private(tmp_path / "f", b"new")

    assert (tmp_path / "f").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_alive_means_the_same_process():
    """A pid alone is not enough: another start time is another process."""
    here = record()

    assert here.alive
    assert not record(start_ticks=here.start_ticks - 1).alive
    assert not record(start_ticks=0).alive
    assert not record(pid=DEAD_PID).alive


def test_require_run(tmp_path):
    """Nothing there, a dead supervisor, a living one."""
    with pytest.raises(ControlPlaneError, match="no edge is running"):
        require_run(tmp_path)
    write_run(tmp_path, record(pid=DEAD_PID))
    with pytest.raises(ControlPlaneError, match=f"pid {DEAD_PID}.* died") as caught:
        require_run(tmp_path)
    write_run(tmp_path, record())

    assert caught.value.exit_code == 3
    assert require_run(tmp_path) == record()


def test_lock_is_exclusive(tmp_path):
    """One holder at a time; free again afterwards."""
    with hold_lock(tmp_path) as first, hold_lock(tmp_path) as second:
        pass
    with hold_lock(tmp_path) as third:
        pass

    assert (first, second, third) == (True, False, True)


@pytest.mark.e2e
def test_start_time_of_a_process_with_a_strange_name(tmp_path):
    """Spaces and parentheses in the command's name do not shift the fields of /proc/pid/stat."""
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "60"])
    own = processes.start_ticks(os.getpid())
    ticks = processes.start_ticks(child.pid)
    alive = processes.is_alive(child.pid, ticks)
    child.kill()
    child.wait()

    assert own <= ticks
    assert alive
    assert not processes.is_alive(child.pid, ticks)


@pytest.mark.e2e
def test_zombie_counts_as_gone():
    """A child that has ended but was not waited for does not run any more."""
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    ticks = processes.start_ticks(child.pid)
    child.wait()

    assert ticks == 0


@pytest.mark.e2e
def test_child_dies_with_its_parent():
    """SIGKILL of the parent ends a child that has asked for it."""
    child = (
        "import signal, sys; from edgesim.live.processes import die_with_parent; "
        "die_with_parent(int(sys.argv[1])); print('tied', flush=True); signal.pause()"
    )
    parent = (
        "import os, subprocess, sys; "
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())], stdout=subprocess.PIPE); "
        "print(p.stdout.readline().decode().strip(), p.pid, flush=True); p.wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    word, pid = process.stdout.readline().decode().split()
    fd = os.pidfd_open(int(pid))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    import select

    ended, _, _ = select.select([fd], [], [], 10)
    os.close(fd)

    assert word == "tied"
    assert ended


@pytest.mark.e2e
def test_child_of_a_parent_that_is_gone_already():
    """The parent died before the tie was made: the child ends at once."""
    code = "from edgesim.live.processes import die_with_parent; die_with_parent(1 << 22); print('still here')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    assert "the parent process is gone" in done.stderr
