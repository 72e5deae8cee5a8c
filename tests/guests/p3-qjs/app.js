// The conformance guest in JavaScript (QuickJS) for WASI 0.3: an async export, streams and futures. Routes: ../README.md.
// No /sub: componentize-qjs 0.4.5 cannot link the async function of wasi:http/client.
import environment from "wasi:cli/environment@0.3.0";
import stderr from "wasi:cli/stderr@0.3.0";
import exit from "wasi:cli/exit@0.3.0";
import clock from "wasi:clocks/monotonic-clock@0.3.0";
import random from "wasi:random/random@0.3.0";
import types from "wasi:http/types@0.3.0";

const { Fields, Request, Response } = types;
const bytes = (s) => Uint8Array.from(unescape(encodeURIComponent(s)), (c) => c.charCodeAt(0));
const string = (b) => decodeURIComponent(escape(String.fromCharCode(...b)));
const hex = (b) => Array.from(b, (byte) => byte.toString(16).padStart(2, "0")).join("");
let count = 0;

const futureType = (part) => wit.Future[Object.keys(wit.Future.types ?? wit.Future).find((name) => part.test(name))];

function resolved(type, value) {
  const { readable, writable } = wit.Future(type);
  writable.write(value).then(() => writable.drop?.(), () => {});
  return readable;
}

const trailersFuture = (fields = null) => resolved(wit.Future.RESULT_OPTION_TRAILERS_ERROR_CODE ?? futureType(/OPTION/), { tag: "ok", val: fields });
const doneFuture = () => resolved(wit.Future.RESULT_UNIT_ERROR_CODE ?? futureType(/^RESULT_(?!OPTION)/), { tag: "ok" });

function respond(status, type, body, trailers) {
  const [response] = Response.new(Fields.fromList(type ? [["content-type", bytes(type)]] : []), body, trailers ?? trailersFuture());
  response.setStatusCode(status);
  return response;
}

async function* once(chunk) {
  yield chunk;
}

const text = (body, status = 200, type = "text/plain") => respond(status, type, once(bytes(body)));
const json = (value) => text(JSON.stringify(value), 200, "application/json");
const pairs = (headers) => headers.copyAll().map(([name, value]) => [name, string(value)]);
const contentType = (headers) => {
  const [value] = headers.get("content-type");
  return value && string(value);
};

async function* copy(stream) {
  for await (const chunk of stream) yield chunk;
}

async function* chunks(n, size) {
  for (let i = 0; i < n; i++) yield size ? new Uint8Array(size).fill(i & 255) : bytes(`chunk ${i}\n`);
}

async function* lines(n) {
  for (let i = 0; i < n; i++) yield bytes(`log line ${i}\n`);
}

const routes = {
  "/hello": () => text("hello from p3-qjs"),
  "/echo": (request) => {
    const type = contentType(request.getHeaders()) ?? "application/octet-stream";
    const [stream] = Request.consumeBody(request, doneFuture());
    return respond(200, type, copy(stream));
  },
  "/headers": (request) => json(pairs(request.getHeaders())),
  "/status": (request, query) => text("as you wish", Number(query.code)),
  "/timer": async (request, query) => {
    await clock.waitFor(Number(query.ms) * 1e6);
    return text("waited");
  },
  "/env": () => json(Object.fromEntries(environment.getEnvironment())),
  "/random": () => text(hex(random.getRandomBytes(16))),
  "/log": async (request, query) => {
    await stderr.writeViaStream(lines(Number(query.n))).read();
    return text(query.n);
  },
  "/count": () => text(String(++count)),
  "/stream": (request, query) => respond(200, "application/octet-stream", chunks(Number(query.chunks), Number(query.size ?? 0))),
  "/trailers": async (request) => {
    const [stream, future] = Request.consumeBody(request, doneFuture());
    for await (const chunk of stream);
    const received = await future.read();
    const fields = received.tag === "ok" && received.val ? pairs(received.val) : [];
    const mine = Fields.fromList([["x-guest", bytes("p3-qjs")]]);
    return respond(200, "application/json", once(bytes(JSON.stringify(fields))), trailersFuture(mine));
  },
  "/spin": () => {
    for (;;);
  },
  "/trap": () => exit.exit({ tag: "err" }), // JavaScript cannot execute `unreachable`
  "/oom": () => {
    const kept = [];
    for (;;) kept.push(new Uint8Array(1 << 20).fill(1));
  },
};

export const handler = {
  async handle(request) {
    const [path, query = ""] = (request.getPathWithQuery() ?? "/").split("?");
    const parameters = Object.fromEntries(query.split("&").map((pair) => pair.split("=").map(decodeURIComponent)));
    const route = routes[path];
    return route ? await route(request, parameters) : text("no such route", 404);
  },
};
