"""`python -m edgesim.wasm.compile IN OUT`: validate and compile one file, in a process of its own.

Compiling takes seconds of CPU and hundreds of MB for a JavaScript or Python worker, and the file is not trusted: its own
process keeps both away from the edge. Prints one JSON object: `{"abi", "digest", "size_bytes"}`, or
`{"error", "message", "help"}` where `error` names a class of `edgesim.errors`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Literal

import wasmtime
from wasmtime import component as wasm_component

from edgesim.errors import AbiMismatchError, BundleError, StorageError
from edgesim.wasm.abi import abis
from edgesim.wasm.engine import make_engine

_MODULE = b"\0asm\x01\0\0\0"
_COMPONENT = b"\0asm\x0d\0\x01\0"


def binary_kind(data: bytes) -> Literal["module", "component"]:
    """What the first eight bytes say. Raises BundleError."""
    if data.startswith(_MODULE):
        return "module"
    if data.startswith(_COMPONENT):
        return "component"
    if data.startswith(b"\0asm"):
        raise BundleError("the file is a Wasm binary of an unknown version", help="build it with a current toolchain")
    if data.lstrip()[:1] == b"(":
        raise BundleError("the file is Wasm text, not a Wasm binary", help="assemble it first: wat2wasm IN -o OUT")
    raise BundleError("the file is not a Wasm binary", help="name the .wasm file that your toolchain builds")


def compile_file(source: Path, target: Path) -> dict[str, Any]:
    """Compile `source` into the artefact `target`. Raises BundleError, or StorageError when `target` cannot be written."""
    data = source.read_bytes()
    kind = binary_kind(data)
    engine = make_engine()
    try:
        compiled = (wasmtime.Module if kind == "module" else wasm_component.Component)(engine, data)
    except wasmtime.WasmtimeError as exc:
        raise BundleError(
            f"the file is not a valid Wasm {kind}: {_first_lines(exc)}", help="build it again; it may be truncated"
        ) from exc
    candidates = [abi for abi in abis().values() if abi.binary == kind]
    abi = next((abi for abi in candidates if abi.detect(engine, compiled)), None)
    if abi is None:
        exports = export_names(engine, compiled, kind)
        raise AbiMismatchError(
            f"the {kind} exports {', '.join(exports[:12]) or 'nothing'}"
            + (f" and {len(exports) - 12} more" if len(exports) > 12 else "")
            + ", which is no worker that edgesim can serve",
            help="expected " + ", or ".join(a.expected for a in abis().values()),
        )
    abi.check(engine, compiled)
    try:
        target.write_bytes(compiled.serialize())
    except OSError as exc:
        raise StorageError(f"the compiled worker cannot be stored: {exc.strerror}", where=str(target)) from exc
    return {"abi": abi.name, "digest": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def export_names(engine: Any, compiled: Any, kind: Literal["module", "component"]) -> list[str]:
    """The names of what a compiled file exports."""
    if kind == "module":
        return [export.name for export in compiled.exports]
    return list(compiled.type.exports(engine))


def _first_lines(exc: Exception) -> str:
    """An engine error without its backtrace."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return "; ".join(lines[:3])[:400]


def main(argv: list[str]) -> int:
    """Run, print the JSON answer, and return the exit code: 0, or 1 when the file is refused."""
    try:
        answer = compile_file(Path(argv[0]), Path(argv[1]))
    except (BundleError, StorageError) as exc:
        answer = {"error": type(exc).__name__, "message": exc.message, "help": exc.help}
    sys.stdout.write(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
