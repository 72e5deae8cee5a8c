"""`edgesim pops`: the PoPs of the running edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import click

from edgesim.cli._options import api_client, endpoint_options, json_option, run_async
from edgesim.cli._output import console, count, echo_json, ms, print_table, show_table
from edgesim.cli._pops import PopsTable, apps_cell, state_cell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PARTS: Final = ("network", "queue", "start", "instantiate", "init", "execute", "origin")


@click.group(name="pops")
def command() -> None:
    """List, look at, kill and restart PoPs."""


@command.command("list")
@endpoint_options
@json_option
def list_(state: Path | None, endpoint: str | None, token: str | None, as_json: bool) -> None:
    """Show every PoP with its state, its apps and its figures."""

    async def ask() -> list[dict[str, Any]]:
        async with api_client(state, endpoint, token) as api:
            return await api.pops()

    rows = run_async(ask())
    if as_json:
        echo_json("pops.v1", {"pops": rows})
        return
    table = PopsTable(console().width)
    for row in rows:
        table.add(row)
    show_table(table.table)


@command.command()
@click.argument("pop")
@endpoint_options
@json_option
def describe(pop: str, state: Path | None, endpoint: str | None, token: str | None, as_json: bool) -> None:
    """Show one PoP: place, hardware, apps, latency by part, cold starts by phase."""

    async def ask() -> dict[str, Any]:
        async with api_client(state, endpoint, token) as api:
            return await api.pop(pop)

    row = run_async(ask())
    if as_json:
        echo_json("pop.v1", row)
        return
    out = console()
    out.print(
        f"[bold]{row.get('pop')}[/]  {row.get('city', '')}, {row.get('country', '')}  {state_cell(str(row.get('state', '')))}"
    )
    facts = {
        "region": row.get("region"),
        "host": row.get("host"),
        "at": " ".join(f"{row[k]:.2f}" for k in ("lat", "lon") if isinstance(row.get(k), int | float)),
        "apps": apps_cell(row.get("apps")) or "none",
        "slots": f"{row.get('busy', 0)} of {row.get('slots', 0)} busy, {row.get('queued', 0)} queued",
        "memory": f"{(row.get('loaded_bytes') or 0) / (1 << 20):.1f} MiB in use by modules and instances",
        "instances": f"{row['warm']} ready" if row.get("warm") else "",
        "starts": _counts(row.get("starts")),
        "evicted": _counts(row.get("evictions")),
        "requests": f"{count(row['requests'])}, {count(row.get('errors'))} failed"
        if "requests" in row
        else "not known",
        "why": row.get("why"),
    }
    for name, value in facts.items():
        if value:
            out.print(f"  {name:<9} {value}")
    print_latency(row)


def _counts(counts: Any) -> str:
    """`12 fresh, 3 reused`, the most frequent first; empty for nothing."""
    known = sorted((counts or {}).items(), key=lambda entry: -entry[1])
    return ", ".join(f"{count(number)} {name}" for name, number in known if name != "none")


def print_latency(row: dict[str, Any]) -> None:
    """Latency by part, and cold starts by phase and role, of one PoP."""
    parts = row.get("parts") or {}
    rows = [("total", row.get("duration") or {}), *((name, parts[name]) for name in _PARTS if name in parts)]
    click.echo()
    print_table(
        ("latency", "count", "p50", "p99"),
        ((name, count(v.get("count")), ms(v.get("p50_s")), ms(v.get("p99_s"))) for name, v in rows),
        right=("count", "p50", "p99"),
    )
    print_cpu(row.get("cpu") or {}, row.get("most") or {})
    cold = [
        (str(entry.get("role")), phase, value)
        for entry in row.get("cold_starts") or ()
        for phase, value in (("total", entry.get("total") or {}), *(entry.get("phases") or {}).items())
    ]
    if cold:
        click.echo()
        print_table(
            ("cold starts", "phase", "count", "p50", "p99"),
            ((r, p, count(v.get("count")), ms(v.get("p50_s")), ms(v.get("p99_s"))) for r, p, v in cold),
            right=("count", "p50", "p99"),
        )


def _most(peak: dict[str, Any], size: Callable[[float], str]) -> tuple[str, str]:
    """Most memory and requests of a guest, for the table."""
    memory = peak.get("memory_bytes")
    return size(memory) if memory else "-", count(peak.get("subrequests"))


def print_cpu(apps: dict[str, Any], most: dict[str, Any]) -> None:
    """What workers use, by app, and where that would be too much."""
    from edgesim.cli._inspect_screen import say, size, verdict_lines
    from edgesim.model.profiles import Usage, judge_all

    if not apps:
        return
    click.echo()
    print_table(
        ("worker CPU", "count", "p50", "p99", "memory", "sent"),
        (
            (app, count(v.get("count")), ms(v.get("p50_s")), ms(v.get("p99_s")), *_most(most.get(app) or {}, size))
            for app, v in sorted(apps.items())
        ),
        right=("count", "p50", "p99", "memory", "sent"),
        flexible="worker CPU",
    )
    for app, value in sorted(apps.items()):
        peak = most.get(app) or {}
        usage = Usage(
            cpu_ms=(value.get("p99_s") or 0.0) * 1e3,
            who="one request in a hundred",
            memory_bytes=peak.get("memory_bytes") or None,
            subrequests=peak.get("subrequests"),
        )
        verdicts = judge_all(usage)
        if any(verdict.findings for verdict in verdicts):
            say(*verdict_lines(verdicts, app))


def _act(
    pops: tuple[str, ...], action: Literal["kill", "restart", "drain", "undrain"], done: str, **options: Any
) -> None:
    as_json = options.pop("as_json")

    async def ask() -> None:
        async with api_client(**options) as api:
            for pop in pops:
                await api.pop_action(pop, action)
                if not as_json:
                    click.echo(f"{pop} {done}")

    run_async(ask())
    if as_json:
        echo_json("pops-action.v1", {"action": action, "pops": list(pops)})


@command.command()
@click.argument("pops", nargs=-1, required=True, metavar="POP...")
@endpoint_options
@json_option
def kill(pops: tuple[str, ...], **options: Any) -> None:
    """Kill PoPs as a power cut would: connections are reset, memory is lost, nobody is told."""
    _act(pops, "kill", "killed; bring it back with `edgesim pops restart`", **options)


@command.command()
@click.argument("pops", nargs=-1, required=True, metavar="POP...")
@endpoint_options
@json_option
def restart(pops: tuple[str, ...], **options: Any) -> None:
    """Start killed PoPs again, with the bundles on their disk; running ones lose their memory."""
    _act(pops, "restart", "restarted", **options)


@command.command()
@click.argument("pops", nargs=-1, required=True, metavar="POP...")
@endpoint_options
@json_option
def drain(pops: tuple[str, ...], **options: Any) -> None:
    """Take PoPs out of service: new requests go elsewhere, and those in flight end where they are."""
    _act(pops, "drain", "drained; put it back with `edgesim pops undrain`", **options)


@command.command()
@click.argument("pops", nargs=-1, required=True, metavar="POP...")
@endpoint_options
@json_option
def undrain(pops: tuple[str, ...], **options: Any) -> None:
    """Put drained PoPs back into service."""
    _act(pops, "undrain", "back in service", **options)
