"""`python -m edgesim.wasm.compile IN OUT TIER FLOOR [ABI]`: validate and compile one file, in a process of its own.

Compiling takes seconds of CPU and hundreds of MB for a JavaScript or Python worker, and the file is not trusted: its own
process keeps both away from the edge. Prints one JSON object: `Answer`'s fields, or `{"error", "message", "help"}` where
`error` names a class of `edgesim.errors`. `compiler.py` starts it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import wasmtime
from wasmtime import component as wasm_component

from edgesim.errors import AbiMismatchError, BundleError, StorageError
from edgesim.wasm.abi import abis
from edgesim.wasm.engine import make_engine, make_validator
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat.flatten import flatten
from edgesim.wasm.flat.hollow import hollow

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.model.worker import Abi
    from edgesim.wasm.abi import GuestAbi
    from edgesim.wasm.engine import Tier

Floor: TypeAlias = Literal["auto", "component"]
"""`auto`: components as core modules where that can be done; `component`: always through the component C API."""
Form: TypeAlias = Literal["module", "flat", "component"]
"""What an artefact is: a core module, a component as one core module, or a component."""

_MODULE = b"\0asm\x01\0\0\0"
_COMPONENT = b"\0asm\x0d\0\x01\0"
_P3: Final = b"wasi:http/handler@0.3."
"""In a component that may be of WASI 0.3."""
_WORTH_WAITING_S: Final = 0.4
"""When Cranelift is expected to take less, its code is made at once and Winch's is thrown away."""
_CRANELIFT_PER_WINCH: Final = 8.0
"""How much longer Cranelift takes: 6.7 for a JavaScript and 6.6 for a Python worker."""
_BACKGROUND_NICE: Final = 10
_GUESTS: Final = 64
"""None runs here: the pool only says what no slot of it can hold."""
MEMORY_BYTES: Final = 2 << 30
"""For one compilation: the 18 MB Python worker takes 0.5 GB, a bomb of a million functions would take 5."""
_TOO_MUCH: Final = re.compile(
    r"(exceeds|greater than|over) the (configured |maximum )?.*(limit|maximum|size)", re.IGNORECASE
)
"""What the pooling allocator says of a module that no slot of it can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the compiler has made."""

    abi: Abi
    digest: str
    """sha256 of the file, lowercase hex."""
    size_bytes: int
    tier: Tier
    form: Form
    plan: str = ""
    """`Plan` as JSON, of a flat component."""
    why: str = ""
    """Why a component is not flat."""
    validate_s: float = 0.0
    flatten_s: float = 0.0
    compile_s: float = 0.0


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


class _Compilers:
    """Compiles with the tier that is asked for, and with Cranelift what Winch cannot."""

    def __init__(self, tier: Tier | Literal["auto"]) -> None:
        self._engines: dict[Tier, Any] = {}
        self._auto = tier == "auto"
        self.tier: Tier = "winch" if tier == "auto" else tier

    def engine(self) -> Any:
        """The engine of the present tier."""
        return self._engines.setdefault(
            self.tier, self._engines.get(self.tier) or make_engine(self.tier, pooled=True, guests=_GUESTS)
        )

    def compile(self, kind: Any, data: bytes) -> Any:
        """A `wasmtime.Module` or `Component`. Raises WasmtimeError when the file is not valid."""
        if self.tier == "winch":
            with suppress(wasmtime.WasmtimeError):  # not valid, or too new for Winch: Cranelift tells them apart
                return kind(self.engine(), data)
            self.tier = "cranelift"
        return kind(self.engine(), data)

    def final(self, kind: Any, data: bytes) -> Any:
        """As `compile`; with `auto`, Cranelift's code where that does not take long."""
        begin = perf_counter()
        compiled = self.compile(kind, data)
        took_s = perf_counter() - begin
        if self._auto and self.tier == "winch" and took_s * _CRANELIFT_PER_WINCH < _WORTH_WAITING_S:
            self.tier = "cranelift"
            return kind(self.engine(), data)
        return compiled


def compile_file(
    source: Path, target: Path, tier: Tier | Literal["auto"] = "cranelift", floor: Floor = "auto", known: str = ""
) -> Answer:
    """Compile `source` into the artefact `target`.

    Args:
        source: a Wasm file.
        target: where the artefact goes.
        tier: the compiler; `auto` is Winch, or Cranelift at once for what it compiles quickly.
        floor: how a component shall be run.
        known: the file's ABI, if it has been validated and checked before.

    Raises:
        BundleError: the file cannot be served.
        StorageError: `target` cannot be written.
    """
    data = source.read_bytes()
    kind = binary_kind(data)
    compilers = _Compilers(tier)
    begin = perf_counter()
    abi = abis()[known] if known else _checked(compilers, kind, data, floor)  # type: ignore[index]
    validated = perf_counter()
    form: Form = kind
    plan = ""
    why = ""
    flattened = validated
    if kind == "component" and floor == "auto":
        try:
            if not hasattr(abi, "link_flat"):
                raise Unsupported("this ABI runs as a component")  # noqa: TRY301 - as from `flatten`
            flat, merged = flatten(data)
            flattened = perf_counter()
            compiled = compilers.final(wasmtime.Module, merged)
            abi.link_flat(compilers.engine(), compiled, flat)
            form, plan = "flat", flat.to_json()
        except (Unsupported, wasmtime.WasmtimeError) as exc:
            why = _first_lines(exc)
    if abi.name == "wasi-http-p3" and form != "flat":
        raise BundleError(
            f"the worker uses what edgesim does not support of WASI 0.3 yet: {why or 'the component floor'}",
            help="see docs/workers.md, WASI 0.3, or build it for WASI 0.2",
        )
    if form != "flat":
        compiled = _valid(compilers.final, kind, data)
    try:
        target.write_bytes(compiled.serialize())
    except OSError as exc:
        raise StorageError(f"the compiled worker cannot be stored: {exc.strerror}", where=str(target)) from exc
    return Answer(
        abi=abi.name,
        digest=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        tier=compilers.tier,
        form=form,
        plan=plan,
        why=why,
        validate_s=validated - begin,
        flatten_s=flattened - validated,
        compile_s=perf_counter() - flattened,
    )


def _checked(compilers: _Compilers, kind: Literal["module", "component"], data: bytes, floor: Floor) -> GuestAbi:
    """The ABI of a valid file that can be served. Raises BundleError.

    Of a component that will be flat, all but the code is looked at here: the code is validated where it is compiled.
    """
    skeleton = data
    if kind == "component" and floor == "auto":
        with suppress(Unsupported):
            skeleton = hollow(data)
    engine, compile_ = None, compilers.compile
    if kind == "component" and _P3 in skeleton:
        engine = make_validator()
        compile_ = partial(_with, engine)
    compiled = _valid(compile_, kind, skeleton)
    engine = engine or compilers.engine()
    abi = _abi_of(engine, compiled, kind)
    abi.check(engine, compiled)
    return abi


def _with(engine: Any, kind: Any, data: bytes) -> Any:
    return kind(engine, data)


def _valid(compile_: Callable[[Any, bytes], Any], kind: Literal["module", "component"], data: bytes) -> Any:
    """The file as the engine takes it. Raises BundleError."""
    try:
        return compile_(wasmtime.Module if kind == "module" else wasm_component.Component, data)
    except wasmtime.WasmtimeError as exc:
        if "component model async feature" in str(exc):
            raise BundleError(
                f"the component uses WASI 0.3 without being a worker of it: {_first_lines(exc)}",
                help="of WASI 0.3, edgesim serves components that export wasi:http/handler@0.3.x",
            ) from exc
        if _TOO_MUCH.search(str(exc)):
            raise BundleError(
                f"the worker asks for more than an instance gets: {_first_lines(exc)}", help="see docs/limits.md"
            ) from exc
        raise BundleError(
            f"the file is not a valid Wasm {kind}: {_first_lines(exc)}", help="build it again; it may be truncated"
        ) from exc


def _abi_of(engine: Any, compiled: Any, kind: Literal["module", "component"]) -> GuestAbi:
    """The ABI that the file speaks. Raises AbiMismatchError."""
    candidates = [abi for abi in abis().values() if abi.binary == kind]
    abi = next((abi for abi in candidates if abi.detect(engine, compiled)), None)
    if abi is not None:
        return abi
    exports = export_names(engine, compiled, kind)
    raise AbiMismatchError(
        f"the {kind} exports {', '.join(exports[:12]) or 'nothing'}"
        + (f" and {len(exports) - 12} more" if len(exports) > 12 else "")
        + ", which is no worker that edgesim can serve",
        help="expected " + ", or ".join(a.expected for a in abis().values()),
    )


def export_names(engine: Any, compiled: Any, kind: Literal["module", "component"]) -> list[str]:
    """The names of what a compiled file exports."""
    if kind == "module":
        return [export.name for export in compiled.exports]
    return list(compiled.type.exports(engine))


def _first_lines(exc: Exception) -> str:
    """An engine error without its backtrace."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip() not in {"", "Caused by:"}]
    return "; ".join(line.removeprefix(f"{at}: ") for at, line in enumerate(lines[:3], -1))[:400]


def main(argv: list[str]) -> int:
    """Run, print the JSON answer, and return the exit code: 0, or 1 when the file is refused."""
    source, target, tier, floor, *known = argv
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    if known:
        os.nice(_BACKGROUND_NICE)  # nobody waits for a second compilation
    answer: dict[str, Any]
    try:
        answer = asdict(compile_file(Path(source), Path(target), tier, floor, *known))  # type: ignore[arg-type]
    except (BundleError, StorageError) as exc:
        answer = {"error": type(exc).__name__, "message": exc.message, "help": exc.help}
    sys.stdout.write(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
