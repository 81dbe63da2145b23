"""Facts of videos whose every property was chosen when they were written."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import grey_pictures, write_audio, write_video
from vaclip.audit.check import video_warnings
from vaclip.audit.inspect import VideoFacts, inspect_video, time_disagreement


def encode(path, codec, pixels, *, frames=10, size=(32, 48), rate=10, options=None, aspect=None):
    """Writes a video of any codec and pixel format that FFmpeg has; every picture is grey."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for number in range(frames):
            picture = np.full((*size, 3), 20 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


CONTAINERS = {
    # file, codec, pixel format, rate: container, codec, frames stated
    ("a.mp4", "libx264", "yuv420p", 10): ("mov,mp4,m4a,3gp,3g2,mj2", "h264", 10),
    ("a.mov", "mpeg4", "yuv420p", 10): ("mov,mp4,m4a,3gp,3g2,mj2", "mpeg4", 10),
    ("a.mkv", "ffv1", "gray", 10): ("matroska,webm", "ffv1", None),
    ("a.webm", "libvpx-vp9", "yuv420p", 10): ("matroska,webm", "vp9", None),
    ("a.avi", "mjpeg", "yuvj420p", 10): ("avi", "mjpeg", 10),
    ("a.mpg", "mpeg2video", "yuv420p", 25): ("mpeg", "mpeg2video", None),
    ("a.ts", "mpeg2video", "yuv420p", 25): ("mpegts", "mpeg2video", None),
    ("a.gif", "gif", "rgb8", 10): ("gif", "gif", 10),
}


@pytest.mark.parametrize(("made", "expected"), CONTAINERS.items(), ids=lambda case: case[0])
def test_containers(tmp_path, made, expected):
    name, codec, pixels, rate = made
    facts = inspect_video(encode(tmp_path / name, codec, pixels, rate=rate))
    assert (facts.container, facts.codec, facts.frames_stated) == expected
    assert facts.failure is None
    assert (facts.frames, facts.size, facts.rotation) == (10, (32, 48), 0)
    np.testing.assert_allclose(facts.times_s, np.arange(10) / rate, atol=1e-3)
    np.testing.assert_allclose(facts.ends_s, np.arange(1, 11) / rate, atol=1e-3)
    assert facts.rate == rate
    assert not facts.variable_rate
    assert (facts.sizes, facts.damaged, facts.untimed) == (1, 0, 0)
    assert video_warnings(facts) == []


def test_what_cannot_be_decoded(tmp_path):
    (tmp_path / "text.mp4").write_text("no video" * 100)
    write_audio(tmp_path / "sound.wav")
    for name, why in [
        ("gone.mp4", "there is no such file"),
        ("text.mp4", "cannot be decoded after 0 frames"),
        ("sound.wav", "the file holds no video stream"),
    ]:
        facts = inspect_video(tmp_path / name)
        assert facts.failure.startswith(f"{name}: {why}")
        assert (facts.frames, facts.duration_s) == (0, 0)


def test_a_file_that_breaks_off_keeps_what_came_before(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    path = write_video(tmp_path / "a.avi", noise)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    facts = inspect_video(path)
    assert "cannot be decoded after" in facts.failure
    assert 10 < facts.frames < 30
    assert facts.times_s[-1] == pytest.approx((facts.frames - 1) / 10)


def test_variable_rate(tmp_path):
    times = [0, 0.05, 0.52, 1.0]
    facts = inspect_video(write_video(tmp_path / "v.mkv", grey_pictures(range(4)), times_s=times))
    assert facts.variable_rate
    np.testing.assert_allclose(facts.times_s, times, atol=1e-6)


def test_the_rounding_of_time_stamps_is_no_variable_rate(tmp_path):
    times = [round(number / 30, 3) for number in range(30)]  # 33 and 34 ms
    path = write_video(tmp_path / "v.mkv", grey_pictures(range(30)), times_s=times)
    assert not inspect_video(path).variable_rate


def test_interlaced(tmp_path):
    options = {"x264-params": "interlaced=1:tff=1"}
    facts = inspect_video(encode(tmp_path / "a.mkv", "libx264", "yuv420p", options=options))
    assert facts.interlaced
    (warning,) = video_warnings(facts)
    assert "interlaced" in warning


def test_wide_pixels(tmp_path):
    facts = inspect_video(encode(tmp_path / "a.mp4", "libx264", "yuv420p", aspect=Fraction(4, 3)))
    assert facts.pixel_aspect == Fraction(4, 3)
    (warning,) = video_warnings(facts)
    assert "1.33 times as wide as high" in warning


@pytest.mark.parametrize(("alpha", "expected"), [(128, True), (255, False)])
def test_transparency(tmp_path, alpha, expected):
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.height = stream.width = 16
        stream.pix_fmt = "rgba"
        picture = np.full((16, 16, 4), 200, np.uint8)
        picture[..., 3] = alpha
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgba")))
        container.mux(stream.encode())
    facts = inspect_video(path)
    assert facts.pixel_format == "rgba"
    assert facts.transparent is expected
    assert any("transparent" in what for what in video_warnings(facts)) is expected


def test_the_transparency_of_vp9_that_decoding_drops(tmp_path):
    facts = inspect_video(encode(tmp_path / "a.webm", "libvpx-vp9", "yuva420p"))
    assert facts.pixel_format == "yuv420p"
    assert facts.transparent


def test_sound(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height = stream.width = 16
        stream.pix_fmt = "gray"
        audio = container.add_stream("pcm_s16le", rate=8000)
        audio.layout = "mono"
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        noise.sample_rate = 8000
        container.mux(audio.encode(noise))
        container.mux(stream.encode(av.VideoFrame(16, 16, "gray")))
        container.mux(stream.encode())
    facts = inspect_video(path)
    assert facts.sound
    assert facts.frames == 1
    assert not any("cut off" in what for what in video_warnings(facts))  # the sound is longer


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_recording_that_begins_late_is_not_cut_off(tmp_path, name):
    codec = "ffv1" if name.endswith("mkv") else "libx264"
    times = [2.5 + number / 10 for number in range(10)]
    path = write_video(
        tmp_path / name, grey_pictures(range(10), 32, 32), times_s=times, codec=codec
    )
    facts = inspect_video(path)
    assert facts.frames == 10
    assert facts.duration_stated_s == pytest.approx(facts.duration_s, abs=0.11)
    assert not any("cut off" in what for what in video_warnings(facts))


def test_no_time_stamps(tmp_path):
    facts = inspect_video(encode(tmp_path / "a.h264", "libx264", "yuv420p", options={"bf": "0"}))
    assert facts.untimed >= 9
    assert any("no time stamp of their own" in what for what in video_warnings(facts))
    assert np.all(np.diff(facts.times_s) > 0)


def test_key_frames(tmp_path):
    options = {"g": "4", "x264-params": "scenecut=0:keyint=4:min-keyint=4"}
    facts = inspect_video(encode(tmp_path / "a.mp4", "libx264", "yuv420p", options=options))
    np.testing.assert_allclose(facts.key_times_s, [0, 0.4, 0.8], atol=1e-3)
    assert facts.key_distance_s == pytest.approx(0.4, abs=1e-3)


def test_wrong_frame_count(tmp_path):
    path = write_video(tmp_path / "a.avi", grey_pictures([1, 2, 3]))
    content = bytearray(path.read_bytes())
    length = content.index(b"strh") + 8 + 32  # dwLength of the stream header
    content[length : length + 4] = struct.pack("<I", 2**32 - 1)
    path.write_bytes(content)
    facts = inspect_video(path)
    assert facts.frames == 3
    (warning,) = video_warnings(facts)
    assert warning == "the container states 4294967295 frames, but 3 can be decoded"


def test_a_truncated_tail_that_decodes_without_an_error(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    path = write_video(tmp_path / "a.mkv", noise)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    facts = inspect_video(path)
    assert facts.failure is None
    (warning,) = video_warnings(facts)
    assert warning.startswith("the container states 4.00 s, but the pictures end at")


def test_pictures_lost_in_the_middle(tmp_path):
    path = write_video(tmp_path / "a.mkv", grey_pictures([1, 2, 3]), times_s=[0, 0.1, 12.0])
    (warning,) = video_warnings(inspect_video(path))
    assert warning == "one picture is shown for 11.9 s; pictures may be lost"


def test_pictures_of_two_sizes(tmp_path):
    """Two MPEG files one after the other are one MPEG file."""
    parts = [
        encode(tmp_path / f"{side}.mpeg", "mpeg1video", "yuv420p", size=(side, side), rate=25)
        for side in (32, 64)
    ]
    joined = tmp_path / "joined.mpeg"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    facts = inspect_video(joined)
    assert facts.sizes == 2
    assert any("2 different sizes" in what for what in video_warnings(facts))


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.0, None, (0, 5)),
        (0.1, 0.3, (1, 3)),
        (0.15, 0.25, (1, 3)),
        (0.4, 9.0, (4, 5)),
        (0.5, None, (5, 5)),
        (0.0, 0.1, (0, 1)),
    ],
)
def test_span(start_s, end_s, expected):
    times = np.arange(5) / 10
    assert VideoFacts(times_s=times, ends_s=times + 0.1).span(start_s, end_s) == expected


# --- frame numbers and time ----------------------------------------------------------------------


@given(st.integers(1, 200), st.floats(1, 120))
def test_even_frames_never_disagree(frames, rate):
    assert time_disagreement(np.arange(frames) / rate, rate) is None


@given(st.integers(3, 50), st.integers(1, 200))
def test_a_gap_is_found_where_it_is(lost, frames):
    times = np.arange(lost + frames) / 25.0
    times[lost:] += 3 / 25  # three pictures are lost before `lost`
    found = time_disagreement(times, 25.0)
    assert found.first == lost
    assert found.worst >= lost
    assert found.seconds == pytest.approx(3 / 25)


def test_a_wrong_rate_drifts():
    # Shown at 24 a second and counted at 25: frame i is late by i / 24 - i / 25 = i / 600 s,
    # which is more than a frame (1 / 25 s, and 1 ms of rounding) from 25 on.
    found = time_disagreement(np.arange(101) / 24, 25.0)
    assert (found.first, found.worst) == (25, 100)
    assert found.seconds == pytest.approx(100 / 600)


def test_early_frames_disagree_as_well():
    found = time_disagreement(np.arange(100) / 50, 25.0)
    assert found.seconds == pytest.approx(99 / 50 - 99 / 25)
    assert found.first == 3  # off by 3 / 50 = 0.06 s > 0.041 s; frame 2 by 0.04 s
