from __future__ import annotations

import av
import numpy as np
import pytest

from conftest import write_video
from vaclip.audit.predicted import draw_predicted
from vaclip.study.study import Clip


def test_the_video_is_red_where_and_when_the_model_looks(tmp_path):
    grey = np.full((16, 40, 60, 3), 90, np.uint8)
    video = write_video(tmp_path / "a.mkv", grey, fps=8)
    maps = np.zeros((2, 2, 4, 6), np.float32)
    maps[0, 0, 0, 0] = 1.0  # the first half of the first segment, at the top left
    maps[1, 1, 3, 5] = 1.0  # the last half of the last one, at the bottom right
    out = tmp_path / "out.mp4"
    draw_predicted(Clip("a", video, "p", "x"), maps, out, frames=8, stride=8, fps=8.0)
    with av.open(str(out)) as container:
        pictures = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    assert pictures.shape[0] == 16
    height, width = pictures.shape[1:3]
    assert width == 224
    assert height == pytest.approx(224 * 40 / 60, abs=2)
    red = pictures[..., 0].astype(int) - pictures[..., 1]
    corners = red[:, 4, 4], red[:, -5, -5]
    assert (corners[0] > 30).tolist() == [True] * 4 + [False] * 12
    assert (corners[1] > 30).tolist() == [False] * 12 + [True] * 4
