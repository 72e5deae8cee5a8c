"""How `edgesim inspect` shows what it has found: for people, and as one JSON document."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from edgesim.cli._output import count, ms, print_table, printable, use_color
from edgesim.model.profiles import PROFILES, READ, FigureName, show_figure
from edgesim.model.worker import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgesim.live.inspection import Inspected
    from edgesim.model.profiles import Profile, Verdict
    from edgesim.wasm.offer import Missing

_FORMS = {
    "module": "core module",
    "flat": "flat: its core modules are linked to one, with edgesim's own canonical ABI",
    "component": "component API of the engine",
}
_LABEL = 13
_COLUMNS: tuple[tuple[FigureName, str], ...] = (
    ("cpu_ms", "cpu"),
    ("wall_s", "wall"),
    ("memory_bytes", "memory"),
    ("startup_ms", "start"),
    ("subrequests", "sent"),
    ("response_bytes", "response"),
    ("bundle_bytes", "file"),
)


# -- for people -------------------------------------------------------------------------------------------------------


def show(found: Inspected, *, verbose: bool, gap: bool) -> None:
    """Print everything about one file."""
    if gap:
        click.echo()
    title = f"{found.id}: {found.file}" if found.id else str(found.file)
    click.echo(click.style(printable(title), bold=True), color=use_color(sys.stdout))
    for label, text, style in _facts(found):
        _line(label, text, **style)
    _show_names("imports", found.report.imports, found.missing, verbose=verbose)
    _show_names("exports", found.report.exports, (), verbose=verbose or found.report.kind == "module")
    _show_missing(found.missing)
    _show_profiles(found)


def _facts(found: Inspected) -> Iterator[tuple[str, str, dict[str, Any]]]:
    report = found.report
    modules = len(report.modules)
    parts = "" if report.kind == "module" else f" of {modules} core module{'s' * (modules != 1)}"
    yield "kind", f"{report.kind}{parts}, {size(report.size_bytes)}", {}
    if found.abi is not None:
        yield "ABI", found.abi, {"fg": "green"}
    if found.refusal is not None:
        yield "not served", found.refusal.message, {"fg": "red"}
        if found.refusal.help:
            yield "", found.refusal.help, {}
    yield "made by", report.toolchain or "not said (no producers section)", {}
    sections = ", ".join(f"{name} {size(n)}" for name, n in report.sections.items() if n)
    yield "sections", sections or "none", {}
    if report.strippable_bytes:
        custom = ", ".join(f"{name} {size(n)}" for name, n in list(report.custom.items())[:4])
        yield "custom", f"{custom}; stripping names and debug information saves {size(report.strippable_bytes)}", {}
    yield "memory", _memory(found), {}
    if found.compiled:
        yield from _compilation(found)
    if found.start is not None:
        yield from _start(found)


def _memory(found: Inspected) -> str:
    report = found.report
    memories = sum(len(module.memories) for module in report.modules)
    if not memories:
        return "none of its own"
    maximum = report.memory_maximum_bytes
    text = f"{size(report.memory_at_start_bytes)} at start"
    if memories > 1:
        text += f" in {memories} memories"
    text += ", no maximum of its own" if maximum is None else f", at most {size(maximum)}"
    if report.table_elements:
        text += f"; largest table {count(report.table_elements)} element{'s' * (report.table_elements != 1)}"
    return text


def _compilation(found: Inspected) -> Iterator[tuple[str, str, dict[str, Any]]]:
    facts = found.compiled
    yield "runs as", _FORMS[facts["form"]], {}
    if facts["why"]:
        yield "", f"not flat: {facts['why']}", {}
    text = f"{ms(facts['wall_s'])} with {facts['tier'].capitalize()}, code of {size(found.artifact_bytes)}"
    if facts["tier"] == "winch" and "cranelift_s" not in facts:
        text += "; Cranelift's better code would follow in the background"
    if "cranelift_s" in facts:
        text += f"; {ms(facts['cranelift_s'])} with Cranelift"
    yield "compile", text, {}


def _start(found: Inspected) -> Iterator[tuple[str, str, dict[str, Any]]]:
    start = found.start
    assert start is not None
    if not start.runs:
        yield "cold start", f"load {ms(start.load_s)}; `GET /` failed: {start.error}", {"fg": "red"}
        return
    yield "cold start", f"load {ms(start.load_s)}, first request {ms(start.first_s)}", {}
    text = (
        f"instantiate {ms(start.instantiate_s)}, execute {ms(start.execute_s)}, CPU {ms(start.cpu_s)}"
        f" (median of {max(start.runs - 1, 1)} `GET /`, answered {start.status})"
    )
    yield "fresh request", text, {}
    if start.error:
        yield "", f"then it failed: {start.error}", {"fg": "red"}


def _show_names(
    title: str,
    groups: Sequence[tuple[str, tuple[str, ...]]],
    missing: Sequence[Missing],
    *,
    verbose: bool,
) -> None:
    """Interfaces in a line each, with their functions when they are asked for."""
    if not groups:
        _line(title, "none")
        return
    lacking = {(m.interface, m.name) for m in missing}
    for number, (interface, names) in enumerate(groups):
        mark = click.style(" (missing)", fg="red") if (interface, "") in lacking else ""
        what = f"{printable(interface)} " if interface else ""
        functions = f"({len(names)})" if interface and names else ""
        _line(title if number == 0 else "", f"{what}{functions}{mark}".rstrip() or ", ".join(map(printable, names)))
        if verbose and interface:
            for name in names:
                lack = click.style(" (missing)", fg="red") if (interface, name) in lacking else ""
                click.echo(f"{'':{_LABEL + 4}}{printable(name)}{lack}", color=use_color(sys.stdout))


def _show_missing(missing: Sequence[Missing]) -> None:
    label = "missing"
    for item in missing[:_MISSING_MAX]:
        text = printable(item.text)
        if item.nearest:
            text += f" (nearest: {item.nearest})"
        if item.traps:
            text += ": may be imported, traps when it is called"
        _line(label, text, **({} if item.traps else {"fg": "red"}))
        label = ""
    if len(missing) > _MISSING_MAX:
        _line("", f"and {len(missing) - _MISSING_MAX} more; see --json")


_MISSING_MAX = 20


def _show_profiles(found: Inspected) -> None:
    click.echo()
    show_limits(found.verdicts, found.limits, served=found.refusal is None)
    say(*verdict_lines(found.verdicts), *footnotes(found.verdicts))


def show_limits(verdicts: Iterable[Verdict], limits: Limits, *, served: bool = True) -> None:
    """The published limits of every platform, and those of the worker here."""
    rows = [_limits_row(PROFILES[verdict.profile], verdict) for verdict in verdicts]
    here = {name: getattr(limits, name, None) for name, _ in _COLUMNS}
    here["bundle_bytes"] = 64 << 20
    rows.append(
        ["edgesim, as set", *(show_figure(name, here[name]) for name, _ in _COLUMNS), "yes" if served else "no"]
    )
    columns = ["limits", *(title for _, title in _COLUMNS), "as is"]
    print_table(columns, rows, right=columns[1:-1], flexible="")


def _limits_row(profile: Profile, verdict: Verdict) -> list[str]:
    over = {finding.figure for finding in verdict.findings}
    cells: list[str] = [profile.name]
    for name, _ in _COLUMNS:
        figure = profile.figures.get(name)
        text = "-" if figure is None else show_figure(name, figure.limit)
        cells.append(f"[red]{text}[/]" if name in over else text)
    return [*cells, {True: "yes", False: "no", None: "-"}[verdict.runs_format]]


def say(*lines: tuple[str, dict[str, Any]]) -> None:
    """Print styled lines, broken between words where somebody watches."""
    for text, style in lines:
        for line in _wrapped(text, 0):
            click.echo(click.style(line, **style), color=use_color(sys.stdout))


def verdict_lines(verdicts: Sequence[Verdict], subject: str = "this worker") -> Iterator[tuple[str, dict[str, Any]]]:
    """What would happen elsewhere: a line for each platform whose limits are passed, else one that says so; with styles."""
    lines = [verdict.line_of(subject) for verdict in verdicts if verdict.findings]
    for line in lines:
        yield line, {"fg": "red"}
    if not lines:
        yield f"no published limit is passed by what is known of {subject}", {}


def footnotes(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What to know when reading verdicts: formats, and where the limits are from."""
    by_format: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.runs_format is False:
            profile = PROFILES[verdict.profile]
            by_format.setdefault(profile.format, []).append(profile.name)
    for form, names in by_format.items():
        yield f"{', '.join(names)}: not this file as it is; they run {form}", {"dim": True}
    yield f"published limits, read {READ}; - is not published. Sources: --json, docs/limits.md", {"dim": True}


def _wrapped(text: str, indent: int) -> list[str]:
    """The text in lines that fit beside an indent; one line where nobody watches."""
    if not sys.stdout.isatty():
        return [text]
    width = max(40, shutil.get_terminal_size().columns) - indent
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _line(label: str, text: str, **style: Any) -> None:
    """A labelled line."""
    lines = [text] if "\x1b" in text else _wrapped(text, _LABEL + 3)
    for number, line in enumerate(lines):
        shown = label if number == 0 else ""
        styled = click.style(line, **style) if style else line
        click.echo(f"  {shown:<{_LABEL}} {styled}", color=use_color(sys.stdout))


def size(value: float) -> str:
    """Bytes for people: `8.1 KiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= factor:
            number = value / factor
            return f"{number:.0f} {unit}" if number >= 100 or number == int(number) else f"{number:.1f} {unit}"
    return f"{value:.0f} B"


# -- as JSON ----------------------------------------------------------------------------------------------------------


def as_document(found: Inspected) -> dict[str, Any]:
    """One component of `edgesim.inspect.v1`."""
    report, start = found.report, found.start
    return {
        "file": str(found.file),
        "id": found.id or None,
        "kind": report.kind,
        "abi": found.abi,
        "refusal": None
        if found.refusal is None
        else {"code": found.refusal.code, "message": found.refusal.message, "help": found.refusal.help},
        "size_bytes": report.size_bytes,
        "sections_bytes": report.sections,
        "custom_sections_bytes": report.custom,
        "strippable_bytes": report.strippable_bytes,
        "producers": report.producers,
        "core_modules": len(report.modules),
        "memories": [
            {"minimum_bytes": m.minimum, "maximum_bytes": m.maximum}
            for module in report.modules
            for m in module.memories
        ],
        "tables": [{"minimum": t.minimum, "maximum": t.maximum} for module in report.modules for t in module.tables],
        "imports": [{"interface": interface, "names": list(names)} for interface, names in report.imports],
        "exports": [{"interface": interface, "names": list(names)} for interface, names in report.exports],
        "missing": [
            {
                "interface": m.interface,
                "name": m.name or None,
                "nearest": m.nearest or None,
                "traps_when_called": m.traps,
            }
            for m in found.missing
        ],
        "compile": {**found.compiled, "artifact_bytes": found.artifact_bytes} if found.compiled else None,
        "start": None
        if start is None
        else {
            "load_s": start.load_s,
            "first_s": start.first_s,
            "instantiate_s": start.instantiate_s,
            "execute_s": start.execute_s,
            "cpu_s": start.cpu_s,
            "start_cpu_s": start.start_cpu_s,
            "memory_bytes": start.memory_bytes or None,
            "runs": start.runs,
            "status": start.status or None,
            "error": start.error or None,
        },
        "limits": {name: getattr(found.limits, name) for name in Limits.__slots__},
        "profiles": [verdict_document(verdict) for verdict in found.verdicts],
    }


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """One platform: what it publishes, and what would happen there."""
    profile = PROFILES[verdict.profile]
    return {
        "profile": verdict.profile,
        "title": profile.title,
        "runs_as_is": verdict.runs_format,
        "format": profile.format,
        "format_source": profile.format_source,
        "read": READ,
        "limits": {
            name: {"limit": figure.limit, "source": figure.source, "note": figure.note or None}
            for name, figure in profile.figures.items()
        },
        "verdict": verdict.line or None,
        "findings": [{"limit": f.figure, "used": f.used, "allowed": f.limit, "text": f.text} for f in verdict.findings],
        "judged": list(verdict.judged),
        "not_known": list(verdict.unknown),
    }
