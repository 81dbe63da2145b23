"""predict.py of an exported folder reads a video as vaclip does, and needs nothing of it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import grey_pictures, turned_by_a_quarter, write_video
from vaclip.data.sampling import plan_segments, segment_samples
from vaclip.data.video import decode_clip
from vaclip.export import predict

SETTINGS = {
    "fps": 10.0, "frames": 4, "stride": 3, "every": 1, "step": 1, "size": [24, 32],
    "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4],
}  # fmt: skip


class Session:
    """Gives the mean of each segment's red as the first of two logits, and what it was shown."""

    def __init__(self):
        self.batches = []

    def run(self, names, inputs):
        self.batches.append(inputs)
        red = inputs["video"][:, 0].mean(axis=(1, 2, 3))
        return [np.stack([red, 0 * red], axis=1)]


def model(**more):
    told = {"temperature": 1.0, "map": None, "needs_map": False, "encoder": None}
    return predict.Model(SETTINGS | told | more, Session())


def colours(count=20):
    return np.random.default_rng(0).integers(0, 256, (count, 48, 64, 3), np.uint8)


def films(folder):
    mp4 = write_video(folder / "plain.mp4", colours(), codec="libx264")
    turned = write_video(folder / "turned.mp4", colours(), codec="libx264")
    late = [0.0, 0.04, 0.3, 0.35, 0.9, 1.7]
    return [
        write_video(folder / "plain.mkv", colours()),
        write_video(folder / "variable.mkv", colours(6), times_s=late),
        write_video(folder / "slow.gif", colours(5), fps=4, codec="gif"),
        mp4,
        turned_by_a_quarter(turned),
    ]


def test_it_imports_nothing_but_what_it_says():
    tree = ast.parse(Path(predict.__file__).read_text("utf-8"))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert names - set(sys.stdlib_module_names) == {"av", "numpy", "onnxruntime"}


@pytest.mark.parametrize("fps", [10.0, 7.3, 25.0])
@pytest.mark.parametrize("span", [(0.0, None), (0.35, None), (0.2, 0.9)])
def test_samples_are_those_of_decode_clip(tmp_path, fps, span):
    for film in films(tmp_path):
        own = predict.samples(film, SETTINGS | {"fps": fps}, *span)
        theirs = decode_clip(film, fps=fps, size=(24, 32), start_s=span[0], end_s=span[1])
        np.testing.assert_array_equal(own, theirs.frames, err_msg=film.name)


@given(st.integers(1, 80), st.integers(1, 20), st.integers(1, 20))
def test_segments_start_as_planned(count, frames, stride):
    found = predict.starts(count, {"frames": frames, "stride": stride})
    assert found == plan_segments(count, frames, stride)


@pytest.mark.parametrize("count", [3, 4, 11, 20])
@pytest.mark.parametrize("every", [1, 2])
def test_segments_hold_the_planned_pictures(tmp_path, count, every):
    film = write_video(tmp_path / "grey.mkv", grey_pictures(range(count), 24, 32))
    own = model(every=every, step=every).read(film)
    mean, std = (np.array(SETTINGS[key])[:, None, None, None] for key in ("mean", "std"))
    levels = np.rint((own * std + mean) * 255)[:, :, :, 5, 5]
    steps = -(-count // every)
    wanted = [
        [every * n for n in segment_samples(first // every, steps, 4 // every)]
        for first in plan_segments(count, 4, 3)
    ]
    assert own.dtype == np.float32
    np.testing.assert_array_equal(levels, np.repeat(np.array(wanted)[:, None], 3, axis=1))


def test_maps_are_cut_as_segments_are(tmp_path):
    drawn = np.broadcast_to(np.arange(11, dtype=np.uint8)[None, :, None, None], (2, 11, 3, 5))
    np.save(tmp_path / "map.npy", drawn)
    found = predict.read_maps(tmp_path / "map.npy", SETTINGS)
    wanted = np.array([list(range(n, n + 4)) for n in plan_segments(11, 4, 3)])
    assert found.shape == (3, 2, 4, 3, 5)
    np.testing.assert_allclose(found[:, 1, :, 2, 4] * 255, wanted, rtol=1e-6)


def test_probabilities_are_the_mean_over_segments_at_a_temperature():
    segments = np.random.default_rng(0).normal(size=(19, 3, 4, 24, 32)).astype(np.float32)
    own = model(temperature=2.0)
    probs, maps = own.predict(segments)
    red = segments[:, 0].mean(axis=(1, 2, 3), dtype=np.float64) / 2
    assert probs[0] == pytest.approx((1 / (1 + np.exp(-red))).mean())
    assert probs.sum() == pytest.approx(1)
    assert maps is None
    assert [len(batch["video"]) for batch in own.session.batches] == [8, 8, 3]


def test_a_map_that_is_needed_has_to_be_there_and_leaves_out_unmarked_segments():
    own = model(map={"channels": 1, "size": [2, 2]}, needs_map=True)
    segments = np.zeros((2, 3, 4, 24, 32), np.float32)
    segments[0] += 3.0
    with pytest.raises(ValueError, match="needs a clinician's map"):
        own.predict(segments)
    maps = np.zeros((2, 1, 4, 2, 2), np.float32)
    with pytest.raises(ValueError, match="the map is empty"):
        own.predict(segments, maps)
    maps[1, 0, 0, 0, 0] = 0.5
    assert own.predict(segments, maps)[0] == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match=r"maps of \(2, 1, 4, 2, 1\), not of"):
        own.predict(segments, maps[..., :1])


def test_a_map_that_is_not_needed_may_be_blank_or_refused():
    segments = np.zeros((2, 3, 4, 24, 32), np.float32)
    optional = model(map={"channels": 1, "size": [2, 2]})
    optional.predict(segments)
    assert not optional.session.batches[0]["attn_map"].any()
    with pytest.raises(ValueError, match="reads no map"):
        model().predict(segments, np.zeros((2, 1, 4, 2, 2), np.float32))


@pytest.mark.parametrize("content", [b"", b"#EXTM3U\nhttp://localhost/y.ts\n"])
def test_a_file_that_is_no_video_is_an_error(tmp_path, content):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises((OSError, ValueError), match="Invalid data"):
        model().read(path)
