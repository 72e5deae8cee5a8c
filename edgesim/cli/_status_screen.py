"""What `edgesim status` shows of an edge: once, or again and again with `--watch`, in place on a terminal and as lines elsewhere."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import click

from edgesim.cli._output import console, make_table, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from rich.live import Live
    from rich.table import Table

    from edgesim.live.state import RunRecord

COLUMNS: Final = ("process", "state", "pid", "restarts", "PoPs", "where")
_GOOD: Final = frozenset({"ready", "up"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """An edge as it was at one moment."""

    state: str
    """Its state directory."""
    at_s: float
    """Seconds since the epoch."""
    record: RunRecord | None
    """None when no edge runs there."""
    control: dict[str, Any] = field(default_factory=dict)
    """What the control plane says; empty when it doesn't answer."""
    problem: str = ""
    """Why there is no record, or no answer of the control plane."""

    def to_json(self) -> dict[str, Any]:
        """The document, without tokens."""
        record = self.record.model_dump(mode="json", exclude={"token", "supervisor_token"}) if self.record else {}
        return {"state": self.state, **record, "control": self.control, "problem": self.problem}


def head_lines(look: Look) -> Iterator[str]:
    """What runs, where, and with which apps."""
    record = look.record
    if record is None:
        yield look.problem
        return
    word = "ready" if record.ready else "starting"
    up_for = duration(look.at_s - record.started_at)
    yield f"{record.world}  edgesim {record.version}, {word}, up for {up_for} (pid {record.pid})"
    yield f"  front door  {record.front_door}"
    yield f"  API         {record.endpoint}"
    for name, app in sorted((look.control.get("apps") or {}).items()):
        version = app.get("version") if isinstance(app, dict) else app
        yield f"  app         {name}@{version}  http://{name}.localhost:{record.ports.front_door}/"


def processes_table(record: RunRecord) -> Table:
    """Every process of the edge."""
    table = make_table(COLUMNS, right=("pid", "restarts", "PoPs"), flexible="where")
    for child in record.children:
        urls = " ".join(dict.fromkeys(child.urls.values()))
        pid, pops = str(child.pid or "-"), str(len(child.pops) or "-")
        table.add_row(child.name, child.state, pid, str(child.restarts), pops, urls)
    return table


def line(look: Look) -> str:
    """All of it in one line."""
    at = time.strftime("%H:%M:%S", time.localtime(look.at_s))
    record = look.record
    if record is None:
        return f"{at}  no edge: {look.problem}"
    ready = sum(child.state in _GOOD for child in record.children)
    parts = [f"{ready}/{len(record.children)} processes ready"]
    parts += [f"{c.name} {c.state}" for c in record.children if c.state not in _GOOD]
    if look.control:
        parts += [
            f"PoPs {_pops(look.control)}",
            *(f"{n}@{v}" for n, v in sorted((look.control.get("apps") or {}).items())),
        ]
    if look.problem:
        parts.append(f"control plane away: {look.problem}")
    return f"{at}  " + ", ".join(part for part in parts if part)


def _pops(control: dict[str, Any]) -> str:
    """`20: 18 ready, 2 down`."""
    states = dict(control.get("pops") or {})
    total = states.pop("total", sum(states.values()))
    return f"{total}: " + ", ".join(f"{n} {state}" for state, n in sorted(states.items())) if states else ""


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as far as they matter."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


class LineScreen:
    """A line per look; JSON documents, one per line, when wanted."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json

    def __enter__(self) -> Self:
        """Nothing is to be prepared."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left open."""

    def show(self, look: Look) -> None:
        """Print it."""
        if self._as_json:
            click.echo(
                json.dumps({"schema": "edgesim.status.v1", "at_s": look.at_s, **look.to_json()}, ensure_ascii=False)
            )
        else:
            click.echo(line(look))
        sys.stdout.flush()


class LiveScreen:
    """The whole status in place."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Take the terminal."""
        from rich.live import Live

        self._live = Live(console=console(), auto_refresh=False, vertical_overflow="ellipsis")
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last status on the screen."""
        if self._live is not None:
            self._live.stop()

    def show(self, look: Look) -> None:
        """Draw it in the place of the one before."""
        from rich.console import Group
        from rich.text import Text

        assert self._live is not None, "use the screen as a context manager"
        head = list(head_lines(look))
        parts: list[Any] = [Text(printable(head[0]), style="bold" if look.record else "yellow")]
        parts += [Text(printable(text)) for text in head[1:]]
        if look.control:
            parts.append(Text(f"  PoPs        {_pops(look.control)}"))
        if look.record is not None:
            parts += [Text(), processes_table(look.record)]
            if look.problem:
                away = f"the control plane is away: {printable(look.problem)}; apps are served without it"
                parts += [Text(), Text(away, style="yellow")]
        at = time.strftime("%H:%M:%S", time.localtime(look.at_s))
        parts += [Text(), Text(f"{at}, every {self._interval_s:g} s; Ctrl-C ends", style="bright_black")]
        self._live.update(Group(*parts), refresh=True)
