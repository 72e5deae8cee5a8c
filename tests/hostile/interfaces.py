"""The interfaces of the host as WIT, in short: what `wit.py` makes components from. Names of types may differ from WASI's.

A type is `record NAME:TYPE ...`, `variant NAME(TYPE) NAME ...`, `enum NAME ...` or `flags NAME ...`. `new` is a constructor, `::` a static
function, `self` a borrowed handle of the resource before the dot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

VERSION: Final = "0.2.0"


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface: resources and types of its own, names that it uses from others, and functions in WIT."""

    name: str
    functions: str
    resources: str = ""
    uses: str = ""
    types: dict[str, str] = field(default_factory=dict)


ERROR_CODES: Final = (
    "DNS-timeout DNS-error(DNS-error-payload) destination-not-found destination-unavailable destination-IP-prohibited "
    "destination-IP-unroutable connection-refused connection-terminated connection-timeout connection-read-timeout "
    "connection-write-timeout connection-limit-reached TLS-protocol-error TLS-certificate-error "
    "TLS-alert-received(TLS-alert-received-payload) HTTP-request-denied HTTP-request-length-required "
    "HTTP-request-body-size(option<u64>) HTTP-request-method-invalid HTTP-request-URI-invalid HTTP-request-URI-too-long "
    "HTTP-request-header-section-size(option<u32>) HTTP-request-header-size(option<field-size-payload>) "
    "HTTP-request-trailer-section-size(option<u32>) HTTP-request-trailer-size(field-size-payload) "
    "HTTP-response-incomplete HTTP-response-header-section-size(option<u32>) HTTP-response-header-size(field-size-payload) "
    "HTTP-response-body-size(option<u64>) HTTP-response-trailer-section-size(option<u32>) "
    "HTTP-response-trailer-size(field-size-payload) HTTP-response-transfer-coding(option<string>) "
    "HTTP-response-content-coding(option<string>) HTTP-response-timeout HTTP-upgrade-failed HTTP-protocol-error "
    "loop-detected configuration-error internal-error(option<string>)"
)

INTERFACES: Final = (
    Interface("wasi:io/error", "error.to-debug-string(self) -> string", "error"),
    Interface(
        "wasi:io/poll",
        "pollable.ready(self) -> bool; pollable.block(self); poll(in: list<borrow<pollable>>) -> list<u32>",
        "pollable",
    ),
    Interface(
        "wasi:io/streams",
        """input-stream.read(self, len: u64) -> result<list<u8>, stream-error>;
        input-stream.blocking-read(self, len: u64) -> result<list<u8>, stream-error>;
        input-stream.skip(self, len: u64) -> result<u64, stream-error>;
        input-stream.blocking-skip(self, len: u64) -> result<u64, stream-error>;
        input-stream.subscribe(self) -> pollable;
        output-stream.check-write(self) -> result<u64, stream-error>;
        output-stream.write(self, contents: list<u8>) -> result<_, stream-error>;
        output-stream.blocking-write-and-flush(self, contents: list<u8>) -> result<_, stream-error>;
        output-stream.flush(self) -> result<_, stream-error>;
        output-stream.blocking-flush(self) -> result<_, stream-error>;
        output-stream.subscribe(self) -> pollable;
        output-stream.write-zeroes(self, len: u64) -> result<_, stream-error>;
        output-stream.blocking-write-zeroes-and-flush(self, len: u64) -> result<_, stream-error>;
        output-stream.splice(self, src: borrow<input-stream>, len: u64) -> result<u64, stream-error>;
        output-stream.blocking-splice(self, src: borrow<input-stream>, len: u64) -> result<u64, stream-error>""",
        "input-stream output-stream",
        "error pollable",
        {"stream-error": "variant last-operation-failed(error) closed"},
    ),
    Interface(
        "wasi:cli/environment",
        """get-environment() -> list<tuple<string, string>>; get-arguments() -> list<string>;
        initial-cwd() -> option<string>""",
    ),
    Interface("wasi:cli/exit", "exit(status: result); exit-with-code(status-code: u8)"),
    Interface("wasi:cli/stdin", "get-stdin() -> input-stream", uses="input-stream"),
    Interface("wasi:cli/stdout", "get-stdout() -> output-stream", uses="output-stream"),
    Interface("wasi:cli/stderr", "get-stderr() -> output-stream", uses="output-stream"),
    Interface(
        "wasi:clocks/monotonic-clock",
        """now() -> u64; resolution() -> u64; subscribe-instant(when: u64) -> pollable;
        subscribe-duration(when: u64) -> pollable""",
        uses="pollable",
    ),
    Interface(
        "wasi:clocks/wall-clock",
        "now() -> datetime; resolution() -> datetime",
        types={"datetime": "record seconds:u64 nanoseconds:u32"},
    ),
    Interface(
        "wasi:clocks/timezone",
        "display(when: datetime) -> timezone-display; utc-offset(when: datetime) -> s32",
        uses="datetime",
        types={"timezone-display": "record utc-offset:s32 name:string in-daylight-saving-time:bool"},
    ),
    Interface(
        "wasi:config/store",
        "get(key: string) -> result<option<string>, config-error>; get-all() -> result<list<tuple<string, string>>, config-error>",
        types={"config-error": "variant upstream(string) io(string)"},
    ),
    Interface(
        "wasi:config/runtime",
        "get(key: string) -> result<option<string>, config-error>; get-all() -> result<list<tuple<string, string>>, config-error>",
        uses="config-error",
    ),
    Interface(
        "wasi:logging/logging",
        "log(level: level, context: string, message: string)",
        types={"level": "enum trace debug info warn error critical"},
    ),
    Interface(
        "wasi:filesystem/types",
        """descriptor.read-via-stream(self, offset: u64) -> result<input-stream, fs-error>;
        descriptor.write-via-stream(self, offset: u64) -> result<output-stream, fs-error>;
        descriptor.append-via-stream(self) -> result<output-stream, fs-error>;
        descriptor.advise(self, offset: u64, length: u64, advice: advice) -> result<_, fs-error>;
        descriptor.sync-data(self) -> result<_, fs-error>; descriptor.sync(self) -> result<_, fs-error>;
        descriptor.get-flags(self) -> result<descriptor-flags, fs-error>;
        descriptor.get-type(self) -> result<descriptor-type, fs-error>;
        descriptor.set-size(self, size: u64) -> result<_, fs-error>;
        descriptor.set-times(self, read: new-timestamp, written: new-timestamp) -> result<_, fs-error>;
        descriptor.read(self, length: u64, offset: u64) -> result<tuple<list<u8>, bool>, fs-error>;
        descriptor.write(self, buffer: list<u8>, offset: u64) -> result<u64, fs-error>;
        descriptor.read-directory(self) -> result<directory-entry-stream, fs-error>;
        descriptor.create-directory-at(self, path: string) -> result<_, fs-error>;
        descriptor.stat(self) -> result<descriptor-stat, fs-error>;
        descriptor.stat-at(self, path-flags: path-flags, path: string) -> result<descriptor-stat, fs-error>;
        descriptor.set-times-at(self, path-flags: path-flags, path: string, read: new-timestamp, written: new-timestamp)
        -> result<_, fs-error>;
        descriptor.link-at(self, path-flags: path-flags, path: string, new: borrow<descriptor>, new-path: string)
        -> result<_, fs-error>;
        descriptor.open-at(self, path-flags: path-flags, path: string, open-flags: open-flags, flags: descriptor-flags)
        -> result<descriptor, fs-error>;
        descriptor.readlink-at(self, path: string) -> result<string, fs-error>;
        descriptor.remove-directory-at(self, path: string) -> result<_, fs-error>;
        descriptor.rename-at(self, path: string, new: borrow<descriptor>, new-path: string) -> result<_, fs-error>;
        descriptor.symlink-at(self, path: string, new-path: string) -> result<_, fs-error>;
        descriptor.unlink-file-at(self, path: string) -> result<_, fs-error>;
        descriptor.is-same-object(self, other: borrow<descriptor>) -> bool;
        descriptor.metadata-hash(self) -> result<metadata-hash-value, fs-error>;
        descriptor.metadata-hash-at(self, path-flags: path-flags, path: string) -> result<metadata-hash-value, fs-error>;
        directory-entry-stream.read-directory-entry(self) -> result<option<directory-entry>, fs-error>;
        filesystem-error-code(err: borrow<error>) -> option<fs-error>""",
        "descriptor directory-entry-stream",
        "error input-stream output-stream datetime",
        {
            "path-flags": "flags symlink-follow",
            "open-flags": "flags create directory exclusive truncate",
            "descriptor-flags": "flags read write file-integrity-sync data-integrity-sync requested-write-sync mutate-directory",
            "descriptor-type": "enum unknown block-device character-device directory fifo symbolic-link regular-file socket",
            "advice": "enum normal sequential random will-need dont-need no-reuse",
            "new-timestamp": "variant no-change now timestamp(datetime)",
            "metadata-hash-value": "record lower:u64 upper:u64",
            "directory-entry": "record type:descriptor-type name:string",
            "descriptor-stat": "record type:descriptor-type link-count:u64 size:u64 data-access-timestamp:option<datetime> "
            "data-modification-timestamp:option<datetime> status-change-timestamp:option<datetime>",
            "fs-error": "enum access would-block already bad-descriptor busy deadlock quota exist file-too-large "
            "illegal-byte-sequence in-progress interrupted invalid io is-directory loop too-many-links message-size "
            "name-too-long no-device no-entry no-lock insufficient-memory insufficient-space not-directory not-empty "
            "not-recoverable unsupported no-tty no-such-device overflow not-permitted pipe read-only invalid-seek "
            "text-file-busy cross-device",
        },
    ),
    Interface("wasi:filesystem/preopens", "get-directories() -> list<tuple<descriptor, string>>", uses="descriptor"),
    Interface("wasi:random/random", "get-random-bytes(len: u64) -> list<u8>; get-random-u64() -> u64"),
    Interface(
        "wasi:random/insecure", "get-insecure-random-bytes(len: u64) -> list<u8>; get-insecure-random-u64() -> u64"
    ),
    Interface("wasi:random/insecure-seed", "insecure-seed() -> tuple<u64, u64>"),
    Interface(
        "wasi:http/types",
        """fields.new() -> fields;
        fields::from-list(entries: list<tuple<string, list<u8>>>) -> result<fields, header-error>;
        fields.get(self, name: string) -> list<list<u8>>; fields.has(self, name: string) -> bool;
        fields.set(self, name: string, value: list<list<u8>>) -> result<_, header-error>;
        fields.delete(self, name: string) -> result<_, header-error>;
        fields.append(self, name: string, value: list<u8>) -> result<_, header-error>;
        fields.entries(self) -> list<tuple<string, list<u8>>>; fields.clone(self) -> fields;
        incoming-request.method(self) -> method; incoming-request.path-with-query(self) -> option<string>;
        incoming-request.scheme(self) -> option<scheme>; incoming-request.authority(self) -> option<string>;
        incoming-request.headers(self) -> fields; incoming-request.consume(self) -> result<incoming-body>;
        incoming-body.stream(self) -> result<input-stream>; incoming-body::finish(this: incoming-body) -> future-trailers;
        future-trailers.subscribe(self) -> pollable;
        future-trailers.get(self) -> option<result<result<option<fields>, error-code>>>;
        outgoing-response.new(headers: fields) -> outgoing-response; outgoing-response.status-code(self) -> u16;
        outgoing-response.set-status-code(self, status-code: u16) -> result; outgoing-response.headers(self) -> fields;
        outgoing-response.body(self) -> result<outgoing-body>; outgoing-body.write(self) -> result<output-stream>;
        outgoing-body::finish(this: outgoing-body, trailers: option<fields>) -> result<_, error-code>;
        response-outparam.send-informational(self, status: u16, headers: fields) -> result<_, error-code>;
        response-outparam::set(param: response-outparam, response: result<outgoing-response, error-code>);
        outgoing-request.new(headers: fields) -> outgoing-request; outgoing-request.body(self) -> result<outgoing-body>;
        outgoing-request.method(self) -> method; outgoing-request.set-method(self, method: method) -> result;
        outgoing-request.path-with-query(self) -> option<string>;
        outgoing-request.set-path-with-query(self, path-with-query: option<string>) -> result;
        outgoing-request.scheme(self) -> option<scheme>;
        outgoing-request.set-scheme(self, scheme: option<scheme>) -> result;
        outgoing-request.authority(self) -> option<string>;
        outgoing-request.set-authority(self, authority: option<string>) -> result;
        outgoing-request.headers(self) -> fields; request-options.new() -> request-options;
        request-options.connect-timeout(self) -> option<u64>;
        request-options.set-connect-timeout(self, duration: option<u64>) -> result;
        request-options.first-byte-timeout(self) -> option<u64>;
        request-options.set-first-byte-timeout(self, duration: option<u64>) -> result;
        request-options.between-bytes-timeout(self) -> option<u64>;
        request-options.set-between-bytes-timeout(self, duration: option<u64>) -> result;
        incoming-response.status(self) -> u16; incoming-response.headers(self) -> fields;
        incoming-response.consume(self) -> result<incoming-body>; future-incoming-response.subscribe(self) -> pollable;
        future-incoming-response.get(self) -> option<result<result<incoming-response, error-code>>>;
        http-error-code(err: borrow<error>) -> option<error-code>""",
        "fields incoming-request incoming-body future-trailers outgoing-response outgoing-body response-outparam "
        "outgoing-request request-options incoming-response future-incoming-response",
        "error pollable input-stream output-stream",
        {
            "header-error": "variant invalid-syntax forbidden immutable",
            "method": "variant get head post put delete connect options trace patch other(string)",
            "scheme": "variant HTTP HTTPS other(string)",
            "DNS-error-payload": "record rcode:option<string> info-code:option<u16>",
            "TLS-alert-received-payload": "record alert-id:option<u8> alert-message:option<string>",
            "field-size-payload": "record field-name:option<string> field-size:option<u32>",
            "error-code": "variant " + ERROR_CODES,
        },
    ),
    Interface(
        "wasi:http/outgoing-handler",
        """handle(request: outgoing-request, options: option<request-options>)
        -> result<future-incoming-response, error-code>""",
        uses="outgoing-request request-options future-incoming-response error-code",
    ),
)
