"""Numbers as people read them: three significant digits, a unit, and a dash where nothing was measured."""

from __future__ import annotations

from typing import Any, Final

DASH: Final = "\N{EN DASH}"


def ms(seconds: float | None) -> str:
    """A duration: `1.23 ms`, `456 ms`, `12.3 s` from ten seconds on."""
    if seconds is None:
        return DASH
    if seconds >= 10:
        return f"{seconds:,.1f} s"
    value = seconds * 1e3
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} ms"


def count(value: float | None) -> str:
    """A whole number with thousands separated."""
    return DASH if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share of one, as per cent; as many digits as a small one needs."""
    if share is None:
        return DASH
    value = share * 100
    if 0 < value < 0.001:
        return "< 0.001 %"
    return f"{value:.{0 if value in {0, 100} else 1 if value >= 10 else 2 if value >= 0.1 else 3}f} %"


def rate(per_s: float | None) -> str:
    """Events per second."""
    return DASH if per_s is None else f"{per_s:,.{1 if per_s < 100 else 0}f}/s"


def seconds(value: float | None) -> str:
    """A point in time or a length of the run: `12.3 s`, `4 min 5 s`."""
    if value is None:
        return DASH
    if value < 120:
        return f"{value:.3g} s"
    return f"{int(value) // 60} min {int(value) % 60} s"


def size(value: float | None) -> str:
    """Bytes in binary units."""
    if value is None:
        return DASH
    unit = 0
    while value >= 1024 and unit < 4:
        value, unit = value / 1024, unit + 1
    return f"{value:.{0 if unit == 0 or value >= 100 else 1}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[unit]}"


def in_unit(value: float | None, unit: str, *, exact: bool = True) -> str:
    """A figure in the unit of a summary: `s`, `share`, `per_s`, or a number, which has a decimal place when it is a mean."""
    shown = {"s": ms, "share": percent, "per_s": rate}.get(unit)
    if shown is not None:
        return shown(value)
    return count(value) if exact or value is None else f"{value:,.1f}"


def measured(verdict: dict[str, Any], key: str) -> str:
    """A threshold's `measured` or `limit` in its unit."""
    return in_unit(verdict.get(key), str(verdict.get("unit")))
