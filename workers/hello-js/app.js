// A worker in JavaScript: says hello from the PoP it runs on.
import { getEnvironment } from "wasi:cli/environment@0.2.10";

addEventListener("fetch", (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  const { pathname } = new URL(request.url);
  if (pathname === "/echo") return new Response(request.body);
  if (pathname === "/teapot") return new Response("short and stout\n", { status: 418 });
  const { EDGESIM_POP, EDGESIM_VERSION } = Object.fromEntries(getEnvironment());
  return new Response(`hello from ${EDGESIM_POP} v${EDGESIM_VERSION}\n`, { headers: { "content-type": "text/plain" } });
}
