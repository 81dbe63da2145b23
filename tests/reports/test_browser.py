"""The page in a real headless Chromium, driven by Selenium."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest

from study_folder import write_study
from vaclip.reports.page import write_report

By = pytest.importorskip("selenium.webdriver.common.by", reason="no Selenium").By
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

from chromium import AXE, chromium, needs_browser  # noqa: E402

pytestmark = needs_browser
PHONE, TABLET, DESKTOP = (360, 800), (768, 1024), (1440, 900)
ARTEFACTS = os.environ.get("VACLIP_SCREENSHOTS")
"""A folder for pictures of what the tests see, where somebody wants them."""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    classes = ("normal", "<img src=https://example.org/x.png>", "w" * 60)
    return write_report(write_study(folder, classes=classes), n_resamples=20, n_permutations=49)


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


@pytest.fixture
def browser(driver, page):
    """The page freshly loaded, at the size of a desktop."""
    _resize(driver, DESKTOP)
    for log in ("browser", "performance"):
        driver.get_log(log)
    driver.get(page.as_uri())
    return driver


def _resize(driver, size):
    width, height = size
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE},
    )


def _stops(browser, most=600) -> list[str]:
    """What the focus reaches by the tabulator key: the stops' ids, classes or targets."""
    script = """
        const a = document.activeElement;
        return a === document.body ? '' :
            a.tagName + ' ' + (a.getAttribute('href') || a.className || a.textContent);
    """
    stops: list[str] = []
    body = browser.find_element(By.TAG_NAME, "body")
    for _ in range(most):
        target = browser.switch_to.active_element if stops else body
        target.send_keys(Keys.TAB)
        stop = browser.execute_script(script)
        if not stop:
            return stops
        stops.append(stop)
    raise AssertionError("the focus does not leave the page")


def test_nothing_is_logged_and_nothing_is_asked_of_the_network(browser, page):
    assert browser.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {
        message["params"]["request"]["url"]
        for message in sent
        if message["method"] == "Network.requestWillBeSent"
    }
    assert page.as_uri() in urls
    assert all(url.startswith("data:") for url in urls - {page.as_uri()})


def test_the_policy_lets_no_script_run_nor_request_leave(browser):
    browser.execute_script(
        """
        const s = document.createElement('script');
        s.textContent = 'window.broken = true';
        document.body.append(s);
        const i = document.createElement('img');
        i.src = 'https://example.org/x.png';
        document.body.append(i);
        """
    )
    assert browser.execute_script("return window.broken") is None
    blocked = [entry["message"] for entry in browser.get_log("browser")]
    assert any("script" in message for message in blocked)
    assert any("example.org" in message for message in blocked)


def test_every_picture_is_shown_and_described(browser):
    pictures = browser.execute_script(
        "return [...document.images].map(i => [i.complete, i.naturalWidth, i.alt])"
    )
    assert len(pictures) > 15
    assert all(complete and width > 0 and alt for complete, width, alt in pictures)


def test_our_style_is_applied(browser):
    body = browser.find_element(By.TAG_NAME, "body")
    assert body.value_of_css_property("margin-left") == "0px"


def test_the_keyboard_reaches_everything_in_order(browser):
    stops = _stops(browser)
    assert stops[0] == "A #main"
    sections = [
        f"A #{s.get_attribute('id')}" for s in browser.find_elements(By.TAG_NAME, "section")
    ]
    assert stops[1] == "DIV scroll plot wide"  # the figure of the verdict
    assert stops[2 : 2 + len(sections)] == sections
    scrolled = browser.find_elements(By.CSS_SELECTOR, ".scroll")
    seen = [element for element in scrolled if element.is_displayed()]
    assert sum("DIV scroll" in stop for stop in stops) == len(seen)
    folded = browser.find_elements(By.TAG_NAME, "summary")
    assert sum(stop.startswith("SUMMARY") for stop in stops) == len(folded) > 0


def test_the_skip_link_appears_on_focus_and_leads_to_the_report(browser):
    link = browser.find_element(By.CSS_SELECTOR, ".skip")
    assert link.rect["x"] < 0
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert link.rect["x"] >= 0
    outline = browser.switch_to.active_element.value_of_css_property("outline-style")
    assert outline == "solid"
    link.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "main"


def test_a_folded_table_opens_with_the_keyboard(browser):
    summary = browser.find_element(By.CSS_SELECTOR, "main summary")
    details = summary.find_element(By.XPATH, "..")
    assert details.get_attribute("open") is None
    summary.send_keys(Keys.ENTER)
    assert details.get_attribute("open")
    assert details.find_element(By.TAG_NAME, "table").is_displayed()


@pytest.mark.parametrize("size", [PHONE, TABLET, DESKTOP])
def test_the_page_is_never_wider_than_the_screen(browser, size):
    _resize(browser, size)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0]


@pytest.mark.parametrize("size", [PHONE, TABLET, DESKTOP])
def test_panels_stand_one_under_the_other_on_a_phone(browser, size):
    """Of each figure that has both, one is shown, and whole."""
    _resize(browser, size)
    kinds = {}
    for kind in ("wide", "narrow"):
        found = browser.find_elements(By.CSS_SELECTOR, f".plot.{kind} svg")
        kinds[kind] = [one for one in found if one.is_displayed()]
    shown, hidden = ("narrow", "wide") if size == PHONE else ("wide", "narrow")
    assert kinds[hidden] == []
    assert len(kinds[shown]) > 5
    first = kinds[shown][0].rect
    assert first["x"] + first["width"] <= size[0]
    if size == PHONE:
        assert all(one.rect["x"] + one.rect["width"] <= size[0] for one in kinds[shown])


@pytest.fixture(params=["light", "dark"])
def scheme(request, browser):
    scheme = [{"name": "prefers-color-scheme", "value": request.param}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    yield request.param
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_text_stands_out_from_its_ground(browser, scheme):
    """WCAG 2's contrast of at least 4.5, of every text on its nearest painted ground."""
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    faint = browser.execute_script(
        """
        const parse = c => c.match(/[\\d.]+/g).map(Number);
        const light = c => parse(c).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
        const ground = e => {
            for (; e; e = e.parentElement) {
                const c = getComputedStyle(e).backgroundColor;
                if (parse(c)[3] !== 0) return c;
            }
            return 'rgb(255, 255, 255)';
        };
        return [...document.body.querySelectorAll('*')]
            .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
            .map(e => {
                const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
                const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
                return [e.tagName, e.className, contrast];
            })
            .filter(found => found[2] < 4.5);
        """
    )
    assert faint == []


def test_the_first_column_stays_while_a_table_is_scrolled(browser):
    _resize(browser, PHONE)
    left = """
        const box = [...document.querySelectorAll('.scroll')].find(
            e => e.querySelector('tbody th') && e.scrollWidth > e.clientWidth + 80);
        box.scrollLeft = arguments[0];
        const cells = [box.querySelector('tbody th'), box.querySelector('tbody td')];
        return cells.map(e => e.getBoundingClientRect().left - box.getBoundingClientRect().left);
    """
    name, value = browser.execute_script(left, 0)
    moved_name, moved_value = browser.execute_script(left, 60)
    assert moved_name == pytest.approx(name, abs=1)
    assert moved_value == pytest.approx(value - 60, abs=1)


# --- what the script does ------------------------------------------------------------------------


@pytest.fixture
def table(browser):
    """The table of scores, a row an arm."""
    box = browser.find_element(By.ID, "table-diagnosis_patient").find_element(By.XPATH, "../../..")
    return box


def _column(table, number) -> list[str]:
    rows = table.find_elements(By.CSS_SELECTOR, "tbody tr")
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[number].text.split("\n")[0]
            for row in rows if row.is_displayed()]  # fmt: skip


def test_a_table_is_sorted_by_any_column_both_ways(table):
    head = table.find_elements(By.CSS_SELECTOR, "thead button")[1]
    for direction in ("ascending", "descending"):
        head.click()
        shown = [float(text.split()[0]) for text in _column(table, 1)]
        assert len(shown) > 2
        assert shown == sorted(shown, reverse=direction == "descending")
        assert head.find_element(By.XPATH, "..").get_attribute("aria-sort") == direction
    table.find_element(By.CSS_SELECTOR, "thead button").click()
    assert _column(table, 0) == sorted(_column(table, 0))


def test_arrows_lead_along_the_head_of_a_table(browser, table):
    first, second = table.find_elements(By.CSS_SELECTOR, "thead button")[:2]
    first.send_keys(Keys.ARROW_RIGHT)
    assert browser.switch_to.active_element == second
    assert (first.get_attribute("tabindex"), second.get_attribute("tabindex")) == ("-1", "0")


def test_an_arm_is_taken_out_of_tables_and_figures_and_put_back(browser, table):
    forest = browser.find_element(By.CSS_SELECTOR, "svg[aria-label^='Forest plot of balanced']")
    drawn = forest.find_elements(By.CSS_SELECTOR, "[data-arm='B0']")
    contrasts = browser.find_elements(By.CSS_SELECTOR, "svg [data-arm~='B0']")
    assert len(contrasts) > len(drawn) > 2
    browser.find_element(By.CSS_SELECTOR, "#choose-arms summary").click()
    box = browser.find_element(By.CSS_SELECTOR, "#choose-arms input[value='B0']")
    for shown in (False, True):
        box.click()
        assert ("B0" in _column(table, 0)) == shown
        assert "B3" in _column(table, 0)
        off = [one.value_of_css_property("display") == "none" for one in contrasts]
        assert all(not one for one in off) if shown else all(off)


def test_rows_are_found_by_what_they_hold(browser):
    for summary in browser.find_elements(By.CSS_SELECTOR, "main summary"):
        summary.click()
    search = browser.find_element(By.CSS_SELECTOR, ".table input[type='search']")
    box = search.find_element(By.XPATH, "../..")
    everything = _column(box, 0)
    search.send_keys(everything[-1].upper())
    found = _column(box, 0)
    assert 0 < len(found) < len(everything)
    search.send_keys(Keys.CONTROL, "a")
    search.send_keys(Keys.DELETE)
    assert _column(box, 0) == everything


@pytest.mark.parametrize("kind", ["CSV", "Markdown", "LaTeX"])
def test_a_table_is_copied_as_it_is_shown(browser, table, kind):
    browser.execute_script(
        "navigator.clipboard.writeText = async text => { window.copied = text; };"
    )
    table.find_elements(By.CSS_SELECTOR, "thead button")[1].click()
    table.find_element(By.XPATH, f".//button[.='{kind}']").click()
    text = browser.execute_script("return window.copied")
    first, shown = _column(table, 0), _column(table, 1)
    if kind == "CSV":
        rows = list(csv.reader(io.StringIO(text)))
        assert [row[0] for row in rows[1:]] == first
    elif kind == "Markdown":
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
        assert set(rows.pop(1)) == {"---"}
        assert [row[0] for row in rows[1:]] == first
    else:
        lines = [line for line in text.splitlines() if line.endswith(r"\\")]
        rows = [[cell.strip() for cell in line.removesuffix(r"\\").split("&")] for line in lines]
        assert [row[0].replace("\\_", "_") for row in rows[1:]] == first
    assert len({len(row) for row in rows}) == 1
    assert [row[1].split()[0] for row in rows[1:]] == [text.split()[0] for text in shown]
    assert kind in table.find_element(By.CSS_SELECTOR, "[role='status']").text


def test_what_a_spreadsheet_would_run_is_copied_as_text(browser):
    said = browser.execute_script(
        "return ['=1+1', '@x', '+a', '-a', '+0.12', '-0.5', 'a=b'].map(harmless)"
    )
    assert said == ["'=1+1", "'@x", "'+a", "'-a", "+0.12", "-0.5", "a=b"]


def test_cases_are_chosen_by_what_they_are(browser):
    form = browser.find_element(By.ID, "choose-cases")
    cases = browser.find_elements(By.CSS_SELECTOR, ".case[data-outcome]")
    select = Select(form.find_element(By.NAME, "alignment"))
    select.select_by_visible_text("undefined")
    shown = [case for case in cases if case.is_displayed()]
    assert 0 < len(shown) < len(cases)
    assert {case.get_attribute("data-alignment") for case in shown} == {"undefined"}
    assert f"{len(shown)} of {len(cases)}" in form.text


def test_a_case_is_played_under_the_maps_that_are_on(browser):
    player = browser.find_element(By.CSS_SELECTOR, ".case .player")
    canvas = player.find_element(By.TAG_NAME, "canvas")
    pixels = "return arguments[0].toDataURL()"
    play, layer = player.find_elements(By.TAG_NAME, "button")[:2]
    under = browser.execute_script(pixels, canvas)
    assert layer.get_attribute("aria-pressed") == "true"
    layer.click()
    assert layer.get_attribute("aria-pressed") == "false"
    bare = browser.execute_script(pixels, canvas)
    assert bare != under
    slider = player.find_element(By.CSS_SELECTOR, "input[type='range']")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert browser.execute_script(pixels, canvas) != bare
    play.click()
    assert play.text == "Pause"
    at = slider.get_property("value")
    # Not every half second: after so long the few frames have come round to the same one.
    moved = WebDriverWait(browser, 5, poll_frequency=0.03)
    moved.until(lambda _: slider.get_property("value") != at)
    play.click()
    stopped = slider.get_property("value")
    assert play.text == "Play"
    assert slider.get_property("value") == stopped


def test_on_paper_and_without_a_script_the_page_is_whole(page, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        assert not browser.find_element(By.ID, "choose-arms").is_displayed()
        assert not browser.find_element(By.CSS_SELECTOR, ".player").is_displayed()
        assert browser.find_element(By.CSS_SELECTOR, ".player + figure img").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make axe")
@pytest.mark.parametrize("size", [PHONE, TABLET, DESKTOP])
def test_axe_finds_no_violation(browser, page, scheme, size):
    _resize(browser, size)
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    try:
        browser.get(page.as_uri())
        browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        browser.execute_script(AXE.read_text("utf-8"))
        found = browser.execute_async_script("axe.run().then(arguments[0])")
    finally:
        browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    if ARTEFACTS:
        browser.execute_script("window.scrollTo(0, 0)")
        browser.save_screenshot(f"{ARTEFACTS}/report-{size[0]}-{scheme}.png")
    assert len(found["passes"]) > 20
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
