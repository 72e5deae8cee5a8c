// The conformance guest in JavaScript without a framework: `wasi:http` as the component model shows it. Routes: ../README.md.
import { getEnvironment } from "wasi:cli/environment@0.2.10";
import { getStderr } from "wasi:cli/stderr@0.2.10";
import { exit } from "wasi:cli/exit@0.2.10";
import { subscribeDuration } from "wasi:clocks/monotonic-clock@0.2.10";
import { getDirectories } from "wasi:filesystem/preopens@0.2.10";
import { getRandomBytes } from "wasi:random/random@0.2.10";
import { handle as send } from "wasi:http/outgoing-handler@0.2.10";
import { Fields, IncomingBody, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam } from "wasi:http/types@0.2.10";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
let count = 0;

// Sends the head; returns what ends the body.
function head(out, status, type) {
  const response = new OutgoingResponse(Fields.fromList(type ? [["content-type", encoder.encode(type)]] : []));
  response.setStatusCode(status);
  const body = response.body();
  ResponseOutparam.set(out, { tag: "ok", val: response });
  return body;
}

function finish(body, stream, trailers) {
  stream[Symbol.dispose]();
  OutgoingBody.finish(body, trailers);
}

// Writes any number of bytes, waiting for room.
function write(stream, bytes) {
  for (let at = 0; at < bytes.length; ) {
    const room = Number(stream.checkWrite());
    if (room === 0) {
      stream.subscribe().block();
      continue;
    }
    const piece = bytes.subarray(at, at + room);
    stream.write(piece);
    at += piece.length;
  }
}

// Calls `each` with every piece of an input stream.
function drain(stream, each) {
  for (;;) {
    let bytes;
    try {
      bytes = stream.blockingRead(65536n);
    } catch (error) {
      if (error.payload?.tag === "closed") return;
      throw error;
    }
    each(bytes);
  }
}

function text(out, body, status = 200, type = "text/plain") {
  const sent = head(out, status, type);
  const stream = sent.write();
  write(stream, encoder.encode(body));
  finish(sent, stream);
}

const json = (out, value) => text(out, JSON.stringify(value), 200, "application/json");

function copy(out, incoming, status, type) {
  const sent = head(out, status, type);
  const [from, to] = [incoming.stream(), sent.write()];
  drain(from, (bytes) => write(to, bytes));
  from[Symbol.dispose]();
  finish(sent, to);
}

const contentType = (headers) => {
  const [value] = headers.get("content-type");
  return value && decoder.decode(value);
};

function subrequest(url) {
  const target = new URL(url);
  const request = new OutgoingRequest(new Fields());
  request.setScheme({ tag: target.protocol === "https:" ? "HTTPS" : "HTTP" });
  request.setAuthority(target.host);
  request.setPathWithQuery(target.pathname + target.search);
  try {
    const future = send(request, undefined);
    future.subscribe().block();
    return future.get().val; // of option<result<result<incoming-response, error-code>>>
  } catch (error) {
    return { tag: "err", val: error.payload };
  }
}

function readFile(path) {
  for (const [root, name] of getDirectories()) {
    const prefix = name.endsWith("/") ? name : name + "/";
    if (!path.startsWith(prefix)) continue;
    try {
      return root.openAt({ symlinkFollow: true }, path.slice(prefix.length), {}, { read: true }).readViaStream(0n);
    } catch (error) {
      return null;
    }
  }
  return null;
}

const routes = {
  "/hello": (out) => text(out, "hello from js-handler"),
  "/echo": (out, request) => copy(out, request.consume(), 200, contentType(request.headers()) ?? "application/octet-stream"),
  "/headers": (out, request) => json(out, request.headers().entries().map(([name, value]) => [name, decoder.decode(value)])),
  "/status": (out, request, query) => text(out, "as you wish", Number(query.get("code"))),
  "/timer": (out, request, query) => {
    subscribeDuration(BigInt(query.get("ms")) * 1_000_000n).block();
    text(out, "waited");
  },
  "/sub": (out, request, query) => {
    const answer = subrequest(query.get("url"));
    if (answer.tag === "err") return text(out, answer.val.tag, 502);
    copy(out, answer.val.consume(), answer.val.status(), contentType(answer.val.headers()));
  },
  "/env": (out) => json(out, Object.fromEntries(getEnvironment())),
  "/random": (out) => text(out, hex(getRandomBytes(16n))),
  "/log": (out, request, query) => {
    const n = Number(query.get("n"));
    const stderr = getStderr();
    for (let i = 0; i < n; i++) stderr.blockingWriteAndFlush(encoder.encode(`log line ${i}\n`));
    text(out, String(n));
  },
  "/count": (out) => text(out, String(++count)),
  "/stream": (out, request, query) => {
    const [chunks, size] = [Number(query.get("chunks")), Number(query.get("size") ?? 0)];
    const sent = head(out, 200, "application/octet-stream");
    const stream = sent.write();
    for (let i = 0; i < chunks; i++) {
      write(stream, size ? new Uint8Array(size).fill(i & 255) : encoder.encode(`chunk ${i}\n`));
      stream.blockingFlush();
    }
    finish(sent, stream);
  },
  "/file": (out, request, query) => {
    const from = readFile(query.get("path"));
    if (!from) return text(out, "no such file", 404);
    const sent = head(out, 200, "application/octet-stream");
    const to = sent.write();
    drain(from, (bytes) => write(to, bytes));
    finish(sent, to);
  },
  "/trailers": (out, request) => {
    const received = [];
    const incoming = request.consume();
    const from = incoming.stream();
    drain(from, () => {});
    from[Symbol.dispose]();
    const future = IncomingBody.finish(incoming);
    future.subscribe().block();
    const trailers = future.get().val;
    if (trailers.tag === "ok" && trailers.val) received.push(...trailers.val.entries().map(([name, value]) => [name, decoder.decode(value)]));
    const sent = head(out, 200, "application/json");
    const stream = sent.write();
    write(stream, encoder.encode(JSON.stringify(received)));
    finish(sent, stream, Fields.fromList([["x-guest", encoder.encode("js-handler")]]));
  },
  "/spin": () => {
    for (;;);
  },
  "/trap": () => exit({ tag: "err" }), // JavaScript cannot execute `unreachable`
  "/oom": () => {
    const kept = [];
    for (;;) kept.push(new Uint8Array(1 << 20).fill(1));
  },
};

export const incomingHandler = {
  handle(request, out) {
    const url = new URL(request.pathWithQuery() ?? "/", "http://guest");
    const route = routes[url.pathname];
    if (route) route(out, request, url.searchParams);
    else text(out, "no such route", 404);
  },
};
