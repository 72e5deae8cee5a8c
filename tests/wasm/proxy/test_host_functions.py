"""Host functions by way of a real guest's memory, and what hostile arguments do to them."""

import pytest
import wasmtime

from edgesim.model.worker import Limits
from edgesim.wasm.engine import make_engine
from edgesim.wasm.proxy import buffers, headers, http_call, logging, metrics, properties, shared, streams, timers
from edgesim.wasm.proxy.fields import Fields, serialize
from edgesim.wasm.proxy.module import TABLE, ProxyModule
from edgesim.wasm.proxy.spec import Buffer, Map, Side, Status
from edgesim.wasm.proxy.state import PluginState
from edgesim.wasm.proxy.stream import CallResponse, Stream
from edgesim.wasm.proxy.vm import BadMemory, NoMemory
from tests.support.filters import TYPES, filter_request, wat

OUT, SIZE = 16, 20


@pytest.fixture(scope="module")
def engine():
    """One engine for all."""
    return make_engine()


def make_vm(engine, data):
    """A VM of a filter, without a stream."""
    module = ProxyModule(engine, wasmtime.Module(engine, data))
    return module.instantiate(PluginState("guest", Limits(), configuration=b"configured"))


@pytest.fixture
def plain(engine):
    """A VM whose guest does nothing."""
    vm = make_vm(engine, wat(""))
    yield vm
    vm.close()


@pytest.fixture
async def vm(plain):
    """A VM in the request phase of a stream."""
    stream = plain.stream = Stream(filter_request("/path?q=1", headers=(("user-agent", "test"),)))
    stream.maps[Map.REQUEST_HEADERS] = Fields(
        [(":method", "GET"), (":path", "/path?q=1"), (":authority", "hello.localhost"), ("user-agent", "test")]
    )
    stream.writable = frozenset({Map.REQUEST_HEADERS})
    return plain


def put(vm, *texts):
    """Write bytes into the guest's memory; pairs of pointer and size, flattened."""
    at, found = 1024, []
    for text in texts:
        vm.write(at, text)
        found += [at, len(text)]
        at += len(text) + 8
    return found


def got(vm):
    """What a host function has handed over."""
    at, size = (int.from_bytes(vm.read(p, 4), "little") for p in (OUT, SIZE))
    return vm.read(at, size)


def u32(vm, at=OUT):
    """A number that a host function has written."""
    return int.from_bytes(vm.read(at, 4), "little")


async def test_one_field(vm):
    """Get, replace, add and remove, and NOT_FOUND for what is not there."""
    assert headers.get_value(vm, 0, *put(vm, b"User-Agent"), OUT, SIZE) is Status.OK
    assert got(vm) == b"test"
    assert headers.replace_value(vm, 0, *put(vm, b"x-a", b"1")) is Status.OK
    assert headers.add_value(vm, 0, *put(vm, b"x-a", b"2")) is Status.OK
    assert headers.get_value(vm, 0, *put(vm, b"x-a"), OUT, SIZE) is Status.OK
    assert got(vm) == b"1,2"
    assert headers.remove_value(vm, 0, *put(vm, b"x-a")) is Status.OK
    assert headers.get_value(vm, 0, *put(vm, b"x-a"), OUT, SIZE) is Status.NOT_FOUND


async def test_whole_maps(vm):
    """Size, pairs, and replacing all of them."""
    assert headers.get_size(vm, 0, OUT) is Status.OK
    size = u32(vm)
    assert headers.get_pairs(vm, 0, OUT, SIZE) is Status.OK
    assert len(got(vm)) == size
    assert headers.set_pairs(vm, 0, *put(vm, serialize([(b":path", b"/other"), (b"a", b"b")]))) is Status.OK

    assert vm.stream.maps[Map.REQUEST_HEADERS].items == [(":path", "/other"), ("a", "b")]


async def test_maps_of_other_phases(vm):
    """Trailers read as empty; what does not exist yet, or is unknown, is a bad argument; so is writing out of turn."""
    assert headers.get_pairs(vm, Map.REQUEST_TRAILERS, OUT, SIZE) is Status.OK
    assert got(vm) == serialize([])
    for number in (Map.RESPONSE_HEADERS, Map.GRPC_INITIAL_METADATA, Map.CALL_RESPONSE_HEADERS, 8, 0xFFFFFFFF):
        assert headers.get_pairs(vm, number, OUT, SIZE) is Status.BAD_ARGUMENT
        assert headers.add_value(vm, number, *put(vm, b"a", b"b")) is Status.BAD_ARGUMENT
    vm.stream.writable = frozenset()

    assert headers.replace_value(vm, 0, *put(vm, b"a", b"b")) is Status.BAD_ARGUMENT


async def test_buffers(vm):
    """Parts, sizes, and the four ways to write: prepend, append, inject and replace."""
    buffer = vm.stream.buffers[Buffer.REQUEST_BODY] = bytearray(b"0123456789")
    vm.stream.writable_buffer = Buffer.REQUEST_BODY
    assert buffers.get_bytes(vm, 0, 2, 3, OUT, SIZE) is Status.OK
    assert got(vm) == b"234"
    assert buffers.get_bytes(vm, 0, 0, 0xFFFFFFFF, OUT, SIZE) is Status.OK
    assert got(vm) == b"0123456789"
    assert buffers.get_bytes(vm, 0, 11, 1, OUT, SIZE) is Status.BAD_ARGUMENT
    assert buffers.get_bytes(vm, 0, 2, 0xFFFFFFFF, OUT, SIZE) is Status.BAD_ARGUMENT
    assert buffers.get_status(vm, 0, OUT, SIZE) is Status.OK
    assert u32(vm) == 10
    assert buffers.set_bytes(vm, 0, 0, 0, *put(vm, b"<")) is Status.OK
    assert buffers.set_bytes(vm, 0, 0xFFFFFFFF, 0, *put(vm, b">")) is Status.OK
    assert buffers.set_bytes(vm, 0, 1, 2, *put(vm, b"ab")) is Status.OK
    assert buffers.set_bytes(vm, 0, 5, 0, *put(vm, b"!")) is Status.OK

    assert buffer == b"<ab23!456789>"


async def test_buffers_that_are_not_there(vm):
    """NOT_FOUND in this phase, BAD_ARGUMENT for unknown ones; the configuration is always there."""
    assert buffers.get_bytes(vm, Buffer.RESPONSE_BODY, 0, 1, OUT, SIZE) is Status.NOT_FOUND
    assert buffers.get_bytes(vm, 9, 0, 1, OUT, SIZE) is Status.BAD_ARGUMENT
    assert buffers.set_bytes(vm, Buffer.REQUEST_BODY, 0, 0, *put(vm, b"x")) is Status.NOT_FOUND
    assert buffers.get_bytes(vm, Buffer.PLUGIN_CONFIGURATION, 0, 100, OUT, SIZE) is Status.OK
    assert got(vm) == b"configured"
    assert buffers.get_configuration(vm, OUT, SIZE) is Status.OK
    assert buffers.get_bytes(vm, Buffer.VM_CONFIGURATION, 0, 100, OUT, SIZE) is Status.OK
    assert got(vm) == b""


async def test_local_responses(vm):
    """Once, with a possible status; framing and pseudo-fields are not the filter's."""
    given = put(vm, b"why", b"body", serialize([(b"x-a", b"b"), (b"content-length", b"99"), (b":status", b"1")]))
    assert streams.send_local_response(vm, 99, *given, 0) is Status.BAD_ARGUMENT
    assert streams.send_local_response(vm, 403, *given, 0) is Status.OK
    assert streams.send_local_response(vm, 403, *given, 0) is Status.BAD_ARGUMENT
    answer = vm.stream.answer

    assert (answer.status, answer.headers, answer.body, answer.details) == (403, (("x-a", "b"),), b"body", "why")


async def test_streams_go_on_and_end(vm):
    """Request and response; other streams are not HTTP's."""
    vm.stream.paused[Side.REQUEST] = True
    assert streams.continue_stream(vm, Side.REQUEST) is Status.OK
    assert not vm.stream.paused[Side.REQUEST]
    assert streams.continue_stream(vm, Side.UPSTREAM) is Status.UNIMPLEMENTED
    assert streams.continue_stream(vm, 7) is streams.close_stream(vm, 7) is Status.BAD_ARGUMENT
    assert streams.close_stream(vm, Side.RESPONSE) is Status.OK
    assert vm.stream.closed
    assert streams.set_effective_context(vm, 2) is Status.OK
    assert streams.set_effective_context(vm, 3) is Status.BAD_ARGUMENT
    assert streams.done(vm) is Status.NOT_FOUND


async def test_http_calls_are_noted(vm):
    """With their fields; not without a way out, without what a request needs, or beyond the limit."""
    good = serialize([(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a.test")])

    def call(fields=good, upstream=b"a.test"):
        return http_call.http_call(vm, *put(vm, upstream, fields, b"body", b""), 250, OUT)

    assert call() is Status.INTERNAL_FAILURE
    vm.may_call = True
    assert call(serialize([(b":method", b"GET")])) is Status.BAD_ARGUMENT
    assert call(upstream=b"") is Status.BAD_ARGUMENT
    assert [call() for _ in range(9)] == [Status.OK] * 8 + [Status.INTERNAL_FAILURE]
    first = vm.calls.wanted[0]

    assert (first.id, first.upstream, first.body, first.timeout_s) == (1, "a.test", b"body", 0.25)


async def test_the_response_of_a_call(vm):
    """Its maps, body and status are there while it is handled, and only then."""
    vm.calls.response = CallResponse(
        id=1, fields=Fields([(":status", "204"), ("x", "y")]), body=b"abc", trailers=Fields([("t", "u")])
    )
    assert headers.get_value(vm, Map.CALL_RESPONSE_HEADERS, *put(vm, b"x"), OUT, SIZE) is Status.OK
    assert got(vm) == b"y"
    assert headers.get_value(vm, Map.CALL_RESPONSE_TRAILERS, *put(vm, b"t"), OUT, SIZE) is Status.OK
    assert buffers.get_bytes(vm, Buffer.CALL_RESPONSE_BODY, 0, 3, OUT, SIZE) is Status.OK
    assert got(vm) == b"abc"
    assert streams.get_status(vm, OUT, 24, 28) is Status.OK
    assert u32(vm) == 204
    vm.calls.response = None

    assert buffers.get_bytes(vm, Buffer.CALL_RESPONSE_BODY, 0, 3, OUT, SIZE) is Status.NOT_FOUND


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (b"request\0path", b"/path?q=1"), (b"request\0url_path", b"/path"), (b"request\0query", b"q=1"),
        (b"request\0host\0", b"hello.localhost"), (b"request\0method", b"GET"), (b"request\0useragent", b"test"),
        (b"request\0headers\0user-agent", b"test"), (b"source\0address", b"240.1.2.3"),
        (b"request\0size", bytes(8)), (b"pop", b"fra1"), (b"response\0code", None), (b"nothing", None),
        (b"request\0headers\0missing", None), (b"response\0headers\0x", None),
    ],
)  # fmt: skip
async def test_properties(vm, path, value):
    """Envoy's names, the PoP's own, and NOT_FOUND."""
    vm.state.identity[b"pop"] = b"fra1"
    status = properties.get_property(vm, *put(vm, path), OUT, SIZE)

    assert (got(vm) if status is Status.OK else None) == value


async def test_properties_that_a_filter_sets(vm):
    """They are the stream's, win over ours, and are bounded."""
    assert properties.set_property(vm, *put(vm, b"request\0path", b"mine")) is Status.OK
    assert properties.get_property(vm, *put(vm, b"request\0path"), OUT, SIZE) is Status.OK
    assert got(vm) == b"mine"
    statuses = {properties.set_property(vm, *put(vm, b"%d" % i, b"")) for i in range(100)}

    assert statuses == {Status.OK, Status.BAD_ARGUMENT}


async def test_shared_data_queues_and_metrics(vm):
    """The wrappers around the state: values out, and statuses as the specification names them."""
    assert shared.get_shared_data(vm, *put(vm, b"k"), OUT, SIZE, 24) is Status.NOT_FOUND
    assert shared.set_shared_data(vm, *put(vm, b"k", b"v"), 0) is Status.OK
    assert shared.get_shared_data(vm, *put(vm, b"k"), OUT, SIZE, 24) is Status.OK
    assert got(vm) == b"v"
    assert shared.set_shared_data(vm, *put(vm, b"k", b"v"), u32(vm, 24) + 1) is Status.CAS_MISMATCH
    assert shared.resolve_queue(vm, *put(vm, b"", b"q"), OUT) is Status.NOT_FOUND
    assert shared.register_queue(vm, *put(vm, b"q"), OUT) is Status.OK
    assert shared.resolve_queue(vm, *put(vm, b"guest", b"q"), OUT) is Status.OK
    assert shared.resolve_queue(vm, *put(vm, b"another", b"q"), OUT) is Status.NOT_FOUND
    assert shared.enqueue(vm, 1, *put(vm, b"item")) is Status.OK
    assert shared.dequeue(vm, 1, OUT, SIZE) is Status.OK
    assert got(vm) == b"item"
    assert shared.dequeue(vm, 1, OUT, SIZE) is Status.EMPTY
    assert metrics.define_metric(vm, 1, *put(vm, b"g"), OUT) is Status.OK
    assert metrics.define_metric(vm, 3, *put(vm, b"g"), OUT) is Status.BAD_ARGUMENT
    assert metrics.increment_metric(vm, 1, 5) is metrics.increment_metric(vm, 1, (1 << 64) - 2) is Status.OK
    assert metrics.get_metric(vm, 1, OUT) is Status.OK

    assert u32(vm) == 3


async def test_logs(vm):
    """From INFO on, with their level; unknown levels are refused."""
    assert logging.log(vm, 1, *put(vm, b"debug")) is Status.OK
    assert logging.log(vm, 3, *put(vm, b"careful")) is Status.OK
    assert logging.log(vm, 6, *put(vm, b"x")) is Status.BAD_ARGUMENT
    assert logging.get_log_level(vm, OUT) is Status.OK
    assert u32(vm) == 2
    at, size = put(vm, b"written")
    vm.write(SIZE, at.to_bytes(4, "little") + size.to_bytes(4, "little"))
    assert logging.fd_write(vm, 2, SIZE, 1, OUT) == 0
    assert u32(vm) == 7
    assert logging.fd_write(vm, 5, SIZE, 1, OUT) == 8

    assert vm.log.text == "[warn] careful\n[error] written\n"


async def test_only_the_plugins_own_vm_has_a_timer(vm):
    """A stream's VM ends with its request; very short periods are lengthened."""
    assert timers.set_tick_period(vm, 1) is Status.OK
    assert vm.state.tick_s == 0.0
    vm.stream = None
    assert timers.set_tick_period(vm, 1) is Status.OK
    assert vm.state.tick_s == 0.010
    assert timers.get_current_time(vm, OUT) is Status.OK


ARGUMENTS = [0, 1, 65535, 131071, 131072, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]


@pytest.mark.parametrize("name", sorted(TABLE))
def test_bad_pointers_through_every_host_function(engine, name):
    """Whatever a guest passes, it gets a status, and its VM and the process go on."""
    params = TABLE[name].params
    results = []
    for n, first in enumerate(ARGUMENTS):
        values = [ARGUMENTS[(n * 5 + i * 7) % len(ARGUMENTS)] if i else first for i in range(len(params))]
        same = [first] * len(params)
        for arguments in (values, same):
            given = " ".join(f"({TYPES[p]}.const {v})" for p, v in zip(params, arguments, strict=True))
            body = f'(func (export "proxy_on_configure") (param i32 i32) (result i32) (call ${name} {given}))'
            vm = make_vm(engine, wat(body, name))
            vm.may_call = True
            results.append(vm.call("proxy_on_configure", 1, 0))
            assert vm.error is None
            vm.close()

    assert set(results) <= {int(s) for s in Status}
    if name in {
        "proxy_log",
        "proxy_get_property",
        "proxy_get_shared_data",
        "proxy_http_call",
        "proxy_send_local_response",
    }:
        assert int(Status.INVALID_MEMORY_ACCESS) in results


@pytest.mark.parametrize(
    ("allocator", "status"),
    [
        ("(i32.const 0)", Status.INTERNAL_FAILURE),
        ("(i32.const 131071)", Status.INVALID_MEMORY_ACCESS),
        ("(i32.const -1)", Status.INVALID_MEMORY_ACCESS),
        ("(drop (call $proxy_get_configuration (i32.const 16) (i32.const 20))) (i32.const 0)", Status.INTERNAL_FAILURE),
    ],
)
def test_hostile_allocators(engine, allocator, status):
    """Nothing, memory that is not there, and an allocator that asks for data that has to be allocated."""
    data = wat(
        '(func (export "proxy_on_configure") (param i32 i32) (result i32)'
        " (call $proxy_get_configuration (i32.const 16) (i32.const 20)))",
        "proxy_get_configuration",
        allocator=f'(func (export "proxy_on_memory_allocate") (param i32) (result i32) {allocator})',
    )
    vm = make_vm(engine, data)
    got_status = vm.call("proxy_on_configure", 1, 0)
    vm.close()

    assert got_status == status


def test_what_cannot_be_given(plain):
    """Out-pointers are checked before anything is allocated."""
    with pytest.raises(BadMemory):
        plain.give(b"data", 131070, SIZE)
    with pytest.raises(BadMemory):
        plain.read(131000, 1000)
    plain._allocating = True
    with pytest.raises(NoMemory):
        plain.give(b"data", OUT, SIZE)
