"""The page in a real browser: nothing overflows, nothing is asked of the network, everything opens."""

import shutil

import pytest

from metier.artifacts import Scores
from metier.report.page import page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECTIONS = ["head-to-head", "training", "documents", "answers", "lineage", "cost"]


@pytest.fixture(scope="module")
def browser():
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium or Chrome on this machine: install one to check the page in a real browser")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (it comes with metier[dev])")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(finished, tmp_path_factory):
    saved = page([finished.scores]).save(tmp_path_factory.mktemp("page"))
    return (saved.path / "index.html").as_uri()


@pytest.fixture(scope="module")
def long_address(comparison, tmp_path_factory):
    """Sixty comparisons, some with names that have no place to break."""
    scores = Scores.from_rows([])
    names = ["x" * 180, "a_very_long_task_name_" * 9, "日本語" * 50, "short"]
    scores.comparisons = [
        comparison(f"{names[i % 4]}{i}", ("acquired", "general")[i % 2], 0.5, i / 100 - 0.3, 0.05) for i in range(60)
    ]
    saved = page([scores], title="t" * 200).save(tmp_path_factory.mktemp("page"))
    return (saved.path / "index.html").as_uri()


@pytest.fixture
def opened(browser):
    """A function that opens an address; at the end it must have asked for nothing else and complained of nothing."""
    requests, complaints = [], []
    context = browser.new_context()

    def go(address, width, scheme="light"):
        tab = context.new_page()
        tab.set_viewport_size({"width": width, "height": 800})
        tab.emulate_media(color_scheme=scheme)
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        tab.goto(address)
        return tab

    yield go
    context.close()
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == 1
    assert complaints == []


def overflowing(tab):
    """Elements that stick out of the window, those in their own scrolling box left aside."""
    return tab.evaluate(
        """() => [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, svg") && e.getClientRects().length &&
        e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.tagName + "." + e.className + " " + e.textContent.slice(0, 40))"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 768, 1200])
def test_nothing_sticks_out_with_everything_open(opened, address, width, scheme):
    tab = opened(address, width, scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert overflowing(tab) == []


def test_long_names_wrap_on_a_phone(opened, long_address):
    tab = opened(long_address, 360)
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    assert overflowing(tab) == []


def test_all_sections_are_seen_and_follow_the_dark_scheme(opened, address):
    tab = opened(address, 1200, "dark")
    assert all(tab.locator(f"#{name} h2").is_visible() for name in SECTIONS)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 27)"


def test_details_open_on_click(opened, address):
    tab = opened(address, 360)
    for selector in ("#head-to-head details.table", "#documents details", "#answers details.long", "#lineage .steps details"):
        first = tab.locator(selector).first
        content = first.locator("> :not(summary)").first
        assert not content.is_visible()
        first.locator("> summary").click()
        assert content.is_visible()


def test_text_in_the_forest_plot_is_legible_on_a_phone(opened, address):
    tab = opened(address, 360)
    sizes = tab.evaluate(
        """() => [...document.querySelectorAll("#head-to-head .block *")].filter(e => e.children.length == 0 && e.textContent.trim()
        && e.getClientRects().length).map(e => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert min(sizes) >= 12
    track = tab.locator("#head-to-head .track.gain").first.bounding_box()
    assert track["width"] > 300


def test_marks_stand_where_the_axis_says(opened, address):
    """The first row: a gain of 24.1 points, between the labels +20 and +30, in pixels."""
    tab = opened(address, 1200)
    x = tab.evaluate(
        """() => { const block = document.querySelector("#head-to-head .block"), middle = e => { const r = e.getBoundingClientRect();
        return r.left + r.width / 2 }; const labels = Object.fromEntries([...block.querySelectorAll(".foot .gain span")].map(e => [e.textContent, middle(e)]));
        return [middle(block.querySelector(".gain .dot")), labels["+20"], labels["+30"], middle(block.querySelector("line.zero")), labels["0"]] }"""
    )
    dot, twenty, thirty, zero, label = x
    assert dot == pytest.approx(twenty + 0.41 * (thirty - twenty), abs=1.0)
    assert zero == pytest.approx(label, abs=1.0)
