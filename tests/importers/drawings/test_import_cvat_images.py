"""CVAT for images: of a video's task, and of a task of the pictures that a clip was made of."""

from __future__ import annotations

import numpy as np
import pytest
from drawings.test_import_cvat import document, export, task
from PIL import Image

from conftest import read_rows, write_rows
from vaclip.commands.main import main
from vaclip.errors import VaclipError
from vaclip.maps.shapes import Key, load_shapes, shape_at
from vaclip.study.load import load_study

__all__ = ["export"]  # a fixture
PICTURES_TASK = (
    "<task><id>1</id><size>5</size><start_frame>0</start_frame><frame_filter></frame_filter>"
    "<owner><username>eve</username></owner></task>"
)


def image(name, *rows, number=0, size=(48, 64), more=""):
    return (
        f'<image id="{number}" name="{name}" width="{size[1]}" height="{size[0]}" {more}>'
        f"{''.join(rows)}</image>"
    )


def box(x=0.0, label="foot", occluded=0):
    return (
        f'<box label="{label}" source="manual" occluded="{occluded}" xtl="{x:.2f}" ytl="0.00" '
        f'xbr="{x + 10:.2f}" ybr="10.00" z_order="0"></box>'
    )


class TestOfAVideo:
    def test_frames_are_those_of_their_names(self, export):
        found = export(
            document(
                task(start=2, step="step=3"),
                image("frame_000002", box(1), box(30, "hand"), number=0)
                + image("frame_000005", number=1)
                + image("frame_000008", box(7), number=2),
            )
        )
        (annotation,) = found.annotations
        assert (annotation.video, annotation.annotator) == ("a.mp4", "eve")
        shapes = annotation.content
        assert shapes.size == (48, 64)
        assert shapes.frames is None  # some frames were left out
        starts = [(one.label, one.keys[0].at, one.keys[0].points[0][0]) for one in shapes.tracks]
        assert starts == [("foot", 2, 1), ("hand", 2, 30), ("foot", 8, 7)]
        assert [one.keys[1] for one in shapes.tracks] == [
            Key(at, outside=True) for at in (5, 5, 11)
        ]

    def test_a_whole_task_has_as_many_frames_as_the_video(self, export):
        found = export(document(task(), image("frame_000003.PNG", box())))
        assert found.annotations[0].content.frames == 20

    def test_of_a_project(self, export):
        tasks = task(number=1, source="a.mp4") + task(number=2, source="b.mp4")
        meta = f"<project><tasks>{tasks}</tasks></project>"
        more = [f'subset="default" task_id="{number}"' for number in (1, 2)]
        images = image("frame_000001", box(), more=more[0], number=1)
        images += image("frame_000001", box(), more=more[1], number=21)
        found = export(document(meta, images)).annotations
        assert [(one.video, one.content.tracks[0].keys[0].at) for one in found] == [
            ("a.mp4", 1), ("b.mp4", 1)
        ]  # fmt: skip

    def test_of_a_job_that_is_told_its_video(self, export):
        found = export(document(task("job"), image("frame_000001", box())), "--video", "c.mp4")
        assert found.annotations[0].video == "c.mp4"

    def test_shapes_of_one_label_go_on(self, export):
        images = image("frame_000000", box(0)) + image("frame_000010", box(20))
        (one,) = export(document(task(), images), "--interpolate", "foot").annotations
        (track,) = one.content.tracks
        assert shape_at(track, 5).points[0][0] == 10

    def test_what_is_not_taken_is_counted(self, export):
        skeleton = '<skeleton label="body"><points label="a" points="1,2"></points></skeleton>'
        rows = (box(), box(1, "hand"), box(2, occluded=1), skeleton, '<tag label="ill"></tag>')
        flags = ("--label", "foot", "--skip-occluded")
        found = export(document(task(), image("frame_000000", *rows)), *flags)
        assert len(found.annotations[0].content.tracks) == 1
        assert found.dropped == (
            "1 shapes of other labels", "1 shapes of type skeleton", "1 shapes that are occluded",
            "1 tags that --span does not name",
        )  # fmt: skip

    def test_a_tag_means_a_region_on_its_frame(self, export):
        images = image("frame_000003", '<tag label="seen"></tag>') + image("frame_000004", box())
        flags = ("--span", "seen=left", "--region", "left=0,0,0.5,1", "--label", "seen")
        (annotation,) = export(document(task(), images), *flags).annotations
        (track,) = annotation.content.tracks
        assert track.keys == (Key(3, ((0, 0), (32, 48))), Key(4, outside=True))


@pytest.fixture
def study(tmp_path):
    """Two clips made of pictures of the same names."""
    rows = []
    for patient in ("p1", "p2"):
        folder = tmp_path / "in" / patient / "walk"
        folder.mkdir(parents=True)
        for number in range(8, 13):
            grey = np.full((48, 64), number, np.uint8)
            Image.fromarray(grey).save(folder / f"shot_{number}.png")
        rows.append({"video": f"{patient}/walk", "patient_id": patient, "label": patient})
    write_rows(tmp_path / "in" / "clips.csv", rows)
    run("data", "import", "table", tmp_path / "in/clips.csv", "--into", tmp_path / "s", "--fps", 5)
    return tmp_path / "s"


def run(*words, status=0):
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    assert (stopped.value.code or 0) == status


def imported(study, images, *flags, status=0):
    path = study.parent / "annotations.xml"
    path.write_text(document(PICTURES_TASK, images))
    run("data", "import", "cvat", path, "--into", study, *flags, status=status)


class TestOfPictures:
    def test_names_find_their_frames(self, study):
        images = image("data/p1/walk/shot_8.png", box(1)) + image("p1/walk/shot_10.png", box(3))
        imported(study, images + image("p2/walk/shot_12.png", box(5)))
        found = {
            clip.clip_id: load_shapes(study / rows[0].value, "x")
            for clip in load_study(study).clips
            for rows in [load_study(study).annotations[clip.clip_id]]
        }
        keys = {name: [one.keys[0].at for one in own.tracks] for name, own in found.items()}
        assert keys == {"p1/walk": [0, 2], "p2/walk": [4]}  # 10 comes after 9, not before 8
        assert {own.frames for own in found.values()} == {5}
        assert read_rows(study / "attention.csv")[0]["annotator"] == "eve"

    def test_in_one_command_with_the_clips(self, study, tmp_path):
        path = tmp_path / "annotations.xml"
        path.write_text(document(PICTURES_TASK, image("p1/walk/shot_9.png", box())))
        clips = ("--clips", tmp_path / "in" / "clips.csv", "--fps", 5, "--hold", "foot=0.4")
        run("data", "import", "cvat", path, "--into", tmp_path / "new", *clips)
        (row,) = read_rows(tmp_path / "new" / "attention.csv")
        (track,) = load_shapes(tmp_path / "new" / row["value"], "x").tracks
        assert [key.at for key in track.keys] == [1, 3]  # 0.4 s at 5 a second

    @pytest.mark.parametrize("name", ["shot_9.png", "walk/shot_9.png", "p3/walk/shot_9.png"])
    def test_a_name_of_two_clips_or_of_none_is_refused(self, study, name, capsys):
        if name.startswith("p3"):
            name = "p3/other/shot_99.png"
        imported(study, image(name, box()), status=1)
        assert f"no clip or video is named '{name}'" in capsys.readouterr().err
        imported(study, image(name, box()), "--skip-unmatched")
        assert not (study / "attention.csv").exists()

    def test_tracks_of_such_a_task_are_refused(self, export):
        track = '<track id="0" label="foot"></track>'
        with pytest.raises(VaclipError, match="or export it as 'CVAT for images'"):
            export(document(PICTURES_TASK, track))
