"""What an import changes in a study, what it refuses, and what it leaves alone."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, NewAnnotation, NewClip, NewPose
from vaclip.importers.merge import plan_import
from vaclip.importers.plan import Rules
from vaclip.importers.write import carry_out
from vaclip.maps.gaze import Gaze
from vaclip.maps.keypoints import load_keypoints
from vaclip.maps.shapes import Key, Shapes, Track, load_shapes
from vaclip.maps.source import COCO_17, Region
from vaclip.study.load import load_study


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Files that are only copied here."""
    folder = tmp_path / "videos of the hospital"
    for name in ("a/1.mkv", "a/2.mkv", "b/1.mkv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def clip(videos: Path, name: str, label="ill", **more):
    about = {"clip_id": name.replace("/", "_").removesuffix(".mkv"), "patient_id": name[0]}
    return NewClip(
        video=videos / name, name=name, label=label, where=f"t.csv:{name}", **(about | more)
    )


def box(x=0.0):
    track = Track("lesion", "box", (Key(0, ((x, 0.0), (x + 5, 5.0))),))
    return Shapes((48, 64), (track,))


@pytest.fixture
def three(videos):
    return Export(
        clips=(
            clip(videos, "a/1.mkv"),
            clip(videos, "a/2.mkv", label="well", start_s=0.5, end_s=2.0, extra={"site": "x, y"}),
            clip(videos, "b/1.mkv"),
        )
    )


def bring(root, *exports, **rules):
    plan = plan_import(root, exports, Rules(**rules))
    carry_out(plan)
    return plan


def rows(path: Path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- clips ---------------------------------------------------------------------------------------


def test_clips_become_a_study(tmp_path, three):
    root = tmp_path / "study"
    plan = bring(root, three)
    assert plan.counts["clips"] == plan.counts["videos"] == 3
    study = load_study(root)
    assert study.classes == ("ill", "well")
    assert [(c.clip_id, c.patient_id, c.label) for c in study.clips] == [
        ("a_1", "a", "ill"), ("a_2", "a", "well"), ("b_1", "b", "ill"),
    ]  # fmt: skip
    assert (study.clips[1].start_s, study.clips[1].end_s) == (0.5, 2.0)
    assert study.clips[1].extra["site"] == "x, y"
    assert [c.video.read_text() for c in study.clips] == ["a/1.mkv", "a/2.mkv", "b/1.mkv"]


def test_a_plan_writes_nothing(tmp_path, three):
    plan_import(tmp_path / "study", [three], Rules())
    assert not (tmp_path / "study").exists()


def test_classes_keep_their_order_and_grow(tmp_path, three, videos):
    root = tmp_path / "study"
    bring(root, three, classes=("well", "ill"))
    assert load_study(root).classes == ("well", "ill")
    bring(root, Export(clips=(clip(videos, "a/1.mkv", clip_id="new", label="dead"),)))
    assert load_study(root).classes == ("well", "ill", "dead")
    with pytest.raises(VaclipError, match=r"differs from the study's: well, ill, dead"):
        plan_import(root, [Export()], Rules(classes=("ill", "well", "dead")))
    with pytest.raises(VaclipError, match=r"--classes lacks well"):
        plan_import(tmp_path / "other", [three], Rules(classes=("ill", "healthy")))


def test_labels_that_differ_in_spelling_alone_are_refused(tmp_path, three, videos):
    root = tmp_path / "study"
    bring(root, three)
    new = Export(clips=(clip(videos, "a/1.mkv", clip_id="new", label="Well "),))
    with pytest.raises(VaclipError) as refused:
        plan_import(root, [new], Rules())
    assert str(refused.value) == (
        "one label is spelt in several ways:\n"
        "  'well' and 'Well ' differ in spelling alone: --rename-label 'Well =well'"
    )
    with pytest.raises(VaclipError, match="'Ill' and 'ill' differ in spelling alone"):
        plan_import(tmp_path / "other", [three], Rules(classes=("Ill", "well")))


def test_patients_that_differ_in_spelling_alone_are_told(tmp_path, three, videos):
    root = tmp_path / "study"
    assert bring(root, three).notes == []
    new = Export(clips=(clip(videos, "b/1.mkv", clip_id="new", patient_id="B"),))
    assert plan_import(root, [new], Rules()).notes == [
        "patients 'b' and 'B' differ in spelling alone: training refuses this until they have one "
        "id, or patients.csv lists each with distinct=yes"
    ]
    (root / "patients.csv").write_text("patient_id,distinct\nb,yes\nB,yes\n")
    assert plan_import(root, [new], Rules()).notes == []


def test_what_a_study_holds_already_is_kept(tmp_path, videos):
    root = tmp_path / "study"
    (root / "old").mkdir(parents=True)
    (root / "old/x.mkv").write_bytes(b"x")
    (root / "study.yaml").write_text("name: mine\nby: me\nclasses: [well, ill]\n")
    (root / "clips.csv").write_text(
        'note,clip_id,video,patient_id,label\n"a, b",x,old/x.mkv,p,well\n'
    )
    bring(root, Export(clips=(clip(videos, "b/1.mkv", extra={"site": "B"}),)))
    assert rows(root / "clips.csv") == [
        {"clip_id": "x", "video": "old/x.mkv", "patient_id": "p", "label": "well", "note": "a, b",
         "site": ""},
        {"clip_id": "b_1", "video": "videos/b/1.mkv", "patient_id": "b", "label": "ill",
         "note": "", "site": "B"},
    ]  # fmt: skip
    assert (root / "study.yaml").read_text() == "name: mine\nby: me\nclasses: [well, ill]\n"


def test_what_the_annotators_knew_is_unknown_until_somebody_says_it(tmp_path, three, videos):
    root = tmp_path / "study"
    bring(root, three)
    head = yaml.safe_load((root / "study.yaml").read_text())
    assert head["annotation"] == {"blinded": "unknown", "saw": [], "when": "unknown"}
    said = {"blinded": True, "saw": ["history"], "when": "before"}
    (root / "study.yaml").write_text(yaml.safe_dump(head | {"annotation": said}))
    another = clip(videos, "b/1.mkv", label="odd", clip_id="other")
    bring(root, Export(clips=(another,)))
    head = yaml.safe_load((root / "study.yaml").read_text())
    assert "odd" in head["classes"]
    assert head["annotation"] == said


def test_a_clip_that_differs_is_refused_or_replaced(tmp_path, three, videos):
    root = tmp_path / "study"
    bring(root, three)
    other = Export(clips=(clip(videos, "a/1.mkv", patient_id="z"), clip(videos, "b/1.mkv")))
    with pytest.raises(VaclipError, match=r"1 clip.*\n  t.csv:a/1.mkv: clip 'a_1' is there alre"):
        plan_import(root, [other], Rules())
    bring(root, other, replace=True)
    assert [c.patient_id for c in load_study(root).clips] == ["z", "a", "b"]


def test_two_videos_of_one_name_are_refused(tmp_path, three, videos):
    (videos / "c").mkdir()
    (videos / "c/1.mkv").write_bytes(b"A/1.mkv")  # as long as the other, but not the same
    both = (clip(videos, "a/1.mkv"), clip(videos, "c/1.mkv"))
    one_name = Export(clips=tuple(NewClip(**{**vars(c), "name": "1.mkv"}) for c in both))
    with pytest.raises(VaclipError, match=r"another video is named '1.mkv'"):
        plan_import(tmp_path / "study", [one_name], Rules())
    (videos / "c/1.mkv").write_bytes(b"a/1.mkv")
    plan = plan_import(tmp_path / "study", [one_name], Rules())
    assert list(plan.videos) == ["videos/1.mkv"]


def test_a_name_that_leaves_the_study_is_refused(tmp_path, videos):
    away = NewClip(**{**vars(clip(videos, "a/1.mkv")), "name": "../../1.mkv"})
    with pytest.raises(VaclipError, match=r"leaves the study folder"):
        plan_import(tmp_path / "study", [Export(clips=(away,))], Rules())


def test_a_video_that_lies_in_the_study_stays_where_it_is(tmp_path, videos):
    root = videos.parent
    plan = bring(root, Export(clips=(clip(videos, "a/1.mkv"), clip(videos, "b/1.mkv", "well"))))
    assert plan.videos == {}
    assert load_study(root).clips[0].video == videos / "a/1.mkv"


def test_links_share_the_file_and_leave_its_mode_alone(tmp_path, three, videos):
    (videos / "a/1.mkv").chmod(0o600)
    plan = plan_import(tmp_path / "study", [three], Rules())
    carry_out(plan, link=True)
    linked = tmp_path / "study/videos/a/1.mkv"
    assert linked.samefile(videos / "a/1.mkv")
    assert (videos / "a/1.mkv").stat().st_mode & 0o777 == 0o600


# --- annotations ---------------------------------------------------------------------------


def test_annotations_become_files_and_rows(tmp_path, three):
    root = tmp_path / "study"
    looked = Gaze((48, 64), np.array([(0.0, 1.0, 3.0, 4.0)]))
    annotations = (
        NewAnnotation("a/1.mkv", "Dr. Ä/B", box(), "x.xml"),
        NewAnnotation("a_2", "Dr. Ä/B", looked, "g.tsv"),
        NewAnnotation("a_2", "eve", "trunk", "m.csv:2"),
    )
    regions = {"trunk": Region(box=(0.0, 0.0, 1.0, 0.5))}
    plan = bring(root, three, Export(annotations=annotations, regions=regions))
    assert {k: n for k, n in plan.counts.items() if "kind" in k} == {
        "annotations of kind shapes": 1, "annotations of kind gaze": 1,
        "annotations of kind region": 1,
    }  # fmt: skip
    study = load_study(root)
    assert study.regions["trunk"].box == (0, 0, 1, 0.5)
    (annotation,) = study.annotations["a_1"]
    assert (annotation.annotator, annotation.kind) == ("Dr. Ä/B", "shapes")
    assert load_shapes(root / annotation.value, "") == box()
    assert [m.kind for m in study.annotations["a_2"]] == ["gaze", "region"]


def test_what_belongs_to_no_clip_stops_the_import(tmp_path, three):
    annotations = Export(
        annotations=(
            NewAnnotation("a_1", "eve", box(), "1"),
            NewAnnotation("q", "eve", box(), "file 2"),
        )
    )
    with pytest.raises(VaclipError, match=r"1 item.*\n  file 2: no clip or video is named 'q'"):
        plan_import(tmp_path / "study", [three, annotations], Rules())
    plan = plan_import(tmp_path / "study", [three, annotations], Rules(skip_unmatched=True))
    assert len(plan.annotations) == 1
    assert len(plan.unmatched) == 1


def test_other_annotations_of_an_annotator_are_refused_replaced_or_added(tmp_path, three):
    root = tmp_path / "study"
    old = Export(
        annotations=(
            NewAnnotation("a_1", "eve", box(), "1"),
            NewAnnotation("a_2", "eve", box(), "1"),
        )
    )
    bring(root, three, old)
    new = Export(annotations=(NewAnnotation("a_1", "eve", box(9.0), "again.xml"),))
    with pytest.raises(
        VaclipError, match=r"1 clip.*\n  again.xml: clip 'a_1', eve, shapes\n--repl"
    ):
        plan_import(root, [new], Rules())
    added = plan_import(root, [new], Rules(add=True))
    assert [row["clip_id"] for row in added.annotations] == ["a_1", "a_2", "a_1"]
    replaced = plan_import(root, [new], Rules(replace=True))
    assert [row["clip_id"] for row in replaced.annotations] == ["a_2", "a_1"]
    other = Export(annotations=(NewAnnotation("a_1", "bob", box(9.0), "b.xml"),))
    assert len(plan_import(root, [other], Rules()).annotations) == 3


def test_a_annotation_needs_somebody_and_a_known_region(tmp_path, three):
    with pytest.raises(VaclipError, match=r"x.xml: nobody is named; say --annotator NAME"):
        plan_import(
            tmp_path,
            [three, Export(annotations=(NewAnnotation("a_1", " ", box(), "x.xml"),))],
            Rules(),
        )
    unknown = Export(annotations=(NewAnnotation("a_1", "eve", "knee", "m.csv:2"),))
    with pytest.raises(VaclipError, match=r"^1 region that study"):
        plan_import(tmp_path, [three, unknown], Rules())


def test_unknown_regions_are_told_once_each_with_what_to_type(tmp_path, three):
    named = [("a_1", "knee"), ("a_2", "knee"), ("a_1", "the mouth"), ("a_2", "left hip")]
    said = tuple(
        NewAnnotation(clip, "eve", region, f"m.csv:{line}")
        for line, (clip, region) in enumerate(named, start=2)
    )
    rules = Rules(regions={"left_hip": Region(box=(0.0, 0.0, 0.5, 0.5))})
    with pytest.raises(VaclipError) as caught:
        plan_import(tmp_path, [three, Export(annotations=said)], rules)
    assert str(caught.value).splitlines() == [
        "3 regions that study.yaml does not have:",
        "  'knee' (2 annotations, first m.csv:2).",
        "  'left hip' (1 annotation, first m.csv:5). Did you mean 'left_hip'?",
        "  'the mouth' (1 annotation, first m.csv:4).",
        "Define them with --region knee=JOINT,... --region 'left hip'=JOINT,... --region "
        "'the mouth'=JOINT,... (or X0,Y0,X1,Y1 for a box), or use other names with "
        "--rename-region OLD=NEW",
    ]
    renamed = {"knee": "left_hip", "the mouth": "left_hip", "left hip": "left_hip"}
    plan = plan_import(
        tmp_path,
        [three, Export(annotations=said)],
        dataclasses.replace(rules, renamed_regions=renamed),
    )
    assert {(row["clip_id"], row["value"]) for row in plan.annotations} == {
        ("a_1", "left_hip"),
        ("a_2", "left_hip"),
    }
    assert len(plan.annotations) == 2


def test_a_region_keeps_its_meaning(tmp_path, three):
    root = tmp_path / "study"
    bring(root, three, regions={"trunk": Region(keypoints=("left_hip",))})
    bring(root, regions={"trunk": Region(keypoints=("left_hip",))})
    with pytest.raises(VaclipError, match=r"region 'trunk' is defined already, and otherwise"):
        plan_import(root, [Export()], Rules(regions={"trunk": Region(box=(0.0, 0.0, 1.0, 1.0))}))


# --- poses ---------------------------------------------------------------------------------------


def pose(name, value=1.0, joints=2):
    return NewPose(name, np.full((4, joints, 3), value, np.float32), f"{name}.json")


def test_poses_become_keypoints_of_every_clip_of_the_video(tmp_path, videos):
    root = tmp_path / "study"
    clips = (
        clip(videos, "a/1.mkv", end_s=1.0),
        clip(videos, "a/1.mkv", "well", clip_id="later", start_s=1.0),
        clip(videos, "b/1.mkv"),
    )
    poses = Export(poses=(pose("a/1.mkv", 0.5),), keypoint_names=("nose", "tail"))
    bring(root, Export(clips=clips), poses)
    study = load_study(root)
    assert study.keypoint_names == ("nose", "tail")
    assert study.clips[0].keypoints == study.clips[1].keypoints
    assert study.clips[2].keypoints is None
    np.testing.assert_array_equal(load_keypoints(study.clips[0].keypoints), np.full((4, 2, 3), 0.5))


def test_other_keypoints_are_refused_or_replaced(tmp_path, three):
    root = tmp_path / "study"
    names = ("nose", "tail")
    bring(root, three, Export(poses=(pose("a_1"),), keypoint_names=names))
    again = Export(poses=(pose("a_1", 0.25),), keypoint_names=names)
    with pytest.raises(VaclipError, match=r"the clip 'a_1' has other keypoints already"):
        plan_import(root, [again], Rules())
    bring(root, again, replace=True)
    kept = load_study(root).clips[0].keypoints
    assert load_keypoints(kept).max() == 0.25
    twice = Export(poses=(pose("a_2"), pose("a/2.mkv", 0.5)), keypoint_names=names)
    with pytest.raises(VaclipError, match=r"has keypoints in these files twice"):
        plan_import(root, [twice], Rules())


def test_one_study_has_one_set_of_joints(tmp_path, three):
    root = tmp_path / "study"
    bring(root, three, Export(poses=(pose("a_1"),), keypoint_names=("nose", "tail")))
    other = Export(poses=(pose("a_2", joints=1),), keypoint_names=("nose",))
    with pytest.raises(VaclipError, match=r"have 2 joints \(nose, tail\), these have 1 \(nose\)"):
        plan_import(root, [other], Rules())


# --- what a review found -------------------------------------------------------------------------


def test_a_time_that_changes_is_seen_however_it_is_written(tmp_path, videos):
    root = tmp_path / "study"
    bring(root, Export(clips=(clip(videos, "a/1.mkv", start_s=1.0, end_s=2.0),)))
    path = root / "clips.csv"
    path.write_text(path.read_text().replace(",1,2", ",1.00,2.0"))
    same = Export(clips=(clip(videos, "a/1.mkv", start_s=1.0, end_s=2.0),))
    assert plan_import(root, [same], Rules()).counts["clips that were there already"] == 1
    whole = Export(clips=(clip(videos, "a/1.mkv"),))
    with pytest.raises(VaclipError, match=r"'a_1' is there already, and differs"):
        plan_import(root, [whole], Rules())
    bring(root, whole, replace=True)
    assert "start_s" not in rows(path)[0]


def test_an_id_that_comes_twice_is_refused_also_with_replace(tmp_path, videos):
    twice = (clip(videos, "a/1.mkv", end_s=1.0), clip(videos, "a/1.mkv", start_s=1.0))
    for replace in (False, True):
        with pytest.raises(VaclipError, match=r"clip 'a_1' comes twice, and differs"):
            plan_import(tmp_path / "study", [Export(clips=twice)], Rules(replace=replace))


def test_a_clip_with_annotations_keeps_its_video(tmp_path, three, videos):
    root = tmp_path / "study"
    bring(root, three, Export(annotations=(NewAnnotation("a_1", "eve", box(), "x"),)))
    other = NewClip(**{**vars(clip(videos, "b/1.mkv")), "clip_id": "a_1", "patient_id": "a"})
    with pytest.raises(VaclipError, match=r"'a_1' has annotations or keypoints of its old video"):
        plan_import(root, [Export(clips=(other,))], Rules(replace=True))


def test_names_that_differ_by_case_alone_are_refused(tmp_path, videos):
    for name in ("x.mkv", "X.mkv"):
        (videos / name).write_text(name)
    both = Export(clips=(clip(videos, "x.mkv"), clip(videos, "X.mkv")))
    with pytest.raises(VaclipError, match=r"'videos/x\.mkv' and 'videos/X\.mkv' differ by upper"):
        plan_import(tmp_path / "study", [both], Rules())


def test_joints_are_those_of_the_poses_that_were_taken(tmp_path, three):
    root = tmp_path / "study"
    lost = Export(poses=(pose("nobody"),), keypoint_names=("tail", "nose"))
    bring(root, three, lost, skip_unmatched=True)
    assert load_study(root).keypoint_names == COCO_17
    (root / "study.yaml").write_text("classes: [ill, well]\nkeypoint_names: [tail, nose]\n")
    bring(root, Export(poses=(pose("a_1", joints=17),), keypoint_names=COCO_17))
    assert load_study(root).keypoint_names == COCO_17


@pytest.mark.parametrize(
    "region", [Region(keypoints=("lefthip",)), Region(box=(0.0, 0.0, 50.0, 50.0))]
)
def test_a_region_that_the_study_could_not_read_is_refused(tmp_path, three, region):
    with pytest.raises(VaclipError, match=r"^region 'q': "):
        plan_import(tmp_path / "study", [three], Rules(regions={"q": region}))


def test_a_class_twice_is_refused(tmp_path, three):
    with pytest.raises(VaclipError, match="--classes names a class twice"):
        plan_import(tmp_path / "study", [three], Rules(classes=("ill", "ill", "well")))


@pytest.mark.parametrize("line", ["keypoint_names: 3", "classes: [no, yes]"])
def test_lists_of_names_that_are_none_are_refused(tmp_path, line):
    (tmp_path / "study.yaml").write_text(line + "\n")
    with pytest.raises(VaclipError, match="must be a list of names; put yes and no in quotes"):
        plan_import(tmp_path, [Export()], Rules())


def test_a_semicolon_in_a_header_does_not_part_columns(tmp_path, videos):
    root = tmp_path / "study"
    bring(root, Export(clips=(clip(videos, "a/1.mkv", extra={"severity (0;1;2;3;4;5)": "2"}),)))
    assert plan_import(root, [], Rules()).clips[0]["severity (0;1;2;3;4;5)"] == "2"


@pytest.mark.parametrize("folder", ["annotations", "keypoints", "videos"])
def test_a_folder_that_is_a_link_to_elsewhere_is_not_written_to(tmp_path, three, folder):
    root, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / folder).symlink_to(elsewhere)
    more = Export(
        annotations=(NewAnnotation("a_1", "eve", box(), "x"),), poses=(pose("a_2", joints=17),),
        keypoint_names=COCO_17,
    )  # fmt: skip
    with pytest.raises(VaclipError, match="leaves the study folder"):
        bring(root, three, more)
    assert list(elsewhere.iterdir()) == []
    assert not (root / "clips.csv").exists()


def test_the_same_annotations_again_are_not_new_with_replace(tmp_path, three):
    root = tmp_path / "study"
    annotations = Export(annotations=(NewAnnotation("a_1", "eve", box(), "x"),))
    bring(root, three, annotations)
    plan = plan_import(root, [annotations], Rules(replace=True))
    assert plan.counts["annotations of kind shapes"] == 0
    assert len(plan.annotations) == 1


def test_gaze_at_nothing_is_no_annotation(tmp_path, three):
    nothing = Export(
        annotations=(NewAnnotation("a_1", "eve", Gaze((1, 1), np.zeros((0, 4))), "g.csv"),)
    )
    with pytest.raises(VaclipError, match=r"g\.csv: there is no gaze at the video"):
        plan_import(tmp_path / "study", [three, nothing], Rules())
