"""The page over HTTP, as a browser and as somebody who should not see it."""

from __future__ import annotations

import http.client
import io
import re
import socket
import threading
from contextlib import contextmanager
from urllib.parse import urlencode

import numpy as np
import pytest
import yaml
from PIL import Image

from chromium import chromium, needs_browser
from conftest import read_rows, write_rows, write_tiny_study
from vaclip.errors import VaclipError
from vaclip.study.load import load_study

uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from vaclip.view.server import view_app  # noqa: E402

TOKEN = "a-token-of-the-test"


@contextmanager
def served(root):
    """Yields the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(view_app(root, TOKEN), log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study"), 2, clips_per_patient=2)


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
        assert layers == ["Video", *(name for name in study.annotators if name in own)]


@pytest.mark.parametrize("path", ["/", "/clip?id=x", "/thumbnail?id=x", "/player.js", "/view.css"])
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
    for path in ("/clip", "/thumbnail"):
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
    assert "1 excluded" in body
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
        layer.click()
        bare = np.array(browser.execute_script(pixels, canvas))
        assert np.abs(under - bare).max() > 20
        play.click()
        assert play.text == "Pause"
        play.click()
        browser.find_element(By.NAME, "reason").send_keys("shaky")
        browser.find_element(By.XPATH, "//button[.='Leave this clip out']").click()
        WebDriverWait(browser, 10).until(lambda _: "/clip" not in browser.current_url)
        assert "1 excluded" in browser.find_element(By.CSS_SELECTOR, "[role='status']").text
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert read_rows(own / "excluded.csv") == [{"clip_id": wanted[0], "reason": "shaky"}]
