"""A guest that sends early hints, and too many of them: no toolchain makes one yet, since the WIT marks the function unstable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgesim.wasm.host.http import INFORMATIONAL_MAX
from edgesim.wasm.runtime import Runtime
from tests.hostile.pack import Hostile
from tests.support.wasm import GENEROUS, load, request

SEND = "(call $response-outparam.send-informational (local.get $out) (i32.const {status}) {fields} (i32.const 0))"
LINK = '(data (i32.const 65536) "link</a.css>")'
HINTS = f"""(local.set $a (call $fields.new))
(call $fields.append (local.get $a) (i32.const 65536) (i32.const 4) (i32.const 65540) (i32.const 8) (i32.const 0))
{SEND.format(status=103, fields="(local.get $a)")}
(if (i32.load8_u (i32.const 0)) (then unreachable))
{SEND.format(status=101, fields="(call $fields.new)")}
(if (i32.eqz (i32.load8_u (i32.const 0))) (then unreachable))
(loop $again {SEND.format(status=102, fields="(call $fields.new)")}
  (br_if $again (i32.eqz (i32.load8_u (i32.const 0)))))
(call $ok (local.get $out))"""
"""One with a field, one that is refused, then as many as it may send."""


@pytest.mark.parametrize("heard", [True, False])
async def test_early_hints_of_a_guest(tmp_path, heard):
    """They go out in their order before the answer; a client that can take none does not trouble the guest."""
    runtime, sent = Runtime(tmp_path / "aot"), []
    guest = Hostile("hints", "wasi-http", "sends early hints", HINTS, ("200",), LINK)
    try:
        worker = await load(runtime, tmp_path, guest.build())
        inform = (lambda *each: sent.append(each)) if heard else None
        answer = await worker.run(replace(request(), inform=inform), GENEROUS)
    finally:
        await runtime.close()

    assert answer.status == 200
    assert sent == ([(103, (("link", "</a.css>"),)), *[(102, ())] * (INFORMATIONAL_MAX - 1)] if heard else [])
