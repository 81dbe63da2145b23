"""Every transfer syntax, colour and timing: the pictures that were put in come out."""

from __future__ import annotations

import io
import sys
from collections import Counter
from pathlib import Path

import av
import dicom_files as made
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from vaclip.errors import VaclipError
from vaclip.importers.videos.dicom_pictures import cine_pictures, windowed
from vaclip.importers.videos.dicom_read import Cine, Still, frame_seconds, is_dicom, read_cine


def decoded(path):
    cine = read_cine(path)
    assert isinstance(cine, Cine)
    return np.stack(list(cine_pictures(cine)))


NATIVE = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
}


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("pictures", [made.colours(), made.greys()], ids=["colour", "grey"])
def test_uncompressed(tmp_path, syntax, pictures):
    path = made.native(tmp_path / "a.dcm", pictures, NATIVE[syntax])
    np.testing.assert_array_equal(decoded(path), pictures)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless])
@pytest.mark.parametrize("pictures", [made.colours(), made.greys()], ids=["colour", "grey"])
def test_lossless_by_pydicom(tmp_path, syntax, pictures):
    np.testing.assert_array_equal(
        decoded(made.by_pydicom(tmp_path / "a.dcm", pictures, syntax)), pictures
    )


@pytest.mark.parametrize(
    ("pictures", "layout"), [(made.colours(), "rgb24"), (made.greys(), "gray")], ids=["rgb", "grey"]
)
def test_jpeg_ls(tmp_path, pictures, layout):
    path = made.by_ffmpeg(
        tmp_path / "a.dcm", pictures, uid.JPEGLSLossless, "jpegls", layout,
        **({"PlanarConfiguration": 0} if layout == "rgb24" else {}),
    )  # fmt: skip
    np.testing.assert_array_equal(decoded(path), pictures)


def test_jpeg_2000_by_another_encoder(tmp_path):
    path = made.by_ffmpeg(
        tmp_path / "a.dcm", made.greys(), uid.JPEG2000, "jpeg2000", "gray",
        {"format": "j2k", "pred": "dwt53"},
    )  # fmt: skip
    np.testing.assert_array_equal(decoded(path), made.greys())


def test_htj2k(tmp_path):
    np.testing.assert_array_equal(decoded(made.htj2k(tmp_path / "a.dcm")), [made.HTJ2K_PICTURE] * 2)


@pytest.mark.parametrize(
    ("syntax", "codec", "options"),
    [(uid.JPEGBaseline8Bit, "mjpeg", {"qmin": "1", "qmax": "1"}),
     (uid.JPEGLosslessSV1, "ljpeg", {"pred": "left"})],
    ids=["baseline", "lossless"],
)  # fmt: skip
def test_jpeg(tmp_path, syntax, codec, options):
    path = made.by_ffmpeg(
        tmp_path / "a.dcm", made.colours(), syntax, codec, "yuvj444p", options,
        PhotometricInterpretation="YBR_FULL",
    )  # fmt: skip
    difference = np.abs(decoded(path).astype(int) - made.colours())
    assert difference.max() <= (8 if codec == "mjpeg" else 3)  # 3: YCbCr has rounded values
    assert difference.mean() < 1


def test_jpeg_of_12_bits(tmp_path):
    """Whole and in a window from 1000 to 3000; the code keeps the means of blocks exactly."""
    blocks = np.array([[[0, 1000], [2000, 4095]], [[3000, 1500], [7, 4000]]])
    values = blocks.repeat(8, axis=1).repeat(8, axis=2)
    path = made.jpeg_of_12_bits(tmp_path / "a.dcm", blocks)
    np.testing.assert_array_equal(decoded(path), np.round(values / 4095 * 255))
    window = {"WindowCenter": 2000, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"}
    path = made.jpeg_of_12_bits(tmp_path / "b.dcm", blocks, **window)
    seen = {0: 0, 1000: 0, 2000: 128, 4095: 255, 3000: 255, 1500: 64, 7: 0, 4000: 255}
    expected = [[[seen[int(grey)] for grey in row] for row in one] for one in blocks]
    np.testing.assert_array_equal(decoded(path)[:, ::8, ::8], expected)


@pytest.mark.parametrize(
    ("codec", "container", "syntax"),
    [
        ("mpeg2video", "mpegts", uid.MPEG2MPML),
        ("libx264", "mp4", uid.MPEG4HP41),
        ("libx264", "h264", uid.MPEG4HP41F),
        ("libx265", "mp4", uid.HEVCMP51),
    ],
)
def test_video_streams(tmp_path, codec, container, syntax):
    pictures = made.colours(frames=12)
    content = made.stream(codec, container, pictures)
    path = made.video(tmp_path / "a.dcm", content, pictures, syntax)
    with av.open(io.BytesIO(content)) as opened:
        expected = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    assert len(expected) == 12
    np.testing.assert_array_equal(decoded(path), expected)


def test_ybr_without_compression(tmp_path):
    red = np.zeros((2, *made.SIZE, 3), np.uint8)
    red[...] = (76, 85, 255)  # Y, Cb, Cr of pure red
    path = made.native(tmp_path / "a.dcm", red, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_allclose(decoded(path), np.broadcast_to((254, 0, 0), red.shape), atol=2)


def test_a_palette(tmp_path):
    indices = (made.greys() // 64).astype(np.uint8)
    palette = {}
    for number, name in enumerate(("Red", "Green", "Blue")):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, 16]
        entries = np.array([0, 10, 20, 30 + number], np.uint16) << 8
        palette[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    path = made.native(
        tmp_path / "a.dcm", indices, PhotometricInterpretation="PALETTE COLOR", **palette
    )
    table = np.array([(0, 0, 0), (10, 10, 10), (20, 20, 20), (30, 31, 32)], np.uint8)
    np.testing.assert_array_equal(decoded(path), table[indices])


def test_grey_that_is_inverted(tmp_path):
    path = made.native(tmp_path / "a.dcm", made.greys(), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(decoded(path), 255 - made.greys())


def test_sixteen_bits_are_spread_over_the_cine(tmp_path):
    values = made.greys().astype(np.uint16) * 10 + 1000
    low, high = values.min(), values.max()
    expected = np.round((values - low) / (high - low) * 255)
    np.testing.assert_array_equal(decoded(made.native(tmp_path / "a.dcm", values)), expected)


def test_a_window_is_of_measured_values(tmp_path):
    values = made.greys().astype(np.uint16) * 10
    changes = {"RescaleSlope": "2", "RescaleIntercept": "-100"}
    window = {"WindowCenter": "1000", "WindowWidth": "1001"}
    path = made.native(tmp_path / "a.dcm", values, **changes, **window)
    measured = 2.0 * values - 100
    expected = np.round(np.clip((measured - 999.5) / 1000 + 0.5, 0, 1) * 255)
    np.testing.assert_array_equal(decoded(path), expected)


@pytest.mark.parametrize(("kind", "applied"), [("12.1", False), ("12.2", False), ("7.2", True)])
def test_the_table_of_an_angiogram_is_not_for_display(tmp_path, kind, applied):
    """It doubles what is stored; the window is of what is stored, but for secondary capture."""
    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.ModalityLUTType = "US"
    table.LUTData = (np.arange(256, dtype="<u2") * 2).tobytes()
    table["LUTData"].VR = "OW"
    window = {"WindowCenter": 128, "WindowWidth": 256, "VOILUTFunction": "LINEAR_EXACT"}
    path = made.native(
        tmp_path / "a.dcm", made.greys(), SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{kind}",
        ModalityLUTSequence=[table], **window,
    )  # fmt: skip
    measured = made.greys() * (2.0 if applied else 1.0)
    expected = np.round(np.clip(measured / 256, 0, 1) * 255)
    np.testing.assert_array_equal(decoded(path), expected)


def test_an_overlay_in_the_unused_bits_is_no_grey(tmp_path):
    values = made.greys().astype(np.uint16) * 16
    drawn = values | (np.arange(values.size).reshape(values.shape) % 2 << 15).astype(np.uint16)
    bits = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    dataset = made.header(drawn, uid.ExplicitVRLittleEndian, **bits)
    for number, value in ((0x10, 48), (0x11, 64), (0x102, 15)):
        dataset.add_new(0x60000000 + number, "US", value)
    path = made.write(tmp_path / "a.dcm", dataset, drawn.tobytes())
    expected = decoded(made.native(tmp_path / "b.dcm", values, **bits))
    np.testing.assert_array_equal(decoded(path), expected)
    assert [read_cine(tmp_path / name).overlays for name in ("a.dcm", "b.dcm")] == [True, False]


def test_windows_are_those_of_the_standard():
    values = np.array([-1000.0, 0, 2047, 4095, 9000])
    linear = windowed(values, 2048, 4096)  # the example of C.11.2.1.2.1: c = 2048, w = 4096
    np.testing.assert_allclose(linear, [0, 0, 2047 / 4095, 1, 1], atol=1e-9)
    exact = windowed(np.array([0.0, 1024, 2048]), 2048, 4096, "LINEAR_EXACT")
    np.testing.assert_allclose(exact, [0, 0.25, 0.5])
    sigmoid = windowed(np.array([2048.0, 3072]), 2048, 4096, "SIGMOID")
    np.testing.assert_allclose(sigmoid, [0.5, 1 / (1 + np.exp(-1))])
    with pytest.raises(ValueError, match="width"):
        windowed(values, 10, 0)


def timed(**tags):
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return frame_seconds(dataset, 3)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"FrameTime": "20"}, (0.02,) * 3),
        ({"FrameTimeVector": ["0", "10", "30"]}, (0.01, 0.03, 0.02)),
        ({"FrameTime": "20", "FrameTimeVector": ["0", "10", "30"],
          "FrameIncrementPointer": 0x00181065}, (0.01, 0.03, 0.02)),
        ({"FrameTime": "20", "FrameTimeVector": ["0", "10", "30"],
          "FrameIncrementPointer": 0x00181063}, (0.02,) * 3),
        ({"FrameTimeVector": ["0", "10"], "CineRate": "25"}, (0.04,) * 3),
        ({"FrameTimeVector": ["0", "0", "0"], "CineRate": "25"}, (0.04,) * 3),
        ({"RecommendedDisplayFrameRate": "50"}, (0.02,) * 3),
        ({"FrameTime": "0"}, ()),
        ({}, ()),
    ],
)  # fmt: skip
def test_times(tags, expected):
    assert timed(**tags) == pytest.approx(expected)


# --- files of real machines and tools, which pydicom ships ---------------------------------------

SHIPPED = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))


def test_a_cine_of_an_ultrasound_machine():
    path = get_testdata_file("examples_ybr_color.dcm", download=False)
    assert isinstance(path, str)
    cine = read_cine(Path(path))
    assert isinstance(cine, Cine)
    assert (cine.modality, cine.frames, cine.size) == ("US", 30, (240, 320))
    assert cine.seconds == pytest.approx((0.033333,) * 30)
    expected = pixel_array(path)  # RGB, all at once
    np.testing.assert_array_equal(np.stack(list(cine_pictures(cine))), expected)


def test_shipped_files_are_cines_or_something_that_is_said():
    assert len(SHIPPED) > 50
    said = Counter()
    for path in SHIPPED:
        if is_dicom(path):
            try:
                found = read_cine(path)
            except VaclipError as error:
                found = str(error).partition(": ")[2]
            what = "a still picture" if isinstance(found, Still) else "a cine"
            said[found if isinstance(found, str) else what] += 1
    assert said["a cine"] == 4
    assert said["no cine (RTDOSE)"] > 2
    assert said["a still picture"] > 40
    known = {"a cine", "a still picture", "no picture", "a DICOMDIR"}
    assert said.keys() <= known | {"no cine (RTDOSE)", "no cine (SEG)"}


# --- damaged and hostile files ----------------------------------------------------------------


def test_a_cut_file_is_named(tmp_path):
    path = made.by_pydicom(tmp_path / "a.dcm", made.colours(), uid.RLELossless)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(VaclipError, match=r"a\.dcm: "):
        decoded(path)


def test_absurd_sizes_are_refused_unread(tmp_path):
    for changes in ({"NumberOfFrames": 2**31 - 1}, {"Rows": 65535, "Columns": 65535}):
        path = made.native(tmp_path / "a.dcm", made.colours(), **changes)
        with pytest.raises(VaclipError, match="too large to be true"):
            read_cine(path)


def test_a_deflated_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("vaclip.importers.videos.dicom_read._LARGEST_FILE", 1 << 20)
    quiet = np.zeros((40, 256, 256), np.uint8)
    path = made.native(tmp_path / "a.dcm", quiet, uid.DeflatedExplicitVRLittleEndian)
    assert path.stat().st_size < 100_000
    with pytest.raises(VaclipError, match="inflates to more than"):
        read_cine(path)


def test_decoding_ends_in_time(tmp_path):
    cine = read_cine(made.native(tmp_path / "a.dcm", made.colours()))
    with pytest.raises(VaclipError, match=r"a\.dcm: cannot be decoded: it takes longer than"):
        list(cine_pictures(cine, limit_s=0.001))


@pytest.mark.skipif(sys.platform == "win32", reason="memory cannot be limited there")
def test_decoding_has_bounded_memory(tmp_path):
    cine = read_cine(made.native(tmp_path / "a.dcm", np.zeros((2, 3000, 3000), np.uint8)))
    assert len(list(cine_pictures(cine))) == 2
    with pytest.raises(VaclipError, match=r"a\.dcm: cannot be decoded"):
        list(cine_pictures(cine, memory=300 << 20))


def test_what_is_no_cine_is_said(tmp_path):
    assert isinstance(read_cine(made.native(tmp_path / "a.dcm", made.colours(frames=1))), Still)
    dataset = made.header(made.colours(), uid.ExplicitVRLittleEndian, Rows=None)
    dataset.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    assert read_cine(tmp_path / "b.dcm") == "no picture"


def test_no_identifier_is_shown(tmp_path):
    cine = read_cine(made.native(tmp_path / "a.dcm", made.colours()))
    assert "4711" not in repr(cine)
    assert cine.uid not in repr(cine)
