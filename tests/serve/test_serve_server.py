"""The API over HTTP: what it answers, what it refuses, and that the next upload works."""

from __future__ import annotations

import base64
import io
import logging
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from exported_folder import (
    CLASSES,
    MEAN,
    SECRET,
    STD,
    coloured,
    trap,
    write_exported,
)
from serving import served
from vaclip.serve.worker import Limits

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
TIGHT = Limits(upload=1 << 17, seconds=3, memory=1 << 30, queue=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_exported(tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture(scope="module")
def server(folder):
    with served(folder) as server:
        yield server


@pytest.fixture(scope="module")
def tight(folder):
    with served(folder, TIGHT) as server:
        yield server


@pytest.fixture
def red(tmp_path):
    return coloured(tmp_path / "red.mkv", COLOURS["red"])


@pytest.mark.parametrize("name", CLASSES)
def test_a_video_is_answered_with_what_the_model_says(server, tmp_path, name):
    video = coloured(tmp_path / "a.mkv", COLOURS[name])
    status, headers, said = server.ask(body=video)
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    level = np.array(COLOURS[name]) / 255
    share = np.exp((0.25 * level + 0.75 * (level * 255 // 2) / 255 - MEAN) / STD)
    expected = dict(zip(CLASSES, share / share.sum(), strict=True))
    assert said["predicted"] == name
    assert said["probabilities"] == pytest.approx(expected, abs=0.01)
    assert list(said) == ["predicted", "probabilities", "segments"]
    assert said["segments"] == 2


def test_the_map_is_told_where_it_is_asked_for(server, red):
    said = server.ask("/predict?map=true", body=red)[2]
    attn = np.array(said["map"])
    assert attn.shape == (2, 4, 4, 4)
    np.testing.assert_allclose(attn.sum(axis=(1, 2, 3)), 1, atol=1e-4)
    assert attn[:, :, :2, :2].sum() > 0.9 * attn.sum()  # where the video is bright


def test_the_pictures_are_those_of_the_video_under_the_map(server, red):
    pictures = server.ask("/predict?pictures=true", body=red)[2]["pictures"]
    assert pictures["count"] == 16
    assert [layer["title"] for layer in pictures["layers"]] == ["Video", "Model's predicted map"]
    frames, attn = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(layer["uri"].partition(",")[2]))))
        for layer in pictures["layers"]
    )
    assert frames.shape == (112, 16 * 224, 3)  # the aspect of the video, not of the model
    assert attn.shape == (56, 16 * 56)
    np.testing.assert_allclose(frames[20, 20], COLOURS["red"], atol=6)
    np.testing.assert_allclose(frames[90, 200], np.array(COLOURS["red"]) // 2, atol=6)
    assert attn[10, 10] > 200
    assert attn[50, 50] < 60


@pytest.mark.parametrize("kind", ["video/mp4", "Video/X-Matroska; codecs=ffv1"])
def test_a_video_may_be_sent_under_its_kind(server, red, kind):
    assert server.ask(body=red, Content_Type=kind)[0] == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
)
def test_what_a_form_elsewhere_on_the_web_can_send_is_refused(server, red, kind):
    status, _, said = server.ask(body=red, Content_Type=kind)
    assert status == 415
    assert "application/octet-stream" in said["error"]


def test_a_wrong_word_is_refused(server, red):
    assert "map" not in server.ask("/predict?map=false", body=red)[2]
    assert server.ask("/predict?map=yes", body=red)[0] == 400
    assert server.ask("/predict")[0] == 405
    assert server.ask("/nowhere")[2] == {"error": "Not Found"}


def test_what_it_is_and_how_busy(server):
    assert server.ask("/health")[2] == {"status": "ok", "uploads": 0, "places": 5}
    said = server.ask("/model")[2]
    assert said["classes"] == list(CLASSES)
    assert said["card"].startswith("# A model")
    assert said["settings"]["mean"] == [MEAN] * 3


def test_the_page_escapes_names_and_lets_no_other_script_in(tmp_path, server):
    status, headers, body = server.ask("/")
    assert status == 200
    assert b"&lt;colours&gt;" in body
    assert b"no medical device" in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for path in ("/serve.js", "/serve.css"):
        assert server.ask(path)[0] == 200


def test_a_foreign_host_is_refused(server, red):
    assert server.ask(body=red, Host="example.org")[0] == 400


def test_with_a_token_nothing_is_said_without_it(folder, red):
    with served(folder, token="the-token") as server:
        for path in ("/", "/health", "/model", "/openapi.json", "/serve.js"):
            assert server.ask(path)[0] == 403
        assert server.ask(body=red)[0] == 403
        assert server.ask(body=red, Authorization="Bearer wrong")[0] == 403
        assert server.ask(body=red, Authorization="Bearer the-token")[0] == 200
        assert server.ask(body=red, Cookie="vaclip_serve=the-token")[0] == 200
        status, headers, _ = server.ask("/?token=the-token")
        assert (status, headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the upload is empty"),
        (b"no video at all " * 9, "it holds text, no video"),
        (b"\0" * 128 + b"DICM" + b"\0" * 400, "is a DICOM file: `vaclip data import dicom`"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "it holds text"),
        (b"PK\3\4" + b"\0" * 400, "is a zip archive"),
        (bytes(range(256)) * 20, "cannot be decoded"),
    ],
)
def test_what_is_no_video_is_named(server, content, said):
    status, _, told = server.ask(body=content)
    assert status == 422
    assert said in told["error"]
    assert told["error"].startswith("the upload")
    assert "/proc" not in told["error"]


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("sleep", 422, "stopped after 3 s; send a shorter video"),
        ("kill", 500, "reading the upload ended its process (SIGSEGV)"),
        ("memory", 422, "needs more memory than it is given"),
        ("bug", 500, "reading the upload ended its process (status 1)"),
        ("write", 500, "reading the upload ended its process (status 1)"),
        ("nan", 422, "the model gives no numbers for it"),
    ],
)
def test_a_video_that_breaks_its_reader_is_told_and_the_next_is_answered(
    tight, folder, tmp_path, red, name, status, said
):
    told = tight.ask(body=trap(tmp_path / "trap.mkv", name))
    assert told[0] == status
    assert said in told[2]["error"]
    assert tight.ask(body=red)[2]["predicted"] == "red"
    assert not (folder / "out").exists() or (folder / "out").read_bytes() == b""


def test_a_reader_that_was_killed_meanwhile_is_replaced(tight, red):
    tight.worker._process.kill()
    tight.worker._process.wait()
    assert tight.ask(body=red)[0] == 200


def _sent_in_chunks(port, parts, headers=b""):
    """Sends a body whose length is not told, and returns the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as asked:
        asked.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: video/mp4\r\nTransfer-Encoding: chunked\r\n" + headers + b"\r\n"
        )
        for part in parts:
            asked.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        asked.sendall(b"0\r\n\r\n")
        return b"".join(iter(lambda: asked.recv(1 << 16), b""))


def test_bytes_are_counted_while_they_come(tight, red):
    assert b"HTTP/1.1 200" in _sent_in_chunks(tight.port, [red[:500], red[500:]])
    answer = _sent_in_chunks(tight.port, [b"x" * 20_000] * 7)
    assert b"HTTP/1.1 413" in answer
    assert b"at most 0.125 MiB" in answer
    status, _, said = tight.ask(body=b"x" * 150_000)
    assert (status, said["error"]) == (413, "a video may have at most 0.125 MiB")


def _begin(port, length):
    asked = socket.create_connection(("127.0.0.1", port), timeout=30)
    asked.sendall(
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n"
        b"Content-Length: %d\r\n\r\nx" % length
    )
    return asked


def _send_on(asked):
    for _ in range(1000):
        asked.sendall(b"x" * (1 << 20))


def test_who_sends_without_end_is_cut_off(tight):
    with _begin(tight.port, 10**12) as asked, pytest.raises(ConnectionError):
        _send_on(asked)


def test_who_sends_nothing_more_does_not_keep_its_place(tight, red):
    with _begin(tight.port, 1000) as asked:
        assert b"HTTP/1.1 408" in asked.recv(1 << 16)
    assert tight.ask(body=red)[0] == 200
    assert tight.ask("/health")[2]["uploads"] == 0


def test_who_goes_away_leaves_its_place(tight, red):
    for _ in range(4):
        _begin(tight.port, 1000).close()
    while tight.ask("/health")[2]["uploads"]:
        time.sleep(0.05)
    assert tight.ask(body=red)[0] == 200


def test_when_all_places_are_taken_the_next_is_told_when_to_come_again(tight, tmp_path, red):
    slow = trap(tmp_path / "sleep.mkv", "sleep")
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(tight.ask(body=slow)[0])) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    while tight.ask("/health")[2]["uploads"] < 2:
        time.sleep(0.05)
    status, headers, said = tight.ask(body=red)
    for thread in threads:
        thread.join()
    assert (status, said["error"]) == (503, "too many uploads wait; try again later")
    assert int(headers["Retry-After"]) >= 1
    assert answers == [422, 422]
    assert tight.ask(body=red)[0] == 200


def test_nothing_of_an_upload_is_logged_or_kept(folder, tmp_path, caplog, capfd, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    videos = [trap(tmp_path / f"{SECRET}-{name}.mkv", name) for name in ("shout", "bug", "write")]
    before = {path: path.read_bytes() for path in folder.iterdir() if path.name != "out"}
    with caplog.at_level(logging.DEBUG), served(folder) as server:
        for video in (*videos, SECRET.encode() * 9):
            server.ask(f"/predict?name={SECRET}", body=video)
        held = {one.readlink().name for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}
        assert not any("upload" in name for name in held)
    said = capfd.readouterr()
    assert SECRET not in caplog.text + said.out + said.err
    assert "/predict: 200 after" in caplog.text
    assert list((tmp_path / "temporary").iterdir()) == []
    after = {path: path.read_bytes() for path in folder.iterdir() if path.stat().st_size}
    assert after == before
