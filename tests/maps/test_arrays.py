from __future__ import annotations

import numpy as np
import pytest

from conftest import grey_pictures, write_audio, write_video
from vaclip.errors import VaclipError
from vaclip.maps import arrays
from vaclip.maps.arrays import ArrayMap, load_map, resize_area
from vaclip.maps.source import AnnotatedClip, Grid, Timing

FRAMES = np.random.default_rng(0).uniform(0, 1, (6, 8, 10)).astype(np.float32)
SHOWN = [0, 1, 1, 3, 5]


def render(tmp_path, name, size=(8, 10), whole=True, count=6):
    grid = Grid(np.array(SHOWN), np.arange(len(SHOWN)) / 4, 0.25, count, whole, (80, 100), size)
    return ArrayMap().render(name, AnnotatedClip("c", tmp_path), grid)


def refused(tmp_path, name, message):
    with pytest.raises(VaclipError, match=message) as caught:
        render(tmp_path, name)
    assert name in str(caught.value)


def test_float_array(tmp_path):
    np.save(tmp_path / "m.npy", FRAMES)
    np.testing.assert_allclose(render(tmp_path, "m.npy"), FRAMES[SHOWN], atol=1e-6)


def test_float_array_of_double_precision(tmp_path):
    np.save(tmp_path / "m.npy", FRAMES.astype(np.float64))
    drawn = render(tmp_path, "m.npy")
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn, FRAMES[SHOWN], atol=1e-6)


def test_bytes_count_as_255ths(tmp_path):
    grey = np.random.default_rng(1).integers(0, 256, (6, 8, 10), np.uint8)
    np.save(tmp_path / "m.npy", grey)
    np.testing.assert_allclose(render(tmp_path, "m.npy"), grey[SHOWN] / 255.0, atol=1e-6)


@pytest.mark.parametrize("kind", [bool, np.int64])
def test_masks(tmp_path, kind):
    mask = FRAMES > 0.5
    np.save(tmp_path / "m.npy", mask.astype(kind))
    np.testing.assert_allclose(render(tmp_path, "m.npy"), mask[SHOWN], atol=1e-6)


@pytest.mark.parametrize(
    "arrays", [{"map": FRAMES, "other": np.zeros(3)}, {"anything": FRAMES}, {"map": FRAMES}]
)
def test_npz(tmp_path, arrays):
    np.savez_compressed(tmp_path / "m.npz", **arrays)
    np.testing.assert_allclose(render(tmp_path, "m.npz"), FRAMES[SHOWN], atol=1e-6)


def test_npz_of_several_arrays_without_map_is_refused(tmp_path):
    np.savez(tmp_path / "m.npz", a=FRAMES, b=FRAMES)
    refused(tmp_path, "m.npz", "holds 2 arrays and none is named")


def test_grey_video(tmp_path):
    levels = [0, 50, 100, 150, 200, 255]
    write_video(tmp_path / "m.mkv", grey_pictures(levels))
    drawn = render(tmp_path, "m.mkv")
    wanted = np.take(levels, SHOWN)[:, None, None] / 255
    assert np.abs(drawn - wanted).max() <= 2 / 255


@pytest.mark.parametrize("shape", [(8, 10), (1, 8, 10)])
def test_still_map_holds_for_every_sample(tmp_path, shape):
    np.save(tmp_path / "m.npy", FRAMES[0].reshape(shape))
    drawn = render(tmp_path, "m.npy")
    np.testing.assert_allclose(drawn, np.broadcast_to(FRAMES[0], (5, 8, 10)), atol=1e-6)


def test_constant_map_stays_constant_at_any_size(tmp_path):
    np.save(tmp_path / "m.npy", np.full((6, 7, 9), 0.25))
    for size in ((3, 4), (7, 9), (20, 31)):
        drawn = render(tmp_path, "m.npy", size)
        assert drawn.shape == (5, *size)
        np.testing.assert_allclose(drawn, 0.25, atol=1e-6)


def test_shrinking_averages():
    # A fine chequerboard, which sampling would turn into 0 or 1, becomes grey.
    board = (np.indices((1, 64, 64)).sum(axis=0) % 2).astype(np.float32)
    np.testing.assert_allclose(resize_area(board, (8, 8)), 0.5, atol=0.02)
    random = np.random.default_rng(2).uniform(0, 1, (3, 64, 48)).astype(np.float32)
    small = resize_area(random, (8, 8))
    np.testing.assert_allclose(small.mean(axis=(1, 2)), random.mean(axis=(1, 2)), atol=0.02)


def test_resize_moves_nothing():
    frames = np.zeros((1, 40, 60), np.float32)
    frames[0, 10:15, 40:45] = 1  # centre at 0.3125 of the height, 0.7083 of the width
    small = resize_area(frames, (8, 12))[0]
    assert np.unravel_index(small.argmax(), small.shape) == (2, 8)


# --- what is refused -----------------------------------------------------------------------------


def test_wrong_length(tmp_path):
    np.save(tmp_path / "m.npy", FRAMES[:5])
    refused(tmp_path, "m.npy", r"map 'm\.npy' has 5 frames, but the video gives 6")
    np.save(tmp_path / "m.npy", np.concatenate([FRAMES, FRAMES]))
    refused(tmp_path, "m.npy", "has 12 frames, but the video gives 6")


def test_clip_that_ends_early_may_have_a_longer_map(tmp_path):
    np.save(tmp_path / "m.npy", np.concatenate([FRAMES, FRAMES]))
    np.testing.assert_allclose(render(tmp_path, "m.npy", whole=False), FRAMES[SHOWN], atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path, value):
    frames = FRAMES.copy()
    frames[3, 2, 1] = value
    np.save(tmp_path / "m.npy", frames)
    refused(tmp_path, "m.npy", r"not finite, first at \[3, 2, 1\]")


def test_not_finite_says_which_frame(tmp_path):
    frames = FRAMES.copy()
    frames[5, 2, 1] = np.nan  # SHOWN as sample 4
    np.save(tmp_path / "m.npy", frames)
    refused(tmp_path, "m.npy", r"first at \[5, 2, 1\]")


@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0])
def test_out_of_range(tmp_path, value):
    frames = FRAMES.copy()
    frames[3, 2, 1] = value
    np.save(tmp_path / "m.npy", frames)
    refused(tmp_path, "m.npy", r"ranges from .*; save it in \[0, 1\]")


@pytest.mark.parametrize("shape", [(8,), (2, 3, 4, 5), (0, 8, 10), (6, 0, 10), ()])
def test_wrong_shape(tmp_path, shape):
    np.save(tmp_path / "m.npy", np.zeros(shape))
    refused(tmp_path, "m.npy", r"expected \(T, H, W\) or \(H, W\)")


@pytest.mark.parametrize("name", ["m.npy", "m.npz"])
def test_object_array(tmp_path, name):
    objects = np.full((6, 8, 10), None)
    if name == "m.npy":
        np.save(tmp_path / name, objects, allow_pickle=True)
    else:
        np.savez(tmp_path / name, map=objects)
    refused(tmp_path, name, "cannot be read as an array")


@pytest.mark.parametrize("name", ["m.npy", "m.npz"])
@pytest.mark.parametrize("keep", [0, 0.3, 0.9])
def test_truncated_array(tmp_path, name, keep):
    (np.save if name == "m.npy" else np.savez)(tmp_path / name, FRAMES)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * keep)])
    refused(tmp_path, name, "cannot be read as an array")


def test_neither_array_nor_video(tmp_path):
    (tmp_path / "m.csv").write_text("0,1\n" * 100)
    refused(tmp_path, "m.csv", "neither an array nor a video")
    write_audio(tmp_path / "m.wav")
    refused(tmp_path, "m.wav", "holds no video stream")


def test_missing_file_or_path_outside(tmp_path):
    clip = AnnotatedClip("c", tmp_path)
    assert "there is no file 'gone.npy'" in ArrayMap().problem("gone.npy", clip)
    assert "leaves the study folder" in ArrayMap().problem("../m.npy", clip)
    refused(tmp_path, "gone.npy", "cannot be read as an array")
    refused(tmp_path, "../m.npy", "leaves the study folder")


@pytest.mark.parametrize("damage", ["zlib", "header"])
def test_damaged_array(tmp_path, damage):
    if damage == "zlib":
        path = tmp_path / "m.npz"
        np.savez_compressed(path, map=FRAMES)
        content = bytearray(path.read_bytes())
        content[60:90] = b"\xff" * 30
    else:
        path = tmp_path / "m.npy"
        np.save(path, FRAMES)
        content = path.read_bytes().replace(b"}", b" ")
    path.write_bytes(content)
    refused(tmp_path, path.name, "cannot be read as an array")


def test_array_of_text(tmp_path):
    np.save(tmp_path / "m.npy", np.full((6, 8, 10), "x"))
    refused(tmp_path, "m.npy", "not of numbers")


def test_load_map_keeps_the_number_format(tmp_path):
    np.save(tmp_path / "m.npy", np.ones((4, 5), np.uint8))
    loaded = load_map(tmp_path / "m.npy", "m.npy")
    assert (loaded.shape, loaded.dtype) == ((1, 4, 5), np.uint8)


def test_a_grey_video_that_would_fill_the_memory(tmp_path, monkeypatch):
    write_video(tmp_path / "m.mkv", grey_pictures(range(10)))
    monkeypatch.setattr(arrays, "LARGEST_ARRAYS", 10 * 16 * 16)
    assert load_map(tmp_path / "m.mkv", "m.mkv").shape == (10, 16, 16)
    monkeypatch.setattr(arrays, "LARGEST_ARRAYS", 9 * 16 * 16)
    with pytest.raises(VaclipError, match=r"map 'm\.mkv' has more than 0 GiB of pictures"):
        load_map(tmp_path / "m.mkv", "m.mkv")


def test_a_playlist_is_no_map(tmp_path):
    video = write_video(tmp_path / "elsewhere/a.mkv", grey_pictures([7]))
    (tmp_path / "m.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{video}\n#EXT-X-ENDLIST\n"
    )
    refused(tmp_path, "m.m3u8", "neither an array nor a video")


@pytest.mark.parametrize(("shape", "frames"), [((5, 4, 4), 5), ((1, 4, 4), None), ((4, 4), None)])
def test_only_a_map_of_several_frames_counts_frames(tmp_path, shape, frames):
    np.save(tmp_path / "m.npy", np.zeros(shape))
    timing = ArrayMap().timing("m.npy", AnnotatedClip("c", tmp_path))
    assert timing == (None if frames is None else Timing("frame", frames))
