"""The right answer to each file of ``forms/``."""

from __future__ import annotations

import forms
import numpy as np
import pytest
from forms import FORMS, READ, REFUSED

from conftest import read_rows
from vaclip.audit.check import check
from vaclip.audit.describe import describe
from vaclip.commands.imports import run_import
from vaclip.errors import VaclipError
from vaclip.maps.shapes import Key, Track, shape_at


@pytest.fixture
def copy(tmp_path):
    return lambda form: form.copy_to(tmp_path)


def test_every_file_has_a_form():
    there = {path.relative_to(FORMS).as_posix() for path in FORMS.glob("*/*")}
    assert {form.file for form in (*READ, *REFUSED)} == there


def shown(track, moments):
    """Returns at which moments a shape is there."""
    return {moment for moment in moments if shape_at(track, moment)}


def fixations(export):
    (annotation,) = export.annotations
    return [pytest.approx(row, abs=1e-6) for row in annotation.content.fixations.tolist()]


# --- drawings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "flags", "told"),
    [
        (forms.SINGLE_FRAMES, (), "10% of the pictures"),  # 16 of 164
        (forms.SINGLE_FRAMES, ("--hold", "aline"), "94% of the pictures"),  # from 10 on: 154
        (forms.SINGLE_FRAMES, ("--hold", "aline=0.2"), "48% of the pictures"),  # 15 x 5 + 4
        (forms.SINGLE_FRAMES, ("--interpolate", "aline"), "92% of the pictures"),  # 10 to 160
        (forms.TWO_FRAMES, (), "1% of the pictures"),
        (forms.TWO_FRAMES, ("--hold", "lv"), "77% of the pictures"),  # from 37 on: 127
        (forms.TWO_FRAMES, ("--interpolate", "lv"), "10% of the pictures"),  # 37 to 52: 16
    ],
)
def test_how_much_of_a_clip_drawings_on_single_frames_cover_is_told(
    copy, tmp_path, form, flags, told
):
    study = tmp_path / "study"
    run_import(form.words(copy(form), study, *flags))
    checked = check(study, workers=1)
    assert any(note.startswith(f"annotations show on {told}") for note in checked.notes)
    assert not checked.errors
    warned = [one.what for one in checked.found if "the map is empty" in one.what]
    assert len(warned) == (int(told.split("%")[0]) < 50)


def test_the_share_of_samples_under_a_map_is_told(copy, tmp_path):
    """Frames 10, 20, ... of 25 a second: 6 of the 53 samples at 8 a second are of them."""
    study = tmp_path / "study"
    run_import(forms.SINGLE_FRAMES.words(copy(forms.SINGLE_FRAMES), study))
    settings = ["data.fps=8", f"data.cache_dir={tmp_path / 'cache'}"]
    assert describe(study, settings, workers=1).samples_under_map == pytest.approx(6 / 53)


def test_a_skeleton_in_nested_tracks_is_no_drawing(copy):
    export = forms.NESTED_SKELETON.read(copy(forms.NESTED_SKELETON))
    assert export.annotations == ()
    assert "1 tracks of type skeleton" in export.dropped


def test_all_shapes_of_two_tasks(copy):
    export = forms.ALL_SHAPES.read(copy(forms.ALL_SHAPES))
    assert [one.video for one in export.annotations] == ["walk 01.mp4", "walk_02.avi"]
    (ellipse,), (mask, polygon) = (one.content.tracks for one in export.annotations)
    assert shown(ellipse, range(20)) == {2, 3}
    assert shape_at(ellipse, 2).points == ((100, 80), (20, 10))
    assert shown(mask, range(30)) == {5}
    assert shape_at(mask, 5).points == ((10, 20), (14, 23))
    assert shown(polygon, range(30)) == {0, 1}
    left_out = ("of type cuboid", "of type skeleton", "that are never visible")
    assert export.dropped == tuple(f"1 tracks {what}" for what in left_out)


def test_a_backup_of_a_project(copy):
    export = forms.BACKUP.read(copy(forms.BACKUP))
    first, second = export.annotations
    assert [(one.video, one.annotator, one.content.frames) for one in export.annotations] == [
        ("walk_01.mkv", "eve", 20), ("walk_02.mkv", "eve", None)  # the second leaves frames out
    ]  # fmt: skip
    ellipse, box, mask, polygon = first.content.tracks
    assert shown(ellipse, range(20)) == {4}
    assert shape_at(ellipse, 4).points == ((30, 20), (10, 6))
    assert shown(box, range(20)) == set(range(2, 9))
    assert [shape_at(box, frame).points[0][0] for frame in range(2, 9)] == [0, 2, 4, 6, 8, 10, 12]
    assert shown(mask, range(20)) == {18}
    assert (mask.keys[0].points, mask.keys[0].runs) == (((10, 20), (14, 23)), (3, 4, 5))
    assert shown(polygon, range(20)) == set(range(10, 20))
    # The second corner on top grows out of the first: they are one until they are 1.25 apart.
    assert shape_at(polygon, 11).points == ((4.5, 0), (14, 0), (14, 10), (4, 10))
    assert shape_at(polygon, 12).points == ((8, 0), (10, 0), (18, 0), (18, 10), (8, 10))
    assert shape_at(polygon, 19).points == ((20, 0), (25, 0), (30, 0), (30, 10), (20, 10))
    (later,) = second.content.tracks
    assert shown(later, range(30)) == {7, 8, 9}  # frame 4 + 3 * 1, up to the task's next one
    assert export.dropped == ("1 jobs of ground truth, or replicas", "1 shapes on deleted frames",
                              "1 tags that --span does not name")  # fmt: skip


def test_a_backup_of_pictures(copy):
    """Frame n of the task is number 1 + 2 n of the manifest, which is walk/(2 n).png."""
    export = forms.BACKUP_PICTURES.read(copy(forms.BACKUP_PICTURES))
    (annotation,) = export.annotations
    shapes = annotation.content
    assert (annotation.video, annotation.annotator) == ("videos/walk.mp4", "eve")
    assert (shapes.size, shapes.frames) == ((48, 64), 12)
    drawn = [(one.label, one.type, one.keys[0].at, one.keys[0].points[0]) for one in shapes.tracks]
    assert drawn == [
        ("foot", "box", 0, (0, 0)), ("hand", "box", 2, (4, 4)), ("foot", "box", 2, (4, 0)),
        ("foot", "box", 4, (8, 0)), ("lung", "polygon", 6, (0, 0)), ("lung", "mask", 10, (10, 20)),
        ("lung", "polygon", 10, (0, 0)),
    ]  # fmt: skip
    assert all(one.keys[1:] == (Key(one.keys[0].at + 1, outside=True),) for one in shapes.tracks)
    assert export.dropped == ("1 shapes on deleted frames", "1 tags that --span does not name")
    (pose,) = export.poses
    assert (pose.video, export.keypoint_names) == ("videos/walk.mp4", ("knee", "ankle"))
    assert pose.keypoints[6].tolist() == [[10, 20, 1], [12, 40, 0.5]]
    assert pose.keypoints[:, :, 2].sum() == 1.5


def test_poses_of_pictures_come_in_one_command_with_the_clips(copy, tmp_path):
    """Their video is made by the same command, after all is compared with it."""
    study = tmp_path / "study"
    run_import(forms.BACKUP_PICTURES.words(copy(forms.BACKUP_PICTURES), study))
    (clip,) = read_rows(study / "clips.csv")
    with np.load(study / clip["keypoints"]) as saved:
        assert saved["scores"].shape == (12, 2)
        assert saved["scores"][6].tolist() == [1, 0.5]


def test_a_tag_that_means_a_region(copy):
    flags = ("--region", "left=0,0,0.5,1", "--span", "ill=left")
    first = forms.BACKUP.read(copy(forms.BACKUP), *flags).annotations[0].content
    track = first.tracks[0]
    assert (track.label, shown(track, range(20))) == ("ill", {0})
    assert shape_at(track, 0).points == ((0, 0), (32, 48))


def test_the_skeleton_of_a_backup(copy):
    export = forms.BACKUP.read(copy(forms.BACKUP))
    (pose,) = export.poses
    assert (pose.video, export.keypoint_names) == ("walk_02.mkv", ("knee", "ankle"))
    knee, ankle = pose.keypoints.transpose(1, 0, 2)
    assert knee[[4, 10, 16, 21], 0].tolist() == [10, 14, 18, 18]
    assert [frame for frame in range(26) if knee[frame, 2]] == list(range(4, 22))
    assert ankle[[4, 9, 13, 21], 0].tolist() == [30, 30, 33, 33]
    assert [frame for frame in range(26) if ankle[frame, 2]] == [*range(4, 10), *range(13, 22)]


def test_interpolated_keys_are_at_their_frames(copy):
    export = forms.INTERPOLATED_KEYS.read(copy(forms.INTERPOLATED_KEYS))
    (annotation,) = export.annotations
    assert (annotation.annotator, annotation.content.fps) == ("r@x.org", pytest.approx(30))
    one, other = annotation.content.tracks
    for track, first, last, speed in ((one, 1, 40, 40 / 39), (other, 7, 31, None)):
        assert shown(track, [(first - 1.5) / 30, (first - 1) / 30]) == {(first - 1) / 30}
        for frame in range(first, last + 1) if speed else ():
            left = (10 + speed * (frame - 1)) / 100 * 320
            found = shape_at(track, (frame - 1) / 30).points[0][0]
            assert found == pytest.approx(left, abs=0.2)  # a key counts a millisecond earlier


def test_vectors_move_by_their_vertices(copy):
    export = forms.VECTORS_AND_SPANS.read(copy(forms.VECTORS_AND_SPANS))
    (annotation,) = export.annotations
    polygon, _ = annotation.content.tracks
    times = {frame: (frame - 1) / 30 for frame in range(1, 131)}
    assert polygon.type == "polygon"
    assert shown(polygon, times.values()) == {times[frame] for frame in range(1, 22)}
    # Of 320 pixels 10 % at frame 1, 20 at 11, 40 at 21; there a fourth vertex comes.
    for frame, left in ((1, 32), (6, 48), (11, 64), (16, 96), (20, 121.6), (21, 128)):
        points = shape_at(polygon, times[frame]).points
        assert points[0] == pytest.approx((left, 24), abs=0.2)  # a key counts a millisecond earlier
        assert len(points) == (4 if frame == 21 else 3)
    assert "1 vectors that branch, curve, or are closed only sometimes" in export.dropped


def test_a_span_of_a_timeline_that_means_a_region(copy):
    export = forms.VECTORS_AND_SPANS.read(copy(forms.VECTORS_AND_SPANS))
    box = export.annotations[0].content.tracks[1]
    times = {frame: (frame - 1) / 30 for frame in range(1, 131)}
    assert (box.label, box.keys[0].points) == ("Stance", ((0, 0), (320, 120)))
    assert shown(box, times.values()) == {times[frame] for frame in range(31, 61)}
    assert "1 spans of a timeline that --span does not name" in export.dropped


def test_a_span_of_a_timeline_is_a_region_of_joints(copy):
    form = forms.VECTORS_AND_SPANS
    legs = forms.Form(
        form.file, form.videos, ("--region", "legs=left_knee", "--span", "Stance=legs")
    )
    (annotation,) = legs.read(copy(form)).annotations
    region = annotation.content.tracks[-1]
    times = [(frame - 1) / 30 for frame in range(1, 131)]
    assert (region.label, region.type) == ("legs", "region")
    assert shown(region, times) == set(times[30:60])  # frames 31 to 60


def test_a_tag_is_a_region_of_joints_and_stays_until_the_next_one(copy):
    flags = ("--region", "legs=left_knee", "--span", "ill=legs", "--hold", "ill")
    (track, *_) = forms.BACKUP.read(copy(forms.BACKUP), *flags).annotations[0].content.tracks
    assert track == Track("legs", "region", (Key(0),))  # to the end: there is no other tag


def test_the_box_of_json_min_and_hypertext(copy):
    found = [form.read(copy(form)) for form in (forms.JSON_MIN, forms.HYPERTEXT)]
    assert found[0].annotations == tuple(
        type(one)(one.video, one.annotator, one.content, one.where.replace("hypertext", "json_min"))
        for one in found[1].annotations
    )
    (annotation,) = found[0].annotations
    assert (annotation.video, annotation.annotator) == ("walk_01.mp4", "user 1")
    (track,) = annotation.content.tracks
    moments = [frame / 25 for frame in range(130)]
    assert shown(track, moments) == set(moments[:40])


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (forms.SEVERAL_PAGES, r"several pages of the task \(item_index\), of which nothing says"),
        (forms.NO_KEYPOINTS, r"\(Knee, Foot\) has keypoints.* export 'COCO Keypoints'"),
        (forms.HEAD_REFERENCED, r"head-referenced angles \(HREF\), not pixels of the screen"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(copy, form, message):
    with pytest.raises(VaclipError, match=message):
        form.read(copy(form))


# --- gaze ----------------------------------------------------------------------------------------

LOOKS = [(0, 3, 320, 180), (3.1, 5, 576, 180)]


def test_a_mouse_click_does_not_end_a_showing(copy):
    assert fixations(forms.MOUSE_CLICK.read(copy(forms.MOUSE_CLICK))) == LOOKS


def test_where_no_row_names_a_medium(copy):
    file = copy(forms.NO_MEDIA_NAME)
    assert fixations(forms.NO_MEDIA_NAME.read(file)) == LOOKS
    unsaid = forms.Form(forms.NO_MEDIA_NAME.file, forms.NO_MEDIA_NAME.videos)
    with pytest.raises(VaclipError, match=r"'Presented Media name' is empty.* say --video NAME"):
        unsaid.read(file)


@pytest.mark.parametrize(
    ("form", "look"),
    [
        (forms.START_EVENT, (0.1, 0.3, 320, 180)),
        (forms.NAME_WITH_BLANK, (0.1, 0.3, 320, 240)),
        (forms.RESIZED_VIDEO, (0.1, 0.3, 320 / 3, 320 / 3)),
    ],
)
def test_a_look_of_eyelink(copy, form, look):
    assert fixations(form.read(copy(form))) == [look]


@pytest.mark.parametrize(
    ("form", "look", "left_out"),
    [
        # The event at 1000 ms is the first frame; a saccade follows at 1300.
        (forms.TOBII_STUDIO, (0, 0.3, 320, 180), "marked as invalid"),
        (forms.GAZEPOINT_FIXATIONS, (0.1, 0.5, 320, 180), "marked as invalid"),
        (forms.GAZEPOINT_SAMPLES, (0, 0.2, 320, 180), "marked as invalid"),
        (forms.SMI_EVENTS, (0.1, 0.3, 320, 180), "no time, or no gaze"),
        (forms.SMI_SAMPLES, (0, 0.2, 320, 180), "marked as invalid"),  # a blink at 0, 0
        (forms.REFLACX, (0.5, 1.25, 320, 180), "off the picture"),
        (forms.EYEGAZE, (0.25, 0.75, 320, 180), "marked as invalid"),
    ],
)
def test_a_look_of_other_trackers(copy, form, look, left_out):
    export = form.read(copy(form))
    assert fixations(export) == [look]
    assert any(left_out in line for line in export.dropped)


def test_imotions_behind_its_lines_of_facts(copy):
    """A row of another sensor at 2050 ms has no gaze, and -1, -1 at 2200 is none."""
    export = forms.IMOTIONS.read(copy(forms.IMOTIONS))
    assert fixations(export) == [(0, 0.05, 320, 180), (0.1, 0.2, 320, 180)]
    assert any("1 of 4 rows (25.0 %): off the picture" in line for line in export.dropped)


@pytest.mark.parametrize(
    ("form", "flags", "message"),
    [
        (forms.GAZEPOINT_SAMPLES, (), "its clock is the recording's: say --start first"),
        (forms.SMI_SAMPLES, (), "its clock is the recording's: say --start first"),
        (forms.IMOTIONS, ("--start", "first"), "has columns of each eye: say --eye left or"),
    ],
)
def test_what_other_trackers_do_not_say_must_be_said(copy, form, flags, message):
    with pytest.raises(VaclipError, match=message):
        forms.Form(form.file, form.videos, flags).read(copy(form))


def test_gaze_of_glasses_that_was_mapped_to_a_snapshot(copy):
    """The recording's second 1.04 is the begin; samples last 20 ms, the gyroscope's row nothing."""
    export = forms.MAPPED.read(copy(forms.MAPPED))
    assert [(one.video, one.annotator) for one in export.annotations] == [("walk", "P1")]
    assert fixations(export) == [[0, 0.04, 320, 180], [0.06, 0.08, 64, 90]]
    assert export.dropped == (
        "mapped.tsv: gaze in the scene camera's picture, as it is mapped to walk",
        "mapped.tsv: 2 of 6 rows (33.3 %): not mapped to the picture, or no time",
        "mapped.tsv: 1 of 6 rows (16.7 %): no fixation, but a saccade or unclassified",
    )


@pytest.mark.parametrize(
    ("form", "said"),
    [
        # The rows name the medium, so that an area may hold " - "; saccades count for nothing.
        (forms.AOI_HITS, [("P01", "left - knee"), ("P01", "hip"), ("P02", "hip")]),
        (forms.AOI_FIXATIONS, [("eve", "knee"), ("eve", "hip")]),
    ],
)
def test_areas_become_regions(copy, form, said):
    export = form.read(copy(form))
    assert [(one.annotator, one.content) for one in export.annotations] == said
    assert {(one.video, one.kind) for one in export.annotations} == {("walk.mp4", "region")}
    assert "when areas were looked at, as regions have no times" in export.dropped[0]
