from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conftest import FRAMES, SIDE, write_tiny_study
from vaclip.annotate.scene import read_scene
from vaclip.study.load import load_study


@pytest.fixture
def study(tmp_path):
    return load_study(write_tiny_study(tmp_path / "study", 1))


def outline(scene, name):
    return next(one for one in scene.outlines if one["name"] == name)


def test_regions_are_where_their_boxes_and_joints_are(study):
    clip = study.clips[0]
    walk = np.zeros((FRAMES, 17, 2))
    walk[:, 0] = np.linspace(0, SIDE, FRAMES, endpoint=False)[:, None]  # the nose goes down right
    scores = np.ones((FRAMES, 17))
    scores[3, 0] = 0
    np.savez(clip.keypoints, keypoints=walk, scores=scores)
    scene = read_scene(study, clip)
    assert scene.regions == tuple(study.regions)
    assert [one["name"] for one in scene.outlines] == list(study.regions)
    assert (scene.size, scene.seconds) == ((SIDE, SIDE), pytest.approx(2.0))
    assert outline(scene, "trunk")["box"] == [0.25, 0.25, 0.75, 0.625]
    head = outline(scene, "head")
    assert head["times"][:3] == [0.0, 0.1, 0.2]
    assert head["joints"][2] == [[0.1, 0.1]]
    assert head["joints"][3] == []  # a joint that was not found lies nowhere


def test_a_clip_without_keypoints_shows_boxes_alone(study):
    scene = read_scene(study, replace(study.clips[0], keypoints=None))
    assert scene.regions == ("trunk", "ground")
    assert {*scene.outlines[0]} == {"name", "box"}


def test_where_no_regions_are_wanted_keypoints_are_not_opened(study):
    study.clips[0].keypoints.write_bytes(b"spoilt")
    scene = read_scene(study, study.clips[0], regions=False)
    assert (scene.regions, scene.outlines) == ((), ())


def test_times_begin_with_the_clip(study):
    clip = replace(study.clips[0], start_s=0.5, end_s=1.5)
    scene = read_scene(study, clip)
    assert (scene.start_s, scene.seconds) == (0.5, pytest.approx(1.0))
    assert outline(scene, "head")["times"][0] == 0.0
