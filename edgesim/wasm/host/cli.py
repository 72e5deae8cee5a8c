"""wasi:cli: environment, exit, standard streams. No arguments, no working directory, no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.wasm.guest import Exited
from edgesim.wasm.host.io import InputStream, LogSink, OutputStream
from edgesim.wasm.linking import HostTable
from edgesim.wasm.values import Err

if TYPE_CHECKING:
    from edgesim.wasm.component import ComponentGuest, Prepared

TABLE: Final = HostTable()


@TABLE.add("wasi:cli/environment", "get-environment")
def get_environment(guest: ComponentGuest) -> Prepared:
    """The component's environment from its manifest, and EDGESIM_*."""
    return guest.environment


@TABLE.add("wasi:cli/environment", "get-arguments")
def nothing(_guest: ComponentGuest) -> list[Any]:
    """An empty list."""
    return []


@TABLE.add("wasi:cli/environment", "initial-cwd")
@TABLE.add("wasi:cli/terminal-stdin", "get-terminal-stdin")
@TABLE.add("wasi:cli/terminal-stdout", "get-terminal-stdout")
@TABLE.add("wasi:cli/terminal-stderr", "get-terminal-stderr")
def none(_guest: ComponentGuest) -> None:
    """There is no directory and no terminal."""


@TABLE.add("wasi:cli/exit", "exit")
def exit_(_guest: ComponentGuest, status: object) -> None:
    """End the guest: ok is 0, err is 1."""
    raise Exited(1 if isinstance(status, Err) else 0)


@TABLE.add("wasi:cli/exit", "exit-with-code")
def exit_with_code(_guest: ComponentGuest, code: int) -> None:
    """End the guest."""
    raise Exited(code)


@TABLE.add("wasi:cli/stdin", "get-stdin")
def get_stdin(_guest: ComponentGuest) -> InputStream:
    """An empty stream: the request's body comes through wasi:http."""
    return InputStream(None)


@TABLE.add("wasi:cli/stdout", "get-stdout")
@TABLE.add("wasi:cli/stderr", "get-stderr")
def get_log(guest: ComponentGuest) -> OutputStream:
    """The worker's log."""
    return OutputStream(LogSink(guest.log))
