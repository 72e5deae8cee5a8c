"""Builds the sample workers: `python workers/build.py [NAME...] [--check]`, which is `make workers`.

Small outputs are committed: `--check` builds those into memory and compares, exit 1 when one differs. C and Zig need the
`guests` extra (the `ziglang` wheel), AssemblyScript npm, WAT workers nothing but wasmtime. Large ones (JavaScript, Python, Go) are
made once by the toolchains of `tests/guests`, kept in `.guests/`, and copied beside their source, where git ignores them.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wasmtime import wat2wasm

if TYPE_CHECKING:
    from types import ModuleType

HERE = Path(__file__).resolve().parent
ZIG_FLAGS = (
    "--target=wasm32-freestanding", "-Os", "-nostdlib", "-s", "-Wl,--no-entry", "-Wl,--import-memory", "-Wl,-z,stack-size=16384",
    "-Wl,--initial-memory=131072", "-Wl,--strip-all",
)  # fmt: skip
_CORE_MODULE_SECTION = 1


def leb128(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """The value at `at` and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def componentize(core: bytes) -> bytes:
    """`proxy.wat` with `core` in the place of its second core module, which is empty."""
    shell = wat2wasm((HERE / "proxy.wat").read_text())
    out, at, seen = bytearray(shell[:8]), 8, 0
    while at < len(shell):
        section, start = shell[at], at
        size, at = read_leb128(shell, at + 1)
        at += size
        if section == _CORE_MODULE_SECTION:
            seen += 1
            if seen == 2:
                out += bytes([section]) + leb128(len(core)) + core
                continue
        if section == 0:  # names and other custom sections: not needed at run time
            continue
        out += shell[start:at]
    return bytes(out)


FILTER_FLAGS = (
    "--target=wasm32-freestanding", "-Os", "-nostdlib", "-s", "-Wl,--no-entry", "-Wl,--export-memory", "-Wl,-z,stack-size=16384",
    "-Wl,--strip-all",
)  # fmt: skip


def compile_c(source: Path, *defines: str, flags: tuple[str, ...] = ZIG_FLAGS) -> bytes:
    """A freestanding core module from C, by zig's clang."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.wasm"
        options = [*flags, *(f"-D{define}" for define in defines)]
        subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", *options, "-o", str(target), source.name],
            cwd=source.parent,
            check=True,
        )
        return target.read_bytes()


def compile_zig(source: Path) -> bytes:
    """A WASI preview 1 command from Zig."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.wasm"
        flags = ["-target", "wasm32-wasi", "-O", "ReleaseSmall", "-fstrip", f"-femit-bin={target}"]
        subprocess.run(
            [sys.executable, "-m", "ziglang", "build-exe", source.name, *flags], cwd=source.parent, check=True
        )
        return target.read_bytes()


def compile_command(source: Path) -> bytes:
    """A WASI preview 1 command from C, with zig's wasi-libc."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.wasm"
        flags = ["--target=wasm32-wasi", "-O3", "-s", "-o", str(target)]
        subprocess.run([sys.executable, "-m", "ziglang", "cc", *flags, source.name], cwd=source.parent, check=True)
        return target.read_bytes()


def compile_assemblyscript(source: Path) -> bytes:
    """A WASI preview 1 command from AssemblyScript, by the compiler that the guests' tests install."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.wasm"
        toolchains = _guests("toolchains")
        try:
            asc = toolchains.npm_tools() / "node_modules/.bin/asc"
        except toolchains.MissingToolError as exc:
            raise SystemExit(f"{source.parent.name}: not built: {exc}") from exc
        flags = ["-Oz", "--runtime", "stub", "--use", "abort=", "-o", str(target)]
        subprocess.run([str(asc), source.name, *flags], cwd=source.parent, check=True)
        return target.read_bytes()


def _guests(module: str) -> ModuleType:
    """A module of `tests/guests`, which only a checkout has."""
    if str(HERE.parent) not in sys.path:
        sys.path.insert(0, str(HERE.parent))
    return importlib.import_module(f"tests.guests.{module}")


BUILDS = {
    "hello/hello.wasm": lambda: componentize(compile_c(HERE / "hello/hello.c")),
    "hello-v2/hello.wasm": lambda: componentize(compile_c(HERE / "hello/hello.c", 'GREETING="welcome"')),
    "filter-auth/auth.wasm": lambda: compile_c(HERE / "filter-auth/auth.c", flags=FILTER_FLAGS),
    "filter-headers/headers.wasm": lambda: compile_c(HERE / "filter-headers/headers.c", flags=FILTER_FLAGS),
    "hello-zig/hello.wasm": lambda: compile_zig(HERE / "hello-zig/hello.zig"),
    "hello-wagi/hello.wasm": lambda: wat2wasm((HERE / "hello-wagi/hello.wat").read_text()),
    "mandelbrot/worker.wasm": lambda: compile_command(HERE / "mandelbrot/worker.c"),
    "ab-split/worker.wasm": lambda: compile_assemblyscript(HERE / "ab-split/worker.ts"),
}
CACHED = {
    "hello-js": "hello.wasm",
    "hello-python": "hello.wasm",
    "hello-go": "hello.wasm",
    "geo-page": "worker.wasm",
    "shop-api": "worker.wasm",
    "jwt-check": "worker.wasm",
    "redirect-map": "worker.wasm",
}
"""Large ones, by folder. Their recipes are in `tests/guests/build.py`, so that tests and `make workers` build them once."""


def main(argv: list[str]) -> int:
    """Build what is named, or all; or compare all."""
    names = sorted({*CACHED, *(target.split("/")[0] for target in BUILDS)})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)}; default: all")
    parser.add_argument("--check", action="store_true", help="compare with the committed files instead of writing them")
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in names]
    if unknown:
        parser.error(f"no such worker: {', '.join(unknown)}")
    chosen = options.names or names
    failed = 0
    for target, build in BUILDS.items():
        if target.split("/")[0] in chosen:
            failed |= _committed(target, bytes(build()), check=options.check)
    for name, file in CACHED.items():
        if name in chosen and not options.check:
            failed |= _cached(name, HERE / name / file)
    return failed


def _committed(target: str, data: bytes, *, check: bool) -> int:
    """Write one file, or compare it; 1 when it differs."""
    path = HERE / target
    if not check:
        path.write_bytes(data)
        sys.stdout.write(f"{target}: {len(data)} bytes\n")
    elif not path.exists() or path.read_bytes() != data:
        sys.stdout.write(f"{target}: differs from its source; run: python workers/build.py\n")
        return 1
    return 0


def _cached(name: str, path: Path) -> int:
    """Copy one file from the cache, where it is built first if need be; 1 when its tools cannot be had."""
    guests = _guests("build")
    try:
        built = guests.ensure(name)
    except (guests.MissingToolError, RuntimeError) as exc:
        sys.stdout.write(f"{name}: not built: {exc}\n")
        return 1
    shutil.copyfile(built, path)
    sys.stdout.write(f"{name}/{path.name}: {path.stat().st_size} bytes, not committed\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
