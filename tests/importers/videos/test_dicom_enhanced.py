"""Enhanced objects: what stands in functional groups counts, of each picture its own."""

from __future__ import annotations

import dicom_files as made
import numpy as np
import pytest
from pydicom.dataset import Dataset

from vaclip.errors import VaclipError
from vaclip.importers.videos.dicom_frames import clock, seconds_between
from vaclip.importers.videos.dicom_pictures import cine_pictures
from vaclip.importers.videos.dicom_read import Cine, read_cine

VALUES = np.array([0, 100, 200, 1000], np.uint16).reshape(1, 2, 2).repeat(3, axis=0)
"""Three pictures that are alike."""


def item(**tags):
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def window(centre, width):
    values = {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": "LINEAR_EXACT"}
    return {"FrameVOILUTSequence": [item(**values)]}


def scale(slope, intercept):
    values = {"RescaleSlope": slope, "RescaleIntercept": intercept, "RescaleType": "US"}
    return {"PixelValueTransformationSequence": [item(**values)]}


def enhanced(tmp_path, shared, own, pictures=VALUES, **changes):
    tags = {
        "SharedFunctionalGroupsSequence": [item(**shared)],
        "PerFrameFunctionalGroupsSequence": [item(**one) for one in own],
        "FrameTime": None, "FrameIncrementPointer": None,
    }  # fmt: skip
    return made.native(tmp_path / "a.dcm", pictures, **tags | changes)


def shown(path):
    cine = read_cine(path)
    assert isinstance(cine, Cine)
    return np.stack(list(cine_pictures(cine)))


def test_a_window_of_all(tmp_path):
    path = enhanced(tmp_path, window(100, 200), [{}] * 3, WindowCenter="9", WindowWidth="9")
    # 0 to 200: 100 is half, 127.5 rounded to even
    np.testing.assert_array_equal(shown(path).reshape(3, 4), [[0, 128, 255, 255]] * 3)


def test_each_picture_has_its_window_and_scale(tmp_path):
    own = [
        window(100, 200) | scale(1, 0),
        window(750, 1500) | scale(1, 0),
        window(100, 200) | scale(2, -100),
    ]
    # 3rd: -100, 100, 300, 1900 through 0 to 200; 2nd: v / 1500 of 255
    expected = [[0, 128, 255, 255], [0, 17, 34, 170], [0, 128, 255, 255]]
    np.testing.assert_array_equal(shown(enhanced(tmp_path, {}, own)).reshape(3, 4), expected)


def test_a_table_of_a_group(tmp_path):
    lut = item(LUTDescriptor=[4, 0, 8])
    lut.add_new("LUTData", "US", [7, 5, 3, 1])
    values = np.array([[[0, 1], [2, 3]]] * 2, np.uint16)
    path = enhanced(
        tmp_path, {"FrameVOILUTSequence": [item(VOILUTSequence=[lut])]}, [{}] * 2, values
    )
    np.testing.assert_array_equal(shown(path), [[[7, 5], [3, 1]]] * 2)


def test_without_a_window_scaled_values_are_spread_over_the_cine(tmp_path):
    path = enhanced(tmp_path, {}, [scale(1, 0), scale(1, 0), scale(1, 1000)])
    # from 0 to 2000: 100 is 12.75 of 255, 200 25.5 (to even: 26), 1000 127.5 (128)
    expected = [[0, 13, 26, 128]] * 2 + [[128, 140, 153, 255]]
    np.testing.assert_array_equal(shown(path).reshape(3, 4), expected)


def content(**tags):
    return {"FrameContentSequence": [item(**tags)]}


def offset(seconds):
    return {"TemporalPositionSequence": [item(TemporalPositionTimeOffset=seconds)]}


def reference(seconds):
    return content(FrameReferenceDateTime=f"202403152359{seconds}+0100")


ACQUIRED = [
    content(FrameAcquisitionDateTime=f"20240315{time}")
    for time in ("235959.5", "235959.75", "235959.95")
]
TIMED = {
    "offsets": ([offset(s) for s in (0.0, 0.04, 0.14)], {}, (0.04, 0.1, 0.07)),
    "reference": ([reference(s) for s in ("10.5", "11", "11.1")], {}, (0.5, 0.1, 0.3)),
    "acquired": (ACQUIRED, {}, (0.25, 0.2, 0.225)),
    "before_rates": (ACQUIRED, {"RecommendedDisplayFrameRate": 10}, (0.25, 0.2, 0.225)),
    "behind_frame_time": (ACQUIRED, {"FrameTime": "40"}, (0.04,) * 3),
    "not_later": ([offset(0.0)] * 3, {"RecommendedDisplayFrameRate": 10}, (0.1,) * 3),
    "one_missing": ([offset(0.0), {}, offset(1.0)], {}, ()),
    "only_a_day": ([content(FrameReferenceDateTime=f"2024031{n}") for n in (1, 2, 3)], {}, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", TIMED)
def test_times(tmp_path, name):
    own, changes, expected = TIMED[name]
    cine = read_cine(enhanced(tmp_path, {}, own, **changes))
    assert isinstance(cine, Cine)
    assert cine.seconds == pytest.approx(expected, abs=1e-6)


def test_zones_count():
    assert clock("20240315120000+0100") == clock("20240315110000")
    assert clock("20240315000000.25") - clock("20240314235959.5") == 0.75
    assert seconds_between([0.0, float("nan"), 2.0]) == ()


def test_the_size_of_a_pixel(tmp_path):
    shared = {"PixelMeasuresSequence": [item(PixelSpacing=["0.5", "0.25"])]}
    assert read_cine(enhanced(tmp_path, shared, [{}] * 3)).spacing_mm == "0.5 x 0.25"


@pytest.mark.parametrize(
    ("planes", "position"),
    [("PlanePositionSequence", "ImagePositionPatient"),
     ("PlanePositionVolumeSequence", "ImagePositionVolume")],
)  # fmt: skip
def test_slices_are_no_cine(tmp_path, planes, position):
    def at(z):
        return {planes: [item(**{position: [0, 0, z]})]}

    assert read_cine(enhanced(tmp_path, {}, [at(0), at(1), at(2)])) == "slices of a volume"
    assert isinstance(read_cine(enhanced(tmp_path, {}, [at(0)] * 3)), Cine)


def test_groups_of_other_pictures_are_refused(tmp_path):
    with pytest.raises(VaclipError, match=r"a\.dcm: tells of 2 pictures, but states 3"):
        read_cine(enhanced(tmp_path, {}, [{}] * 2))


def test_sequences_without_end_are_refused(tmp_path):
    path = enhanced(tmp_path, {}, [{}] * 3)
    nest = b"\x00\x52\x29\x92SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 20_000
    dataset = made.header(VALUES, made.uid.ExplicitVRLittleEndian)
    dataset.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes() + nest)
    with pytest.raises(VaclipError, match=r"a\.dcm: a damaged DICOM file"):
        read_cine(path)
