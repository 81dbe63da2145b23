"""What the page plays, and the process that draws it, from inside and outside."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx", reason="onnx is not installed")
from exported_folder import coloured, trap, write_exported
from vaclip.errors import VaclipError
from vaclip.serve.child import pictures
from vaclip.serve.worker import Limits, RefusedError, Worker

NOTHING = {"map": False, "pictures": False}


def _layers(drawn):
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(one["uri"].partition(",")[2]))))
        for one in drawn["layers"]
    ]


def _grey(levels):
    """Segments (S, T, 8, 8, 3), one level (S, T) of grey a picture."""
    levels = np.asarray(levels, np.uint8)
    return np.broadcast_to(levels[..., None, None, None], (*levels.shape, 8, 8, 3))


def test_pictures_stand_in_the_order_of_segments_and_times():
    levels = np.arange(12).reshape(3, 4) * 20
    drawn = pictures(_grey(levels), None, (40, 40))
    [frames] = _layers(drawn)
    assert drawn["count"] == 12
    assert frames.shape == (224, 12 * 224, 3)
    seen = frames[112, 112::224].mean(axis=-1)
    np.testing.assert_allclose(seen, levels.ravel(), atol=3)


def test_each_picture_has_the_map_of_its_time():
    maps = np.zeros((2, 2, 2, 2), np.float32)
    where = [(0, 0), (0, 1), (1, 0), (1, 1)]
    for number, (row, column) in enumerate(where):
        maps[number // 2, number % 2, row, column] = 1
    drawn = pictures(_grey(np.zeros((2, 4))), maps, (40, 40))
    attn = _layers(drawn)[1]
    side = attn.shape[0]
    assert attn.shape[1] == 8 * side
    for picture in range(8):
        own = attn[:, picture * side : (picture + 1) * side]
        row, column = np.unravel_index(
            np.argmax(own.reshape(2, side // 2, 2, -1).mean((1, 3))), (2, 2)
        )
        assert (row, column) == where[picture // 2]


@pytest.mark.parametrize(("segments", "count"), [(1, 16), (10, 160), (11, 160), (40, 160)])
def test_of_a_long_video_the_first_pictures_are_drawn(segments, count):
    maps = np.ones((segments, 4, 2, 2), np.float32)
    drawn = pictures(_grey(np.zeros((segments, 16))), maps, (16, 16))
    assert drawn["count"] == count
    frames, attn = _layers(drawn)
    assert frames.shape[1] == count * 224
    assert attn.shape[1] == count * attn.shape[0]


@pytest.mark.parametrize(("size", "shown"), [((480, 640), (168, 224)), ((300, 100), (224, 75))])
def test_the_aspect_is_the_videos(size, shown):
    [frames] = _layers(pictures(_grey([[0]]), None, size))
    assert frames.shape[:2] == shown


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_exported(tmp_path_factory.mktemp("exported") / "model")


def _memory_file(content):
    descriptor = os.memfd_create("upload")
    os.write(descriptor, content)
    return descriptor


def test_the_process_is_bounded(folder):
    async def look():
        async with Worker(folder, Limits(memory=1 << 30)) as worker:
            process = Path(f"/proc/{worker._process.pid}")
            used = int((process / "statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
            limits = (process / "limits").read_text()
            return used, limits, (process / "environ").read_bytes().split(b"\0")

    used, limits, environment = asyncio.run(look())
    lines = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert lines["Max file size"] == lines["Max core file size"] == ["0", "0"]
    assert abs(int(lines["Max address space"][1]) - used - (1 << 30)) < 64 << 20
    assert b"ORT_DISABLE_TELEMETRY=1" in environment


def test_who_gives_up_does_not_get_the_next_ones_answer(folder, tmp_path):
    sleep = _memory_file(trap(tmp_path / "a.mkv", "sleep"))
    blue = _memory_file(coloured(tmp_path / "b.mkv", (40, 40, 200)))

    async def ask():
        async with Worker(folder, Limits()) as worker:
            first = asyncio.create_task(worker.predict(sleep, NOTHING))
            await asyncio.sleep(0.3)
            second = asyncio.create_task(worker.predict(blue, NOTHING))
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            return await second

    assert asyncio.run(ask())["predicted"] == "blue"
    os.close(sleep)
    os.close(blue)


def test_after_its_end_nothing_of_it_runs(folder, tmp_path):
    video = _memory_file(trap(tmp_path / "a.mkv", "sleep"))

    async def ask():
        async with Worker(folder, Limits(seconds=0.5)) as worker:
            first = worker._process.pid
            with pytest.raises(RefusedError, match=r"stopped after 0\.5 s"):
                await worker.predict(video, NOTHING)
            assert not Path(f"/proc/{first}").exists()
            await worker._start()
            return worker._process.pid

    second = asyncio.run(ask())
    assert not Path(f"/proc/{second}").exists()
    os.close(video)


def test_an_answer_without_end_is_not_taken(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("vaclip.serve.worker._LARGEST_ANSWER", 50)
    video = _memory_file(coloured(tmp_path / "a.mkv", (40, 40, 200)))

    async def ask():
        async with Worker(folder, Limits()) as worker:
            await worker.predict(video, NOTHING)

    with pytest.raises(VaclipError, match=r"ended its process \(no answer\)"):
        asyncio.run(ask())
    os.close(video)


@pytest.mark.parametrize("code", ["def load(folder):\n    raise SystemExit(3)\n", "syntax error"])
def test_code_that_does_not_load_is_told(tmp_path, code):
    folder = write_exported(tmp_path / "model")
    (folder / "predict.py").write_text(code)

    async def start():
        async with Worker(folder, Limits()):
            raise AssertionError("it has started")

    with pytest.raises(VaclipError, match=r"could not be loaded \(status [13]\)"):
        asyncio.run(start())
