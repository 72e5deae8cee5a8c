# ruff: noqa: INP001 - a script beside the workers, not a package
"""Builds the sample workers whose outputs are committed: `python workers/build.py [--check]`.

C components and Zig need the `guests` extra (the `ziglang` wheel); WAT workers need nothing but wasmtime. `--check` builds into
memory and compares with the committed files, exit 1 when one differs. The others (JavaScript, Python, Go, Rust) are built by
the command in their `spin.toml`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from wasmtime import wat2wasm

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


BUILDS = {
    "hello/hello.wasm": lambda: componentize(compile_c(HERE / "hello/hello.c")),
    "hello-v2/hello.wasm": lambda: componentize(compile_c(HERE / "hello/hello.c", 'GREETING="welcome"')),
    "filter-auth/auth.wasm": lambda: compile_c(HERE / "filter-auth/auth.c", flags=FILTER_FLAGS),
    "filter-headers/headers.wasm": lambda: compile_c(HERE / "filter-headers/headers.c", flags=FILTER_FLAGS),
    "hello-zig/hello.wasm": lambda: compile_zig(HERE / "hello-zig/hello.zig"),
    "hello-wagi/hello.wasm": lambda: wat2wasm((HERE / "hello-wagi/hello.wat").read_text()),
}


def main(argv: list[str]) -> int:
    """Build all, or compare all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed files instead of writing them")
    check = parser.parse_args(argv).check
    different = 0
    for name, build in BUILDS.items():
        data = bytes(build())
        path = HERE / name
        if not check:
            path.write_bytes(data)
            sys.stdout.write(f"{name}: {len(data)} bytes\n")
        elif not path.exists() or path.read_bytes() != data:
            different += 1
            sys.stdout.write(f"{name}: differs from its source; run: python workers/build.py\n")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
