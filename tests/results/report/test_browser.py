"""The report in a real Chromium: it works from a file, draws what it says, and asks nobody for anything."""

import json
from contextlib import contextmanager

import pytest

from edgesim.results.report import render
from tests.results.report.documents import EVIL, assets, document
from tests.support.tools import require_tool

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAINTED = """name => {
  const canvas = document.querySelector(`#chart-${name} canvas`);
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(pixels.buffer)).size;
}"""


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all tests of this module."""
    chromium = require_tool("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report over 300 PoPs, as a file."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(document(), assets()), encoding="utf-8")
    return path


@contextmanager
def opened(browser, path, *, width=1440, scheme="light"):
    """The file in a page that has finished; at the end, no error and no request but the file itself."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    errors, requests = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    yield page
    context.close()

    assert errors == []
    assert requests == [path.as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_charts_map_and_tables_are_filled(browser, report, scheme, width):
    """Every chart is painted, every PoP is a dot and a row, and nothing is wider than the window."""
    with opened(browser, report, width=width, scheme=scheme) as page:
        painted = {name: page.evaluate(PAINTED, name) for name in ("latency", "rate", "lag", "cold", "distribution")}
        dots, rows = page.locator("#dots circle").count(), page.locator("#pops tbody tr").count()
        widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        verdict = page.locator("#verdict").inner_text()

    assert all(colors > 8 for colors in painted.values()), painted
    assert (dots, rows) == (300, 300)
    assert widths[0] <= widths[1]
    assert (background == "rgb(8, 14, 28)") is (scheme == "dark")
    assert "failed" in verdict


def test_pops_sort_and_filter(browser, report):
    """By a click, by the keyboard, by text; what has no figure stays below."""
    with opened(browser, report) as page:
        head = page.locator("#pops th", has_text="p99")
        first = page.locator("#pops tbody tr:not([hidden]) td:first-child")
        p99 = page.locator("#pops tbody td:nth-child(9)")
        head.click()
        down = [float(value or "nan") for value in p99.evaluate_all("cells => cells.map(c => c.dataset.v)")]
        head.press("Enter")
        up = [float(value or "nan") for value in p99.evaluate_all("cells => cells.map(c => c.dataset.v)")]
        order = head.get_attribute("aria-sort")
        page.fill("#pop-filter", "city 29 region4")
        found = first.all_inner_texts()
        told = page.locator("#pop-count").inner_text()

    assert down[:299] == sorted(down[:299], reverse=True)
    assert up[:299] == sorted(up[:299])
    assert (down[299] != down[299], up[299] != up[299]) == (True, True)  # the idle PoP: not a number
    assert order == "ascending"
    assert sorted(found) == ["pop129", "pop229", "pop29", "pop294", "pop299"]
    assert told == "5 of 300 PoPs"


def test_a_dot_says_what_it_is_and_the_scale_changes(browser, report):
    """Pointing at a dot shows its figures; the latency can be drawn logarithmically."""
    with opened(browser, report) as page:
        page.locator("#dots circle.dot:not(.idle)").last.dispatch_event("pointermove")
        tip = page.locator("#tip").inner_text()
        button = page.get_by_role("button", name="log scale")
        button.click()
        pressed = button.get_attribute("aria-pressed")

    assert tip.startswith("pop")
    assert "p99" in tip
    assert pressed == "true"


def test_what_no_pop_answered_is_not_on_the_scale_of_the_map(browser, tmp_path):
    """Requests that failed before they reached a PoP are quick, and have a row, but no dot."""
    summary = document(pops=3)
    nowhere = json.loads(json.dumps(summary["pops"][0])) | {"pop": ""}
    nowhere["response"]["p99_s"] = 0.000_123
    summary["pops"].append(nowhere)
    path = tmp_path / "nowhere.html"
    path.write_text(render(summary, assets()), encoding="utf-8")

    with opened(browser, path) as page:
        scale = page.locator(".scale").inner_text()
        rows = page.locator("#pops tbody tr").count()

    assert rows == 4
    assert scale.startswith("p99")
    assert "0.12" not in scale


def test_scripts_in_names_do_not_run(browser, tmp_path):
    """Neither where Python writes markup nor where the page's own script writes text."""
    summary = document(pops=3, name=EVIL)
    summary["pops"][0]["pop"] = summary["places"]["pops"][0]["pop"] = EVIL
    summary["timeline"][0]["label"] = summary["timeline"][1]["label"] = EVIL
    path = tmp_path / "evil.html"
    path.write_text(render(summary, assets()), encoding="utf-8")

    with opened(browser, path) as page:
        page.locator("#dots circle").last.dispatch_event("pointermove")
        pwned = page.evaluate("window.pwned")
        heading = page.locator("h1").inner_text()

    assert pwned is None
    assert heading == EVIL
