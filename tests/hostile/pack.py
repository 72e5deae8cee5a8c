"""The hostile pack: guests that mean harm, each with what the edge must say of them. Sources are WAT, assembled on demand.

A guest of the pack is the body of `handle` (components) or of `_start` (WAGI). Host functions are imported by being named:
`$fields.append` as in `wit.py`, `$fd_write` for preview 1. `SCRATCH` and up is free memory; return areas are at 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from wasmtime import wat2wasm

from edgesim.wasm.p1 import SIGNATURES
from tests.hostile import wit

if TYPE_CHECKING:
    from edgesim.model.worker import Abi

TRAP, WALL, CPU, MEMORY, OUTPUT, OVERLOADED = "E0401", "E0402", "E0403", "E0404", "E0405", "E0501"
REFUSED: Final = "E0202"
"""Its end when it must not even be deployed."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One guest. `ends` holds every permitted end: codes of errors, or a status as text."""

    name: str
    abi: Abi
    about: str
    body: str
    ends: tuple[str, ...]
    fields: str = ""
    """Further fields of the core module: globals, tables, functions, start."""
    allocator: str = wit.ALLOCATOR
    options: str = ""
    parts: str = ""
    """Further parts of the component, after its core modules."""
    at_once: int = 4
    """How many of it run at the same time to show what it does."""
    waits: bool = False
    """It ends by the wall-clock limit, so callers give it a short one."""
    unread: bool = False
    """Its body is not to be read."""

    @property
    def id(self) -> str:
        """`wagi-spin`."""
        return f"{'http' if self.abi == 'wasi-http' else self.abi}-{self.name}"

    def build(self) -> bytes:
        """The Wasm binary."""
        return _component(self) if self.abi == "wasi-http" else _command(self)


_HEAD: Final = """\
(global $body (mut i32) (i32.const 0))
(func $answer (param $out i32) (param $fields i32) (result i32) (local $response i32)
  (local.set $response (call $outgoing-response.new (local.get $fields)))
  (call $outgoing-response.body (local.get $response) (i32.const 0))
  (global.set $body (i32.load (i32.const 4)))
  (call $response-outparam.set (local.get $out) (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
  (call $outgoing-body.write (global.get $body) (i32.const 0))
  (i32.load (i32.const 4)))
(func $head (param $out i32) (result i32) (call $answer (local.get $out) (call $fields.new)))
(func $done (param $stream i32)
  (call $output-stream.drop (local.get $stream))
  (call $outgoing-body.finish (global.get $body) (i32.const 0) (i32.const 0) (i32.const 0)))
(func $ok (param $out i32) (call $done (call $head (local.get $out))))"""
"""`$head`: status 200, gives the stream; `$done`: the end of the body; `$ok`: both. `$answer` takes the fields."""


@cache
def _component(guest: Hostile) -> bytes:
    helpers = _HEAD if re.search(r"\$(head|done|ok|answer)\b", guest.body + guest.fields) else ""
    core = f"""{guest.fields} {helpers}
      (func (export "handle") (param $request i32) (param $out i32) (local $a i32) (local $b i32) (local $n i32) {guest.body})"""
    return wit.component(core, guest.allocator, guest.options, guest.parts)


_P1_HEAD: Final = """\
(data (i32.const 256) "Content-Type: text/plain\\n\\n")
(func $put (param $fd i32) (param $at i32) (param $size i32)
  (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $size))
  (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
(func $head (call $put (i32.const 1) (i32.const 256) (i32.const 26)))"""
"""`$put fd at size`: writes bytes; `$head`: a CGI head of status 200."""


@cache
def _command(guest: Hostile) -> bytes:
    text = guest.body + guest.fields
    helpers = _P1_HEAD if re.search(r"\$(put|head)\b", text) else ""
    memory = "" if '"memory"' in guest.fields else '(memory (export "memory") 2)'
    return bytes(
        wat2wasm(f"""(module {p1_imports(text + helpers)} {memory} {guest.fields} {helpers}
          (func (export "_start") (local $a i32) (local $b i32) (local $n i32) {guest.body}))""")
    )


def p1_imports(text: str) -> str:
    """The imports of the preview 1 functions that a text names."""
    words = set(re.findall(r"\$(\w+)", text))
    lines = []
    for name, params in SIGNATURES.items():
        if name in words:
            kinds = " ".join("i32" if p == "i" else "i64" for p in params)
            result = "" if name == "proc_exit" else " (result i32)"
            lines.append(f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {kinds}){result}))')
    return "\n".join(lines)


_SPIN: Final = "(loop $l (br $l))"
_EAT: Final = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"
_EAT_TABLE: Final = (
    "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable"
)
_RECURSE: Final = (
    "(func $down (param i64 i64) (result i64) (call $down (local.get 1) (local.get 0)) (i64.const 1) i64.add)"
)
_DOWN: Final = "(drop (call $down (i64.const 1) (i64.const 2)))"
_MEMORIES: Final = " ".join(f"(memory $m{n} 1)" for n in range(1, 100))


def _both(name: str, about: str, body: str, ends: tuple[str, ...], fields: str = "") -> tuple[Hostile, Hostile]:
    """The same guest for both ABIs."""
    return (
        Hostile(name, "wasi-http", about, body, ends, fields),
        Hostile(name, "wagi", about, body, ends, fields),
    )


def _http(name: str, about: str, body: str, *ends: str, fields: str = "", **more: object) -> Hostile:
    return Hostile(name, "wasi-http", about, body, ends, fields, **more)  # type: ignore[arg-type]


def _wagi(name: str, about: str, body: str, *ends: str, fields: str = "", **more: object) -> Hostile:
    return Hostile(name, "wagi", about, body, ends, fields, **more)  # type: ignore[arg-type]


def _allocator(body: str, pages: int = 5) -> str:
    """An allocator that does something else. `$n` is the number of its calls."""
    return f"""(memory (export "memory") {pages}) (global $n (mut i32) (i32.const 0))
      (func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1))) {body})"""


_PATH: Final = "(call $incoming-request.path-with-query (local.get $request) (i32.const 0))"
"""Makes the host allocate a string."""
_ENTRIES: Final = "(call $fields.entries (call $incoming-request.headers (local.get $request)) (i32.const 0))"
"""Makes the host allocate a list of strings and lists."""
_APPEND: Final = "(call $fields.append (call $fields.new) {name} {name_size} {value} {value_size} (i32.const 0))"


def _append(name: int, name_size: int, value: int, value_size: int) -> str:
    numbers = {"name": name, "name_size": name_size, "value": value, "value_size": value_size}
    return _APPEND.format(**{key: f"(i32.const {number})" for key, number in numbers.items()})


SHARED: Final = (
    *_both("spin", "Runs for ever.", _SPIN, (CPU,)),
    *_both("spin-start", "Runs for ever in its start function.", "", (CPU,), f"(func $s {_SPIN}) (start $s)"),
    *_both("trap", "Traps at once.", "unreachable", (TRAP,)),
    *_both("trap-start", "Traps in its start function.", "", (TRAP,), "(func $s unreachable) (start $s)"),
    *_both("recursion", "Calls itself without end.", _DOWN, (TRAP,), _RECURSE),
    *_both("many-memories", "Declares 99 further memories.", "", (REFUSED,), _MEMORIES),
    *_both("table-grow", "Takes table elements until it gets no more.", _EAT_TABLE, (TRAP,), "(table $t 1 funcref)"),
    *_both("huge-table", "Wants a table of a hundred million.", "", (REFUSED,), "(table $t 100000000 funcref)"),
    *_both(
        "many-tables", "Declares 60 tables.", "", (REFUSED,), " ".join(f"(table $t{n} 9 funcref)" for n in range(60))
    ),
)

COMPONENTS: Final = (
    _http("grow", "Takes memory by the MiB until it gets no more.", _EAT, TRAP, MEMORY),
    _http("huge-memory", "Wants 4 GiB at start.", "", MEMORY, allocator=_allocator("(i32.const 4096)", pages=65536)),
    _http("flood", "Zeroes without end.", """
        (local.set $a (call $head (local.get $out)))
        (loop $l
          (call $output-stream.blocking-write-and-flush (local.get $a) (i32.const 1024) (i32.const 4096) (i32.const 0))
          (br_if $l (i32.eqz (i32.load8_u (i32.const 0)))))""", OUTPUT, CPU),
    _http("flood-zeroes", "Zeroes that the host makes, without end.", """
        (local.set $a (call $head (local.get $out)))
        (loop $l
          (call $output-stream.blocking-write-zeroes-and-flush (local.get $a) (i64.const 4096) (i32.const 0))
          (br_if $l (i32.eqz (i32.load8_u (i32.const 0)))))""", OUTPUT, CPU),
    _http("unread", "Zeroes without end, for a client that never reads.", """
        (local.set $a (call $head (local.get $out)))
        (loop $l
          (call $output-stream.blocking-write-and-flush (local.get $a) (i32.const 1024) (i32.const 4096) (i32.const 0))
          (br_if $l (i32.eqz (i32.load8_u (i32.const 0)))))""", WALL, waits=True, unread=True),
    _http("header-flood", "Header fields without end.", f"""
        (local.set $a (call $fields.new))
        (loop $l {_append(512, 1, 512, 1).replace("(call $fields.new)", "(local.get $a)")} (br $l))""",
        OUTPUT, fields='(data (i32.const 512) "x")'),
    _http("giant-header", "A header value of 200 KB.", f"""
        (memory.fill (i32.const 4096) (i32.const 120) (i32.const 200000))
        {_append(4096, 1, 4096, 200_000)}""", OUTPUT),
    _http("giant-name", "A header name of 200 KB.", f"""
        (memory.fill (i32.const 4096) (i32.const 120) (i32.const 200000))
        {_append(4096, 200_000, 4096, 1)}""", OUTPUT),
    _http("crlf", "A header value with a line break in it, then answers without it.", f"""
        {_append(512, 1, 513, 6)}
        (if (i32.eqz (i32.load8_u (i32.const 0))) (then unreachable))
        (call $ok (local.get $out))""", "200", fields='(data (i32.const 512) "xa\\0d\\0ab: c")'),
    _http("forbidden", "Sets Connection, then answers without it.", f"""
        {_append(512, 10, 512, 5)}
        (if (i32.eqz (i32.load8_u (i32.const 0))) (then unreachable))
        (call $ok (local.get $out))""", "200", fields='(data (i32.const 512) "connection")'),
    _http("log-lines", "10,000 log lines, then answers.", """
        (local.set $a (call $stderr.get-stderr))
        (loop $l
          (call $output-stream.blocking-write-and-flush (local.get $a) (i32.const 512) (i32.const 16) (i32.const 0))
          (br_if $l (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10000))))
        (call $ok (local.get $out))""", "200", CPU, fields='(data (i32.const 512) "what a long day\\n")'),
    _http("endless-log", "Logs for ever.", """
        (local.set $a (call $stderr.get-stderr))
        (loop $l
          (call $output-stream.blocking-write-and-flush (local.get $a) (i32.const 512) (i32.const 4096) (i32.const 0))
          (br $l))""", CPU),
    _http("wait", "Waits for room that never comes: its head is not out.", """
        (local.set $a (call $outgoing-response.new (call $fields.new)))
        (call $outgoing-response.body (local.get $a) (i32.const 0))
        (call $outgoing-body.write (i32.load (i32.const 4)) (i32.const 0))
        (local.set $b (i32.load (i32.const 4)))
        (loop $l
          (call $output-stream.blocking-write-and-flush (local.get $b) (i32.const 1024) (i32.const 4096) (i32.const 0))
          (br $l))""", WALL, waits=True),
    _http("sleep", "Sleeps for an hour.", """
        (call $pollable.block (call $monotonic-clock.subscribe-duration (i64.const 3600000000000)))
        (call $ok (local.get $out))""", WALL, waits=True),
    _http("sleep-ages", "Sleeps for 584 years.", """
        (call $pollable.block (call $monotonic-clock.subscribe-instant (i64.const -1)))
        (call $ok (local.get $out))""", WALL, waits=True),
    _http("sleep-start", "Tries to sleep in its start function.", "", TRAP, WALL, waits=True, fields="""
        (func $s (call $pollable.block (call $monotonic-clock.subscribe-duration (i64.const 3600000000000)))) (start $s)"""),
    _http("poll-nothing", "Polls an empty list.", "(call $poll.poll (i32.const 0) (i32.const 0) (i32.const 8))", TRAP),
    _http("poll-10000", "Polls one pollable 10,000 times over.", """
        (local.set $a (call $monotonic-clock.subscribe-duration (i64.const 3600000000000)))
        (loop $l
          (i32.store (i32.add (i32.const 4096) (i32.mul (local.get $n) (i32.const 4))) (local.get $a))
          (br_if $l (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10000))))
        (call $poll.poll (i32.const 4096) (i32.const 10000) (i32.const 0))""", TRAP),
    _http("pollables", "Makes pollables without end.", """
        (loop $l (drop (call $monotonic-clock.subscribe-duration (i64.const 1))) (br $l))""", MEMORY, CPU),
    _http("busy-poll", "Polls what is always ready, for ever.", """
        (i32.store (i32.const 512) (call $monotonic-clock.subscribe-duration (i64.const 0)))
        (loop $l (call $poll.poll (i32.const 512) (i32.const 1) (i32.const 0)) (br $l))""", CPU, TRAP),
    _http("leak", "Makes fields without end and drops none.", "(loop $l (drop (call $fields.new)) (br $l))", MEMORY, CPU),
    _http("leak-some", "Leaks 500 fields, and answers.", """
        (loop $l (drop (call $fields.new))
          (br_if $l (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 500))))
        (call $ok (local.get $out))""", "200"),
    _http("churn", "Makes and drops fields for ever.", "(loop $l (call $fields.drop (call $fields.new)) (br $l))", CPU),
    _http("double-respond", "Answers twice.", "(call $ok (local.get $out)) (call $ok (local.get $out))", TRAP),
    _http("silent", "Never answers.", "", OUTPUT),
    _http("drop-outparam", "Drops its response-outparam.", "(call $response-outparam.drop (local.get $out))", OUTPUT),
    _http("error-answer", "Answers with an error code.", """
        (call $response-outparam.set (local.get $out) (i32.const 1) (i32.const 38) (i32.const 0) (i64.const 0)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))""", OUTPUT),
    _http("half-body", "Sends half a body and traps.", """
        (local.set $a (call $head (local.get $out)))
        (call $output-stream.blocking-write-and-flush (local.get $a) (i32.const 1024) (i32.const 4096) (i32.const 0))
        unreachable""", TRAP),
    _http("no-finish", "Leaves its body without an end.", "(drop (call $head (local.get $out)))", OUTPUT),
    _http("after-finish", "Finishes its body while the stream is open, and writes on.", """
        (local.set $a (call $head (local.get $out)))
        (call $outgoing-body.finish (global.get $body) (i32.const 0) (i32.const 0) (i32.const 0))
        (call $output-stream.blocking-write-and-flush (local.get $a) (i32.const 1024) (i32.const 4096) (i32.const 0))
        (if (i32.eqz (i32.load8_u (i32.const 0))) (then (unreachable)))""", TRAP, "200"),
    _http("short-body", "Declares 100 bytes and sends four.", f"""
        (local.set $a (call $fields.new))
        {_append(512, 14, 526, 3).replace("(call $fields.new)", "(local.get $a)")}
        (local.set $a (call $answer (local.get $out) (local.get $a)))
        (call $output-stream.blocking-write-and-flush (local.get $a) (i32.const 512) (i32.const 4) (i32.const 0))
        (call $done (local.get $a))""", OUTPUT, fields='(data (i32.const 512) "content-length100")'),
    _http("exit-0", "Exits with success before it answers.", "(call $exit.exit (i32.const 0))", OUTPUT),
    _http("exit-1", "Exits with failure before it answers.", "(call $exit.exit (i32.const 1))", TRAP),
    _http("exit-start", "Exits in its start function.", "", TRAP, OUTPUT, fields="(func $s (call $exit.exit (i32.const 1))) (start $s)"),
    _http("realloc-spin", "Its allocator never returns.", _PATH, CPU, allocator=_allocator(_SPIN + " unreachable")),
    _http("realloc-trap", "Its allocator traps.", _PATH, TRAP, allocator=_allocator("unreachable")),
    _http("realloc-outside", "Its allocator points behind the memory.", _PATH, TRAP, allocator=_allocator("(i32.const -8)")),
    _http("realloc-edge", "Its allocator points at the end of the memory.", _PATH, TRAP, allocator=_allocator("(i32.const 0x50000)")),
    _http("realloc-odd", "Its allocator returns misaligned lists.", _ENTRIES, TRAP, allocator=_allocator("(i32.const 4097)")),
    _http("realloc-grows", "Its allocator moves the memory each time, and it answers.", _ENTRIES + "(call $ok (local.get $out))",
        "200", allocator=_allocator("""
        (i32.and (i32.add (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)) (i32.const 7)) (i32.const -8))""")),
    _http("realloc-recursion", "Its allocator calls itself without end.", _PATH, TRAP,
        allocator=_allocator("(call $down (i64.const 1) (i64.const 2)) drop (i32.const 8)") + _RECURSE),
    _http("realloc-calls-host", "Its allocator calls the host, which calls the allocator, and so on.", f"""
        (table.set $t (i32.const 0) (ref.func $incoming-request.path-with-query))
        (global.set $who (local.get $request)) {_PATH}""", TRAP,
        fields="""(import "env" "table" (table $t 1 funcref)) (import "env" "who" (global $who (mut i32)))
          (elem declare func $incoming-request.path-with-query)""",
        allocator=_allocator("""(call_indirect $t (param i32 i32) (global.get $who) (i32.const 64) (i32.const 0))
          (i32.const 4096)""") + """(table $t (export "table") 1 funcref)
          (global $who (export "who") (mut i32) (i32.const 0))"""),
    _http("utf8", "A header name that is no UTF-8.", _append(512, 4, 512, 1), TRAP, fields='(data (i32.const 512) "\\ff\\fe\\fd\\fc")'),
    _http("discriminant", "A result that is neither ok nor error.", """
        (call $response-outparam.set (local.get $out) (i32.const 7) (i32.const 0) (i32.const 0) (i64.const 0)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))""", TRAP),
    _http("discriminant-nested", "An error code that there is not.", """
        (call $response-outparam.set (local.get $out) (i32.const 1) (i32.const 99) (i32.const 0) (i64.const 0)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))""", TRAP),
    _http("option-discriminant", "An option that is neither some nor none.", """
        (drop (call $head (local.get $out)))
        (call $outgoing-body.finish (global.get $body) (i32.const 3) (i32.const 0) (i32.const 0))""", TRAP),
    _http("forged", "A handle that it was never given.", "(call $incoming-request.consume (i32.const 7777) (i32.const 0))", TRAP),
    _http("wrong-type", "A handle of another type.", "(call $incoming-request.consume (local.get $out) (i32.const 0))", TRAP),
    _http("drop-twice", "Drops a handle twice.", """
        (local.set $a (call $fields.new)) (call $fields.drop (local.get $a)) (call $fields.drop (local.get $a))""", TRAP),
    _http("use-after-move", "Uses fields that it has given away.", """
        (local.set $a (call $fields.new)) (drop (call $outgoing-response.new (local.get $a)))
        (call $fields.entries (local.get $a) (i32.const 0))""", TRAP),
    _http("handle-0", "Handle 0.", "(call $fields.entries (i32.const 0) (i32.const 0))", TRAP),
    _http("handle-max", "Handle 0xFFFFFFFF.", "(call $fields.entries (i32.const -1) (i32.const 0))", TRAP),
    _http("return-outside", "A return area behind its memory.", _ENTRIES.replace("(i32.const 0)", "(i32.const -4)"), TRAP),
    _http("return-odd", "A misaligned return area.", _ENTRIES.replace("(i32.const 0)", "(i32.const 3)"), TRAP),
    _http("giant-list", "A list of 100 MiB.", "(drop (memory.grow (i32.const 1700)))" + _append(64, 1, 0, 104_857_600), TRAP, OUTPUT,
        fields='(data (i32.const 64) "x")'),
    _http("many-entries", "A list of 100 million entries.", """
        (call $fields.from-list (i32.const 0) (i32.const 100000000) (i32.const 0))""", TRAP),
    _http("many-empty-entries", "A list of 20,000 empty entries.", """
        (call $fields.from-list (i32.const 8192) (i32.const 15000) (i32.const 0))
        (if (i32.eqz (i32.load8_u (i32.const 0))) (then (unreachable)))
        (call $ok (local.get $out))""", "200", TRAP, OUTPUT),
    _http("random-bytes", "2^64 random bytes.", """
        (call $random.get-random-bytes (i64.const -1) (i32.const 0)) (call $ok (local.get $out))""", "200", TRAP, OUTPUT, MEMORY),
    _http("random-spin", "A megabyte of random bytes, for ever.", """
        (loop $l (call $random.get-random-bytes (i64.const 1000000) (i32.const 0)) (br $l))""", CPU, TRAP),
    _http("over-permit", "Writes what check-write did not allow.", """
        (local.set $a (call $head (local.get $out)))
        (call $output-stream.write (local.get $a) (i32.const 0) (i32.const 65536) (i32.const 0))""", TRAP),
    _http("zeroes-max", "2^64 zeroes without asking.", """
        (local.set $a (call $head (local.get $out)))
        (call $output-stream.write-zeroes (local.get $a) (i64.const -1) (i32.const 0))""", TRAP),
    _http("read-max", "Reads 2^64 bytes of no body.", """
        (call $incoming-request.consume (local.get $request) (i32.const 0))
        (call $incoming-body.stream (i32.load (i32.const 4)) (i32.const 0))
        (call $input-stream.blocking-read (i32.load (i32.const 4)) (i64.const -1) (i32.const 0))
        (call $ok (local.get $out))""", "200"),
    _http("call-out", "Asks itself, without end; nobody allowed it.", """
        (local.set $a (call $outgoing-request.new (call $fields.new)))
        (drop (call $outgoing-request.set-authority (local.get $a) (i32.const 1) (i32.const 512) (i32.const 14)))
        (call $outgoing-handler.handle (local.get $a) (i32.const 0) (i32.const 0) (i32.const 0))
        (if (i32.eqz (i32.load8_u (i32.const 0))) (then unreachable))
        (call $ok (local.get $out))""", "200", fields='(data (i32.const 512) "127.0.0.1:8080")'),
    _http("spin-after-answer", "Answers, then runs for ever.", f"(call $ok (local.get $out)) {_SPIN}", CPU),
)  # fmt: skip

_HOG: Final = 64
"""As many as a PoP host might run of one worker."""
_SLEEP: Final = "(call $pollable.block (call $monotonic-clock.subscribe-duration (i64.const 3600000000000)))"
HOGS: Final = (
    _http("hog-instances", "Makes 50 core instances and sleeps: the pool of the host must not run dry.", _SLEEP, WALL, MEMORY, REFUSED, OVERLOADED,
        waits=True, at_once=_HOG, parts="(core module $more)" + "(core instance (instantiate $more))" * 50),
    _http("hog-tables", "Makes eight tables and sleeps.", _SLEEP, WALL, MEMORY, REFUSED, OVERLOADED, waits=True, at_once=_HOG,
        fields="(table 9 funcref)" * 8),
    _http("hog-memories", "Makes six memories and sleeps.", _SLEEP, TRAP, MEMORY, REFUSED, waits=True, at_once=_HOG,
        parts="(core module $more (memory 1))" + "(core instance (instantiate $more))" * 6),
)  # fmt: skip

_POLL_STDIN: Final = "(i32.store8 (i32.const 520) (i32.const 1))"
COMMANDS: Final = (
    _wagi("grow", "Takes memory by the MiB until it gets no more.", _EAT, MEMORY),
    _wagi("huge-memory", "Wants 4 GiB at start.", "", MEMORY, fields='(memory (export "memory") 65536)'),
    _wagi("flood", "Zeroes without end.", """
        (call $head) (loop $l (call $put (i32.const 1) (i32.const 1024) (i32.const 65536)) (br $l))""", OUTPUT, CPU),
    _wagi("unread", "Zeroes without end, for a client that never reads.", """
        (call $head) (loop $l (call $put (i32.const 1) (i32.const 1024) (i32.const 65536)) (br $l))""",
        WALL, waits=True, unread=True),
    _wagi("header-flood", "Header fields without end.",
        "(loop $l (call $put (i32.const 1) (i32.const 512) (i32.const 5)) (br $l))", OUTPUT, CPU,
        fields='(data (i32.const 512) "x: y\\n")'),
    _wagi("giant-header", "A header value of 60 KB.", """
        (memory.fill (i32.const 4096) (i32.const 120) (i32.const 60000)) (i32.store8 (i32.const 4097) (i32.const 58))
        (call $put (i32.const 1) (i32.const 4096) (i32.const 60000))""", OUTPUT),
    _wagi("crlf", "A header value with a lone carriage return in it.",
        "(call $put (i32.const 1) (i32.const 512) (i32.const 33))", OUTPUT,
        fields='(data (i32.const 512) "Content-Type: a\\0dX: b\\0dY: c\\0d\\n\\0d\\n\\n\\n\\n\\n\\n\\n")'),
    _wagi("no-colon", "A head that is none.", "(call $put (i32.const 1) (i32.const 512) (i32.const 8))", OUTPUT,
        fields='(data (i32.const 512) "what is\\n\\n")'),
    _wagi("bad-status", "Status 999.", "(call $put (i32.const 1) (i32.const 512) (i32.const 13))", OUTPUT,
        fields='(data (i32.const 512) "Status: 999\\n\\n")'),
    _wagi("log-lines", "10,000 log lines, then answers.", """
        (loop $l (call $put (i32.const 2) (i32.const 512) (i32.const 16))
          (br_if $l (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10000))))
        (call $head)""", "200", CPU, fields='(data (i32.const 512) "what a long day\\n")'),
    _wagi("endless-log", "Logs for ever.", "(loop $l (call $put (i32.const 2) (i32.const 512) (i32.const 60000)) (br $l))", CPU),
    _wagi("wait", "Waits for a request body that never comes.", f"""
        {_POLL_STDIN}
        (drop (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 0)))""", WALL, OUTPUT, waits=True),
    _wagi("sleep", "Sleeps for an hour.", """
        (i32.store (i32.const 528) (i32.const 1)) (i64.store (i32.const 536) (i64.const 3600000000000))
        (drop (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 0)))""", WALL, waits=True),
    _wagi("sleep-ages", "Sleeps for 584 years.", """
        (i32.store (i32.const 528) (i32.const 1)) (i64.store (i32.const 536) (i64.const -1))
        (drop (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 0)))""", WALL, waits=True),
    _wagi("poll-nothing", "Polls no subscription, then answers.", """
        (if (i32.eqz (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))) (then unreachable))
        (call $head)""", "200"),
    _wagi("poll-10000", "Polls 10,000 subscriptions, then answers.", """
        (drop (memory.grow (i32.const 20)))
        (if (i32.eqz (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 10000) (i32.const 0))) (then unreachable))
        (call $head)""", "200"),
    _wagi("busy-poll", "Polls what is always ready, for ever.", """
        (i32.store8 (i32.const 520) (i32.const 2)) (i32.store (i32.const 528) (i32.const 2))
        (loop $l (drop (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 0))) (br $l))""", CPU),
    _wagi("yield", "Yields for ever.", "(loop $l (drop (call $sched_yield)) (br $l))", CPU),
    _wagi("clock-spin", "Asks for the time, for ever.", """
        (loop $l (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0))) (br $l))""", CPU),
    _wagi("random-spin", "A MiB of random bytes, for ever.", """
        (drop (memory.grow (i32.const 20)))
        (loop $l (drop (call $random_get (i32.const 0) (i32.const 1048576))) (br $l))""", CPU),
    _wagi("gather", "Writes one page a thousand times in one call, for ever.", """
        (call $head)
        (loop $l
          (i32.store (i32.add (i32.const 4096) (i32.mul (local.get $n) (i32.const 8))) (i32.const 0))
          (i32.store (i32.add (i32.const 4100) (i32.mul (local.get $n) (i32.const 8))) (i32.const 65536))
          (br_if $l (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1024))))
        (loop $l (drop (call $fd_write (i32.const 1) (i32.const 4096) (i32.const 1024) (i32.const 0))) (br $l))""", OUTPUT, CPU),
    _wagi("gather-log", "Logs one page a thousand times in one call, for ever.", """
        (loop $l
          (i32.store (i32.add (i32.const 4096) (i32.mul (local.get $n) (i32.const 8))) (i32.const 0))
          (i32.store (i32.add (i32.const 4100) (i32.mul (local.get $n) (i32.const 8))) (i32.const 65536))
          (br_if $l (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1024))))
        (loop $l (drop (call $fd_write (i32.const 2) (i32.const 4096) (i32.const 1024) (i32.const 0))) (br $l))""", CPU),
    _wagi("empty-writes", "Writes nothing, for ever.", "(loop $l (call $put (i32.const 1) (i32.const 0) (i32.const 0)) (br $l))", CPU),
    _wagi("too-many-iovecs", "Two billion iovecs, then answers.", """
        (if (i32.eqz (call $fd_write (i32.const 1) (i32.const 0) (i32.const 0x7fffffff) (i32.const 8))) (then unreachable))
        (call $head)""", "200"),
    _wagi("silent", "Never answers.", "", OUTPUT),
    _wagi("half-body", "Sends half a body and traps.", """
        (call $head) (call $put (i32.const 1) (i32.const 1024) (i32.const 4096)) unreachable""", TRAP),
    _wagi("exit-0", "Exits with success before it answers.", "(call $proc_exit (i32.const 0))", OUTPUT),
    _wagi("exit-1", "Exits with failure before it answers.", "(call $proc_exit (i32.const 1))", TRAP),
    _wagi("raise", "Raises signals, then answers.", """
        (loop $l (drop (call $proc_raise (local.get $n)))
          (br_if $l (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 40))))
        (call $head)""", "200"),
    _wagi("close-all", "Closes its descriptors, then answers.", """
        (loop $l (drop (call $fd_close (local.get $n)))
          (br_if $l (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 40))))
        (call $head)""", "200", OUTPUT),
    _wagi("spin-after-answer", "Answers, then runs for ever.", f"(call $head) {_SPIN}", CPU),
)  # fmt: skip

PACK: Final[dict[str, Hostile]] = {guest.id: guest for guest in (*SHARED, *COMPONENTS, *HOGS, *COMMANDS)}
"""Every guest by `id`."""
TOO_BIG: Final = frozenset({"http-huge-memory", "wagi-huge-memory"})
"""They begin with more memory than any worker may have: an edge takes no deployment of them, whatever would end them if they ran."""
