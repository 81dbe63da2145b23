"""The published layout: how names meet, what doctors' cells say, what a pickle may hold."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import yaml
from case_clinicalclip import CASE, FILE
from hypothesis import given
from hypothesis import strategies as st

from conftest import read_rows
from vaclip.commands.imports import import_parser, run_import
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.poses.pyskl import read_skeletons
from vaclip.importers.tables.clinicalclip import REGIONS, attention_values
from vaclip.maps.keypoints import load_keypoints
from vaclip.maps.source import COCO_17

PATIENT = ("--patient-regex", "^(?P<patient>[^-]+)-")
FRACTION = ("--keypoint-unit", "fraction")
A1, A2 = "20200101_ill_lat__V1-0001", "20200101_ill_lat__V1-0002"
B1 = "20200203_well_lat_-0001"


@pytest.fixture
def folder(tmp_path):
    return CASE.copy_to(tmp_path / "export")


def read(folder, *flags):
    words = ["clinicalclip", str(folder), "--into", "unused", *flags]
    options = import_parser().parse_args(words)
    return IMPORTERS.build("clinicalclip").read(options.sources, options)


def export(folder, *flags):
    return read(folder, *PATIENT, *FRACTION, *flags)


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def annotation(frames=3, joints=17, people=1, **values):
    rng = np.random.default_rng(frames)
    return {
        "frame_dir": "a", "total_frames": frames, "img_shape": (40, 80),
        "keypoint": rng.uniform(3, 40, (people, frames, joints, 2)),
        "keypoint_score": np.full((people, frames, joints), 0.5),
    } | values  # fmt: skip


def skeletons(path, *annotations, unit="pixel", joints=COCO_17):
    path.write_bytes(pickle.dumps({"annotations": list(annotations)}))
    return read_skeletons(path, unit, joints)


# --- clips ---------------------------------------------------------------------------------------


def test_clips_are_the_json_files_that_have_a_video(folder):
    clips = {clip.clip_id: clip for clip in export(folder).clips}
    assert {name: (clip.patient_id, clip.label, clip.name) for name, clip in clips.items()} == {
        A1: ("20200101_ill_lat__V1", "ill", f"train/ill/{A1}.mkv"),
        A2: ("20200101_ill_lat__V1", "ill", f"train/ill/{A2}.mkv"),
        B1: ("20200203_well_lat_", "well", f"val/well/{B1}.mkv"),
    }
    assert clips[A1].video == folder / f"video/train/ill/{A1}.mkv"


def test_every_partner_that_is_missing_is_named(folder):
    (folder / f"video/val/well/{B1}.mkv").unlink()
    lines = export(folder).dropped
    assert f"2 JSON file(s) without a video: {B1}, 20200203_well_lat_-0009" in lines
    assert "1 video(s) without a JSON file: val/well/20200203_well_lat_-0002.mkv" in lines
    assert f"1 clip(s) without a row of doctor2: {A2}" in lines
    assert not any("doctor1" in line for line in lines)


def test_a_clip_without_a_pose_is_named(folder):
    content = pickle.loads((folder / FILE).read_bytes())
    content["annotations"] = [a for a in content["annotations"] if A2 not in a["frame_dir"]]
    (folder / FILE).write_bytes(pickle.dumps(content))
    assert f"1 clip(s) without a pose: {A2}" in export(folder).dropped
    (folder / FILE).unlink()
    assert "'export' holds no pickle of poses" in export(folder).dropped
    assert export(folder).keypoint_names is None


@pytest.mark.parametrize("below", ["", "ill/", "train/ill/"])
@pytest.mark.parametrize("separator", ["/", "\\"])
def test_a_video_is_found_by_the_last_parts_of_its_path(folder, below, separator):
    there = folder / "video/train/ill" / f"{A1}.mkv"
    (folder / "video" / below).mkdir(exist_ok=True)
    there.rename(folder / "video" / below / "moved.mkv")
    path = f"C:/data/fold0/train/ill/{'moved.mkv'}".replace("/", separator)
    change(folder / f"json_mix/ill/{A1}.json", video_path=path)
    assert {c.clip_id: c.name for c in export(folder).clips}[A1] == f"{below}moved.mkv"


def test_the_folder_of_videos_can_be_elsewhere(folder, tmp_path):
    (folder / "video").rename(tmp_path / "elsewhere")
    with pytest.raises(VaclipError, match="there is no folder of videos 'video'"):
        export(folder)
    assert len(export(folder, "--videos", str(tmp_path / "elsewhere")).clips) == 3


def test_no_patient_is_guessed(folder):
    with pytest.raises(VaclipError, match=r"--patient-regex .* There is no default"):
        read(folder, *FRACTION)
    with pytest.raises(VaclipError, match=r"lacks the group \(\?P<patient>"):
        read(folder, "--patient-regex", "^([^-]+)")
    with pytest.raises(VaclipError, match="is no regular expression"):
        read(folder, "--patient-regex", "(?P<patient>")
    (folder / "json_mix/well/20200203_well_lat_-0009.json").unlink()
    with pytest.raises(VaclipError, match=f"(?s)1 JSON file.*no patient in '{B1}'") as caught:
        read(folder, "--patient-regex", "(?P<patient>.*_ill_.*)-")
    assert A1 not in str(caught.value)


def test_spaces_around_names_are_no_part_of_them(folder, tmp_path):
    (folder / f"json_mix/ill/{A1}.json").rename(folder / "json_mix/ill/P1 -0001 .json")
    (clip,) = (clip for clip in export(folder).clips if clip.name.endswith(f"{A1}.mkv"))
    assert (clip.clip_id, clip.patient_id) == ("P1 -0001", "P1")
    words = ["clinicalclip", str(folder), "--into", str(tmp_path / "s"), *PATIENT, *FRACTION]
    run_import(words)
    before = read_rows(tmp_path / "s/clips.csv")
    run_import(words)  # a patient of another name would be an error
    assert read_rows(tmp_path / "s/clips.csv") == before
    (folder / "json_mix/ill/P1 -0001 .json").rename(folder / "json_mix/ill/ -0001.json")
    with pytest.raises(VaclipError, match="--patient-regex finds no patient in '-0001'"):
        export(folder)


def test_a_label_that_contradicts_its_folder_is_refused(folder):
    change(folder / f"json_mix/ill/{A1}.json", disease="well")
    with pytest.raises(VaclipError, match="'disease' is 'well', but the folder is 'ill'"):
        export(folder)


def test_labels_can_be_renamed(folder):
    labels = {clip.label for clip in export(folder, "--rename-label", "ill=ASD").clips}
    assert labels == {"ASD", "well"}


@pytest.mark.parametrize("value", [None, 3, "", ["a"]])
def test_a_json_file_needs_a_path(folder, value):
    change(folder / f"json_mix/ill/{A1}.json", video_path=value)
    with pytest.raises(VaclipError, match=f"json_mix/ill/{A1}.json: 'video_path' is missing"):
        export(folder)


def test_other_folders_are_told_from_this_layout(folder):
    with pytest.raises(VaclipError, match="'video' has no folder 'json_mix'"):
        export(folder / "video")
    (folder / f"json_mix/ill/{A1}.json").write_text("[]")
    with pytest.raises(VaclipError, match=f"{A1}.json: expected an object"):
        export(folder)


# --- annotations ---------------------------------------------------------------------------


def annotations_of(folder, *flags):
    return {(m.video, m.annotator, m.content) for m in export(folder, *flags).annotations}


def test_rows_become_annotations_of_two_doctors(folder):
    assert annotations_of(folder) == {
        (A1, "doctor1", "lumbar_pelvis"),
        (A2, "doctor1", "foot"),  # the row has the JSON file's video_name
        (B1, "doctor1", "foot"),
        (B1, "doctor1", "head"),
        (A1, "doctor2", "shoulder"),
    }
    regions = export(folder).regions
    assert set(regions) == {"lumbar_pelvis", "foot", "head", "shoulder"}
    assert regions["foot"].keypoints == ("left_ankle", "right_ankle")


def write_doctor(folder, *rows):
    text = "".join(f'{name},"{attention}"\n' for name, attention in rows)
    (folder / "doctor_result/doctor1.csv").write_text(f"video file name,attention\n{text}")


def test_a_name_is_compared_whole(folder):
    write_doctor(folder, ("20200101_ill_lat__V1", "foot"), (A1[:-1], "foot"), (A1 + "0", "foot"))
    found = {
        annotation.video
        for annotation in export(folder).annotations
        if annotation.annotator == "doctor1"
    }
    assert found == {"20200101_ill_lat__V1", A1[:-1], A1 + "0"}  # none is the id of a clip
    with pytest.raises(VaclipError, match="3 item") as caught:
        run_import(["clinicalclip", str(folder), "--into", str(folder / "s"), *PATIENT, *FRACTION])
    assert "doctor_result/doctor1.csv:2: no clip" in str(caught.value)


def test_doctors_may_name_a_recording(folder):
    write_doctor(folder, ("20200101_ill_lat__V1", "foot"))
    found = annotations_of(folder, "--row-regex", "^(?P<row>.+?)(-|__ )")
    assert {annotation for annotation in found if annotation[1] == "doctor1"} == {
        (A1, "doctor1", "foot"),
        (A2, "doctor1", "foot"),
    }


def test_values_that_are_no_region_are_counted_and_listed(folder):
    write_doctor(folder, (A1, "['trunk.png']"), (A2, "trunk; knee"), (B1, "foot"))
    with pytest.raises(VaclipError, match="2 value") as caught:
        export(folder)
    assert "'trunk' in 2 row(s)\n  'knee' in 1 row(s)\n" in str(caught.value)
    defined = ("--region", "trunk=left_hip,left_shoulder", "--region", "knee=left_knee")
    assert (A2, "doctor1", "knee") in annotations_of(folder, *defined)


def test_a_region_of_ones_own_takes_the_place_of_the_projects(folder):
    flags = ("--region", "foot=left_ankle")
    assert "foot" not in export(folder, *flags).regions
    study = folder.parent / "study"
    run_import(["clinicalclip", str(folder), "--into", str(study), *PATIENT, *FRACTION, *flags])
    head = yaml.safe_load((study / "study.yaml").read_text())
    assert head["regions"]["foot"] == {"keypoints": ["left_ankle"]}


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("['lumbar_pelvis.png']", ["lumbar_pelvis"]),
        ("['foot.PNG', \"head.jpg\"]", ["foot", "head"]),
        ("foot; head , foot", ["foot", "head"]),
        (
            "\N{CJK UNIFIED IDEOGRAPH-8DB3}\N{IDEOGRAPHIC COMMA}b\N{FULLWIDTH COMMA}c",
            ["\N{CJK UNIFIED IDEOGRAPH-8DB3}", "b", "c"],
        ),
        ("", []),
        ("[]", []),
        ("  ", []),
    ],
)
def test_cells(cell, values):
    assert attention_values(cell) == values


@given(st.lists(st.sampled_from(sorted(REGIONS)), unique=True))
def test_a_written_list_is_read_back(names):
    assert attention_values(str([f"{name}.png" for name in names])) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("video,attention\na,foot\n", "there is no column 'video file name'"),
        ("video file name,region\na,foot\n", "there is no column 'attention'"),
        ("video file name,attention\n,foot\n", "doctor1.csv:2: the cell 'video file name'"),
    ],
)
def test_tables_that_lack_something(folder, text, said):
    (folder / "doctor_result/doctor1.csv").write_text(text)
    with pytest.raises(VaclipError, match=said):
        export(folder)


def test_the_projects_regions_are_coco_joints():
    assert set().union(*REGIONS.values()) <= set(COCO_17)


# --- poses ---------------------------------------------------------------------------------------


def test_fractions_become_pixels_of_the_video(folder, tmp_path):
    study = tmp_path / "study"
    run_import(["clinicalclip", str(folder), "--into", str(study), *PATIENT, *FRACTION])
    row = next(row for row in read_rows(study / "clips.csv") if row["clip_id"] == A1)
    keypoints = load_keypoints(study / row["keypoints"])
    assert keypoints.shape == (20, 17, 3)
    hips = keypoints[:, COCO_17.index("left_hip")]
    # The square is 12 pixels wide and goes from 0 to 52 in 19 steps.
    expected = [round(number * 52 / 19) + 6 for number in range(20)]
    np.testing.assert_allclose(hips[:, 0], expected, atol=1e-4)
    np.testing.assert_allclose(hips[:, 1], 30, atol=1e-4)
    np.testing.assert_allclose(hips[:, 2], 0.9, atol=1e-6)
    assert (keypoints[:, COCO_17.index("left_wrist"), 2] == 0).all()  # -1: not found


def test_pixels_stay_and_the_surest_person_is_taken(tmp_path):
    two = annotation(people=2)
    two["keypoint_score"][1] = 0.9
    two["keypoint"][1, 0, 3] = 0
    two["keypoint"][1, 1, 3] = (-1, 5)  # beside the picture, and found
    ((one,), left_out) = skeletons(tmp_path / "p.pkl", two)
    expected = two["keypoint"][1]
    np.testing.assert_allclose(one.keypoints[..., :2], expected, rtol=1e-6)
    assert one.keypoints[0, 3, 2] == 0
    assert one.keypoints[1, 3, 2] == np.float32(0.9)
    assert one.size == (40, 80)
    assert left_out == []


def test_the_unit_cannot_be_wrong_unnoticed(tmp_path):
    small = annotation(keypoint=np.full((1, 3, 17, 2), 0.5))
    with pytest.raises(VaclipError, match=r"no coordinate is above 0\.5.*say --keypoint-unit"):
        skeletons(tmp_path / "p.pkl", small)
    with pytest.raises(VaclipError, match="these are no fractions of the picture"):
        skeletons(tmp_path / "p.pkl", small, annotation(), unit="fraction")
    ((one,), _) = skeletons(tmp_path / "p.pkl", small, unit="fraction")
    np.testing.assert_allclose(one.keypoints[0, 0], (40, 20, 0.5))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"total_frames": 4}, "'total_frames' is 4, but there are poses of 3 frames"),
        ({"total_frames": None}, "'total_frames' is None"),
        ({"keypoint_score": np.ones((1, 2, 17))}, "scores of shape"),
        ({"keypoint": np.ones((1, 3, 17, 3))}, "three dimensions"),
        ({"keypoint": [[1.0]]}, "'keypoint' is list"),
        ({"keypoint": np.full((1, 3, 17, 2), "a")}, "expected an array"),
        ({"keypoint": np.full((1, 3, 17, 2), 1e9)}, "pixels away"),
        ({"img_shape": (0, 5)}, "'img_shape' is 0 x 5"),
        ({"img_shape": "48x64"}, "'img_shape' is no"),
        ({"frame_dir": 3}, "'frame_dir' is missing"),
    ],
)
def test_an_annotation_that_does_not_hold_together_is_left_out_and_named(tmp_path, values, said):
    bad = annotation(**values)
    good, left_out = skeletons(tmp_path / "p.pkl", annotation(), bad)
    assert len(good) == len(left_out) == 1
    assert said in left_out[0]
    assert "annotations[1]" in left_out[0]
    with pytest.raises(VaclipError, match="none of 1 annotations is usable"):
        skeletons(tmp_path / "p.pkl", bad)


def test_other_joints_are_named(tmp_path):
    with pytest.raises(VaclipError, match="has 2 joints, expected 17; say --joints"):
        skeletons(tmp_path / "p.pkl", annotation(joints=2))
    assert skeletons(tmp_path / "p.pkl", annotation(joints=2), joints=("a", "b"))[0]


def test_joints_name_the_keypoints_and_limit_the_regions(folder):
    names = ",".join(f"j{number}" for number in range(17))
    with pytest.raises(VaclipError, match=r"4 value\(s\) of 'attention' are no region"):
        export(folder, "--joints", names)
    regions = [w for name in REGIONS for w in ("--region", f"{name}=j1")]
    assert export(folder, "--joints", names, *regions).keypoint_names == tuple(names.split(","))
    with pytest.raises(VaclipError, match="none twice"):
        export(folder, "--joints", "a,a")


def test_a_picture_of_another_size_is_left_out(folder):
    content = pickle.loads((folder / FILE).read_bytes())
    content["annotations"][0]["img_shape"] = (64, 48)
    (folder / FILE).write_bytes(pickle.dumps(content))
    given_out = export(folder)
    assert [pose.video for pose in given_out.poses] == [A2, B1]
    assert any("'img_shape' is (64, 48), but the video is (48, 64)" in d for d in given_out.dropped)


def test_a_pose_without_a_clip_stops_the_import(folder, tmp_path):
    content = pickle.loads((folder / FILE).read_bytes())
    content["annotations"][0]["frame_dir"] = f"/data/{A1}0.mkv"
    (folder / FILE).write_bytes(pickle.dumps(content))
    words = ["clinicalclip", str(folder), "--into", str(tmp_path / "s"), *PATIENT, *FRACTION]
    with pytest.raises(VaclipError, match=f"(?s)1 item.*named '{A1}0.mkv'") as caught:
        run_import(words)
    assert "/data" not in str(caught.value)
    run_import([*words, "--skip-unmatched"])
    rows = {row["clip_id"]: row.get("keypoints") for row in read_rows(tmp_path / "s/clips.csv")}
    assert not rows[A1]
    assert rows[B1]


def test_of_several_pickles_one_is_chosen(folder, tmp_path):
    (folder / "seg_skeleton_pkl_3d").mkdir()
    (folder / "seg_skeleton_pkl_3d/whole_annotations.pkl").write_bytes(b"")
    with pytest.raises(VaclipError, match="several pickles"):
        export(folder)
    assert len(export(folder, "--pickle", str(folder / FILE)).poses) == 3
    with pytest.raises(VaclipError, match=r"nothing\.pkl: is missing"):
        export(folder, "--pickle", str(tmp_path / "nothing.pkl"))


@pytest.mark.parametrize("content", [[], {}, {"annotations": []}, {"annotations": {}}, 3])
def test_other_pickles_are_told(tmp_path, content):
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(VaclipError, match="expected a dictionary with a list 'annotations'"):
        read_skeletons(tmp_path / "p.pkl", "pixel", COCO_17)


def test_one_array_cannot_be_claimed_many_times(tmp_path):
    one = annotation(frames=100)
    with pytest.raises(VaclipError, match="bytes of numbers, and has"):
        skeletons(tmp_path / "p.pkl", *[dict(one) for _ in range(1000)])
