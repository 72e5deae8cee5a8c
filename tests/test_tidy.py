"""The style gate that linters do not have: what the core must not call, how long things may be, what tests must not do.

Modelled on TigerBeetle's `tidy.zig`: rules that the code base relies on are tests, and each names its remedy.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "edgesim"
CORE = ("errors.py", "model", "policies", "core", "scenario", "observe")
MODULE_LINES_MAX = 420
FUNCTION_LINES_MAX = 75

# Modules that are longer, with the length they must not pass. A ratchet: lines leave it, none are added.
LONG_MODULES: dict[str, int] = {}

# Files outside tests/e2e that may call sleep, with the reason.
SLEEPERS = {
    "tests/contract/test_guest_abi.py": "watches the loop's own timers while guests spin",
    "tests/guests/py/app.py": "the guest's /timer: Python's sleep inside the guest is what the host's clock and poll are tested with",
    "tests/live/control/test_service.py": "epochs are milliseconds of the clock: a second one takes a second millisecond",
    "tests/live/test_metrics.py": "sleeps on a virtual loop",
    "tests/parity/harness.py": "sleeps on a virtual loop",
}

BANNED_CALLS = {
    "open": "the core does no I/O: take the text as an argument, read it in config or live",
    "print": "return a value, or publish an event",
    "input": "return a value, or publish an event",
    "hash": "differs from process to process: sort by the value, or use edgesim.model.stream",
    "eval": "write the code",
    "exec": "write the code",
    "__import__": "import at the top",
}


@cache
def tree(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name(path: Path) -> str:
    """The path as it is written in reports."""
    return path.relative_to(ROOT).as_posix()


def modules(*folders: str) -> list[Path]:
    """Python files below these folders of the checkout (or files), sorted."""
    found: list[Path] = []
    for folder in folders:
        at = ROOT / folder
        found += [at] if at.is_file() else at.rglob("*.py")
    return sorted(found)


def tracked(*patterns: str) -> list[Path]:
    """Files that belong to the project; outside a git checkout, everything that is not obviously built."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-z", "--", *patterns], capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git checkout, so the project's files cannot be listed")
    return [ROOT / entry for entry in listed.stdout.split("\0") if entry and (ROOT / entry).is_file()]


def functions(module: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, nested ones too."""
    return [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def banned_calls(module: ast.Module) -> list[tuple[int, str]]:
    """Calls of builtins that the core must not use, as (line, remedy)."""
    calls = (node for node in ast.walk(module) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    return [(c.lineno, f"{c.func.id}(): {BANNED_CALLS[c.func.id]}") for c in calls if c.func.id in BANNED_CALLS]


def _is_bare_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in {"set", "frozenset"}
    return False


def set_iterations(module: ast.Module) -> list[tuple[int, str]]:
    """Loops over a set that is made on the spot: their order differs from process to process, so results would too."""
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and _is_bare_set(node.iter):
            found.append((node.iter.lineno, "iterates over a set: use sorted(...) or dict.fromkeys(...)"))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"list", "tuple"}:
            found += [(node.lineno, f"{node.func.id}(set): use sorted(...)") for a in node.args if _is_bare_set(a)]
    return found


def is_e2e(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the function is marked `@pytest.mark.e2e`."""
    return any(ast.unparse(decorator) == "pytest.mark.e2e" for decorator in function.decorator_list)


def sleeps(module: ast.Module) -> list[tuple[int, str]]:
    """Waits on the wall clock outside tests marked e2e: `time.sleep`, and `asyncio.sleep` of anything but a literal 0."""
    exempt = {id(node) for f in functions(module) if is_e2e(f) for node in ast.walk(f)}
    found = []
    for node in ast.walk(module):
        if not isinstance(node, ast.Call) or id(node) in exempt:
            continue
        called = ast.unparse(node.func)
        if called == "time.sleep":
            found.append((node.lineno, "time.sleep: wait for an event, or use virtual time"))
        elif called == "asyncio.sleep" and not (
            node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
        ):
            found.append((node.lineno, "asyncio.sleep: wait for an event, or use virtual time"))
    return found


def report(found: dict[Path, list[tuple[int, str]]]) -> list[str]:
    """`file:line: what`, for the assertion's message."""
    return [f"{name(path)}:{line}: {what}" for path, rows in found.items() for line, what in rows]


def test_the_rules_find_what_they_are_for():
    """Each rule reports a planted offence and stays quiet on the remedy: a gate that cannot fail protects nothing."""
    bad = ast.parse(
        "import time, asyncio\n"
        "print(hash('x'))\n"
        "for x in {1, 2}: pass\n"
        "y = [z for z in set(a)]\n"
        "tuple({1})\n"
        "time.sleep(1)\n"
        "async def f(): await asyncio.sleep(0.01)\n"
        "@pytest.mark.e2e\n"
        "async def g(): await asyncio.sleep(0.01)\n"
    )
    good = ast.parse(
        "import asyncio\nfor x in sorted({1, 2}): pass\ny = 1 in {1, 2}\nasync def f(): await asyncio.sleep(0)\n"
    )

    assert [line for line, _ in banned_calls(bad)] == [2, 2]
    assert sorted(line for line, _ in set_iterations(bad)) == [3, 4, 5]
    assert sorted(line for line, _ in sleeps(bad)) == [6, 7]
    assert banned_calls(good) == set_iterations(good) == sleeps(good) == []


def test_the_core_calls_no_io_and_nothing_that_differs_between_processes():
    """Import-linter cannot see builtins: below config no open(), print(), hash() or loop over a fresh set."""
    found = {
        path: banned_calls(tree(path)) + set_iterations(tree(path)) for path in modules(*(f"edgesim/{c}" for c in CORE))
    }

    assert report(found) == []


def test_modules_are_short_and_say_what_they_are_for():
    """Every module of the package has a docstring and at most as many lines as a reader can hold."""
    found: dict[Path, list[tuple[int, str]]] = {}
    for path in modules("edgesim"):
        rows = found.setdefault(path, [])
        lines = path.read_text(encoding="utf-8").count("\n")
        allowed = LONG_MODULES.get(name(path), MODULE_LINES_MAX)
        if lines > allowed:
            rows.append((allowed, f"{lines} lines, at most {allowed}: split it by what it is about"))
        if not ast.get_docstring(tree(path)) and lines:
            rows.append((1, "no module docstring"))

    assert report(found) == []


def test_functions_are_short():
    """No function of the package is longer than a screen."""
    found: dict[Path, list[tuple[int, str]]] = {}
    for path in modules("edgesim"):
        rows = found.setdefault(path, [])
        for function in functions(tree(path)):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                rows.append((function.lineno, f"{function.name} has {lines} lines, at most {FUNCTION_LINES_MAX}"))

    assert report(found) == []


def test_exceptions_are_still_needed():
    """An exception goes when its file has become short, or no longer sleeps."""
    short = [m for m in LONG_MODULES if (ROOT / m).read_text(encoding="utf-8").count("\n") <= MODULE_LINES_MAX]
    awake = [m for m in SLEEPERS if not sleeps(tree(ROOT / m))]

    assert short == []
    assert awake == []


def imports(module: ast.Module) -> set[str]:
    """Top-level names of the packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_what_is_imported_is_declared():
    """A package that only the development tools bring would be missing for users."""
    # Part of the interface of the package that depends on them.
    implied = {"multidict": "aiohttp", "yarl": "aiohttp", "pydantic_core": "pydantic"}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in declared}
    known = packages_distributions()
    found = {(path.name, name) for path in modules("edgesim") for name in imports(tree(path))}
    # The extra `tui`: only the screens of `edgesim top` import it, and `top.py` says so when it is missing.
    found -= {(file, "textual") for file in ("_top_app.py", "_top_detail.py")}
    foreign = {name for _, name in found} - {"edgesim"} - sys.stdlib_module_names
    undeclared = [
        name
        for name in sorted(foreign)
        if not names & {d.lower().replace("_", "-") for d in known.get(implied.get(name, name), [])}
    ]

    assert undeclared == []


def test_each_dependency_has_its_reason():
    """Each line of a dependency list in pyproject.toml says in a comment what the package is for."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = re.findall(r"^(?:dependencies|dev|guests|tui) = \[\n(.*?)^\]", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in lists for line in block.splitlines() if line.strip().startswith('"')]

    assert len(lists) == 4
    assert [line for line in lines if not re.search(r"  # \w.{8,}", line)] == []


def test_tests_have_docstrings():
    """Every test says in a sentence what must hold."""
    found = {
        path: [
            (f.lineno, f"{f.name} has no docstring")
            for f in functions(tree(path))
            if f.name.startswith("test_") and not ast.get_docstring(f)
        ]
        for path in modules("tests")
    }

    assert report(found) == []


def test_tests_do_not_wait_on_the_wall_clock():
    """Sleeping tests are slow when they pass and wrong when the machine is busy; only tests/e2e may."""
    tests = [
        path for path in modules("tests") if ROOT / "tests" / "e2e" not in path.parents and name(path) not in SLEEPERS
    ]
    found = {path: sleeps(tree(path)) for path in tests}

    assert report(found) == []


def test_no_file_names_somebodys_machine():
    """No absolute path into a home or a working directory in anything that is delivered."""
    homes = re.compile(r"(?<![A-Za-z0-9_.~}$-])/(?:root|home|Users|work)/")
    found: dict[Path, list[tuple[int, str]]] = {}
    for path in tracked():
        if path == Path(__file__).resolve():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found[path] = [(n, line.strip()[:80]) for n, line in enumerate(text.splitlines(), 1) if homes.search(line)]

    assert report(found) == []
