// A page that knows where its reader is: language by country, the way to the PoP, and the time of day there.
// The edge says where the client is in x-edge-client-…; what it does not know is left out, so everything has a default.
import { getEnvironment } from "wasi:cli/environment@0.2.10";

const GREETINGS = { // at night, in the morning, in the afternoon, in the evening
  en: ["Good evening", "Good morning", "Good afternoon", "Good evening"],
  de: ["Guten Abend", "Guten Morgen", "Guten Tag", "Guten Abend"],
  fr: ["Bonsoir", "Bonjour", "Bonjour", "Bonsoir"],
  es: ["Buenas noches", "Buenos días", "Buenas tardes", "Buenas noches"],
  pt: ["Boa noite", "Bom dia", "Boa tarde", "Boa noite"],
  ja: ["こんばんは", "おはようございます", "こんにちは", "こんばんは"],
};
const LANGUAGES = {
  DE: "de", AT: "de", CH: "de", FR: "fr", BE: "fr", SN: "fr", ES: "es", MX: "es", AR: "es", CL: "es", CO: "es", PE: "es",
  BR: "pt", PT: "pt", AO: "pt", JP: "ja",
};

addEventListener("fetch", (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  const reader = readerOf(request.headers);
  const { EDGESIM_POP, EDGESIM_VERSION } = Object.fromEntries(getEnvironment());
  const headers = {
    "cache-control": "private, no-store", // the page is this reader's: no shared cache may keep it
    "content-language": reader.language,
  };
  if (new URL(request.url).pathname === "/where") return Response.json({ ...reader, pop: EDGESIM_POP }, { headers });
  const page = html(reader, EDGESIM_POP, EDGESIM_VERSION);
  return new Response(page, { headers: { ...headers, "content-type": "text/html; charset=utf-8" } });
}

function readerOf(headers) {
  const told = (name) => headers.get(`x-edge-client-${name}`);
  const country = told("country") ?? "";
  const longitude = told("longitude");
  return {
    city: decodeURIComponent(told("city") ?? "somewhere"), // "S%C3%A3o Paulo": header fields are ASCII
    country,
    language: LANGUAGES[country] ?? "en",
    solar_hour: longitude === null ? null : solarHour(Number(longitude)),
  };
}

// 15° of longitude are an hour: good enough to say good morning, without a table of time zones.
function solarHour(longitude) {
  const now = new Date();
  return Math.floor((now.getUTCHours() + now.getUTCMinutes() / 60 + longitude / 15 + 24) % 24);
}

function html({ city, country, language, solar_hour }, pop, version) {
  const greeting = GREETINGS[language][Math.floor((solar_hour ?? 12) / 6)];
  return `<!doctype html>
<html lang="${language}">
<meta charset="utf-8">
<title>${greeting}</title>
<h1>${greeting}, ${escape(city)}!</h1>
<p>Served by ${pop}, version ${version}${escape(country && `, for ${country}`)}.</p>
`;
}

const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
