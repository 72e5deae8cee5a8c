"""The workers worth reading, on a running edge: each does what its page in docs/workers says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator

import pytest

from edgesim.config.catalogue import find_metro
from tests.e2e.edge import WORKERS, Edge, running_edge
from tests.support.guests import guest

pytestmark = pytest.mark.e2e

LARGE = {"geo-page", "shop-api", "jwt-check", "redirect-map", "hello-go"}
"""Not committed: built by tests/guests, once."""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """One edge for all of them, with six PoPs."""
    with running_edge(tmp_path_factory.mktemp("samples"), processes=2) as edge:
        yield edge


def deploy(edge: Edge, name: str) -> None:
    """Deploy a worker of the repository once; one that is not committed is built, and its folder copied."""
    folder = WORKERS / name
    if name in LARGE:
        built = guest(name)
        folder = edge.folder / name
        if not folder.exists():
            shutil.copytree(WORKERS / name, folder, ignore=shutil.ignore_patterns("node_modules", "*.wasm"))
            source = "hello.wasm" if name.startswith("hello-") else "worker.wasm"
            (folder / source).symlink_to(built)
    edge.cli("deploy", folder, timeout_s=180)


def test_the_geo_page_knows_its_reader(edge: Edge) -> None:
    """Two metros see their own city and language from their own PoP; nobody can claim to be elsewhere."""
    deploy(edge, "geo-page")
    claim = {"X-Edge-Client-City": "Atlantis", "X-Edge-Client-Country": "AT"}
    tokyo = edge.http("geo-page", "/where", metro="Tokyo")
    sao_paulo = edge.http("geo-page", "/where", metro="São Paulo", headers=claim)
    page = edge.http("geo-page", metro="Berlin")

    assert (tokyo.status, tokyo.pop) == (200, "nrt1")
    hour = tokyo.json().pop("solar_hour")
    assert (hour - time.gmtime().tm_hour) % 24 in (8, 9, 10)  # 139.7° east are nine hours and a bit
    assert {k: v for k, v in tokyo.json().items() if k != "solar_hour"} == {
        "city": "Tokyo", "country": "JP", "language": "ja", "pop": "nrt1",
    }  # fmt: skip
    assert (sao_paulo.json()["city"], sao_paulo.json()["language"]) == (find_metro("São Paulo").city, "pt")
    assert page.headers["Content-Language"] == "de"
    assert "no-store" in page.headers["Cache-Control"]
    assert ", Berlin!</h1>" in page.body.decode()
    assert "Served by fra1, version 1, for DE." in page.body.decode()


def test_the_split_is_sticky_and_has_its_share(edge: Edge) -> None:
    """By cookie, else by address, at every PoP the same; about 30 of 100 addresses get B."""
    deploy(edge, "ab-split")
    answers = {f"203.0.113.{i}": edge.http("ab-split", address=f"203.0.113.{i}") for i in range(100)}
    variants = Counter(answer.headers["X-Variant"] for answer in answers.values())
    someone = next(address for address, answer in answers.items() if answer.headers["X-Variant"] == "b")
    elsewhere = [edge.http("ab-split", address=someone, pop=pop) for pop in ("fra1", "nrt1", "ord1")]
    kept = edge.http("ab-split", address=someone, headers={"Cookie": "x=1; variant=a"})
    tampered = edge.http("ab-split", address=someone, headers={"Cookie": "variant=zzz"})

    assert set(variants) == {"a", "b"}
    assert 18 <= variants["b"] <= 42  # 2.6 standard deviations; the hash is fixed, so this cannot flake
    assert answers[someone].headers["Set-Cookie"].startswith("variant=b; Path=/; Max-Age=")
    assert [answer.headers["X-Variant"] for answer in elsewhere] == ["b"] * 3
    assert (kept.headers["X-Variant"], kept.headers["Set-Cookie"]) == ("a", None)
    assert (tampered.headers["X-Variant"], "variant=b" in tampered.headers["Set-Cookie"]) == ("b", True)
    assert b"Learn more" in kept.body


@pytest.fixture(scope="module")
def gate(edge: Edge) -> Edge:
    """The edge with the JWT check on it."""
    deploy(edge, "jwt-check")
    return edge


def token(claims: object, *, key: str = "correct horse battery staple", alg: str = "HS256") -> str:
    """A JWT, made here with nothing of the worker's code."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{part(json.dumps({'alg': alg, 'typ': 'JWT'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{signed}.{part(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest())}"


@pytest.mark.parametrize(
    ("bearer", "status", "says"),
    [
        ("", 401, "send Authorization"),
        ("x.y", 401, "three parts"),
        ("*.*.*", 401, "base64url"),
        (token({"sub": "eve"}, key="guessed"), 401, "signature is wrong"),
        (token({"sub": "eve"}, alg="none"), 401, "not HS256"),
        (token({"sub": "eve"}).rsplit(".", 1)[0] + ".", 401, "signature is wrong"),
        (token({"sub": "bob", "exp": 1}), 401, "not valid now"),
        (token({"sub": "bob", "nbf": 9e12}), 401, "not valid now"),
        (token({"sub": "bob", "exp": "soon"}), 401, "exp is not a number"),
        (token([1]), 401, "not a JSON object"),
        (token({"sub": "bob", "exp": 9e12}), 200, "bob"),
    ],
)
def test_the_gate_lets_in_who_has_a_valid_token(gate: Edge, bearer: str, status: int, says: str) -> None:
    """And says to everyone else, in the field that RFC 6750 has for it, why not."""
    answer = gate.http("jwt-check", "/account", headers={"Authorization": f"Bearer {bearer}"} if bearer else {})

    assert (answer.status, says in answer.body.decode()) == (status, True), answer.body
    assert (says in answer.headers.get("WWW-Authenticate", "")) == (status == 401)


def test_the_picture_is_the_mandelbrot_set(edge: Edge) -> None:
    """A PNG whose checksums are right and whose points are known: 0 never escapes, 2 does at once."""
    deploy(edge, "mandelbrot")
    answer = edge.http("mandelbrot", "/?x=0&y=0&width=4.04&size=101")
    wrong = edge.http("mandelbrot", "/?size=100000")

    assert (answer.status, answer.headers["Content-Type"], wrong.status) == (200, "image/png", 400)
    pixels = png_rows(answer.body)
    assert (len(pixels), {len(row) for row in pixels}) == (101, {101})
    assert pixels[50][50] == 255  # c = 0
    assert pixels[50][25] == 255  # c = -1: goes round between 0 and -1
    assert pixels[50][100] == 2  # c = 2: 0, 2, 6
    assert (
        sum(a != b for up, down in zip(pixels, pixels[::-1], strict=True) for a, b in zip(up, down, strict=True)) < 500
    )


def png_rows(data: bytes) -> list[bytes]:
    """The rows of a PNG with a palette and no filters; every CRC is checked."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + body) == int.from_bytes(data[at + 8 + size : at + 12 + size]), kind
        chunks[kind] = body
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    raw = zlib.decompress(chunks[b"IDAT"])
    return [raw[1 + y * (width + 1) : (y + 1) * (width + 1)] for y in range(height)]


def test_the_api_asks_the_origin_twice(edge: Edge) -> None:
    """One document out of two of the origin's, fetched through the app's own front door at the same PoP."""
    deploy(edge, "shop-api")
    answer = edge.http("shop-api", "/api/products/blue-mug", metro="Tokyo")
    document = answer.json()
    refused = edge.http("shop-api", "/api/products/blue-mug", method="POST", body=b"{}")
    straight = edge.http("shop-api", "/catalogue/blue-mug", metro="Tokyo")

    assert (answer.status, document["product"], document["missing"]) == (200, "blue-mug", [])
    assert [document[part]["path"] for part in ("catalogue", "stock")] == ["/catalogue/blue-mug", "/stock/blue-mug"]
    assert [document[part]["via"] for part in ("catalogue", "stock")] == ["nrt1", "nrt1"]
    assert straight.json() == document["catalogue"]
    assert edge.http("shop-api", "/api/products/..").status == 404
    assert (refused.status, refused.headers["Allow"]) == (405, "GET")


def test_the_map_redirects(edge: Edge) -> None:
    """Exact, by prefix, the longest one, with the query; everything else is not found."""
    deploy(edge, "redirect-map")
    paths = ["/", "/docs", "/blog/a/b?page=2", "/blog/2019/x", "/spring-sale?ref=mail", "/docs/more"]
    answers = [edge.http("redirect-map", path) for path in paths]

    assert [(answer.status, answer.headers.get("Location")) for answer in answers] == [
        (302, "/en/"),
        (308, "https://docs.example.com/latest/"),
        (301, "https://blog.example.com/a/b?page=2"),
        (301, "https://archive.example.com/2019/x"),
        (302, "/offers?campaign=spring&ref=mail"),
        (404, None),
    ]


@pytest.mark.parametrize("name", ["hello-go", "hello-zig"])
def test_the_small_languages_say_hello(edge: Edge, name: str) -> None:
    """From the PoP that the app is asked at; the large ones do so in tests/contract/test_sample_workers.py."""
    deploy(edge, name)
    answer = edge.http(name, metro="Singapore")

    assert (answer.status, answer.body) == (200, b"hello from sin1 v1\n")
    assert edge.http(name, "/teapot").status == 418


def test_every_sample_has_a_page_and_a_test() -> None:
    """A worker that is added without either is found."""
    told = "".join(page.read_text() for page in (WORKERS.parent / "docs").rglob("*.md"))
    samples = sorted(manifest.parent.name for manifest in WORKERS.glob("*/spin.toml"))

    assert [name for name in samples if f"`{name}`" not in told and f"`workers/{name}`" not in told] == []
