"""CVAT's backups: jobs, what lies between key frames, and everything that is refused.

A whole project, with answers by hand, is in ``forms/cvat/backup``.
"""

from __future__ import annotations

import json
import zipfile

import pytest
from drawings.test_import_cvat import read

from vaclip.errors import VaclipError
from vaclip.maps.shapes import shape_at

VIDEO = {"name": "a.mp4", "resolution": [64, 48], "length": 20}


def job(start=0, stop=19, **more):
    return {"start_frame": start, "stop_frame": stop} | more


def shape(frame, x=0.0, kind="rectangle", **more):
    points = [x, 0.0] if kind == "points" else [x, 0.0, x + 10, 10.0]
    return {"type": kind, "frame": frame, "points": points} | more


def track(*shapes, label="foot", **more):
    return {"label": label, "shapes": list(shapes)} | more


def said(tracks=(), shapes=(), tags=()):
    return {"tags": list(tags), "shapes": list(shapes), "tracks": list(tracks)}


@pytest.fixture
def backup(tmp_path):
    """Returns a function that writes and reads the backup of a task."""

    def write(annotations, jobs=None, *flags, properties=VIDEO, **data):
        jobs = jobs or [job()]
        manifest = [{"version": "1.1"}, {"type": "video"}, {"properties": properties}]
        if properties is None:
            picture = {"name": "a", "extension": ".png", "width": 64, "height": 48}
            manifest[1:] = [{"type": "images"}, picture]
        path = tmp_path / "backup.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("task.json", json.dumps({"data": data, "jobs": jobs}))
            archive.writestr("annotations.json", json.dumps(annotations))
            lines = "\n".join(map(json.dumps, manifest))
            archive.writestr("data/manifest.jsonl", lines)
            archive.writestr("data/a.mp4", b"is not read")
        return read(path, flags=flags)

    return write


def lefts(drawn, frames=range(20)):
    found = [shape_at(drawn, frame) for frame in frames]
    return [None if one is None else one.points[0][0] for one in found]


def only(export):
    (annotation,) = export.annotations
    (drawn,) = annotation.content.tracks
    return drawn


def test_a_track_goes_on_to_the_end_of_its_job(backup):
    jobs = [job(0, 9), job(10, 19)]
    first, second = said([track(shape(8, 1))]), said([track(shape(12, 2))])
    (annotation,) = backup([first, second], jobs).annotations
    one, other = annotation.content.tracks
    assert lefts(one) == [None] * 8 + [1, 1] + [None] * 10
    assert lefts(other) == [None] * 12 + [2] * 8
    assert annotation.content.frames == 20


def test_a_key_frame_behind_the_job_still_says_where_it_goes(backup):
    drawn = only(backup([said([track(shape(0, 0), shape(10, 20))])], [job(0, 5)]))
    assert lefts(drawn) == [0, 2, 4, 6, 8, 10] + [None] * 14


def test_it_moves_to_a_key_frame_where_it_is_outside_or_occluded(backup):
    drawn = only(backup([said([track(shape(0, 0), shape(4, 8, outside=True))])]))
    assert lefts(drawn, range(5)) == [0, 2, 4, 6, None]
    occluded = said([track(shape(0, 0), shape(4, 8, occluded=True))])
    drawn = only(backup([occluded], None, "--skip-occluded"))
    assert lefts(drawn, range(5)) == [0, 2, 4, 6, None]


def test_several_points_wait_for_the_next_key_frame(backup):
    points = [
        shape(at, x, "points") | {"points": [x, 1.0, x + 5, 1.0]} for at, x in ((0, 0), (4, 8))
    ]
    assert lefts(only(backup([said([track(*points)])])), range(5)) == [0, 0, 0, 0, 8]
    one = [shape(0, 0, "points"), shape(4, 8, "points")]
    assert lefts(only(backup([said([track(*one)])])), range(5)) == [0, 2, 4, 6, 8]


def test_frames_are_those_of_the_video(backup):
    drawn = only(backup([said([track(shape(1, 3))])], [job(0, 2)], start_frame=5,
                        frame_filter="step=2"))  # fmt: skip
    assert lefts(drawn) == [None] * 7 + [3] * 4 + [None] * 9


def test_key_frames_on_deleted_frames_do_not_count(backup):
    found = backup([said([track(shape(0, 0), shape(2, 40), shape(4, 8))])], deleted_frames=[2])
    assert lefts(only(found), range(5)) == [0, 2, 4, 6, 8]
    assert found.dropped == ("1 key frames on deleted frames",)


@pytest.mark.parametrize(
    ("jobs", "flags", "frames"),
    [
        ([job()], (), 20),
        ([job()], ("--partial",), None),
        ([job(0, 18)], (), None),  # of the 20 that the manifest counts
    ],
)
def test_the_number_of_frames_is_that_of_the_manifest(backup, jobs, flags, frames):
    (annotation,) = backup([said([track(shape(0))])], jobs, *flags).annotations
    assert annotation.content.frames == frames


def test_of_a_skeleton_in_two_jobs_the_later_one_counts(backup):
    def person(*keys):
        joint = track(*(shape(at, x, "points") for at, x in keys), label="knee")
        return track({"type": "skeleton", "frame": keys[0][0]}, label="body", elements=[joint])

    jobs = [job(0, 11), job(8, 19)]
    content = [said([person((0, 0), (10, 10))]), said([person((8, 30))])]
    (pose,) = backup(content, jobs, "--skeleton", "body").poses
    assert pose.keypoints[:, 0, 0].tolist() == [*range(8)] + [30] * 12
    assert pose.keypoints[:, 0, 2].all()


def test_a_skeleton_on_one_frame(backup):
    joint = shape(3, 7, "points", label="knee")
    one = {"type": "skeleton", "frame": 3, "label": "body", "elements": [joint]}
    (pose,) = backup([said(shapes=[one])], None, "--skeleton", "body").poses
    assert pose.keypoints[:5, 0, 2].tolist() == [0, 0, 0, 1, 0]
    assert pose.keypoints[3, 0, :2].tolist() == [7, 0]
    assert backup([said(shapes=[one])]).dropped == (
        "1 tasks without any shape that is taken", "1 tracks of type skeleton"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"type": "blob"}, "job 0, track 0, shape 0: 'type' is blob; expected rectangle"),
        ({"points": [1, 2, 3]}, "a rectangle of 3 numbers"),
        ({"points": [1, 2, 3, "4"]}, "'points' has 4; expected a number"),
        ({"points": [1, 2, 3, 1e7]}, "expected a number"),
        ({"frame": -1}, "'frame' is -1; expected a whole number from 0"),
        ({"frame": True}, "'frame' is True"),
        ({"outside": "no"}, "'outside' is no; expected true or false"),
    ],
)
def test_a_value_that_is_none_is_named(backup, wrong, message):
    with pytest.raises(VaclipError, match=message):
        backup([said([track(shape(0) | wrong)])])


def test_what_is_missing_is_named(backup, tmp_path):
    with pytest.raises(VaclipError, match=r"is of 2 jobs, task\.json of 1"):
        backup([said(), said()])
    (tmp_path / "task.json").write_text("{}")
    for source in (tmp_path / "task.json", tmp_path):
        with pytest.raises(VaclipError, match=r"no annotations\.json beside task|'jobs' is None"):
            read(source)
    (tmp_path / "annotations.json").write_text("[]")
    (tmp_path / "task.json").write_text(json.dumps({"data": {}, "jobs": [job()]}))
    with pytest.raises(VaclipError, match=r"manifest\.jsonl is missing.*CVAT for video"):
        read(tmp_path)
    with pytest.raises(VaclipError, match=r"neither XML nor the task\.json"):
        read(tmp_path / "annotations.json")


def test_outlines_of_too_many_corners_are_refused(backup):
    corners = {"type": "polygon", "points": [float(i % 60) for i in range(200)]}
    keys = [shape(at) | corners for at in (0, 900_000)]
    with pytest.raises(VaclipError, match="from frame 0 to 900000 its outlines have more than"):
        backup([said([track(*keys)])], [job(0, 900_000)])


@pytest.mark.parametrize("tracks", [[track()], [track(label="body", elements=[track()])]])
def test_a_track_without_keys_is_none(backup, tracks):
    assert backup([said(tracks)]).annotations == ()


@pytest.mark.parametrize(
    ("job_of", "data", "message"),
    [
        (job(), {}, r"has 20 pictures, of which the manifest lacks some \(it lists 1\); export"),
        (job(0, 0), {"start_frame": 1}, "of which the manifest lacks some"),
        (job(0, 0), {"validation_layout": {"mode": "gt_pool"}}, "has honeypots.*'CVAT for images"),
        (job(0, 0), {}, "shape 0: 'frame' is -1"),
    ],
)
def test_pictures_that_are_not_sure_are_refused(backup, job_of, data, message):
    drawn = said(shapes=[shape(-1) | {"label": "foot"}])
    with pytest.raises(VaclipError, match=message):
        backup([drawn], [job_of], properties=None, **data)


def test_a_picture_of_no_clip_keeps_its_name(backup):
    drawn = said(shapes=[shape(0) | {"label": "foot"}])
    (annotation,) = backup([drawn], [job(0, 0)], "--annotator", "eve", properties=None).annotations
    assert annotation.video == "a.png"


def test_too_much_on_pictures_is_refused(backup, monkeypatch):
    monkeypatch.setattr("vaclip.importers.drawings.cvat_backup._MOST_NUMBERS", 107)
    drawn = [shape(0) | {"label": "foot"}, shape(0) | {"label": "foot"}]
    with pytest.raises(
        VaclipError, match=r"shape 1: what is drawn on the pictures of this task is more than 2 b"
    ):
        backup([said(shapes=drawn)], [job(0, 0)], properties=None)
