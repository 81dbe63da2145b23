"""CVAT: skeletons as keypoints, in all three forms that files have."""

from __future__ import annotations

import numpy as np
import pytest
from drawings.test_import_cvat import box, document, export, task, track
from drawings.test_import_cvat_images import image

from vaclip.errors import VaclipError

__all__ = ["export"]  # a fixture


def point(name, x, outside=0, occluded=0, frame=""):
    return (
        f'<points label="{name}" {frame} outside="{outside}" occluded="{occluded}" '
        f'points="{x:.2f},20.00"></points>'
    )


def skeleton(frame, *points, outside=0):
    return (
        f'<skeleton frame="{frame}" outside="{outside}" keyframe="1">{"".join(points)}</skeleton>'
    )


def test_rows_of_a_track(export):
    rows = (
        skeleton(2, point("knee", 10), point("ankle", 30)),
        skeleton(3, point("knee", 11, occluded=1), point("ankle", 30, outside=1)),
        skeleton(4, point("knee", 12), point("ankle", 34)),
        skeleton(5, point("knee", 12), point("ankle", 34), outside=1),
    )
    text = document(task(frames=8), track("".join(rows), label="leg") + track(box(0)))
    found = export(text, "--skeleton", "leg")
    assert found.keypoint_names == ("knee", "ankle")
    (pose,) = found.poses
    assert (pose.video, pose.size, pose.open_ended) == ("a.mp4", (48, 64), False)
    knee, ankle = pose.keypoints.transpose(1, 0, 2)
    assert knee[:, 2].tolist() == [0, 0, 1, 0.5, 1, 0, 0, 0]
    assert knee[2:5, 0].tolist() == [10, 11, 12]
    assert ankle[:, 2].tolist() == [0, 0, 1, 0, 1, 0, 0, 0]
    assert [one.label for one in found.annotations[0].content.tracks] == ["foot"]
    assert found.dropped == ()


def test_frames_that_are_not_listed_lie_between(export):
    rows = (skeleton(0, point("knee", 10)), skeleton(4, point("knee", 18)))
    (pose,) = export(document(task(step="step=4"), track("".join(rows), "leg")), "--skeleton",
                     "leg").poses  # fmt: skip
    assert pose.open_ended  # nobody looked at the frames after the last one
    assert pose.keypoints[:5, 0, 0].tolist() == [10, 12, 14, 16, 18]
    assert pose.keypoints[:, 0, 2].tolist() == [1] * 5 + [0] * (len(pose.keypoints) - 5)


def test_joints_that_are_tracks_in_the_track(export):
    joints = "".join(
        f'<track id="{n}" label="{name}">'
        + "".join(
            f'<points frame="{f}" outside="{int(f == 2)}" points="{x + f},20"></points>'
            for f in (0, 1, 2)
        )
        + "</track>"
        for n, (name, x) in enumerate((("knee", 10), ("ankle", 30)))
    )
    text = document(task(frames=5), track(joints, label="leg"))
    found = export(text, "--skeleton", "leg")
    np.testing.assert_array_equal(
        found.poses[0].keypoints[:, :, 0], [[10, 30], [11, 31], [0, 0], [0, 0], [0, 0]]
    )


def test_of_pictures_of_a_video(export):
    rows = skeleton(0, point("knee", 7)).replace("<skeleton", '<skeleton label="leg"')
    text = document(task(frames=5), image("frame_000003", rows, box(1).replace("frame", "at")))
    found = export(text, "--skeleton", "leg")
    assert found.poses[0].keypoints[:, 0, 2].tolist() == [0, 0, 0, 1, 0]
    assert len(found.annotations) == 1


def test_two_people_are_refused(export):
    rows = track(skeleton(0, point("knee", 1)), "leg") + track(skeleton(0, point("knee", 9)), "leg")
    with pytest.raises(VaclipError, match="twice on frame 0; which of two people"):
        export(document(task(), rows), "--skeleton", "leg")


def test_a_label_that_no_skeleton_has_is_refused(export):
    text = document(task(), track(skeleton(0, point("knee", 1)), "leg"))
    with pytest.raises(VaclipError, match="--skeleton arm: no skeleton has this label"):
        export(text, "--skeleton", "arm")
    assert export(text).dropped[0] == "1 tasks without any shape that is taken"
