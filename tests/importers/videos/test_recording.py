from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaclip.audit.inspect import inspect_video
from vaclip.data.video import timed_frames
from vaclip.errors import VaclipError
from vaclip.importers.videos.recording import Recording


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(st.integers(16, 50), st.integers(16, 50)),
    seconds=st.lists(st.floats(0.005, 2), min_size=2, max_size=6),
    grey=st.booleans(),
    seed=st.integers(0, 9),
)
def test_every_picture_comes_back_at_its_time(tmp_path_factory, size, seconds, grey, seed):
    shape = size if grey else (*size, 3)
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (len(seconds), *shape), dtype=np.uint8)
    target = tmp_path_factory.mktemp("made") / "a.mp4"
    Recording("a", lambda: iter(pictures), seconds).write(target)
    shown = [frame.to_ndarray(format="rgb24") for frame, _ in timed_frames(target)]
    expected = np.repeat(pictures[..., None], 3, axis=3) if grey else pictures
    np.testing.assert_array_equal(shown, expected)
    starts = np.cumsum([0, *seconds])[:-1]
    np.testing.assert_allclose(inspect_video(target).times_s, starts, atol=1e-4)


@pytest.mark.parametrize("there", [2, 4, 0])
def test_a_recording_has_as_many_pictures_as_times(tmp_path, there):
    pictures = np.zeros((there, 16, 16), np.uint8)
    with pytest.raises(VaclipError, match=f"a: 3 pictures are stated, but {there} are there"):
        Recording("a", lambda: iter(pictures), [0.1] * 3).write(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []
