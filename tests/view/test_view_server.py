"""The page over HTTP, as a browser and as somebody who should not see it."""

from __future__ import annotations

import http.client
import io
import re
import threading
from contextlib import contextmanager
from urllib.parse import urlencode

import numpy as np
import pytest
import yaml
from PIL import Image

import vaclip as vc
from chromium import AXE, chromium, needs_browser
from conftest import SMALL_RUN, read_rows, write_rows, write_tiny_study
from threaded import in_thread
from vaclip.errors import VaclipError
from vaclip.study.load import load_study
from vaclip.study.study import Problem
from vaclip.view.server import view_app

TOKEN = "a-token-of-the-test"


@contextmanager
def served(root, results=None, arm=None, **how):
    """Yields the port."""
    how.setdefault("cache_dir", str(root.parent / "cache"))
    with in_thread(view_app(root, TOKEN, results, arm, **how)) as port:
        yield port


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study") / "tiny", 3, clips_per_patient=2)


@pytest.fixture(scope="module")
def port(root):
    with served(root) as port:
        yield port


def ask(port, path, *, cookie=f"vaclip_view={TOKEN}", host=None, form=None):
    """Returns status, headers and body."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Host": host or f"127.0.0.1:{port}", "Cookie": cookie}
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    body = None if form is None else urlencode(form)
    asked.request("GET" if form is None else "POST", path, body, headers)
    answer = asked.getresponse()
    return answer.status, answer.headers, answer.read()


def test_the_grid_has_every_clip_and_its_picture(port, root):
    status, headers, body = ask(port, "/")
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    study = load_study(root)
    pictures = re.findall(r'src="(/thumbnail[^"]*)"', body.decode())
    assert len(pictures) == len(study.clips)
    status, headers, body = ask(port, pictures[0])
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(body)) as picture:
        assert max(picture.size) == 160


def test_a_clip_is_shown_with_the_map_of_each_who_annotated_it(port, root):
    study = load_study(root)
    for clip in study.clips[:2]:
        _, _, body = ask(port, "/clip?" + urlencode({"id": clip.clip_id}))
        layers = re.findall(r'data-title="([^"]*)"', body.decode())
        own = {one.annotator for one in study.annotations[clip.clip_id]}
        regions = [f"Region: {name}" for name in study.regions]
        assert layers == ["Video", *(name for name in study.annotators if name in own), *regions]


@pytest.mark.parametrize(
    "path", ["/", "/clip?id=x", "/thumbnail?id=x", "/film?id=x", "/player.js", "/view.css"]
)
@pytest.mark.parametrize("cookie", ["", "vaclip_view=", "vaclip_view=a-token", "other=1"])
def test_without_the_token_nothing_is_said(port, path, cookie):
    status, headers, body = ask(port, path, cookie=cookie)
    assert status == 403
    assert b"clip" not in body.replace(b"vaclip", b"")
    assert "Set-Cookie" not in headers


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(port):
    status, headers, _ = ask(port, f"/?token={TOKEN}", cookie="")
    assert (status, headers["Location"]) == (303, "/")
    assert "HttpOnly" in headers["Set-Cookie"]
    assert "SameSite=strict" in headers["Set-Cookie"]
    assert ask(port, "/?token=wrong", cookie="")[0] == 403


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "10.0.0.1", "evil:80"])
def test_a_foreign_host_is_refused_even_with_the_token(port, host):
    assert ask(port, "/", host=host)[0] == 400
    assert ask(port, f"/?token={TOKEN}", cookie="", host=host)[0] == 400


@pytest.mark.parametrize(
    "name", ["../clips.csv", "/etc/passwd", "clips.csv", "..%2f..", "", "\x00", "nobody's"]
)
def test_no_path_leaves_the_study(port, root, name):
    for path in ("/clip", "/thumbnail", "/film"):
        status, _, body = ask(port, f"{path}?" + urlencode({"id": name}))
        assert status == 400
        assert b"no such clip" in body
    assert ask(port, "/../clips.csv")[0] == 404
    assert ask(port, "/videos/" + load_study(root).clips[0].video.name)[0] == 404


def test_names_of_other_people_are_text(tmp_path):
    root = write_tiny_study(tmp_path / "study", 1)
    evil = "<script>alert(1)</script>"
    rows = read_rows(root / "clips.csv")
    write_rows(root / "clips.csv", [row | {"label": evil, "patient_id": evil} for row in rows])
    head = yaml.safe_load((root / "study.yaml").read_text())
    (root / "study.yaml").write_text(yaml.safe_dump(head | {"name": evil, "classes": [evil, "b"]}))
    with served(root) as port:
        body = ask(port, "/")[2].decode()
    assert "<script>" not in body
    assert "&lt;script&gt;" in body


@pytest.fixture
def own(tmp_path):
    """A study that may be changed."""
    return write_tiny_study(tmp_path / "own", 2)


def test_a_clip_is_left_out_with_its_reason(own):
    clip = load_study(own).clips[0]
    form = {"id": clip.clip_id, "reason": "  two people,\n\n blurred ", "token": TOKEN}
    with served(own) as port:
        assert ask(port, "/exclude", form=form)[0] == 303
        assert ask(port, "/exclude", form=form)[0] == 303  # pressed twice
        body = ask(port, "/")[2].decode()
    assert "1 left out" in body
    assert "left out: two people, blurred" in body
    assert read_rows(own / "excluded.csv") == [
        {"clip_id": clip.clip_id, "reason": "two people, blurred"}
    ]
    assert clip.clip_id not in {one.clip_id for one in load_study(own).clips}


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"reason": "x", "token": "wrong"}, 403),
        ({"reason": "x"}, 403),
        ({"reason": " \n ", "token": TOKEN}, 400),
        ({"reason": "x", "token": TOKEN, "id": "nobody"}, 400),
        ({"reason": "x" * 20_000, "token": TOKEN}, 413),
    ],
)
def test_nothing_is_left_out_by_a_wrong_form(own, form, status):
    form = {"id": load_study(own).clips[0].clip_id} | form
    with served(own) as port:
        assert ask(port, "/exclude", form=form)[0] == status
        assert ask(port, "/exclude")[0] == 405
    assert not (own / "excluded.csv").exists()


def test_many_at_once_leave_no_exclusion_unwritten(own):
    clips = [clip.clip_id for clip in load_study(own).clips]
    with served(own) as port:
        forms = [{"id": one, "reason": "x", "token": TOKEN} for one in clips[:4]]
        threads = [
            threading.Thread(target=ask, args=(port, "/exclude"), kwargs={"form": form})
            for form in forms
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(row["clip_id"] for row in read_rows(own / "excluded.csv")) == sorted(clips[:4])


def test_a_browser_gets_the_part_of_a_film_that_it_asks_for(port, root):
    path = "/film?" + urlencode({"id": load_study(root).clips[0].clip_id})
    status, headers, whole = ask(port, path)
    assert (status, headers["Content-Type"], headers["Accept-Ranges"]) == (
        200,
        "video/mp4",
        "bytes",
    )
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    wanted = {"Cookie": f"vaclip_view={TOKEN}", "Range": "bytes=100-299"}
    asked.request("GET", path, headers=wanted)
    answer = asked.getresponse()
    assert (answer.status, answer.read()) == (206, whole[100:300])
    assert answer.headers["Content-Range"] == f"bytes 100-299/{len(whole)}"


def test_a_clip_that_cannot_be_read_says_so_and_can_be_left_out(own):
    first, second = load_study(own).clips[:2]
    first.video.write_bytes(b"no video at all")
    problem = Problem("error", "clips.csv:2:video", "holds <no> video", first.clip_id)
    with served(own, findings={first.clip_id: [problem]}) as port:
        status, _, body = ask(port, "/clip?" + urlencode({"id": first.clip_id}))
        assert status == 200
        assert b'role="alert"' in body
        assert b"holds &lt;no&gt; video" in body
        assert b"Leave this clip out" in body
        listed = ask(port, "/?check=error")[2].decode()
    assert first.clip_id in listed
    assert second.clip_id not in listed


def test_a_clip_that_is_left_out_can_be_looked_at(own):
    clip = load_study(own).clips[0]
    write_rows(own / "excluded.csv", [{"clip_id": clip.clip_id, "reason": "blurred"}])
    with served(own) as port:
        _, _, body = ask(port, "/clip?" + urlencode({"id": clip.clip_id}))
        listed = ask(port, "/?kept=in+the+study")[2].decode()
    assert b"This clip is left out: blurred" in body
    assert b"Leave this clip out" not in body
    assert b"data-count" in body
    assert clip.clip_id not in listed


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    """A run of B3 on the study."""
    small = [*SMALL_RUN, f"data.cache_dir={root.parent / 'cache'}"]
    folder = tmp_path_factory.mktemp("runs") / "run"
    return vc.train(load_study(root), arm="B3", overrides=small, folder=folder)


def test_what_a_run_said_and_looked_at_is_shown(root, run):
    test = run.predictions.test
    clip = test.clip_id.iloc[0]
    with served(root, run.folder) as port:
        grid = ask(port, "/")[2].decode()
        body = ask(port, "/clip?" + urlencode({"id": clip}))[2].decode()
        untested = next(
            one for one in load_study(root).clips if one.clip_id not in set(test.clip_id)
        )
        other = ask(port, "/clip?" + urlencode({"id": untested.clip_id}))[2].decode()
    assert "Diagnoses are those of arm B3" in grid
    for words in ("Model: gate", "Model: Grad-CAM", "fold 0, seed 0", "Maps that the model finds"):
        assert words in body
        assert words not in other


def test_without_its_checkpoint_the_clip_is_still_shown(root, run):
    checkpoint = run.checkpoint(0)
    kept = checkpoint.rename(checkpoint.with_suffix(".away"))
    clip = run.predictions.test.clip_id.iloc[0]
    try:
        with served(root, run.folder) as port:
            body = ask(port, "/clip?" + urlencode({"id": clip}))[2].decode()
    finally:
        kept.rename(checkpoint)
    assert "cannot be used as a checkpoint" in body
    assert "Model: gate" not in body
    assert "data-count" in body


def test_a_study_with_errors_is_not_served(tmp_path):
    with pytest.raises(VaclipError):
        view_app(tmp_path, TOKEN)


@needs_browser
def test_by_hand(own):
    """Filter, play, a layer off, leave a clip out."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select, WebDriverWait

    study = load_study(own)
    with served(own) as port, chromium() as browser:
        browser.get(f"http://127.0.0.1:{port}/?token={TOKEN}")
        assert "token" not in browser.current_url
        Select(browser.find_element(By.NAME, "label")).select_by_visible_text(study.classes[1])
        browser.find_element(By.XPATH, "//button[.='Show']").click()
        WebDriverWait(browser, 10).until(lambda _: "label=" in browser.current_url)
        shown = browser.find_elements(By.CSS_SELECTOR, ".grid a")
        wanted = [clip.clip_id for clip in study.clips if clip.label == study.classes[1]]
        assert [one.text for one in shown] == wanted
        shown[0].click()
        WebDriverWait(browser, 10).until(
            lambda _: browser.find_elements(By.CSS_SELECTOR, ".player button")
        )
        canvas = browser.find_element(By.TAG_NAME, "canvas")
        pixels = "return Array.from(arguments[0].getContext('2d').getImageData(0, 0, 64, 64).data)"
        under = np.array(browser.execute_script(pixels, canvas))
        play, layer = browser.find_elements(By.CSS_SELECTOR, ".player button")[:2]
        beside = browser.find_element(By.XPATH, "//button[.='Side by side']")
        alone = canvas.size["width"], browser.execute_script("return arguments[0].width", canvas)
        browser.find_element(By.XPATH, "//button[.='Region: ground']").click()
        beside.click()
        assert browser.execute_script("return arguments[0].width", canvas) == 2 * alone[1]
        beside.click()
        assert browser.execute_script("return arguments[0].width", canvas) == alone[1]
        browser.find_element(By.XPATH, "//button[.='Region: ground']").click()
        browser.find_element(By.TAG_NAME, "summary").click()
        film = browser.find_element(By.TAG_NAME, "video")
        browser.execute_script("arguments[0].play()", film)
        WebDriverWait(browser, 20).until(
            lambda _: browser.execute_script("return arguments[0].currentTime > 0.2", film)
        )
        layer.click()
        bare = np.array(browser.execute_script(pixels, canvas))
        assert np.abs(under - bare).max() > 20
        play.click()
        assert play.text == "Pause"
        play.click()
        browser.find_element(By.NAME, "reason").send_keys("shaky")
        browser.find_element(By.XPATH, "//button[.='Leave this clip out']").click()
        WebDriverWait(browser, 10).until(lambda _: "/clip" not in browser.current_url)
        assert "1 left out" in browser.find_element(By.CSS_SELECTOR, "[role='status']").text
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert read_rows(own / "excluded.csv") == [{"clip_id": wanted[0], "reason": "shaky"}]


@needs_browser
@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make axe")
def test_axe_finds_no_violation_and_nothing_is_wider_than_a_phone(root, run):
    clip = run.predictions.test.clip_id.iloc[0]
    with served(root, run.folder) as port, chromium() as browser:
        browser.get(f"http://127.0.0.1:{port}/?token={TOKEN}")
        browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        for path in ("/", "/clip?" + urlencode({"id": clip})):
            for width in (360, 1440):
                metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                browser.get(f"http://127.0.0.1:{port}{path}")
                wide = "return document.documentElement.scrollWidth"
                assert browser.execute_script(wide) <= width
                browser.execute_script(AXE.read_text("utf-8"))
                found = browser.execute_async_script("axe.run().then(arguments[0])")
                assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
