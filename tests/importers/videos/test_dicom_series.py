"""Single pictures of one series: a cine if asked for, in their order, at their times."""

from __future__ import annotations

import dicom_files as made
import numpy as np
import pytest
from videos.test_import_dicom import imported, pictures_of

from conftest import read_rows
from vaclip.audit.inspect import inspect_video
from vaclip.importers.videos.dicom_pictures import cine_pictures
from vaclip.importers.videos.dicom_read import Cine, Still, read_cine
from vaclip.importers.videos.dicom_series import series_cine

SERIES = {"SeriesInstanceUID": "1.2.9", "FrameTime": None, "FrameIncrementPointer": None}


def write(folder, per_picture, pictures=None, **shared):
    """Each picture in a file of its own, named against their order."""
    pictures = made.greys(len(per_picture)) if pictures is None else pictures
    for number, tags in enumerate(per_picture):
        own = {"SOPInstanceUID": f"1.2.9.{number}", "NumberOfFrames": None} | SERIES
        path = folder / f"{len(per_picture) - number:02d}.dcm"
        made.native(path, pictures[number : number + 1], **own | shared | tags)
    return folder


def cine_of(folder):
    stills = [read_cine(path) for path in sorted(folder.iterdir())]
    assert all(isinstance(still, Still) for still in stills)
    return series_cine(stills)


NUMBERED = [{"InstanceNumber": str(n)} for n in (8, 9, 10, 11)]


def triggered(*times):
    return [{"TriggerTime": str(time)} for time in times]


def acquired(*times):
    return [{"AcquisitionDate": "20240315", "AcquisitionTime": time} for time in times]


def both(first, second):
    return [a | b for a, b in zip(first, second, strict=True)]


TIMED = {
    "frame_time": (NUMBERED, {"FrameTime": "40"}, (0.04,) * 4),
    "display_rate": (NUMBERED, {"RecommendedDisplayFrameRate": 20}, (0.05,) * 4),
    "no_time": (NUMBERED, {}, ()),
    "trigger": (both(NUMBERED, triggered(0, 30, 70, 100)), {}, (0.03, 0.04, 0.03, 0.03)),
    "acquired": (acquired("235958", "235958.5", "235959", "235959.25"), {},
                 (0.5, 0.5, 0.25, 0.5)),
    "over_midnight": (
        [{"AcquisitionDateTime": t} for t in ("20240315235959", "20240316000001")], {}, (2, 2)
    ),
    "times_before_rates": (both(NUMBERED, triggered(0, 30, 70, 100)),
                           {"RecommendedDisplayFrameRate": 20}, (0.03, 0.04, 0.03, 0.03)),
    "against_the_numbers": (both(NUMBERED, triggered(100, 70, 30, 0)), {}, ()),
    "unlike_frame_times": ([{"InstanceNumber": str(n), "FrameTime": str(n)} for n in (1, 2)],
                           {}, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", TIMED)
def test_times(tmp_path, name):
    per_picture, shared, expected = TIMED[name]
    cine = cine_of(write(tmp_path / "a", per_picture, **shared))
    assert isinstance(cine, Cine)
    assert (cine.frames, cine.missing) == (len(per_picture), 0)
    assert cine.seconds == pytest.approx(expected, abs=1e-6)
    assert [path.name for path in cine.files] == sorted(
        (path.name for path in (tmp_path / "a").iterdir()), reverse=True
    )


def test_moments_go_before_numbers(tmp_path):
    both_ways = [
        {"TemporalPositionIdentifier": str(3 - n), "InstanceNumber": str(n)} for n in (0, 1, 2)
    ]
    cine = cine_of(write(tmp_path / "a", both_ways))
    assert [path.name for path in cine.files] == ["01.dcm", "02.dcm", "03.dcm"]


def test_each_picture_has_its_window(tmp_path):
    values = np.array([0, 100, 200, 1000], np.uint16).reshape(1, 2, 2).repeat(2, axis=0)
    windows = [
        {"InstanceNumber": "1", "WindowCenter": "100", "WindowWidth": "200"},
        {"InstanceNumber": "2", "WindowCenter": "750", "WindowWidth": "1500"},
    ]
    folder = write(tmp_path / "a", windows, values, VOILUTFunction="LINEAR_EXACT")
    shown = np.stack(list(cine_pictures(cine_of(folder)))).reshape(2, 4)
    np.testing.assert_array_equal(shown, [[0, 128, 255, 255], [0, 17, 34, 170]])


def test_without_windows_values_are_spread_over_the_series(tmp_path):
    values = np.array([0, 100, 1000, 2000], np.uint16).reshape(2, 1, 2)
    shown = np.stack(list(cine_pictures(cine_of(write(tmp_path / "a", NUMBERED[:2], values)))))
    np.testing.assert_array_equal(shown.reshape(4), [0, 13, 128, 255])


NO_CINES = {
    "slices": ([{"InstanceNumber": str(n), "ImagePositionPatient": ["0", "0", str(n)]}
                for n in (1, 2)], "a slice of a volume"),
    "no_order": ([{}, {}], "a still picture of a series without an order"),
    "the_same_number": ([{"InstanceNumber": "1"}] * 2,
                        "a still picture of a series without an order"),
    "two_patients": ([{"InstanceNumber": str(n), "PatientID": str(n)} for n in (1, 2)],
                     "a still picture of a series of unlike ones"),
    "negative": ([{"InstanceNumber": str(n), "PhotometricInterpretation": f"MONOCHROME{n}"}
                  for n in (1, 2)], "a still picture of a series of unlike ones"),
    "one": ([{"InstanceNumber": "1"}], "a still picture"),
    "no_series": ([{"InstanceNumber": str(n), "SeriesInstanceUID": None} for n in (1, 2)],
                  "a still picture"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_CINES)
def test_what_is_no_cine_is_said(tmp_path, name):
    per_picture, said = NO_CINES[name]
    assert str(cine_of(write(tmp_path / "a", per_picture))).startswith(said)


def test_burned_in_text_of_one_is_that_of_all(tmp_path):
    def burned(*values):
        tags = [{"BurnedInAnnotation": value} for value in values]
        folder = tmp_path / "-".join(map(str, values))
        return cine_of(write(folder, both(NUMBERED[: len(values)], tags))).burned_in

    assert burned("NO", "YES", None) == "YES"
    assert burned("NO", None) == ""
    assert burned("NO", "NO") == "NO"


# --- from the archive to the study ------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    write(folder / "series", both(NUMBERED, triggered(0, 30, 70, 100)), made.colours(4))
    made.native(folder / "cine.dcm", made.greys(), PatientID="MRN-2")
    return folder


def test_it_is_left_out_and_the_option_named(archive, capsys):
    study, said = imported(capsys, archive, "--label", "x")
    assert "4 file(s): a still picture of a series (--series-as-cine makes one cine" in said
    assert len(read_rows(study / "clips.csv")) == 1


def test_it_becomes_a_clip(archive, capsys):
    (archive / "again.dcm").write_bytes((archive / "series" / "02.dcm").read_bytes())
    made.native(archive / "alone.dcm", made.colours(1), PatientID="MRN-2")
    study, said = imported(capsys, archive, "--label", "x", "--series-as-cine", "--patient-ids")
    assert "1 file(s): a still picture" in said
    assert "1 file(s): the same picture again" in said
    (row,) = [r for r in read_rows(study / "clips.csv") if r["patient_id"] == "MRN-4711"]
    np.testing.assert_array_equal(pictures_of(study, row), made.colours(4))
    times = inspect_video(study / row["video"]).times_s
    np.testing.assert_allclose(times, [0, 0.03, 0.07, 0.1], atol=1e-4)
    whole = b"".join(path.read_bytes() for path in study.rglob("*") if path.is_file())
    assert b"1.2.9" not in whole
    assert "1.2.9" not in said


def test_the_rate_is_asked_for_and_gaps_are_told(tmp_path, capsys):
    folder = write(tmp_path / "archive", [{"InstanceNumber": n} for n in ("1", "2", "5")])
    _, said = imported(capsys, folder, "--label", "x", "--series-as-cine", status=1)
    assert "03.dcm: states no time of its pictures; give --fps" in said
    flags = ("--label", "x", "--series-as-cine", "--fps", "12.5")
    study, said = imported(capsys, folder, *flags)
    assert "1 series leave out numbers" in said
    assert "03.dcm (2)" in said
    (row,) = read_rows(study / "clips.csv")
    facts = inspect_video(study / row["video"])
    assert (facts.frames, float(facts.rate)) == (3, 12.5)


def test_a_series_with_a_damaged_picture_is_named(archive, capsys):
    path = archive / "series" / "02.dcm"
    path.write_bytes(path.read_bytes()[:-50])
    _, said = imported(capsys, archive, "--label", "x", "--series-as-cine", status=1)
    assert "1 of 2 videos cannot be made" in said
