"""What host functions return has the shape that their WIT type says, where no conformance guest calls them."""

from __future__ import annotations

from ctypes import addressof, c_uint64

import pytest
from wasmtime import wat2wasm
from wasmtime.component import Component

from edgesim.wasm.component import ComponentGuest, Glue
from edgesim.wasm.engine import make_engine
from edgesim.wasm.guest import Grants
from edgesim.wasm.host import host_functions
from edgesim.wasm.linking import imported_functions
from edgesim.wasm.values import Err, Ok, Var
from tests.support.host import HostGuest

IMPORTS = """(component
  (import "wasi:config/store@0.2.0-rc.1" (instance
    (type $e (variant (case "upstream" string) (case "io" string))) (export "error" (type $error (eq $e)))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))
    (export "get-all" (func (result (result (list (tuple string string)) (error $error)))))))
  (import "wasi:clocks/timezone@0.2.12" (instance
    (type $d (record (field "seconds" u64) (field "nanoseconds" u32))) (export "datetime" (type $datetime (eq $d)))
    (type $t (record (field "utc-offset" s32) (field "name" string) (field "in-daylight-saving-time" bool)))
    (export "timezone-display" (type $display (eq $t)))
    (export "display" (func (param "when" $datetime) (result $display)))
    (export "utc-offset" (func (param "when" $datetime) (result s32)))))
  (import "test:codes/errors" (instance
    (type $dns (record (field "rcode" (option string)) (field "info-code" (option u16)))) (export "dns" (type $DNS (eq $dns)))
    (type $tls (record (field "alert-id" (option u8)) (field "alert-message" (option string)))) (export "tls" (type $TLS (eq $tls)))
    (type $c (variant (case "DNS-error" $DNS) (case "TLS-alert-received" $TLS) (case "HTTP-request-body-size" (option u64))
      (case "HTTP-response-header-section-size" (option u32)) (case "internal-error" (option string))))
    (export "code" (type $code (eq $c)))
    (export "of" (func (result (option (result (result (error $code)))))))))
)"""


@pytest.fixture(scope="module")
def kinds():
    """The imported functions' types by (interface without version, name)."""
    engine = make_engine()
    component = Component(engine, wat2wasm(IMPORTS))
    return {(i.partition("@")[0], name): kind for i, name, kind in imported_functions(engine, component)}


def through(kind, value):
    """A result lowered into C values and lifted again."""
    guest = ComponentGuest.__new__(ComponentGuest)
    guest.scratch = (c_uint64 * 2)()
    guest.scratch_at = addressof(guest.scratch)
    lift, lower = Glue().convert(kind.result)
    return lift(guest, lower(guest, value), 1)


@pytest.mark.parametrize(
    ("interface", "name", "args"),
    [
        ("wasi:config/store", "get", ("a",)),
        ("wasi:config/store", "get", ("nothing",)),
        ("wasi:config/store", "get-all", ()),
        ("wasi:clocks/timezone", "display", ({"seconds": 0, "nanoseconds": 0},)),
        ("wasi:clocks/timezone", "utc-offset", ({"seconds": 0, "nanoseconds": 0},)),
    ],
)
def test_results_fit_their_types(kinds, interface, name, args):
    """Nothing is lost or refused on the way through."""
    guest = HostGuest(grants=Grants(variables=(("a", "b"), ("c", "d"))))
    value = host_functions()[interface, name].call(guest, *args)

    assert through(kinds[interface, name], value) == value


@pytest.mark.parametrize(
    "code",
    [
        Var("DNS-error", {"rcode": "NXDOMAIN", "info-code": None}),
        Var("TLS-alert-received", {"alert-id": None, "alert-message": "unknown ca"}),
        Var("HTTP-request-body-size", 5),
        Var("HTTP-response-header-section-size"),
        Var("internal-error", "text"),
    ],
)
def test_error_codes_with_payloads(kinds, code):
    """In the form in which `future-incoming-response.get` gives them."""
    outer = through(kinds["test:codes/errors", "of"], Ok(Err(code)))

    assert isinstance(outer, Ok)
    assert isinstance(outer.value, Err)
    assert outer.value.value == code
