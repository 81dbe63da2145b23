"""From an archive to a study: pseudonyms, labels, times, and nothing that names anybody."""

from __future__ import annotations

import re

import dicom_files as made
import numpy as np
import pytest

from conftest import read_rows, write_rows
from vaclip.audit.check import check
from vaclip.audit.inspect import inspect_video
from vaclip.commands.main import main
from vaclip.data.video import timed_frames

ANNA = {"PatientID": "MRN-1", "PatientName": "Secret^Anna", "SOPInstanceUID": "1.2.3.1"}
BERT = {"PatientID": "MRN-2", "PatientName": "Hidden^Bert", "SOPInstanceUID": "1.2.3.2"}
REGION = {
    "RegionSpatialFormat": 1, "PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3,
    "PhysicalDeltaX": 0.02, "PhysicalDeltaY": 0.02, "RegionLocationMinX0": 8,
    "RegionLocationMinY0": 4, "RegionLocationMaxX1": 39, "RegionLocationMaxY1": 27,
}  # fmt: skip


def region(**changes):
    dataset = made.Dataset()
    for name, value in (REGION | changes).items():
        setattr(dataset, name, value)
    return dataset


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    made.native(folder / "ill" / "a.dcm", made.colours(), **ANNA)
    made.native(
        folder / "ill" / "b.dcm", made.greys(), **ANNA | {"SOPInstanceUID": "1.2.3.9"},
        FrameTime=None, FrameTimeVector=["0", "10", "30", "20", "50"],
    )  # fmt: skip
    made.native(folder / "well" / "c.dcm", made.greys(), **BERT, StudyDate="20231104")
    return folder


def run(capsys, *words, status=0):
    with pytest.raises(SystemExit) as stopped:
        main(["data", "import", "dicom", *map(str, words)])
    out, err = capsys.readouterr()
    assert (stopped.value.code or 0) == status, err
    return " ".join((out + err).split())


def imported(capsys, archive, *flags, status=0, study="study"):
    into = archive.parent / study
    said = run(capsys, archive, "--into", into, *flags, status=status)
    return into, said


def pictures_of(study, row):
    return [frame.to_ndarray(format="rgb24") for frame, _ in timed_frames(study / row["video"])]


def test_clips_have_every_picture_at_its_time(archive, capsys):
    study, _ = imported(capsys, archive, "--label-from-folder")
    rows = read_rows(study / "clips.csv")
    assert [row["label"] for row in rows] == ["ill", "ill", "well"]
    assert len({row["patient_id"] for row in rows}) == 2
    assert rows[0]["patient_id"] == rows[1]["patient_id"]
    np.testing.assert_array_equal(pictures_of(study, rows[0]), made.colours())
    grey = np.repeat(made.greys()[..., None], 3, axis=3)
    np.testing.assert_array_equal(pictures_of(study, rows[1]), grey)
    even, uneven = (inspect_video(study / row["video"]) for row in rows[:2])
    assert float(even.rate) == 25
    np.testing.assert_allclose(even.times_s, np.arange(5) * 0.04, atol=1e-4)
    np.testing.assert_allclose(uneven.times_s, [0, 0.01, 0.04, 0.06, 0.11], atol=1e-4)
    assert [p for p in check(study, workers=1).found if p.severity == "error"] == []


def test_overlays_are_told(archive, capsys):
    dataset = made.header(made.greys(), "1.2.840.10008.1.2.1", **ANNA | {"SOPInstanceUID": "1.8"})
    dataset.add_new(0x60020010, "US", 48)
    made.write(archive / "ill" / "o.dcm", dataset, made.greys().tobytes())
    _, said = imported(capsys, archive, "--label-from-folder")
    assert (
        "1 file(s) have overlays, graphics or text over the pictures, which are not drawn" in said
    )
    assert "not drawn: o.dcm" in said


def test_columns_for_the_shortcut_check(archive, capsys):
    made.native(
        archive / "well" / "d.dcm", made.greys(), PatientID="MRN-3",
        SequenceOfUltrasoundRegions=[region()],
    )  # fmt: skip
    study, _ = imported(capsys, archive, "--label-from-folder")
    rows = read_rows(study / "clips.csv")
    assert {row["modality"] for row in rows} == {"US"}
    assert {row["device"] for row in rows} == {"Maker M1"}
    assert [row["study_month"] for row in rows] == ["2024-03", "2024-03", "2023-11", "2024-03"]
    assert [row["pixel_mm"] for row in rows] == ["", "", "", "0.2"]


def test_nothing_tells_who_it_is(archive, capsys, caplog):
    study, said = imported(capsys, archive, "--label-from-folder")
    whole = b"".join(path.read_bytes() for path in study.rglob("*") if path.is_file())
    secrets = ("MRN-1", "MRN-2", "Secret", "Anna", "Bert", "Hidden", "1950", "1.2.3.1", "20240315")
    for secret in secrets:
        assert secret.encode() not in whole, secret
        assert secret not in said + caplog.text
        assert all(secret not in str(path) for path in study.rglob("*"))


def test_odd_values_are_not_shown_either(archive, capsys, caplog, recwarn):
    made.native(
        archive / "ill" / "d.dcm", made.greys(), PatientID="Ms Curious " * 9, StudyDate="Curious",
        SOPInstanceUID="Curious.1",
    )  # fmt: skip
    caplog.clear()  # of what writing it says, also where an earlier test had logs shown
    recwarn.clear()
    capsys.readouterr()
    _, said = imported(capsys, archive, "--label-from-folder")
    told = said + caplog.text + " ".join(str(warning.message) for warning in recwarn)
    assert "Curious" not in told


def test_pseudonyms_are_the_same_by_the_same_key_alone(archive, capsys):
    def patients(study, *flags):
        into, _ = imported(capsys, archive, "--label-from-folder", *flags, study=study)
        return [row["patient_id"] for row in read_rows(into / "clips.csv")]

    first = patients("one")
    key = archive.parent / "one.key"
    assert key.stat().st_mode & 0o077 == 0
    assert patients("two", "--key", key) == first
    assert not set(patients("three")) & set(first)
    assert patients("four", "--patient-ids") == ["MRN-1", "MRN-1", "MRN-2"]
    key.write_text("short")
    _, said = imported(capsys, archive, "--label-from-folder", "--key", key, study="x", status=1)
    assert "one.key: is no key" in said


def test_more_of_the_same_archive_is_added(archive, capsys):
    study, _ = imported(capsys, archive, "--label-from-folder")
    before = {path: path.stat().st_mtime_ns for path in (study / "videos").iterdir()}
    made.native(archive / "well" / "d.dcm", made.greys(), **BERT | {"SOPInstanceUID": "1.2.3.7"})
    study, said = imported(capsys, archive, "--label-from-folder")
    assert "1 videos" in said
    assert len(read_rows(study / "clips.csv")) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    "rows",
    [
        [{"file": "ill/a.dcm", "label": "x"}, {"file": "ill/b.dcm", "label": "x"},
         {"file": "well/c.dcm", "label": "y"}],
        [{"patient_id": "MRN-1", "label": "x"}, {"patient_id": "MRN-2", "label": "y"}],
    ],
    ids=["file", "patient"],
)  # fmt: skip
def test_labels_by_a_table(archive, capsys, rows):
    table = archive.parent / "labels.csv"
    write_rows(table, rows)
    study, _ = imported(capsys, archive, "--labels", table)
    assert [row["label"] for row in read_rows(study / "clips.csv")] == ["x", "x", "y"]


def test_what_has_no_label_is_refused_or_left_out(archive, capsys):
    table = archive.parent / "labels.csv"
    write_rows(table, [{"file": "ill/a.dcm", "label": "x"}, {"file": "well/c.dcm", "label": "y"}])
    _, said = imported(capsys, archive, "--labels", table, status=1)
    assert "1 cine(s) have no label (ill/b.dcm)" in said
    study, said = imported(capsys, archive, "--labels", table, "--skip-unmatched")
    assert "1 file(s): without a label" in said
    assert len(read_rows(study / "clips.csv")) == 2


@pytest.mark.parametrize("flags", [(), ("--label", "x", "--label-from-folder")])
def test_one_source_of_labels_is_needed(archive, capsys, flags):
    _, said = imported(capsys, archive, *flags, status=1)
    assert "give one of --labels TABLE, --label NAME and --label-from-folder" in said


def test_only_the_largest_picture_of_the_screen(tmp_path, capsys):
    small = region(RegionLocationMaxX1=12, RegionLocationMaxY1=9)
    trace = region(RegionSpatialFormat=2, RegionLocationMinX0=0, RegionLocationMaxX1=63)
    outside = region(RegionLocationMaxX1=64)
    made.native(
        tmp_path / "archive" / "a.dcm", made.colours(), **ANNA,
        SequenceOfUltrasoundRegions=[small, trace, outside, region()],
    )  # fmt: skip
    made.native(tmp_path / "archive" / "b.dcm", made.greys(), **BERT)
    study, said = imported(capsys, tmp_path / "archive", "--label", "x", "--crop-to-region")
    assert "1 file(s) mark no region, so that --crop-to-region keeps their whole screen: b" in said
    (row, _) = read_rows(study / "clips.csv")
    np.testing.assert_array_equal(pictures_of(study, row), made.colours()[:, 4:28, 8:40])


def test_a_dicomdir_is_the_folder_that_it_lies_in(archive, capsys):
    (archive / "DICOMDIR").write_bytes(b"whatever it lists")
    study, said = imported(capsys, archive / "DICOMDIR", "--label-from-folder")
    assert "1 file(s): no DICOM" in said
    assert len(read_rows(study / "clips.csv")) == 3


def test_names_in_the_pictures_are_warned_of(archive, capsys):
    made.native(archive / "ill" / "d.dcm", made.greys(), PatientID="1", BurnedInAnnotation="YES")
    made.native(archive / "ill" / "e.dcm", made.greys(), PatientID="1", BurnedInAnnotation=None)
    _, said = imported(capsys, archive, "--label-from-folder")
    assert re.search(r"1 file\(s\) say that names may stand in their pictures .*: d\.dcm", said)
    assert "1 file(s) do not say whether names stand in their pictures" in said


def test_all_else_is_counted(archive, capsys):
    (archive / "notes.txt").write_text("hello")
    made.native(archive / "still.dcm", made.greys(1))
    (archive / "copy.dcm").write_bytes((archive / "ill" / "a.dcm").read_bytes())
    _, said = imported(capsys, archive, "--label", "x")
    for line in ("no DICOM", "a still picture", "the same cine again"):
        assert f"1 file(s): {line}" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"PatientID": ""}, "names no patient (PatientID)"),
        ({"FrameTime": None}, "states no time of its pictures; give --fps"),
    ],
)
def test_what_must_be_known_is_asked_for(tmp_path, capsys, changes, said):
    made.native(tmp_path / "archive" / "a.dcm", made.greys(), **changes)
    _, told = imported(capsys, tmp_path / "archive", "--label", "x", status=1)
    assert f"a.dcm: {said}" in told


def test_a_rate_is_given_where_the_file_has_none(tmp_path, capsys):
    made.native(tmp_path / "archive" / "a.dcm", made.greys(), FrameTime=None)
    study, _ = imported(capsys, tmp_path / "archive", "--label", "x", "--fps", 12.5)
    (row,) = read_rows(study / "clips.csv")
    assert float(inspect_video(study / row["video"]).rate) == 12.5


def test_a_damaged_cine_stops_no_other_and_the_command_goes_on(archive, capsys):
    broken = archive / "ill" / "0.dcm"
    made.by_pydicom(broken, made.colours(), made.uid.RLELossless, PatientID="MRN-9")
    broken.write_bytes(broken.read_bytes()[:-3000])
    study, said = imported(capsys, archive, "--label-from-folder", status=1)
    assert "1 of 4 videos cannot be made" in said
    assert "0.dcm: " in said
    assert len(list((study / "videos").iterdir())) == 3
    assert not (study / "clips.csv").exists()
    broken.unlink()
    study, _ = imported(capsys, archive, "--label-from-folder")
    assert len(read_rows(study / "clips.csv")) == 3


def test_a_folder_without_a_cine_says_what_is_there(tmp_path, capsys):
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "x.txt").write_text("x")
    _, said = imported(capsys, tmp_path / "archive", "--label", "x", status=1)
    assert "there is no DICOM cine in archive (1 no DICOM)" in said
