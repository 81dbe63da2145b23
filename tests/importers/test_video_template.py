"""``--video-template``: videos of many exports in one command, by what the exports call them."""

from __future__ import annotations

import json

import pytest
from cases import all_cases

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS

CASES = all_cases()
POSES = ("alphapose", "coco", "dlc", "mediapipe", "mmpose", "openpose", "sleap")
PICTURES = {
    "images": [{"id": n, "file_name": f"{n:06}.png", "height": 48, "width": 64} for n in (0, 1)],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4],
                     "keypoints": [5, 6, 2], "num_keypoints": 1}],
    "categories": [{"id": 1, "name": "foot", "keypoints": ["toe"]}],
}  # fmt: skip


def read(words):
    options = import_parser(words[:1]).parse_args(words)
    return IMPORTERS.build(words[0]).read(options.sources, options)


@pytest.mark.parametrize("kind", POSES)
def test_names_of_poses_are_put_into_the_template(kind, tmp_path):
    words = CASES[kind].words(CASES[kind].copy_to(tmp_path / "in"), tmp_path / "s")[2:]
    called = {pose.video.replace("\\", "/").split("/")[-1] for pose in read(words).poses}
    assert called
    found = read([*words, "--video-template", "visit {name}.mkv"])
    assert {pose.video for pose in found.poses} == {f"visit {name}.mkv" for name in called}


@pytest.mark.parametrize("kind", ["coco", "coco_shapes"])
def test_pictures_without_a_video_are_of_the_one_that_their_file_is_called(kind, tmp_path):
    for name in ("p1", "p2"):
        (tmp_path / f"{name}.json").write_text(json.dumps(PICTURES))
    words = [kind, str(tmp_path), "--into", str(tmp_path / "s"), "--annotator", "eve"]
    with pytest.raises(VaclipError, match=r"p1\.json: pictures do not name their video; say"):
        read(words)
    found = read([*words, "--video-template", "{name}.mp4"])
    videos = [one.video for one in (*found.poses, *found.annotations)]
    assert videos == ["p1.mp4", "p2.mp4"]


def test_a_template_without_a_name_is_refused(tmp_path):
    (tmp_path / "p1.json").write_text(json.dumps(PICTURES))
    words = ["coco", str(tmp_path / "p1.json"), "--into", str(tmp_path / "s")]
    with pytest.raises(VaclipError, match=r"--video-template walk\.mp4: expected \{name\} in it"):
        read([*words, "--video-template", "walk.mp4"])


def test_a_name_and_a_template_are_one_too_many(tmp_path, capsys):
    words = ["coco", "x.json", "--into", "s", "--video", "a", "--video-template", "{name}"]
    with pytest.raises(SystemExit):
        read(words)
    assert "not allowed with argument --video" in capsys.readouterr().err
