from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from conftest import read_rows, write_rows, write_tiny_study
from vaclip.files import write_json
from vaclip.maps.gaze import Gaze
from vaclip.study.load import load_study
from vaclip.view.layers import FPS, clip_movie, gaze_path
from vaclip.view.models import Looks


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study"), 2)


def pixels(picture, count):
    """Returns the pictures of a layer, (S, H, W, ...)."""
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))) as image:
        row = np.asarray(image)
    return np.stack(np.split(row, count, axis=1))


def test_a_clip_has_the_maps_of_its_annotators_and_every_region(root):
    study = load_study(root)
    clip = study.clips[0]
    movie = clip_movie(study, clip)
    own = {one.annotator for one in study.annotations[clip.clip_id]}
    regions = [f"Region: {name}" for name in study.regions]
    titles = [layer.title for layer in movie.layers]
    assert titles == ["Video", *sorted(own), *regions]
    ground = dict(zip(titles, movie.layers, strict=True))["Region: ground"]
    drawn = pixels(ground, movie.count).astype(int)
    height = drawn.shape[1]
    assert drawn[:, : height // 2].max() < 30  # the box is the lowest quarter
    assert drawn[:, -height // 8 :].min() > 225


def test_a_region_of_joints_is_left_out_where_a_clip_has_none(root, tmp_path):
    own = write_tiny_study(tmp_path / "study", 1)
    rows = [row | {"keypoints": ""} for row in read_rows(own / "clips.csv")]
    write_rows(own / "clips.csv", rows)
    (own / "attention.csv").unlink()
    study = load_study(own)
    titles = [layer.title for layer in clip_movie(study, study.clips[0]).layers]
    assert titles == ["Video", "Region: trunk", "Region: ground"]


def test_a_models_map_is_shown_at_its_own_time(root):
    study = load_study(root)  # clips of 2 s
    maps = np.zeros((8, 2, 2), np.float32)
    maps[:4, 0, 0] = 1  # for a second, at 4 a second
    maps[4:, 1, 1] = 1
    movie = clip_movie(study, study.clips[0], Looks({"gradcam": maps}, fps=4.0))
    assert movie.layers[-1].title == "Model: Grad-CAM"
    drawn = pixels(movie.layers[-1], movie.count)
    size = drawn.shape[1] // 4
    early, late = drawn[: int(FPS) - 1], drawn[int(FPS) + 1 :]
    assert early[:, :size, :size].min() > 128 > early[:, -size:, -size:].max()
    assert late[:, -size:, -size:].min() > 128 > late[:, :size, :size].max()


GAZE = Gaze((100, 200), np.array([[0.0, 1.0, 20.0, 50.0], [1.0, 2.0, 180.0, 50.0]]))


def test_a_path_is_where_gaze_is_and_a_line_from_where_it_was():
    before, then, after, long_after = gaze_path([GAZE], np.array([0.5, 1.2, 2.2, 9.0]), (50, 100))
    ys, xs = np.nonzero(before)
    assert (ys.mean(), xs.mean()) == pytest.approx((25, 10), abs=1)
    assert then[25, 90] == then[25, 50] == 255  # on the disc and on the line
    assert then[10:20].max() == then[32:].max() == 0
    assert after[25, 50] == 255  # the line is seen for a while
    assert np.count_nonzero(after) < np.count_nonzero(then)  # the disc is gone
    assert long_after.max() == 0


def test_gaze_has_a_path(root, tmp_path):
    own = write_tiny_study(tmp_path / "study", 1)
    study = load_study(own)
    content = {"size": [32, 32], "sigma": None, "fixations": [[0.0, 1.0, 8.0, 8.0]]}
    write_json(own / "gaze.json", content)
    clip = study.clips[0]
    row = {"clip_id": clip.clip_id, "annotator": "eva", "kind": "gaze", "value": "gaze.json"}
    write_rows(own / "attention.csv", [*read_rows(own / "attention.csv"), row])
    movie = clip_movie(load_study(own), clip)
    assert movie.layers[-1].title == "eva: path"
    assert pixels(movie.layers[-1], movie.count)[0].max() > 200
