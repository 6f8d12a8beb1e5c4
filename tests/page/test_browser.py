"""The page as a person meets it: opened from a file in Debian's Chromium."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from charts import elasticities
from charts.make import RESNET20, RESNET50, result, run, table, unmeasured

from flexure.page import report

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NASTY = """<img src=x onerror="alert(1)">"""
POINTS = '.plot [aria-roledescription="point"]'


@pytest.fixture(scope="module")
def browser() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; install Debian's package chromium")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def visit(browser) -> Iterator:
    """Opens a file and returns the page once its charts are drawn; afterwards nothing may have gone wrong."""
    visits = []

    def opened(path: Path, width: int = 1280, height: int = 900, **options):
        page = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
        page.set_default_timeout(10_000)
        heard: list[str] = []
        page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (heard.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _is_outside(request.url) and heard.append(f"request: {request.url}"))
        visits.append((page, heard))
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("html[data-drawn]")
        return page

    yield opened
    for page, heard in visits:
        page.context.close()
        assert heard == []


def _is_outside(url: str) -> bool:
    return not url.startswith(("file://", "data:", "blob:"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Pages of the sorts of runs that look different."""
    folder = tmp_path_factory.mktemp("pages")
    twenty = run(result(table(RESNET20)))
    names = [(NASTY, "</script><script>alert(2)</script>"), ('"+alert(3)+"', "${alert(4)}"), ("output", "output")]
    runs = {
        "one": [twenty],
        "two": [twenty, run(result(table(RESNET20, end=0.3, seed=1)), name="resnet20-augmented")],
        "deep": [run(result(table(RESNET50)), name="resnet50")],
        "odd": [run(result(unmeasured(table(RESNET20, init=False), {9: "constant output"}), notes=["Left out: 3."]))],
        "many": [run(result(table(end=0.1 * (i + 1)), name=f"network-number-{i}"), name=f"run-{i}") for i in range(9)],
        "matrix": [elasticities.run(elasticities.elasticity(150, pictures=True, layer=[NASTY, "b", "c", "output"]))],
        "nasty": [run(result(table(names), name=NASTY, notes=[NASTY]), name=NASTY), twenty],
    }
    return {name: report(*several, to=folder / f"{name}.html") for name, several in runs.items()}


def opacities(page, chart: int) -> set[str]:
    """Opacity of the lines in one of the charts."""
    lines = page.locator(".plot").nth(chart).locator('[aria-roledescription="line mark"]')
    return {lines.nth(i).get_attribute("opacity") or "1" for i in range(lines.count())}


def choose(page, text: str) -> None:
    """Click an entry of a legend, whose text lies beneath a transparent area that takes the clicks."""
    found = page.locator(".plot .role-legend-label text", has_text=re.compile(f"^{re.escape(text)}$"))
    found.click(force=True)
    page.wait_for_timeout(200)


@pytest.mark.parametrize(
    ("name", "points"), [("one", 2 * 70), ("two", 4 * 70), ("deep", 2 * 176), ("odd", 69), ("nasty", None)]
)
def test_all_panels_are_drawn(visit, pages, name, points):
    page = visit(pages[name])
    assert page.locator(".plot svg").count() == 3 and page.locator(".plot.failed").count() == 0
    if points is not None:
        assert page.locator(POINTS).count() == 3 * points


def test_a_click_in_the_legend_singles_out_one_curve_in_all_charts_and_another_takes_that_back(visit, pages):
    page = visit(pages["two"])
    assert opacities(page, 0) == opacities(page, 1) == {"1"}
    choose(page, "resnet20-augmented")
    assert opacities(page, 0) == opacities(page, 1) == opacities(page, 2) == {"1", "0.12"}
    choose(page, "resnet20-augmented")
    assert opacities(page, 0) == opacities(page, 2) == {"1"}
    choose(page, "initialized network")
    assert opacities(page, 0) == opacities(page, 2) == {"1", "0.12"}
    choose(page, "network as given")
    assert opacities(page, 0) == opacities(page, 2) == {"1"}


def test_a_click_on_a_kind_of_op_leaves_that_kind_alone(visit, pages):
    page = visit(pages["one"])
    choose(page, "add")
    assert page.locator(POINTS).count() == 3 * 2 * 9


def test_pointing_at_a_mark_shows_its_numbers(visit, pages):
    page = visit(pages["one"])
    page.locator(POINTS).first.hover(force=True)  # points may lie on one another
    text = page.locator("#vg-tooltip-element").inner_text()
    assert "conv1" in text and "R ± se" in text and "500" in text


def test_html_in_names_is_text_everywhere_also_in_tooltips(visit, pages):
    page = visit(pages["nasty"])
    assert NASTY in page.locator("main").inner_text()
    assert page.locator('img[src="x"]').count() == 0
    page.locator(POINTS).first.hover(force=True)  # points may lie on one another
    tooltip = page.locator("#vg-tooltip-element")
    assert NASTY in tooltip.inner_text() and tooltip.locator("img, script").count() == 0


@pytest.mark.parametrize("name", ["two", "deep", "odd", "many", "matrix", "nasty"])
def test_nothing_sticks_out_of_a_narrow_window(visit, pages, name):
    page = visit(pages[name], width=390)
    for width in (390, 500, 800):
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        places = "[...document.querySelectorAll('.plot')].map(p => [p.clientWidth, p.firstElementChild.scrollWidth])"
        assert all(inside <= outside + 1 for outside, inside in page.evaluate(places))


def test_the_legend_does_not_run_into_the_text_below_after_the_window_became_narrow(visit, pages):
    page = visit(pages["deep"])
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_timeout(300)
    labels = page.locator(".plot").first.locator(".role-legend-label text")
    lowest = max(box["y"] + box["height"] for box in (label.bounding_box() for label in labels.all()))
    assert lowest <= page.locator(".hint").bounding_box()["y"]


@pytest.mark.parametrize("width", [390, 1280])
def test_a_matrix_is_square_and_tells_of_its_blocks(visit, pages, width):
    page = visit(pages["matrix"], width=width)
    for resized in (width, 420):
        page.set_viewport_size({"width": resized, "height": 900})
        page.wait_for_timeout(300)
        box = page.locator(".square .mark-rect").first.bounding_box()
        assert box["width"] == pytest.approx(box["height"], rel=0.05)
    page.locator(".square .mark-rect path").first.hover(force=True)
    text = page.locator("#vg-tooltip-element").inner_text()
    assert "class 0" in text and "stepped on" in text and "cosine" in text


def test_the_command_can_be_copied(visit, pages):
    page = visit(pages["one"])
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("getSelection().toString()") == "flexure examine resnet20 --data cifar10 --limit 500 --seed 0"


def test_on_paper_the_page_is_a4_with_the_whole_table_and_what_was_recorded(visit, pages):
    page = visit(pages["one"])
    page.emulate_media(media="print")
    assert page.locator(".scroll.tall").evaluate("e => e.scrollHeight <= e.clientHeight + 1")
    assert page.locator("figure").first.evaluate("e => getComputedStyle(e).breakInside") == "avoid"
    paper = page.pdf(prefer_css_page_size=True)
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 6
    assert re.search(rb"/MediaBox\s*\[0 0 59[45][.\d]* 84[12][.\d]*\]", paper)


def test_on_a_dark_screen_the_words_in_the_charts_are_light(visit, pages):
    page = visit(pages["one"], color_scheme="dark")
    color = page.locator(".plot .role-axis-label text").first.evaluate("e => getComputedStyle(e).fill")
    assert min(map(int, re.findall(r"\d+", color))) > 140
    assert page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(20, 23, 27)"


def test_without_scripts_the_numbers_are_still_there(browser, pages):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(pages["one"].as_uri())
    assert "The pictures need JavaScript" in page.locator("main").inner_text()
    assert "layer3.2.conv2" in page.locator("main").inner_text()
    page.context.close()
