// An API that is made at the edge: one request comes in, two go to the origin at the same time, one document goes out.
// `http://self` is the app's own front door. Paths without a route of their own go on to the origin from there.
const PARTS = ["catalogue", "stock"];

addEventListener("fetch", (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  const [, product] = new URL(request.url).pathname.match(/^\/api\/products\/([a-z0-9-]{1,40})$/) ?? [];
  if (product === undefined) return json({ error: "ask for /api/products/<id>" }, 404);
  if (request.method !== "GET") return json({ error: "only GET is answered here" }, 405, { allow: "GET" });

  const answers = await Promise.allSettled(PARTS.map((part) => ask(`http://self/${part}/${product}`)));
  const document = { product, missing: [] };
  answers.forEach(({ status, value, reason }, i) => {
    if (status === "fulfilled") document[PARTS[i]] = value;
    else document.missing.push({ part: PARTS[i], why: String(reason.message ?? reason) });
  });
  // Half a product is better than none; with nothing in hand, the fault is the origin's and not ours.
  const status = document.missing.length === PARTS.length ? 502 : 200;
  return json(document, status, { "cache-control": document.missing.length ? "no-store" : "max-age=30" });
}

async function ask(url) {
  const answer = await fetch(url, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`${new URL(url).pathname} answered ${answer.status}`);
  return answer.json();
}

function json(document, status = 200, headers = {}) {
  return Response.json(document, { status, headers });
}
