"""The limits that other edge platforms publish, as data, each with its source; and what a worker would hit there.

A limit that a platform does not publish is absent, one that it says does not exist is `None`. Nothing here is measured or
guessed: whether the platforms enforce what they publish, and how they count, is theirs to say. `MB` is read as 10^6 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from edgesim.model.worker import LIMIT_BOUNDS, MIB, Abi, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ProfileName = Literal["cloudflare-free", "cloudflare-paid", "fastly", "akamai"]
READ: Final = "2026-11-22"
"""The day on which the sources were read."""
MB: Final = 10**6

FigureName = Literal[
    "cpu_ms",
    "wall_s",
    "memory_bytes",
    "startup_ms",
    "subrequests",
    "body_bytes",
    "response_bytes",
    "bundle_bytes",
    "stack_bytes",
]
"""What is published: most are limits of the same name in `Limits`; `bundle_bytes` is the worker's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One published limit."""

    limit: float | None
    """In the unit of its name; None where the platform says that there is no limit."""
    source: str
    """Document, section and, where the document tells, its date."""
    note: str = ""
    """What to know when reading it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A platform's published limits."""

    name: ProfileName
    title: str
    figures: Mapping[FigureName, Figure]
    abis: tuple[Abi, ...]
    """What it runs as it is, of the ABIs that edgesim knows."""
    format: str
    """What it runs, in words."""
    format_source: str
    counts_start: bool = False
    """Whether the CPU time of a request includes that of its instance's start."""

    def over(self, base: Limits) -> Limits:
        """`base` with what is published in its place, as far as edgesim can enforce it (`LIMIT_BOUNDS`)."""
        changed: dict[str, int | float] = {}
        for name, figure in self.figures.items():
            if name not in LIMIT_BOUNDS:
                continue
            low, high = LIMIT_BOUNDS[name]
            value = high if figure.limit is None else min(max(figure.limit, low), high)
            changed[name] = type(getattr(base, name))(value)
        return replace(base, **changed)  # type: ignore[arg-type]


_CLOUDFLARE: Final = "Cloudflare Workers, Platform, Limits (developers.cloudflare.com/workers/platform/limits)"
_FASTLY: Final = "Fastly, Compute resource limits, Default limits (docs.fastly.com/products/compute-resource-limits)"
_AKAMAI: Final = "Akamai Functions, Quotas and limits (techdocs.akamai.com/akamai-functions/docs/quotas-and-limits)"


def _cloudflare(name: ProfileName, title: str, cpu: Figure, subrequests: int) -> Profile:
    return Profile(
        name=name,
        title=title,
        figures={
            "cpu_ms": cpu,
            "wall_s": Figure(limit=None, source=f"{_CLOUDFLARE}, Duration", note="while the client stays connected"),
            "memory_bytes": Figure(
                limit=128 * MB, source=f"{_CLOUDFLARE}, Memory", note="per isolate, JavaScript's heap included"
            ),
            "startup_ms": Figure(
                limit=1000,
                source=f"{_CLOUDFLARE}, Worker startup time; changelog of 2025-10-10 (before: 400 ms)",
                note="to parse and run the global scope",
            ),
            "subrequests": Figure(limit=subrequests, source=f"{_CLOUDFLARE}, Subrequests"),
            "body_bytes": Figure(
                limit=100 * MB,
                source=f"{_CLOUDFLARE}, Request limits",
                note="of the Free and Pro plans of a domain; Business 200 MB, Enterprise more",
            ),
            "response_bytes": Figure(
                limit=None,
                source=f"{_CLOUDFLARE}, Response limits",
                note="the cache has its own limit, 512 MB and more",
            ),
            "bundle_bytes": Figure(
                limit=64 * MIB,
                source=f"{_CLOUDFLARE}, Worker size; cloudflare-docs PR 31002 of 2026-05-22",
                note="uncompressed; until 2026 3 MB (free) and 10 MB (paid) after compression",
            ),
        },
        abis=(),
        format="Wasm modules that a JavaScript or Python worker calls",
        format_source="Cloudflare Workers, Runtime APIs, WebAssembly (developers.cloudflare.com/workers/runtime-apis/webassembly)",
    )


PROFILES: Final[dict[str, Profile]] = {
    "cloudflare-free": _cloudflare(
        "cloudflare-free",
        "Cloudflare Workers, free plan",
        Figure(limit=10, source=f"{_CLOUDFLARE}, CPU time"),
        50,
    ),
    "cloudflare-paid": _cloudflare(
        "cloudflare-paid",
        "Cloudflare Workers, paid plan",
        Figure(
            limit=30_000,
            source=f"{_CLOUDFLARE}, CPU time; changelog of 2025-03-25",
            note="the default; `limits.cpu_ms` raises it to at most 300000",
        ),
        10_000,
    ),
    "fastly": Profile(
        name="fastly",
        title="Fastly Compute",
        figures={
            "cpu_ms": Figure(limit=50, source=_FASTLY, note="per execution, which is one instance"),
            "wall_s": Figure(limit=120, source=_FASTLY, note="60 s for trial accounts"),
            "memory_bytes": Figure(limit=128 * MB, source=_FASTLY, note="heap"),
            "stack_bytes": Figure(limit=1_000_000, source=_FASTLY, note="1M bytes"),
            "subrequests": Figure(limit=32, source=_FASTLY, note="backend requests; 10 for trial accounts"),
            "bundle_bytes": Figure(limit=100 * MB, source=_FASTLY, note="the compiled package"),
        },
        abis=(),
        format="core modules that import Fastly's host calls",
        format_source="Viceroy, compute-at-edge-abi (github.com/fastly/Viceroy)",
        counts_start=True,
    ),
    "akamai": Profile(
        name="akamai",
        title="Akamai Functions (Fermyon Wasm Functions)",
        figures={
            "wall_s": Figure(limit=30, source=_AKAMAI, note="request handler duration"),
            "memory_bytes": Figure(limit=128 * MIB, source=_AKAMAI),
            "body_bytes": Figure(limit=10 * MIB, source=_AKAMAI),
            "response_bytes": Figure(limit=10 * MIB, source=_AKAMAI),
            "bundle_bytes": Figure(limit=50 * MIB, source=_AKAMAI, note="of the whole app"),
        },
        abis=("wasi-http", "wagi"),
        format="Spin apps: wasi:http components and WAGI modules",
        format_source="Spin, Manifest reference, trigger.http.executor (spinframework.dev)",
    ),
}
"""By name, in the order in which they are shown."""


# -- judging a worker -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is known of a worker: of its file, and of requests that it has served. None: not known."""

    abi: Abi | None = None
    bundle_bytes: float | None = None
    memory_at_start_bytes: float | None = None
    """Linear memory that an instance begins with, from the file."""
    requests: int = 0
    """Requests that the maxima below are of."""
    who: str = "one request"
    """Whose CPU time and duration are given, for sentences."""
    cpu_ms: float | None = None
    """CPU time of a request, without `startup_ms`."""
    wall_s: float | None = None
    memory_bytes: float | None = None
    startup_ms: float | None = None
    subrequests: float | None = None
    body_bytes: float | None = None
    response_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One limit of a platform that a worker is over."""

    figure: FigureName
    used: float
    limit: float
    text: str
    """`one request used 61.2 ms CPU time and the limit is 50 ms`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What would happen to a worker on one platform."""

    profile: ProfileName
    findings: tuple[Finding, ...]
    runs_format: bool | None
    """Whether the platform runs files of this ABI as they are; None when the ABI is not known."""
    judged: tuple[FigureName, ...]
    """The published limits that something is known for; of the others nothing is said."""
    unknown: tuple[FigureName, ...] = field(default=())
    """Published limits for which nothing is known yet."""

    @property
    def line(self) -> str:
        """One sentence; empty when no limit is passed."""
        return self.line_of("this worker")

    def line_of(self, subject: str) -> str:
        """The same of a worker with a name."""
        if not self.findings:
            return ""
        first, *more = self.findings
        word = "refused" if first.figure in {"bundle_bytes", "body_bytes"} else "killed"
        rest = "".join(f"; and {finding.text}" for finding in more)
        return f"{subject} would be {word} on {self.profile} because {first.text}{rest}"


_WORDS: Final[dict[FigureName, str]] = {
    "bundle_bytes": "its file has",
    "memory_bytes": "it needed",
    "startup_ms": "it took",
    "cpu_ms": "{who} used",
    "wall_s": "{who} took",
    "subrequests": "one request sent",
    "body_bytes": "one request had a body of",
    "response_bytes": "one response had a body of",
}
"""How a finding begins."""
_TAILS: Final[dict[FigureName, str]] = {
    "memory_bytes": " of linear memory",
    "startup_ms": " of CPU time to start",
    "cpu_ms": " of CPU time",
    "wall_s": " in all",
    "subrequests": " requests of its own",
}


def judge(profile: Profile, usage: Usage) -> Verdict:
    """What would happen to a worker with this usage on the platform."""
    findings: list[Finding] = []
    judged: list[FigureName] = []
    unknown: list[FigureName] = []
    for name, used in _used(usage, counts_start=profile.counts_start):
        figure = profile.figures.get(name)
        if figure is None or figure.limit is None:
            continue
        if used is None:
            unknown.append(name)
            continue
        judged.append(name)
        if used > figure.limit:
            findings.append(_finding(name, used, figure.limit, usage))
    return Verdict(
        profile=profile.name,
        findings=tuple(findings),
        runs_format=None if usage.abi is None else usage.abi in profile.abis,
        judged=tuple(judged),
        unknown=tuple(unknown),
    )


def judge_all(usage: Usage) -> tuple[Verdict, ...]:
    """The verdict of every profile, in their order."""
    return tuple(judge(profile, usage) for profile in PROFILES.values())


def _used(usage: Usage, *, counts_start: bool) -> Iterator[tuple[FigureName, float | None]]:
    """Every figure that can be judged, with what the worker used."""
    memory = usage.memory_at_start_bytes if usage.memory_bytes is None else usage.memory_bytes
    yield "bundle_bytes", usage.bundle_bytes
    yield "memory_bytes", memory
    yield "startup_ms", usage.startup_ms
    start_ms = usage.startup_ms if counts_start else None
    yield "cpu_ms", None if usage.cpu_ms is None else usage.cpu_ms + (start_ms or 0.0)
    yield "wall_s", usage.wall_s
    yield "subrequests", usage.subrequests
    yield "body_bytes", usage.body_bytes
    yield "response_bytes", usage.response_bytes


def _finding(name: FigureName, used: float, limit: float, usage: Usage) -> Finding:
    at_start = name == "memory_bytes" and usage.memory_bytes is None
    begin = "it starts with" if at_start else _WORDS[name].format(who=usage.who)
    tail = _TAILS.get(name, "")
    allowed = show_figure(name, limit)
    shown = show_figure(name, used, near=limit)
    text = f"{begin} {shown if shown != allowed else f'more than {allowed}'}{tail} and the limit is {allowed}"
    return Finding(figure=name, used=used, limit=limit, text=text)


def show_figure(name: FigureName, value: float | None, *, near: float = 0.0) -> str:
    """A figure with its unit; with decimals where they tell it from `near`."""
    if value is None:
        return "none"
    if name.endswith("_bytes"):
        unit, size = ("MiB", MIB) if (near or value) % MIB == 0 else ("MB", MB)
        if 0 < value < size / 10:
            unit, size = "KiB", 1024
        return f"{_digits(value / size, near / size)} {unit}"
    if name.endswith("_ms"):
        if near or value % 1000:
            return f"{_digits(value, near)} ms"
        return f"{value / 1000:g} s"
    if name.endswith("_s"):
        return f"{_digits(value, near)} s"
    return f"{value:,.0f}"


def _digits(value: float, near: float) -> str:
    """At most two decimals, as few as tell the value from `near`."""
    for decimals in range(3):
        text = f"{value:,.{decimals}f}"
        close = abs(float(text.replace(",", "")) - value) <= 0.02 * value
        if close and (not near or value == near or text != f"{near:,.{decimals}f}"):
            return text
    return f"{value:,.0f}" if near else f"{value:,.3f}"
