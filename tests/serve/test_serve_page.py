"""The page in a real headless Chromium."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from chromium import AXE, chromium, needs_browser
from exported_folder import coloured, trap, write_exported
from serving import served
from vaclip.serve.worker import Limits

By = pytest.importorskip("selenium.webdriver.common.by", reason="no Selenium").By
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = needs_browser
ARTEFACTS = os.environ.get("VACLIP_SCREENSHOTS")
_DROP = """
    const input = document.getElementById("video");
    const data = new DataTransfer();
    data.items.add(input.files[0]);
    document.body.dispatchEvent(
        new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
"""
_PIXELS = """
    const canvas = document.querySelector("canvas");
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.width, canvas.height, ...data];
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = write_exported(tmp_path_factory.mktemp("exported") / "model")
    with served(folder, Limits(upload=1 << 20)) as server:
        yield server


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


@pytest.fixture
def browser(driver, server):
    driver.get_log("browser")
    driver.get(f"http://127.0.0.1:{server.port}/")
    return driver


def _choose(browser, path):
    browser.find_element(By.ID, "video").send_keys(str(path))


def _told(browser):
    """Returns the state, once there is an answer or none."""
    state = browser.find_element(By.ID, "status")
    WebDriverWait(browser, 30).until(lambda _: "answer" in state.text.lower())
    return state.text


def _canvas(browser):
    width, height, *values = browser.execute_script(_PIXELS)
    return np.array(values).reshape(height, width, 4)


def _rows(browser):
    rows = browser.find_elements(By.CSS_SELECTOR, "#answer tbody tr")
    return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows]


def test_a_video_that_is_chosen_then_dropped_is_shown_with_probabilities_and_map(browser, tmp_path):
    coloured(tmp_path / "a.mkv", (40, 200, 40))
    _choose(browser, tmp_path / "a.mkv")
    assert _told(browser) == "The model has answered."
    assert browser.find_element(By.ID, "said").text == "green"
    rows = _rows(browser)
    assert [name for name, _ in rows] == ["red", "green", "blue"]
    assert sum(float(value) for _, value in rows) == pytest.approx(1, abs=0.002)
    under = _canvas(browser)
    assert under.shape == (112, 224, 4)
    browser.find_element(By.XPATH, '//button[.="Model\'s predicted map"]').click()
    bare = _canvas(browser)
    changed = np.abs(under - bare)[..., 0]
    assert changed[:50, :100].mean() > 60  # where the video is bright the map is
    assert changed[70:, 130:].mean() < 15
    np.testing.assert_allclose(bare[20, 20, :3], (40, 200, 40), atol=8)
    if ARTEFACTS:
        browser.find_element(By.XPATH, '//button[.="Model\'s predicted map"]').click()
        browser.save_screenshot(str(Path(ARTEFACTS) / "serve.png"))

    browser.execute_script("document.getElementById('said').textContent = ''")
    browser.execute_script(_DROP)
    WebDriverWait(browser, 30).until(lambda _: browser.find_element(By.ID, "said").text == "green")
    assert len(browser.find_elements(By.TAG_NAME, "canvas")) == 1
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_what_cannot_be_read_is_told_on_the_page_and_the_next_is_shown(browser, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video" * 99)
    _choose(browser, tmp_path / "a.mp4")
    assert _told(browser).startswith("No answer: the upload: cannot be decoded")
    assert not browser.find_element(By.ID, "answer").is_displayed()
    trap(tmp_path / "b.mkv", "kill")
    browser.execute_script("document.getElementById('status').textContent = ''")
    _choose(browser, tmp_path / "b.mkv")
    assert "ended its process" in _told(browser)
    (tmp_path / "c.mkv").write_bytes(bytes(2 << 20))
    browser.execute_script("document.getElementById('status').textContent = ''")
    _choose(browser, tmp_path / "c.mkv")
    assert _told(browser) == "No answer: this video is too large."
    coloured(tmp_path / "d.mkv", (200, 40, 40))
    browser.execute_script("document.getElementById('status').textContent = ''")
    _choose(browser, tmp_path / "d.mkv")
    assert _told(browser) == "The model has answered."
    assert browser.find_element(By.ID, "said").text == "red"


def test_a_model_without_maps_plays_the_video_alone(driver, tmp_path):
    folder = write_exported(tmp_path / "model")
    code = (folder / "predict.py").read_text()
    alone = 'self.session.run(None, {"segments": segments})[0], None'
    (folder / "predict.py").write_text(
        code.replace('self.session.run(None, {"segments": segments})', alone)
    )
    coloured(tmp_path / "a.mkv", (40, 40, 200))
    with served(folder) as server:
        driver.get(f"http://127.0.0.1:{server.port}/")
        _choose(driver, tmp_path / "a.mkv")
        assert _told(driver) == "The model has answered."
        assert driver.find_element(By.ID, "said").text == "blue"
        buttons = driver.find_elements(By.TAG_NAME, "button")
        assert [button.text for button in buttons if button.is_displayed()] == ["Play"]


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make axe")
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_no_violation_and_nothing_is_wider_than_a_phone(browser, tmp_path, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    browser.refresh()
    for answered in (False, True):
        if answered:
            coloured(tmp_path / "a.mkv", (40, 200, 40))
            _choose(browser, tmp_path / "a.mkv")
            _told(browser)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        browser.execute_script(AXE.read_text("utf-8"))
        found = browser.execute_async_script("axe.run().then(arguments[0])")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
