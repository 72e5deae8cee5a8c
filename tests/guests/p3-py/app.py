# ruff: noqa: D101, D102, D103, PLW0603 - a guest: each route is a function, and its name says which
"""The conformance guest in Python for WASI 0.3: an async export, streams and futures. Routes: ../README.md."""

import json
import os
from urllib.parse import parse_qsl, urlsplit

import componentize_py_async_support
import wit_world
from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import client, environment, monotonic_clock, stderr
from wit_world.imports import wasi_http_types as http

count = 0


def no_trailers():
    """A future that is resolved at once: no trailers."""
    writer, reader = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(None))
    with writer:
        return reader


def done():
    """A future that tells the sender that its body was handled."""
    writer, reader = wit_world.result_unit_wasi_http_types_error_code_future(lambda: Ok(None))
    with writer:
        return reader


def respond(status, content_type, body, trailers=None):
    """A response; `body` is a stream's readable end."""
    fields = [("content-type", content_type)] if content_type else []
    response, _ = http.Response.new(http.Fields.from_list(fields), body, trailers or no_trailers())
    response.set_status_code(status)
    return response


async def pump(writer, parts):
    """Write every part, whoever reads."""
    with writer:
        for part in parts:
            await writer.write_all(part)


def text(body, status=200, content_type=b"text/plain"):
    writer, reader = wit_world.byte_stream()
    componentize_py_async_support.spawn(pump(writer, [body if isinstance(body, bytes) else body.encode()]))
    return respond(status, content_type, reader)


def as_json(value):
    return text(json.dumps(value), content_type=b"application/json")


def content_type(headers):
    return next(iter(headers.get("content-type")), None)


def pairs(headers):
    return [[name, value.decode("utf-8", "replace")] for name, value in headers.copy_all()]


async def copy(source, target):
    """Stream a body through this guest's memory."""
    with source, target:
        while not source.writer_dropped and not target.reader_dropped:
            await target.write_all(await source.read(65536))


async def hello(request, query):
    return text("hello from p3-py")


async def echo(request, query):
    kind = content_type(request.get_headers()) or b"application/octet-stream"
    source, _ = http.Request.consume_body(request, done())
    writer, reader = wit_world.byte_stream()
    componentize_py_async_support.spawn(copy(source, writer))
    return respond(200, kind, reader)


async def headers(request, query):
    return as_json(pairs(request.get_headers()))


async def status(request, query):
    return text("as you wish", int(query["code"]))


async def timer(request, query):
    await monotonic_clock.wait_for(int(query["ms"]) * 1_000_000)
    return text("waited")


async def sub(request, query):
    url = urlsplit(query["url"])
    outgoing, _ = http.Request.new(http.Fields(), None, no_trailers(), None)
    outgoing.set_scheme(http.Scheme_Https() if url.scheme == "https" else http.Scheme_Http())
    outgoing.set_authority(url.netloc)
    outgoing.set_path_with_query((url.path or "/") + (f"?{url.query}" if url.query else ""))
    try:
        answer = await client.send(outgoing)
    except Err as error:
        return text(type(error.value).__name__.removeprefix("ErrorCode_"), 502)
    kind = content_type(answer.get_headers())
    code = answer.get_status_code()
    source, _ = http.Response.consume_body(answer, done())
    return respond(code, kind, source)  # handed on, without passing through this guest's memory


async def env(request, query):
    return as_json(dict(environment.get_environment()))


async def random(request, query):
    return text(os.urandom(16).hex())


async def log(request, query):
    writer, reader = wit_world.byte_stream()
    future = stderr.write_via_stream(reader)
    await pump(writer, [b"log line %d\n" % i for i in range(int(query["n"]))])
    await future.read()
    return text(query["n"])


async def counter(request, query):
    global count
    count += 1
    return text(str(count))


async def stream(request, query):
    size = int(query.get("size", 0))
    parts = (bytes([i & 255]) * size if size else b"chunk %d\n" % i for i in range(int(query["chunks"])))
    writer, reader = wit_world.byte_stream()
    componentize_py_async_support.spawn(pump(writer, parts))
    return respond(200, b"application/octet-stream", reader)


async def trailers(request, query):
    source, received = http.Request.consume_body(request, done())
    with source:
        while not source.writer_dropped:
            await source.read(65536)
    outcome = await received.read()
    fields = outcome.value if isinstance(outcome, Ok) else None
    body, body_reader = wit_world.byte_stream()
    mine = Ok(http.Fields.from_list([("x-guest", b"p3-py")]))
    end, end_reader = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(None))

    async def send():
        await pump(body, [json.dumps(pairs(fields) if fields else []).encode()])
        await end.write(mine)

    componentize_py_async_support.spawn(send())
    return respond(200, b"application/json", body_reader, end_reader)


async def spin(request, query):
    while True:
        pass


async def trap(request, query):
    raise RuntimeError("an exception that nobody catches is a trap")


async def oom(request, query):
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


ROUTES = {
    "/hello": hello, "/echo": echo, "/headers": headers, "/status": status, "/timer": timer, "/sub": sub, "/env": env,
    "/random": random, "/log": log, "/count": counter, "/stream": stream, "/trailers": trailers, "/spin": spin,
    "/trap": trap, "/oom": oom,
}  # fmt: skip


class Handler(exports.Handler):
    async def handle(self, request):
        path, _, query = (request.get_path_with_query() or "/").partition("?")
        route = ROUTES.get(path)
        if route is None:
            return text("no such route", 404)
        return await route(request, dict(parse_qsl(query)))
