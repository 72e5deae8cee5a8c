// The conformance guest in JavaScript, as a fetch event of StarlingMonkey. Routes: ../README.md.
import { getEnvironment } from "wasi:cli/environment@0.2.10";
import { exit } from "wasi:cli/exit@0.2.10";
import { getDirectories } from "wasi:filesystem/preopens@0.2.10";

const text = (body, status = 200) => new Response(body, { status, headers: { "content-type": "text/plain" } });
const json = (value) => new Response(JSON.stringify(value), { headers: { "content-type": "application/json" } });
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
let count = 0;

function readFile(path) {
  for (const [root, name] of getDirectories()) {
    const prefix = name.endsWith("/") ? name : name + "/";
    if (!path.startsWith(prefix)) continue;
    try {
      const file = root.openAt({ symlinkFollow: true }, path.slice(prefix.length), {}, { read: true });
      const parts = [];
      for (let at = 0n, end = false; !end; ) {
        const [bytes, last] = file.read(65536n, at);
        parts.push(bytes);
        at += BigInt(bytes.length);
        end = last;
      }
      return new Blob(parts);
    } catch (error) {
      return null;
    }
  }
  return null;
}

function stream(chunks, size) {
  let i = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (i === chunks) return controller.close();
      controller.enqueue(size ? new Uint8Array(size).fill(i & 255) : new TextEncoder().encode(`chunk ${i}\n`));
      i += 1;
    },
  });
  return new Response(body, { headers: { "content-type": "application/octet-stream" } });
}

const routes = {
  "/hello": () => text("hello from js-fetch"),
  "/echo": (request) =>
    new Response(request.body, { headers: { "content-type": request.headers.get("content-type") ?? "application/octet-stream" } }),
  "/headers": (request) => json([...request.headers]),
  "/status": (request, query) => text("as you wish", Number(query.get("code"))),
  "/timer": async (request, query) => {
    await new Promise((done) => setTimeout(done, Number(query.get("ms"))));
    return text("waited");
  },
  "/sub": async (request, query) => {
    try {
      const answer = await fetch(query.get("url"));
      return new Response(answer.body, { status: answer.status, headers: answer.headers });
    } catch (error) {
      return text(String(error), 502);
    }
  },
  "/env": () => json(Object.fromEntries(getEnvironment())),
  "/random": () => text(hex(crypto.getRandomValues(new Uint8Array(16)))),
  "/log": (request, query) => {
    const n = Number(query.get("n"));
    for (let i = 0; i < n; i++) console.error(`log line ${i}`);
    return text(String(n));
  },
  "/count": () => text(String(++count)),
  "/stream": (request, query) => stream(Number(query.get("chunks")), Number(query.get("size") ?? 0)),
  "/file": async (request, query) => {
    const blob = readFile(query.get("path"));
    return blob ? new Response(await blob.arrayBuffer(), { headers: { "content-type": "application/octet-stream" } }) : text("no such file", 404);
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

async function handle(request) {
  const url = new URL(request.url);
  const route = routes[url.pathname];
  return route ? route(request, url.searchParams) : text("no such route", 404);
}

addEventListener("fetch", (event) => event.respondWith(handle(event.request)));
