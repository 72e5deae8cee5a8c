# ruff: noqa: D101, D102, D103, PLW0603 - a guest: each route is a function, and its name says which
"""The conformance guest in Python. Routes: ../README.md."""

import json
import os
import sys
import time
from urllib.parse import parse_qsl, urlsplit

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import environment, outgoing_handler, preopens
from wit_world.imports import wasi_filesystem_types as fs
from wit_world.imports import wasi_http_types as http
from wit_world.imports.streams import StreamError_Closed

count = 0


def head(out, status, content_type=None):
    """Send the head; returns what ends the body."""
    fields = [("content-type", content_type)] if content_type else []
    response = http.OutgoingResponse(http.Fields.from_list(fields))
    response.set_status_code(status)
    body = response.body()
    http.ResponseOutparam.set(out, Ok(response))
    return body


def write(stream, data):
    """Write any number of bytes, waiting for room."""
    view = memoryview(data)
    while view:
        room = stream.check_write()
        if not room:
            with stream.subscribe() as pollable:
                pollable.block()
            continue
        stream.write(bytes(view[:room]))
        view = view[room:]


def pieces(stream):
    """Every piece of an input stream."""
    try:
        while True:
            yield stream.blocking_read(65536)
    except Err as end:
        if not isinstance(end.value, StreamError_Closed):
            raise


def text(out, body, status=200, content_type=b"text/plain"):
    """A whole answer."""
    sent = head(out, status, content_type)
    with sent.write() as stream:
        write(stream, body if isinstance(body, bytes) else body.encode())
    http.OutgoingBody.finish(sent, None)


def as_json(out, value):
    text(out, json.dumps(value), content_type=b"application/json")


def copy(out, incoming, status, content_type):
    """Stream a body through."""
    sent = head(out, status, content_type)
    with incoming.stream() as source, sent.write() as stream:
        for piece in pieces(source):
            write(stream, piece)
    http.OutgoingBody.finish(sent, None)


def content_type(headers):
    return next(iter(headers.get("content-type")), None)


def pairs(headers):
    return [[name, value.decode("utf-8", "replace")] for name, value in headers.entries()]


def hello(out, request, query):
    text(out, "hello from py")


def echo(out, request, query):
    kind = content_type(request.headers()) or b"application/octet-stream"
    copy(out, request.consume(), 200, kind)


def headers(out, request, query):
    as_json(out, pairs(request.headers()))


def status(out, request, query):
    text(out, "as you wish", int(query["code"]))


def timer(out, request, query):
    time.sleep(int(query["ms"]) / 1000)
    text(out, "waited")


def sub(out, request, query):
    url = urlsplit(query["url"])
    outgoing = http.OutgoingRequest(http.Fields())
    outgoing.set_scheme(http.Scheme_Https() if url.scheme == "https" else http.Scheme_Http())
    outgoing.set_authority(url.netloc)
    outgoing.set_path_with_query((url.path or "/") + (f"?{url.query}" if url.query else ""))
    try:
        future = outgoing_handler.handle(outgoing, None)
        with future.subscribe() as pollable:
            pollable.block()
        answer = future.get().value
    except Err as error:
        answer = error
    if isinstance(answer, Err):
        text(out, type(answer.value).__name__.removeprefix("ErrorCode_"), 502)
    else:
        copy(out, answer.value.consume(), answer.value.status(), content_type(answer.value.headers()))


def env(out, request, query):
    as_json(out, dict(environment.get_environment()))


def random(out, request, query):
    text(out, os.urandom(16).hex())


def log(out, request, query):
    for i in range(int(query["n"])):
        print(f"log line {i}", file=sys.stderr, flush=True)
    text(out, query["n"])


def counter(out, request, query):
    global count
    count += 1
    text(out, str(count))


def stream(out, request, query):
    size = int(query.get("size", 0))
    sent = head(out, 200, b"application/octet-stream")
    with sent.write() as target:
        for i in range(int(query["chunks"])):
            write(target, bytes([i & 255]) * size if size else b"chunk %d\n" % i)
            target.blocking_flush()
    http.OutgoingBody.finish(sent, None)


def read_file(path):
    for root, name in preopens.get_directories():
        prefix = name.rstrip("/") + "/"
        if path.startswith(prefix):
            file = root.open_at(
                fs.PathFlags.SYMLINK_FOLLOW, path[len(prefix) :], fs.OpenFlags(0), fs.DescriptorFlags.READ
            )
            return file.read_via_stream(0)
    raise FileNotFoundError(path)


def file(out, request, query):
    try:
        source = read_file(query["path"])
    except (Err, FileNotFoundError):
        text(out, "no such file", 404)
        return
    sent = head(out, 200, b"application/octet-stream")
    with source, sent.write() as target:
        for piece in pieces(source):
            write(target, piece)
    http.OutgoingBody.finish(sent, None)


def trailers(out, request, query):
    incoming = request.consume()
    with incoming.stream() as source:
        for _ in pieces(source):
            pass
    future = http.IncomingBody.finish(incoming)
    with future.subscribe() as pollable:
        pollable.block()
    received = future.get().value
    fields = received.value if isinstance(received, Ok) else None
    sent = head(out, 200, b"application/json")
    with sent.write() as target:
        write(target, json.dumps(pairs(fields) if fields else []).encode())
    http.OutgoingBody.finish(sent, http.Fields.from_list([("x-guest", b"py")]))


def spin(out, request, query):
    while True:
        pass


def trap(out, request, query):
    raise RuntimeError("an exception that nobody catches is a trap")


def oom(out, request, query):
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


ROUTES = {
    "/hello": hello, "/echo": echo, "/headers": headers, "/status": status, "/timer": timer, "/sub": sub, "/env": env,
    "/random": random, "/log": log, "/count": counter, "/stream": stream, "/file": file, "/trailers": trailers,
    "/spin": spin, "/trap": trap, "/oom": oom,
}  # fmt: skip


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request, response_out):
        path, _, query = (request.path_with_query() or "/").partition("?")
        route = ROUTES.get(path)
        if route is None:
            text(response_out, "no such route", 404)
        else:
            route(response_out, request, dict(parse_qsl(query)))
