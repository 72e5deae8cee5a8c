"""`python -m benchmarks [ID …]`: run all benchmarks, or the ones named, and write `out/bench.json`.

A benchmark is a module of this folder without a leading underscore that has `run() -> list[dict]`. Its ID is its file name
with dashes; the ID of one of its entries, which begins with it, runs the same module. `ok` is null where an entry has no
goal or could not be measured; `reason` then says why. Exit code 1 when a goal is missed or a benchmark fails, 2 for an
unknown ID.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import benchmarks

OUTPUT = Path("out/bench.json")
FIELDS = ("id", "value", "unit", "yardstick", "ratio", "goal", "ok", "command")
MARKS = {True: "ok", False: "MISSED", None: "-"}


def available() -> list[str]:
    """IDs of all benchmarks."""
    return sorted(
        m.name.replace("_", "-") for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_")
    )


def choose(wanted: list[str]) -> dict[str, list[str]]:
    """Benchmark to the entries that were asked for (none: all of it), in the order of the request.

    Raises:
        KeyError: an ID is not one, with that ID.
    """
    chosen: dict[str, list[str]] = {}
    for name in wanted or available():
        fitting = (m for m in available() if name == m or name.startswith((f"{m}-", f"{m}.")))
        module = max(fitting, key=len, default=None)  # `startup-300` is not an entry of `startup`
        if module is None:
            raise KeyError(name)
        entries = chosen.setdefault(module, [])
        if name != module:
            entries.append(name)
    return chosen


def run(module: str, entries: list[str]) -> list[dict[str, Any]]:
    """The entries of one benchmark; one that says why when it fails."""
    command = f"make bench ID={module}"
    try:
        found = importlib.import_module(f"benchmarks.{module.replace('-', '_')}").run()
    except Exception as error:  # noqa: BLE001 - the others shall still run, and the exit code tells
        traceback.print_exc()
        failed = dict.fromkeys(FIELDS) | {"id": module, "ok": False, "command": command}
        return [failed | {"reason": f"{type(error).__name__}: {error}"}]
    for entry in found:
        missing = [field for field in FIELDS if field not in entry]
        assert not missing, f"{module}: {entry.get('id')} lacks {missing}"
        assert entry["ok"] is not None or entry.get("reason"), f"{entry['id']} does not say why it has no verdict"
    wanted = [entry for entry in found if not entries or entry["id"] in entries]
    return wanted or found


def show(entry: dict[str, Any]) -> str:
    """One line of the table, and what it is compared with."""
    value = "-" if entry["value"] is None else f"{entry['value']:g}"
    ratio = "-" if entry["ratio"] is None else f"{entry['ratio']:g}x"
    goal = entry["goal"] or "no goal"
    reason = f"\n{'':28}{entry['reason']}" if entry["ok"] is None or (not entry["ok"] and "reason" in entry) else ""
    against = f"\n{'':28}against {entry['yardstick']}" if entry["yardstick"] else ""
    return f"{entry['id']:<26}  {value:>9} {entry['unit'] or '':<20} {ratio:>8}  {goal:<16} {MARKS[entry['ok']]}{against}{reason}"


def main(arguments: list[str]) -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and compare with the goals.")
    parser.add_argument("id", nargs="*", help=f"which ones: {', '.join(available())}; all by default")
    wanted = parser.parse_args(arguments).id
    try:
        chosen = choose(wanted)
    except KeyError as error:
        print(
            f"error: there is no benchmark {error.args[0]!r}\nhelp: there are {', '.join(available())}", file=sys.stderr
        )
        return 2
    results: list[dict[str, Any]] = []
    began_s = time.monotonic()
    print(f"{'id':<26}  {'value':>9} {'unit':<20} {'ratio':>8}  {'goal':<16} verdict")
    for module, entries in chosen.items():
        for entry in run(module, entries):
            results.append(entry)
            print(show(entry), flush=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    print(f"{len(results)} figures in {time.monotonic() - began_s:.0f} s, {verdict(results)}; {OUTPUT}")
    return 1 if any(entry["ok"] is False for entry in results) else 0


def verdict(results: list[dict[str, Any]]) -> str:
    """What became of the goals: the entries that missed theirs, and those whose goal nothing can be said of."""
    missed = [entry["id"] for entry in results if entry["ok"] is False]
    unknown = [entry["id"] for entry in results if entry["ok"] is None and (entry["goal"] or entry["value"] is None)]
    words = f"{len(missed)} missed: {', '.join(missed)}" if missed else "no goal missed"
    return f"{words}, {len(unknown)} not measured: {', '.join(unknown)}" if unknown else words


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
