from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from conftest import grey_pictures, turned_by_a_quarter, write_audio, write_video
from vaclip.data import video
from vaclip.data.video import DecodedClip, decode_clip, decode_spans, timed_frames
from vaclip.errors import VaclipError

LEVELS = list(range(10, 210, 10))  # 20 frames, 10 grey levels apart


def decode(path, **options):
    return decode_clip(path, **{"fps": 10, "size": (16, 16), **options})


def levels(clip):
    return clip.frames[:, 0, 0, 0].astype(int).tolist()


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
def test_lossless_constant_rate(tmp_path, name):
    clip = decode(write_video(tmp_path / name, grey_pictures(LEVELS)))
    assert clip.frames.shape == (20, 16, 16, 3)
    assert clip.frames.dtype == np.uint8
    np.testing.assert_array_equal(clip.frames, grey_pictures(LEVELS))
    assert clip.frame_index.tolist() == list(range(20))
    assert (clip.frame_count, clip.whole_video, clip.source_size) == (20, True, (16, 16))


def test_mp4(tmp_path):
    clip = decode(write_video(tmp_path / "a.mp4", grey_pictures(LEVELS), codec="libx264"))
    assert clip.frame_index.tolist() == list(range(20))
    assert np.abs(np.subtract(levels(clip), LEVELS)).max() <= 3


def test_gif(tmp_path):
    pictures = grey_pictures([0, 255, 0, 255])
    path = write_video(tmp_path / "a.gif", pictures, times_s=[0, 0.1, 0.5, 1.0], codec="gif")
    clip = decode(path)
    assert clip.frame_index.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3]
    wanted = np.take([0, 255, 0, 255], clip.frame_index)
    assert np.abs(np.subtract(levels(clip), wanted)).max() <= 4


@pytest.mark.parametrize(("name", "codec"), [("v.mkv", "ffv1"), ("v.mp4", "libx264")])
def test_variable_rate(tmp_path, name, codec):
    pictures = grey_pictures([20, 60, 100, 140])
    path = write_video(tmp_path / name, pictures, times_s=[0, 0.05, 0.52, 1.0], codec=codec)
    clip = decode(path)
    # Samples at 0, 0.1, ... 1.0; the last frame is shown for the nominal tenth of a second.
    assert clip.frame_index.tolist() == [0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3]
    wanted = np.take([20, 60, 100, 140], clip.frame_index)
    assert np.abs(np.subtract(levels(clip), wanted)).max() <= 3


def test_times_count_from_the_first_frame(tmp_path):
    path = write_video(tmp_path / "o.mkv", grey_pictures([1, 2, 3]), times_s=[5.0, 5.1, 5.2])
    assert levels(decode(path)) == [1, 2, 3]
    assert levels(decode(path, start_s=0.1, end_s=0.2)) == [2]


@pytest.mark.parametrize(
    ("fps", "start_s", "end_s", "wanted"),
    [
        (10, 0.5, None, list(range(5, 20))),
        (10, 0.0, 0.5, [0, 1, 2, 3, 4]),
        (10, 0.55, 0.85, [5, 6, 7]),
        (5, 0.1, 1.0, [1, 3, 5, 7, 9]),
        (20, 1.8, None, [18, 18, 19, 19]),
        (10, 1.0, 99.0, list(range(10, 20))),
        (0.001, 0.7, None, [7]),
    ],
)
def test_span_and_rate(tmp_path, fps, start_s, end_s, wanted):
    path = write_video(tmp_path / "a.mkv", grey_pictures(LEVELS))
    clip = decode(path, fps=fps, start_s=start_s, end_s=end_s)
    assert clip.frame_index.tolist() == wanted
    assert levels(clip) == [LEVELS[index] for index in wanted]
    ends_early = end_s is not None and end_s < 2
    assert clip.whole_video is not ends_early
    assert clip.frame_count == (wanted[-1] + 1 if ends_early else 20)


def test_matroska_at_30_a_second_gives_every_frame_once(tmp_path):
    path = write_video(tmp_path / "a.mkv", grey_pictures(range(30)), fps=30)
    assert decode(path, fps=30).frame_index.tolist() == list(range(30))


def test_mp4_at_30_a_second_gives_every_frame_once(tmp_path):
    path = write_video(tmp_path / "a.mp4", grey_pictures(range(30)), fps=30, codec="libx264")
    assert decode(path, fps=30).frame_index.tolist() == list(range(30))


def test_resize_is_the_mean_of_each_block(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
    clip = decode(write_video(tmp_path / "a.mkv", pictures), size=(8, 24))
    means = pictures.reshape(3, 8, 4, 24, 2, 3).mean(axis=(2, 4))
    assert np.abs(clip.frames - means).max() <= 2
    assert clip.source_size == (32, 48)


def test_channels_are_red_green_blue(tmp_path):
    pictures = np.zeros((1, 16, 16, 3), np.uint8)
    pictures[...] = (200, 100, 50)
    assert decode(write_video(tmp_path / "a.mkv", pictures)).frames[0, 3, 4].tolist() == [
        200,
        100,
        50,
    ]


def test_grid_carries_the_clip(tmp_path):
    clip = decode(write_video(tmp_path / "a.mkv", grey_pictures(LEVELS)), end_s=0.3)
    grid = clip.grid((4, 5), 0.1)
    assert grid.frame_index.tolist() == [0, 1, 2]
    assert (grid.frame_count, grid.whole_video) == (3, False)
    assert (grid.source_size, grid.size, grid.keypoint_sigma) == ((16, 16), (4, 5), 0.1)


def test_timed_frames_say_when_the_next_appears(tmp_path):
    path = write_video(tmp_path / "a.mkv", grey_pictures([1, 2, 3]), times_s=[0, 0.25, 0.4])
    ends = [until for _, until in timed_frames(path)]
    assert ends == pytest.approx([0.25, 0.4, 0.5], abs=1e-6)


# --- files that cannot be read -------------------------------------------------------------------


def noise(count=40):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def text_file(folder):
    path = folder / "bad.mp4"
    path.write_text("clip_id,video\n" * 500)
    return path


def empty_file(folder):
    path = folder / "bad.mp4"
    path.touch()
    return path


def cut_mp4(folder):
    return cut(write_video(folder / "bad.mp4", noise(), codec="libx264"))


def cut_faststart(folder):
    options = {"movflags": "faststart"}
    path = folder / "bad.mp4"
    return cut(write_video(path, noise(), codec="libx264", container_options=options))


def cut_avi(folder):
    return cut(write_video(folder / "bad.avi", noise()))


def cut_mkv(folder):
    return cut(write_video(folder / "bad.mkv", noise()))


def zeroed_mkv(folder):
    path = write_video(folder / "bad.mkv", noise())
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 9000] = bytes(9000)
    path.write_bytes(content)
    return path


SILENT = pytest.mark.xfail(
    strict=True, reason="FFmpeg skips damage in Matroska: frames are lost without a word"
)


@pytest.mark.parametrize(
    "make",
    [
        text_file,
        empty_file,
        cut_mp4,
        cut_faststart,
        cut_avi,
        pytest.param(cut_mkv, marks=SILENT),
        pytest.param(zeroed_mkv, marks=SILENT),
    ],
)
def test_broken_file_is_named(tmp_path, make):
    path = make(tmp_path)
    with pytest.raises(VaclipError, match=f"^{path.name}: cannot be decoded after"):
        decode(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(VaclipError, match=r"^gone\.mp4: there is no such file"):
        decode(tmp_path / "gone.mp4")
    with pytest.raises(VaclipError, match="there is no such file"):
        decode(tmp_path)


def test_sound_alone_is_named(tmp_path):
    with pytest.raises(VaclipError, match=r"^a\.wav: the file holds no video"):
        decode(write_audio(tmp_path / "a.wav"))


def test_span_after_the_end_is_named(tmp_path):
    path = write_video(tmp_path / "a.mkv", grey_pictures(LEVELS))
    with pytest.raises(VaclipError, match=r"^a\.mkv: 20 frames, none of them between 2 s and its"):
        decode(path, start_s=2.0)


def test_relative_name_with_a_colon(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mkv", grey_pictures([7])).rename(tmp_path / "walk:1.mkv")
    monkeypatch.chdir(tmp_path)
    assert levels(decode(Path("walk:1.mkv"))) == [7]


@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_playlist_is_no_video(tmp_path, kind):
    video = write_video(tmp_path / "elsewhere/a.mkv", grey_pictures([7]))
    if kind == "hls":
        path = tmp_path / "list.m3u8"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{video}\n#EXT-X-ENDLIST\n")
    else:
        path = tmp_path / "list.mp4"
        path.write_text("ffconcat version 1.0\nfile elsewhere/a.mkv\n")
    with pytest.raises(VaclipError, match=path.name):
        decode(path)


def test_rotation_of_a_phone_video(tmp_path):
    pictures = grey_pictures([0] * 3, height=32, width=64)
    pictures[:, :, :32] = 200  # left half: after a quarter turn clockwise the upper half
    path = turned_by_a_quarter(write_video(tmp_path / "a.mp4", pictures, codec="libx264"))
    clip = decode(path)
    assert clip.source_size == (64, 32)
    halves = clip.frames[0, :, :, 0].astype(int)
    assert halves[:7].min() > 150
    assert halves[9:].max() < 50


# --- what would fill the memory, or never end ----------------------------------------------------


def plain_video(path, codec, height, width):
    """Writes one grey picture of any size."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1)
        stream.height, stream.width, stream.pix_fmt = height, width, "gray"
        frame = av.VideoFrame(width, height, "gray")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def patched(path, offset, fmt, *values):
    content = bytearray(path.read_bytes())
    struct.pack_into(fmt, content, content.index(offset[0]) + offset[1], *values)
    path.write_bytes(content)
    return path


def claimed_size(path):
    """Lets an .avi of PNG pictures claim 12,000 x 10,000, in the stream and in the picture."""
    plain_video(path, "png", 16, 16)
    patched(path, (b"strf", 8 + 4), "<ii", 12_000, 10_000)
    return patched(path, (b"IHDR", 4), ">II", 12_000, 10_000)


def size_hidden_in_the_picture(path):
    return patched(plain_video(path, "png", 16, 16), (b"IHDR", 4), ">II", 12_000, 10_000)


def real_size(path):
    return plain_video(path, "png", 10_000, 12_000)


@pytest.mark.parametrize("make", [claimed_size, size_hidden_in_the_picture, real_size])
def test_a_picture_above_64_megapixels_is_refused(tmp_path, make):
    path = make(tmp_path / "a.avi")
    with pytest.raises(VaclipError, match=r"^a\.avi: .*64 megapixels"):
        decode(path)


def test_a_large_picture_is_decoded(tmp_path):
    clip = decode(plain_video(tmp_path / "a.avi", "png", 2160, 3840))
    assert clip.source_size == (2160, 3840)
    assert clip.frames.shape == (10, 16, 16, 3)


def test_a_time_stamp_beyond_a_day_is_damage(tmp_path):
    path = write_video(tmp_path / "a.mkv", grey_pictures([1, 2, 3]), times_s=[0, 0.1, 1e6])
    with pytest.raises(VaclipError, match=r"^a\.mkv: states that frame 1 is shown until 1000000 s"):
        decode(path)


def test_a_rate_of_one_picture_in_68_years(tmp_path):
    path = write_video(tmp_path / "a.avi", grey_pictures([1, 2, 3]))
    patched(path, (b"strh", 8 + 20), "<II", 2**31 - 1, 1)  # scale and rate
    with pytest.raises(VaclipError, match="is shown until 2147483647 s"):
        decode(path)


def test_a_count_of_billions_ends_with_the_content(tmp_path):
    path = write_video(tmp_path / "a.avi", grey_pictures([1, 2, 3]))
    patched(path, (b"strh", 8 + 32), "<I", 2**32 - 1)
    assert levels(decode(path)) == [1, 2, 3]


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mkv", grey_pictures([1, 2]), times_s=[0, 9.0])
    monkeypatch.setattr(video, "LARGEST_CLIP", 91 * 16 * 16 * 3)
    assert len(decode(path).frames) == 91
    monkeypatch.setattr(video, "LARGEST_CLIP", 90 * 16 * 16 * 3)
    with pytest.raises(VaclipError, match=r"^a\.mkv: the clip is longer than 9 s, and"):
        decode(path)


def test_a_title_in_another_encoding_does_no_harm(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Zoe at home"
        stream = container.add_stream("ffv1", rate=1)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "gray"
        container.mux(stream.encode(av.VideoFrame(16, 16, "gray")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"Zoe", b"Zo\xeb"))
    assert len(decode(path).frames) == 10


def million_samples(path):
    """Lets the table of an .mp4 claim 84 million samples of one byte; FFmpeg took 5 GB for it."""
    write_video(path, grey_pictures([1, 2, 3]), codec="libx264")
    patched(path, (b"stsz", 8), ">II", 1, 84_000_000)
    patched(path, (b"stts", 12), ">I", 84_000_000)
    return patched(path, (b"stsc", 16), ">I", 84_000_000)


def million_samples_in_a_fragment(path):
    options = {"movflags": "frag_keyframe+empty_moov"}
    write_video(path, grey_pictures([1, 2, 3]), codec="libx264", container_options=options)
    assert decode(path).frame_count == 3
    return patched(path, (b"trun", 4), ">II", 0, 84_000_000)


@pytest.mark.parametrize("make", [million_samples, million_samples_in_a_fragment])
def test_tables_that_claim_more_than_the_file_holds(tmp_path, make):
    with pytest.raises(VaclipError, match=r"^a\.mp4: its tables claim more pictures than"):
        decode(make(tmp_path / "a.mp4"))


def test_a_box_of_64_bits_is_walked_over(tmp_path):
    """Long recordings have one; the tables behind it are still looked at."""
    path = million_samples(tmp_path / "a.mp4")
    path.write_bytes(struct.pack(">I4sQ4x", 1, b"free", 20) + path.read_bytes())
    with pytest.raises(VaclipError, match="its tables claim"):
        decode(path)


# --- several clips of one video ------------------------------------------------------------------

SPANS = [(0.5, 1.0), (0.0, None), (1.9, 2.0), (0.55, 1.73), (0.5, 1.0), (1.0, 9.0), (7.0, 8.0)]


def outcome(result):
    """What a clip is, or what is said of it."""
    if not isinstance(result, DecodedClip):
        return str(result)
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(result).items()
    }


def one_by_one(path, spans, **options):
    results = []
    for start_s, end_s in spans:
        try:
            results.append(decode(path, start_s=start_s, end_s=end_s, **options))
        except VaclipError as error:
            results.append(error)
    return [outcome(result) for result in results]


def together(path, spans, **options):
    found = dict(decode_spans(path, spans, **{"fps": 10, "size": (16, 16), **options}))
    return [outcome(found[number]) for number in range(len(spans))]


@pytest.mark.parametrize("fps", [3, 10, 25])
def test_clips_of_one_video_are_the_same_in_one_pass(tmp_path, fps):
    path = write_video(tmp_path / "a.mkv", grey_pictures(range(0, 240, 12)))  # 2 s
    found = together(path, SPANS, fps=fps)
    assert found == one_by_one(path, SPANS, fps=fps)
    assert found[-1] == "a.mkv: 20 frames, none of them between 7 s and 8 s"


def test_a_video_that_breaks_off_spares_the_clips_before(tmp_path):
    cut = tmp_path / "cut.avi"
    write_video(cut, np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8))
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    spans = [(0.0, 1.0), (0.5, 5.9), (4.0, None)]
    found = together(cut, spans)
    assert found == one_by_one(cut, spans)
    assert [isinstance(one, str) for one in found] == [False, True, True]


def test_a_clip_that_is_too_long_spares_the_others(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mkv", grey_pictures(range(20)))
    monkeypatch.setattr(video, "LARGEST_CLIP", 10 * 16 * 16 * 3)
    found = together(path, [(0.0, None), (0.5, 1.0)])
    assert found == one_by_one(path, [(0.0, None), (0.5, 1.0)])
    assert "the clip is longer than 1 s" in found[0]
    assert found[1]["frame_count"] == 10


def test_the_video_is_left_when_the_last_clip_ended(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mkv", grey_pictures(range(20)))
    seen = []
    real = video.timed_frames
    monkeypatch.setattr(
        video,
        "timed_frames",
        lambda *how: ((seen.append(until), (frame, until))[1] for frame, until in real(*how)),
    )
    together(path, [(0.0, 0.5), (0.2, 0.7)])
    assert len(seen) == 7


# --- time ----------------------------------------------------------------------------------------


def test_decoding_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mkv", grey_pictures(range(20)))
    clock = iter(range(1000))
    monkeypatch.setattr(video, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    said = "a.mkv: decoding was stopped after 5 frames, because it took longer than 5 s"
    with pytest.raises(VaclipError, match=said):
        decode(path, limit_s=5)
    assert len(decode(path, limit_s=21).frames) == 20


def test_what_is_done_with_the_frames_does_not_count(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mkv", grey_pictures(range(20)))
    now = [0.0]
    monkeypatch.setattr(video, "time", SimpleNamespace(monotonic=lambda: now[0]))
    frames = 0
    for _ in timed_frames(path, 5):
        now[0] += 100
        frames += 1
    assert frames == 20
