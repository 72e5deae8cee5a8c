import { getEnvironment } from "wasi:cli/environment@0.2.10";

addEventListener("fetch", (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  const { EDGESIM_POP } = Object.fromEntries(getEnvironment());
  const city = decodeURIComponent(request.headers.get("x-edge-client-city") ?? "the world");
  return new Response(`hello ${city}, this is ${EDGESIM_POP}\n`, { headers: { "content-type": "text/plain; charset=utf-8" } });
}
