"""Damaged files, as the importers are given them: each is answered, and the server lives on."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("pydicom", reason="pydicom is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from dicom_files import by_ffmpeg, native
from fuzz import mutated
from pydicom import uid

from conftest import turned_by_a_quarter, write_audio, write_video
from exported_folder import write_exported
from serving import served
from vaclip.serve.worker import Limits

EXPORTS = Path(__file__).parents[1] / "importers/fixtures"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = write_exported(tmp_path_factory.mktemp("exported") / "model")
    with served(folder, Limits(seconds=20, memory=1 << 30)) as server:
        yield server


READ = ("a.mkv", "b.mp4", "c.avi", "d.gif", "e.mp4", "g.mpg")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The contents of files by name; those of `READ` are videos, the others none."""
    folder = tmp_path_factory.mktemp("videos")
    pictures = np.random.default_rng(0).integers(100, 200, (12, 32, 48, 3)).astype(np.uint8)
    made = [
        write_video(folder / "a.mkv", pictures),
        write_video(folder / "b.mp4", pictures, codec="libx264"),
        write_video(folder / "c.avi", pictures),
        write_video(folder / "d.gif", pictures, codec="gif"),
        turned_by_a_quarter(write_video(folder / "e.mp4", pictures, codec="libx264")),
        write_audio(folder / "f.wav"),
        write_video(folder / "g.mpg", pictures, fps=25, codec="mpeg1video"),
        native(folder / "h.dcm", pictures),
        by_ffmpeg(folder / "i.dcm", pictures, uid.JPEGBaseline8Bit, "mjpeg", "yuvj420p"),
    ]
    made += sorted(EXPORTS.glob("*/*.json")) + sorted(EXPORTS.glob("*/*.xml"))
    return {path.name: path.read_bytes() for path in made}


def test_whole_videos_of_each_kind_are_read_and_other_files_are_refused(server, files):
    for name, content in files.items():
        status, _, said = server.ask(body=content)
        assert (status == 200) == (name in READ), (name, said)
        assert status in (200, 422)


def _outcomes(server, files, inputs, seed):
    """Sends damaged files and returns how many had each status."""
    rng, everything, counts = random.Random(seed), list(files.values()), Counter()
    for _ in range(inputs):
        name = rng.choice(READ if rng.random() < 0.8 else list(files))
        body = mutated(files[name], everything, rng)
        status, _, said = server.ask("/predict?pictures=true&map=true", body=body)
        counts[status] += 1
        assert said.get("error", "the upload").startswith(("the upload", "reading the upload"))
    return counts


@pytest.mark.parametrize(
    "inputs", [60, pytest.param(800, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_damaged_files_are_answered_and_the_server_lives_on(server, files, inputs):
    counts = _outcomes(server, files, inputs, seed=inputs)
    assert set(counts) <= {200, 422}
    assert min(counts[200], counts[422]) > inputs / 20  # else the damage says nothing
    assert server.ask(body=files["a.mkv"])[0] == 200
    assert server.ask("/health")[2]["uploads"] == 0
