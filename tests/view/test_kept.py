from __future__ import annotations

import dataclasses
import os

import av
import numpy as np
import pytest
from PIL import Image

from conftest import write_tiny_study, write_video
from vaclip.audit.inspect import inspect_video
from vaclip.data.cache_content import cache_entries
from vaclip.data.video import decode_clip
from vaclip.errors import VaclipError
from vaclip.files import cache_root
from vaclip.study.load import load_study
from vaclip.study.study import Clip
from vaclip.view.kept import FILM, SHARP_FILM, THUMBNAIL, kept


@pytest.fixture
def clip(tmp_path):
    return load_study(write_tiny_study(tmp_path / "study", 1)).clips[0]  # 2 s, 10 pictures a second


def segments(tmp_path):
    return cache_root(str(tmp_path / "cache")) / "segments"


def test_a_film_shows_the_pictures_of_its_clip(tmp_path, clip):
    part = dataclasses.replace(clip, start_s=0.5, end_s=1.5)
    film = kept(tmp_path, "tiny", part, FILM)
    facts = inspect_video(film)
    assert (facts.failure, facts.frames, float(facts.rate)) == (None, 10, 10)
    shown = decode_clip(film, fps=10, size=(32, 32)).frames.astype(int)
    original = decode_clip(clip.video, fps=10, size=(32, 32), start_s=0.5, end_s=1.5).frames
    apart = np.abs(shown - original).mean(axis=(1, 2, 3))
    shuffled = np.abs(shown - original[::-1]).mean(axis=(1, 2, 3))
    assert apart.max() < 20
    assert apart.mean() < shuffled.mean()


def test_a_thumbnail_is_the_first_picture(tmp_path, clip):
    with Image.open(kept(tmp_path, "tiny", clip, THUMBNAIL)) as picture:
        assert max(picture.size) == 160
        small = np.asarray(picture.resize((32, 32), Image.Resampling.BOX)).astype(int)
    first = decode_clip(clip.video, fps=10, size=(32, 32)).frames[0]
    assert np.abs(small - first).mean() < 25


def test_it_is_made_once_and_anew_where_the_video_changed(tmp_path, clip):
    first = kept(tmp_path, "tiny", clip, THUMBNAIL)
    made = first.stat().st_mtime_ns
    assert kept(tmp_path, "tiny", clip, THUMBNAIL) == first
    assert first.stat().st_mtime_ns == made
    os.utime(clip.video, ns=(1, 1))
    assert kept(tmp_path, "tiny", clip, THUMBNAIL) != first


def test_the_cache_lists_it(tmp_path, clip):
    kept(segments(tmp_path), "tiny", clip, THUMBNAIL)
    kept(segments(tmp_path), "tiny", clip, FILM)
    found = [(one.kind, one.study) for one in cache_entries(str(tmp_path / "cache"))]
    assert found == [("views", "tiny")] * 2


def test_nothing_half_made_is_left(tmp_path, clip):
    clip.video.write_bytes(b"no video at all")
    for what in (THUMBNAIL, FILM):
        with pytest.raises(VaclipError):
            kept(tmp_path / "cache", "tiny", clip, what)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    clip.video.unlink()
    with pytest.raises(VaclipError, match="cannot be read"):
        kept(tmp_path / "cache", "tiny", clip, FILM)


@pytest.mark.parametrize(
    ("size", "shown"), [((32, 32), 640), ((480, 960), 960), ((720, 2560), 1280)]
)
def test_a_sharp_film_is_as_large_as_the_video_but_no_larger_than_a_screen(tmp_path, size, shown):
    video = tmp_path / "a.mkv"
    pictures = np.random.default_rng(0).integers(0, 255, (3, *size, 3), np.uint8)
    write_video(video, pictures, fps=10)
    film = kept(tmp_path / "cache", "study", Clip("a", video, "p", "x"), SHARP_FILM)
    with av.open(str(film)) as container:
        assert max(container.streams.video[0].width, container.streams.video[0].height) == shown
