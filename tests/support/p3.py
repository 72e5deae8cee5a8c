"""Small guests of WASI 0.3 as WebAssembly text: one component around core code that a test writes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import wasmtime
from wasmtime import wat2wasm

from edgesim.wasm.engine import Ticker, make_engine
from edgesim.wasm.execution import Execution
from edgesim.wasm.flat.flatten import flatten
from edgesim.wasm.flat.http_p3 import LinkedP3
from edgesim.wasm.guest import NO_GRANTS
from edgesim.wasm.host import host_functions
from edgesim.wasm.host.p3 import p3_functions
from edgesim.wasm.keeping import KeptInstance
from edgesim.wasm.pace import Pace
from tests.support.wasm import GENEROUS
from tests.support.wasm import request as make_request

if TYPE_CHECKING:
    from edgesim.model.worker import Limits
    from edgesim.wasm.guest import Grants, GuestRequest, GuestResponse

_COMPONENT = """
(component
  (import "wasi:http/types@0.3.0" (instance $types
    (export "fields" (type $fields (sub resource)))
    (export "request" (type $request (sub resource)))
    (export "response" (type $response (sub resource)))
    (type $code (variant (case "HTTP-protocol-error") (case "internal-error" (option string)) (case "HTTP-request-denied")))
    (export "error-code" (type $error (eq $code)))
    (export "request-options" (type $options (sub resource)))
    (export "[static]request.new" (func
      (param "headers" (own $fields)) (param "contents" (option (stream u8)))
      (param "trailers" (future (result (option (own $fields)) (error $error)))) (param "options" (option (own $options)))
      (result (tuple (own $request) (future (result (error $error)))))))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[static]response.new" (func
      (param "headers" (own $fields)) (param "contents" (option (stream u8)))
      (param "trailers" (future (result (option (own $fields)) (error $error))))
      (result (tuple (own $response) (future (result (error $error)))))))
    (export "[static]response.consume-body" (func
      (param "this" (own $response)) (param "res" (future (result (error $error))))
      (result (tuple (stream u8) (future (result (option (own $fields)) (error $error)))))))
    (export "[static]request.consume-body" (func
      (param "this" (own $request)) (param "res" (future (result (error $error))))
      (result (tuple (stream u8) (future (result (option (own $fields)) (error $error)))))))
  ))
  (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock (export "wait-for" (func async (param "how-long" u64)))))
  (alias export $types "fields" (type $fields))
  (alias export $types "request" (type $request))
  (alias export $types "response" (type $response))
  (alias export $types "error-code" (type $error))
  (import "wasi:http/client@0.3.0" (instance $client
    (alias outer 1 $request (type $q)) (alias outer 1 $response (type $r)) (alias outer 1 $error (type $e))
    (export "send" (func async (param "request" (own $q)) (result (result (own $r) (error $e)))))))
  (type $answer (result (own $response) (error $error)))
  (type $bytes (stream u8))
  (type $trailers (future (result (option (own $fields)) (error $error))))
  (type $done (future (result (error $error))))
  (core module $memory (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $m (instantiate $memory))
  (core func $fields-new (canon lower (func $types "[constructor]fields")))
  (core func $response-new (canon lower (func $types "[static]response.new") (memory (core memory $m "memory"))))
  (core func $consume (canon lower (func $types "[static]request.consume-body") (memory (core memory $m "memory"))))
  (core func $consume-response (canon lower (func $types "[static]response.consume-body") (memory (core memory $m "memory"))))
  (core func $trailers-drop-readable (canon future.drop-readable $trailers))
  (core func $request-new (canon lower (func $types "[static]request.new") (memory (core memory $m "memory"))))
  (core func $send (canon lower (func $client "send")
    (memory (core memory $m "memory")) (realloc (core func $m "realloc"))))
  (core func $wait-for (canon lower (func $clock "wait-for") async))
  (core func $sleep (canon lower (func $clock "wait-for")))
  (core func $task-return (canon task.return (result $answer) (memory (core memory $m "memory"))))
  (core func $task-cancel (canon task.cancel))
  (core func $set-new (canon waitable-set.new))
  (core func $set-drop (canon waitable-set.drop))
  (core func $set-wait (canon waitable-set.wait (memory (core memory $m "memory"))))
  (core func $set-poll (canon waitable-set.poll (memory (core memory $m "memory"))))
  (core func $join (canon waitable.join))
  (core func $yield (canon thread.yield))
  (core func $subtask-drop (canon subtask.drop))
  (core func $subtask-cancel (canon subtask.cancel))
  (core func $stream-new (canon stream.new $bytes))
  (core func $read (canon stream.read $bytes async (memory (core memory $m "memory"))))
  (core func $write (canon stream.write $bytes async (memory (core memory $m "memory"))))
  (core func $cancel-read (canon stream.cancel-read $bytes))
  (core func $drop-readable (canon stream.drop-readable $bytes))
  (core func $drop-writable (canon stream.drop-writable $bytes))
  (core func $trailers-new (canon future.new $trailers))
  (core func $trailers-write (canon future.write $trailers async (memory (core memory $m "memory"))))
  (core func $trailers-drop (canon future.drop-writable $trailers))
  (core func $done-new (canon future.new $done))
  (core module $code
    (import "m" "memory" (memory 2))
    (import "h" "fields-new" (func $fields-new (result i32)))
    (import "h" "response-new" (func $response-new (param i32 i32 i32 i32 i32)))
    (import "h" "consume" (func $consume (param i32 i32 i32)))
    (import "h" "consume-response" (func $consume-response (param i32 i32 i32)))
    (import "h" "trailers-drop-readable" (func $trailers-drop-readable (param i32)))
    (import "h" "request-new" (func $request-new (param i32 i32 i32 i32 i32 i32 i32)))
    (import "h" "send" (func $send (param i32 i32)))
    (import "h" "wait-for" (func $wait-for (param i64) (result i32)))
    (import "h" "sleep" (func $sleep (param i64)))
    (import "h" "task-return" (func $task-return (param i32 i32 i32 i32 i32)))
    (import "h" "task-cancel" (func $task-cancel))
    (import "h" "set-new" (func $set-new (result i32)))
    (import "h" "set-drop" (func $set-drop (param i32)))
    (import "h" "set-wait" (func $set-wait (param i32 i32) (result i32)))
    (import "h" "set-poll" (func $set-poll (param i32 i32) (result i32)))
    (import "h" "join" (func $join (param i32 i32)))
    (import "h" "yield" (func $yield (result i32)))
    (import "h" "subtask-drop" (func $subtask-drop (param i32)))
    (import "h" "subtask-cancel" (func $subtask-cancel (param i32) (result i32)))
    (import "h" "stream-new" (func $stream-new (result i64)))
    (import "h" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "h" "write" (func $write (param i32 i32 i32) (result i32)))
    (import "h" "cancel-read" (func $cancel-read (param i32) (result i32)))
    (import "h" "drop-readable" (func $drop-readable (param i32)))
    (import "h" "drop-writable" (func $drop-writable (param i32)))
    (import "h" "trailers-new" (func $trailers-new (result i64)))
    (import "h" "trailers-write" (func $trailers-write (param i32 i32) (result i32)))
    (import "h" "trailers-drop" (func $trailers-drop (param i32)))
    (import "h" "done-new" (func $done-new (result i64)))
    (global $writer (mut i32) (i32.const 0))
    (global $set (mut i32) (i32.const 0))
    (data (i32.const 1024) "hello")
    (func $low (param i64) (result i32) (i32.wrap_i64 (local.get 0)))
    (func $high (param i64) (result i32) (i32.wrap_i64 (i64.shr_u (local.get 0) (i64.const 32))))
    (func $must (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
    (func $head (local $stream i64) (local $trailers i64)
      (local.set $stream (call $stream-new))
      (local.set $trailers (call $trailers-new))
      (call $response-new (call $fields-new) (i32.const 1) (call $low (local.get $stream)) (call $low (local.get $trailers)) (i32.const 64))
      (call $task-return (i32.const 0) (i32.load (i32.const 64)) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $must (call $trailers-write (call $high (local.get $trailers)) (i32.const 128)) (i32.const 0))
      (call $trailers-drop (call $high (local.get $trailers)))
      (global.set $writer (call $high (local.get $stream))))
    (func $hello
      (call $head)
      (call $must (call $write (global.get $writer) (i32.const 1024) (i32.const 5)) (i32.const 80))
      (call $drop-writable (global.get $writer)))
    (func (export "handle") (param $request i32) (result i32) (local $i i32) (local $n i32) (local $s i64)
      HANDLE)
    (func (export "callback") (param $event i32) (param $index i32) (param $value i32) (result i32)
      CALLBACK))
  (core instance $i (instantiate $code (with "m" (instance $m)) (with "h" (instance
    EXPORTS))))
  (func $handle async (param "request" (own $request)) (result $answer)
    (canon lift (core func $i "handle") LIFT (memory (core memory $m "memory"))))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/handler@0.3.0" (instance $handler)))
"""
_NAMES = (
    "consume-response", "trailers-drop-readable", "fields-new", "response-new", "consume", "request-new", "send", "wait-for", "sleep", "task-return", "task-cancel", "set-new",
    "set-drop", "set-wait", "set-poll", "join", "yield", "subtask-drop", "subtask-cancel", "stream-new", "read", "write", "cancel-read",
    "drop-readable", "drop-writable", "trailers-new", "trailers-write", "trailers-drop", "done-new",
)  # fmt: skip
EXIT, YIELD = "(i32.const 0)", "(i32.const 1)"
CALLBACK = 'async (callback (core func $i "callback"))'


def wait(waits: str) -> str:
    """What a callback returns to wait for a set."""
    return f"(i32.or (i32.shl {waits} (i32.const 4)) (i32.const 2))"


def component(handle: str, callback: str = "unreachable", *, lift: str = CALLBACK, extra: str = "") -> bytes:
    """A component whose `handle` and callback have these bodies. `$hello` answers, and leaves nothing undone.

    Args:
        handle: body in core text; locals `$i`, `$n` (i32) and `$s` (i64) are free to use.
        callback: body in core text.
        lift: options of the lifted function.
        extra: further definitions of the component.
    """
    exports = "\n".join(f'(export "{name}" (func ${name}))' for name in _NAMES)
    text = _COMPONENT.replace("HANDLE)", f"{handle})").replace("CALLBACK)", f"{callback})")
    text = (
        text.replace("EXPORTS", exports)
        .replace("LIFT", lift)
        .replace("(core module $code", f"{extra}\n(core module $code")
    )
    return bytes(wat2wasm(text))


class P3Guests:
    """Makes guests from core text, and runs them without the compiler's process."""

    def __init__(self) -> None:
        self.engine = make_engine()
        self._ticker = Ticker(self.engine)
        self._pool = ThreadPoolExecutor(1)
        self._linked: dict[tuple[str, str], LinkedP3] = {}

    def link(self, handle: str, callback: str = "unreachable", **more: str) -> LinkedP3:
        """A component of `component`. Raises Unsupported."""
        plan, merged = flatten(component(handle, callback, **more))
        return LinkedP3(self.engine, wasmtime.Module(self.engine, merged), plan, host_functions(), p3_functions())

    async def run(
        self,
        handle: str,
        callback: str = "unreachable",
        *,
        limits: Limits = GENEROUS,
        request: GuestRequest | None = None,
        kept: KeptInstance | None = None,
        grants: Grants = NO_GRANTS,
    ) -> GuestResponse:
        """Serve one request."""
        key = handle, callback
        linked = self._linked.get(key) or self._linked.setdefault(key, self.link(handle, callback))
        instance = None if kept is None else kept.take(linked)[1]
        call = linked.start(request or make_request(), limits, grants, instance)
        return await Execution(call, limits, self._ticker, self._pool, pace=Pace(), kept=kept).run()

    def close(self) -> None:
        """Stop the threads."""
        self._ticker.close()
        self._pool.shutdown()
