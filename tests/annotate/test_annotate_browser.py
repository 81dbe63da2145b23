"""The page in a real browser: each mode by mouse and by keyboard, and what a crash leaves."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from annotating import TOKEN, served
from chromium import AXE, chromium, needs_browser
from conftest import read_rows, write_tiny_study
from vaclip.maps.gaze import load_gaze
from vaclip.maps.shapes import load_shapes
from vaclip.study.annotation_log import read_annotation_log
from vaclip.study.load import load_study

pytestmark = needs_browser


@pytest.fixture
def root(tmp_path):
    root = write_tiny_study(tmp_path / "study", 1)
    (root / "attention.csv").unlink()
    return root


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        driver.set_window_size(1024, 768)
        yield driver


@contextmanager
def opened(driver, root, **wanted):
    """Yields a page of the first clip."""
    wanted.setdefault("again", 0)
    with served(root, **wanted) as (port, session):
        driver.delete_all_cookies() if driver.current_url.startswith("http") else None
        driver.get(f"http://127.0.0.1:{port}/?token={TOKEN}")
        click(driver, "[value=no]")
        click(driver, "#begin button")
        yield Page(driver, session)


def find(driver, selector):
    return driver.find_element("css selector", selector)


def click(driver, selector):
    find(driver, selector).click()


def wait(what, seconds=20):
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "the page did not get there"
        time.sleep(0.05)
    return found


class Page:
    def __init__(self, driver, session):
        self.driver, self.session = driver, session
        self.ready()

    def ready(self):
        script = "const f = document.getElementById('film'); return f && f.readyState >= 2"
        wait(lambda: self.driver.execute_script(script))

    @property
    def state(self):
        folder = f"annotate/{self.session.annotator}"
        number = int(self.driver.current_url.rpartition("/")[2])
        path = self.root / folder / f"{number:05d}.json"
        return json.loads(path.read_text())["said"] if path.exists() else {"marks": []}

    def kept(self, count):
        """Waits until as many marks are on the disk."""
        wait(lambda: len(self.state["marks"]) == count)
        return self.state["marks"]

    def seek(self, seconds):
        self.driver.execute_script(
            "document.getElementById('film').currentTime = arguments[0]", seconds
        )
        script = "const f = document.getElementById('film'); return !f.seeking && f.readyState >= 2"
        wait(lambda: self.driver.execute_script(script))

    def at(self, x, y):
        box = find(self.driver, "#stage").rect
        return round((x - 0.5) * box["width"]), round((y - 0.5) * box["height"])

    def press(self, *places, hold=0.05):
        """Presses at the first place, and releases at the last."""
        from selenium.webdriver import ActionChains

        stage, chain = find(self.driver, "#stage"), ActionChains(self.driver, duration=20)
        chain.move_to_element_with_offset(stage, *self.at(*places[0])).click_and_hold()
        for place in places[1:]:
            chain.move_to_element_with_offset(stage, *self.at(*place))
        chain.pause(hold).release().perform()

    def type(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def save(self, diagnosis="limping", confidence=4):
        click(self.driver, "#looked")
        click(self.driver, f"[name=diagnosis][value={diagnosis}]")
        click(self.driver, f"[name=confidence][value='{confidence}']")
        before = self.driver.current_url
        click(self.driver, "#save")
        wait(lambda: self.driver.current_url != before)


def of(page, root):
    page.root = root
    return page


def test_bubbles_by_mouse_while_the_clip_stands(driver, root):
    with opened(driver, root, budget=2) as page:
        of(page, root).seek(1.0)
        page.press((0.25, 0.75))
        page.press((0.5, 0.25))
        page.press((0.9, 0.9))  # more than there are
        first, _ = page.kept(2)
        assert (first["x"], first["y"]) == pytest.approx((0.25, 0.75), abs=0.01)
        assert (first["from"], first["to"]) == pytest.approx((0.75, 1.25), abs=0.05)
        assert find(driver, "#count").text == "0 bubbles left"
        click(driver, "#undo")
        page.kept(1)
        page.save()
        (row,) = read_rows(root / "attention.csv")
        gaze = load_gaze(root / row["value"], "")
        assert gaze.size == (32, 32)
        assert gaze.fixations[0] == pytest.approx([0.75, 1.25, 8.0, 24.0], abs=0.4)
    (reading,) = read_annotation_log(root)
    assert (reading.diagnosis, reading.confidence) == ("limping", 4)
    assert reading.seconds > 0


def test_what_is_pressed_is_uncovered_and_nothing_else(driver, root):
    look = """
        const c = document.getElementById('over'), box = c.getContext('2d');
        const at = (x, y) => box.getImageData(x * c.width, y * c.height, 1, 1).data[3];
        return arguments[0].map(([x, y]) => at(x, y))"""
    from selenium.webdriver import ActionChains

    with opened(driver, root, radius=0.1) as page:
        of(page, root).seek(0.5)
        assert "blur(" in driver.execute_script(
            "return document.getElementById('film').style.filter"
        )
        places = [(0.5, 0.5), (0.57, 0.5), (0.63, 0.5), (0.1, 0.1)]
        assert driver.execute_script(look, places) == [0, 0, 0, 0]
        stage = find(driver, "#stage")
        ActionChains(driver).move_to_element(stage).click_and_hold().perform()
        wait(lambda: driver.execute_script(look, places) == [255, 255, 0, 0])
        ActionChains(driver).release().perform()
        wait(lambda: driver.execute_script(look, places) == [0, 0, 0, 0])


def test_bubbles_while_the_clip_plays_follow_the_hand(driver, root):
    with opened(driver, root, uncover="playing", speed=0.5) as page:
        of(page, root).press((0.5, 0.5))  # it stands: nothing is uncovered
        click(driver, "#play")
        wait(lambda: not driver.execute_script("return document.getElementById('film').paused"))
        page.press((0.2, 0.5), (0.8, 0.5), hold=0.4)
        marks = wait(lambda: page.state["marks"])
        assert {mark["press"] for mark in marks} == {1}
        assert marks[-1]["x"] == pytest.approx(0.8, abs=0.02)
        times = [(mark["from"], mark["to"]) for mark in marks]
        assert all(begin < end for begin, end in times)
        assert times == sorted(times)
        # It plays at half its speed, so that half a second passes in about a quarter.
        assert 0.1 < marks[-1]["to"] - marks[0]["from"] < 1.0


def test_bubbles_by_keyboard(driver, root):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    with opened(driver, root, uncover="steps", every_s=0.4) as page:
        of(page, root)
        page.type("..", *[Keys.ARROW_LEFT] * 5, *[Keys.ARROW_DOWN] * 3)
        wait(lambda: driver.execute_script("return !document.getElementById('film').seeking"))
        keys = ActionChains(driver).key_down(Keys.ENTER).pause(0.2).key_up(Keys.ENTER)
        keys.perform()
        (mark,) = page.kept(1)
        assert (mark["x"], mark["y"]) == pytest.approx((0.4, 0.56))
        assert (mark["from"], mark["to"]) == pytest.approx((0.8, 1.2), abs=0.02)
        assert mark["held"] > 0.15
        page.type(",")
        ActionChains(driver).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
        page.kept(0)


def test_regions_by_keys_with_how_sure_and_when(driver, root):
    with opened(driver, root, mode="regions") as page:
        of(page, root).type("1", "4")
        page.kept(2)
        page.seek(0.5)
        find(driver, "#regions .region:nth-child(4) button:nth-of-type(2)").click()
        page.seek(1.5)
        find(driver, "#regions .region:nth-child(4) button:nth-of-type(3)").click()
        find(driver, "#regions .region:nth-child(1) select").send_keys("5")
        wait(lambda: page.state["marks"][0]["confidence"] == 5)
        page.save()
        rows = read_rows(root / "attention.csv")
        assert (rows[0]["kind"], rows[0]["value"]) == ("region", "hips")
        shapes = load_shapes(root / rows[1]["value"], "")
        (track,) = shapes.tracks
        assert track.label == "trunk"
        assert [key.at for key in track.keys] == pytest.approx([0.5, 1.5], abs=0.03)
        (row,) = read_rows(root / "annotation_log.csv")
        assert row["regions"] == "hips (5); trunk (3, 0.5 to 1.5 s)"


def test_a_box_that_is_moved_on_a_second_key_frame(driver, root):
    with opened(driver, root, mode="draw", every_s=1.0) as page:
        of(page, root).press((0.2, 0.2), (0.4, 0.5))
        page.kept(1)
        page.seek(1.0)
        click(driver, "[value=move]")
        page.press((0.3, 0.35), (0.6, 0.35))
        wait(lambda: len(page.state["marks"][0]["keys"]) == 2)
        first, second = (np.array(key["points"]) for key in page.state["marks"][0]["keys"])
        assert first == pytest.approx(np.array([[0.2, 0.2], [0.4, 0.5]]), abs=0.01)
        assert second - first == pytest.approx(np.array([[0.3, 0], [0.3, 0]]), abs=0.01)
        click(driver, "#copy_on")
        wait(lambda: len(page.state["marks"][0]["keys"]) == 3)
        click(driver, "#delete_moment")
        wait(lambda: len(page.state["marks"][0]["keys"]) == 2)
        page.save()
        (row,) = read_rows(root / "attention.csv")
        (track,) = load_shapes(root / row["value"], "").tracks
        assert (track.type, [key.at for key in track.keys]) == ("box", [0.0, 1.0])


def test_polygon_brush_and_ellipse(driver, root):
    from selenium.webdriver.common.keys import Keys

    with opened(driver, root, mode="draw") as page:
        of(page, root)
        click(driver, "[value=polygon]")
        for place in ((0.1, 0.1), (0.3, 0.1), (0.2, 0.3)):
            page.press(place)
        page.type("c")
        page.kept(1)
        click(driver, "[value=brush]")
        page.press((0.5, 0.5), (0.6, 0.5), (0.7, 0.6))
        page.kept(2)
        click(driver, "[value=ellipse]")
        find(driver, "#stage").send_keys(
            Keys.ENTER, *[Keys.ARROW_RIGHT] * 5, *[Keys.ARROW_UP] * 5, Keys.ENTER
        )
        marks = page.kept(3)
        assert [mark["type"] for mark in marks] == ["polygon", "brush", "ellipse"]
        click(driver, "#delete_shape")  # the last one is chosen
        page.kept(2)
        page.save()
        (row,) = read_rows(root / "attention.csv")
        assert [one.type for one in load_shapes(root / row["value"], "").tracks] == [
            "polygon",
            "polyline",
        ]


def test_what_was_saved_can_be_undone(driver, root):
    with opened(driver, root) as page:
        of(page, root).press((0.25, 0.25))
        page.press((0.75, 0.75))
        page.kept(2)
        first = driver.current_url
        page.save()
        driver.get(first)
        page.ready()
        click(driver, "#again")
        click(driver, "#undo")
        page.kept(1)
        page.save()
        (row,) = read_rows(root / "annotation_log.csv")
        assert (row["marks"], row["saved"]) == ("1", "2")


def test_the_diagnosis_comes_after_the_looking(driver, root):
    with opened(driver, root) as page:
        of(page, root)
        assert not find(driver, "[name=diagnosis]").is_displayed()
        click(driver, "#looked")
        assert "Mark something" in find(driver, "#told").text
        page.press((0.5, 0.5))
        page.kept(1)
        click(driver, "#looked")
        assert find(driver, "[name=diagnosis]").is_displayed()
        page.press((0.2, 0.2))  # the looking is over
        click(driver, "#again")
        wait(lambda: page.state["returned"] == 1)
        assert len(page.state["marks"]) == 1


def test_what_is_uncovered_on_a_standing_picture_is_covered_when_it_plays(driver, root):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    alpha = """  // beside the cross
        const c = document.getElementById('over'), box = c.getContext('2d');
        return box.getImageData(c.width * 0.53, c.height * 0.53, 1, 1).data[3]"""
    with opened(driver, root) as page:
        of(page, root)
        for key in (".", " "):
            ActionChains(driver).key_down(Keys.ENTER).perform()
            wait(lambda: driver.execute_script(alpha) == 255)
            page.type(key)
            wait(lambda: driver.execute_script(alpha) == 0)
            ActionChains(driver).key_up(Keys.ENTER).perform()
        page.kept(2)


def test_marks_that_come_back_take_nothing_to_mark_back(driver, root):
    with opened(driver, root) as page:
        of(page, root).press((0.5, 0.5))
        page.kept(1)
        click(driver, "#clear")
        click(driver, "#nothing")
        wait(lambda: page.state.get("nothing"))
        click(driver, "#undo")
        page.kept(1)
        page.save()
    assert len(read_rows(root / "attention.csv")) == 1


def test_a_polygon_that_is_not_closed_is_undone_by_corners_and_not_lost(driver, root):
    with opened(driver, root, mode="draw") as page:
        of(page, root).press((0.1, 0.1), (0.3, 0.3))
        page.kept(1)
        click(driver, "[value=polygon]")
        for place in ((0.5, 0.5), (0.9, 0.5), (0.7, 0.9), (0.2, 0.9)):
            page.press(place)
        click(driver, "#undo")
        page.save()
        box, polygon = page_marks(root)
        assert (box["type"], polygon["type"]) == ("box", "polygon")
        corners = np.array(polygon["keys"][0]["points"])
        assert corners == pytest.approx(np.array([[0.5, 0.5], [0.9, 0.5], [0.7, 0.9]]), abs=0.01)


def page_marks(root):
    return json.loads((root / "annotate/anna/00001.json").read_text())["said"]["marks"]


def test_a_box_that_is_moved_to_the_edge_keeps_its_form(driver, root):
    with opened(driver, root, mode="draw") as page:
        of(page, root).press((0.2, 0.2), (0.4, 0.5))
        page.kept(1)
        click(driver, "[value=move]")
        page.press((0.3, 0.35), (0.0, 0.35))
        wait(lambda: page.state["marks"][0]["keys"][0]["points"][0][0] == 0)
        moved = np.array(page.state["marks"][0]["keys"][0]["points"])
        assert moved == pytest.approx(np.array([[0, 0.2], [0.2, 0.5]]), abs=0.01)
        page.press((0.0, 0.2), (0.2, 0.2))  # a corner, onto the other side
        page.save()
    assert len(read_rows(root / "attention.csv")) == 1


def test_a_clip_that_is_opened_twice_is_not_overwritten_by_the_older_page(driver, root):
    with opened(driver, root) as page:
        of(page, root)
        older, address = driver.current_window_handle, driver.current_url
        driver.switch_to.new_window("tab")
        driver.get(address)
        page.ready()
        page.press((0.2, 0.2))
        page.press((0.3, 0.3))
        page.kept(2)
        driver.close()
        driver.switch_to.window(older)
        page.press((0.7, 0.7))
        wait(lambda: "opened once more" in find(driver, "#kept").text)
        assert len(page.state["marks"]) == 2
        assert driver.execute_script(LEAVING)  # what was not kept is not left without a word
        with suppress_alert(driver):
            driver.refresh()
        page.ready()
        page.press((0.7, 0.7))
        page.kept(3)


def test_another_session_in_the_same_browser_stops_no_keeping(driver, root):
    with opened(driver, root) as page:
        of(page, root).press((0.2, 0.2))
        page.kept(1)
        driver.delete_all_cookies()  # cookies do not tell the ports of a machine apart
        page.press((0.6, 0.6))
        page.kept(2)


LEAVING = """
    const leaving = new Event('beforeunload', { cancelable: true });
    window.dispatchEvent(leaving);
    return leaving.defaultPrevented"""


@contextmanager
def suppress_alert(driver):
    from selenium.common.exceptions import NoAlertPresentException, UnexpectedAlertPresentException

    with suppress(UnexpectedAlertPresentException):
        yield
    with suppress(NoAlertPresentException):
        driver.switch_to.alert.accept()


def test_a_disk_that_is_full_is_tried_again(driver, root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "limping.mp4")

    with opened(driver, root) as page:
        of(page, root).press((0.5, 0.5))
        page.kept(1)
        with monkeypatch.context() as patched:
            patched.setattr("vaclip.annotate.record.write_json", full)
            page.press((0.6, 0.6))
            wait(lambda: "Not kept" in find(driver, "#kept").text)
            assert driver.execute_script(LEAVING)
        page.kept(2)
        with monkeypatch.context() as patched:
            patched.setattr("vaclip.annotate.record.write_table", full)
            click(driver, "#looked")
            click(driver, "[name=diagnosis][value=limping]")
            click(driver, "[name=confidence][value='4']")
            click(driver, "#save")
            wait(lambda: "Not kept" in find(driver, "#told").text)
        before = driver.current_url
        click(driver, "#save")
        wait(lambda: driver.current_url != before)


def test_a_film_that_does_not_play_is_said(driver, root, monkeypatch, tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no film that a browser plays")
    monkeypatch.setattr("vaclip.annotate.server.kept", lambda *_: tmp_path / "film.mp4")
    monkeypatch.setattr(Page, "ready", lambda page: wait(lambda: "/show/" in driver.current_url))
    with opened(driver, root):
        wait(lambda: "use another browser" in find(driver, "#failed").text)


def test_a_browser_that_is_gone_loses_nothing_that_was_done(root):
    with served(root, again=0) as (port, session):
        with chromium() as gone:
            gone.get(f"http://127.0.0.1:{port}/?token={TOKEN}")
            click(gone, "[value=no]")
            click(gone, "#begin button")
            page = of(Page(gone, session), root)
            page.press((0.25, 0.25))
            page.press((0.75, 0.75))
            page.kept(2)
            gone.service.process.kill()
        with chromium() as later:
            later.get(f"http://127.0.0.1:{port}/?token={TOKEN}")
            later.get(f"http://127.0.0.1:{port}/show/1")
            page = of(Page(later, session), root)
            assert find(later, "#count").text == "2 bubbles"
            page.press((0.5, 0.5))
            assert len({mark["press"] for mark in page.kept(3)}) == 3


def test_while_the_server_is_gone_the_page_says_so(driver, root):
    from selenium.common.exceptions import NoAlertPresentException

    with opened(driver, root) as page:
        of(page, root).press((0.5, 0.5))
        page.kept(1)
    page.press((0.6, 0.6))
    wait(lambda: "Not kept" in find(driver, "#kept").text)
    assert len(page.state["marks"]) == 1
    driver.get("about:blank")
    with suppress(NoAlertPresentException):
        driver.switch_to.alert.accept()  # it asks before what was not kept is left


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make axe")
@pytest.mark.parametrize("mode", ["bubbles", "regions", "draw"])
def test_axe_finds_no_violation(driver, root, mode):
    with opened(driver, root, mode=mode) as page:
        of(page, root)
        for part in ("look", "overview"):
            if part == "overview":
                driver.get(driver.current_url.rpartition("/show")[0])
            driver.execute_script(AXE.read_text())
            found = driver.execute_async_script("axe.run().then(arguments[0])")
            assert [one["id"] for one in found["violations"]] == []
            wide = driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0
    assert load_study(root, quiet=True).clips
