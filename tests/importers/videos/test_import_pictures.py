"""Folders, archives, TIFF and NIfTI files of pictures: every picture, in its order, at its rate."""

from __future__ import annotations

import json
import zipfile

import nibabel
import numpy as np
import pytest
from dicom_files import colours, greys
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import read_rows, write_rows
from vaclip.audit.check import check
from vaclip.audit.inspect import inspect_video
from vaclip.commands.main import main
from vaclip.data.video import timed_frames
from vaclip.errors import VaclipError
from vaclip.importers.videos.pictures import natural, picture_recording


def save(folder, pictures, suffix=".png", first=8):
    """Numbers without zeros in front, so that the order of letters is not that of time."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, start=first):
        Image.fromarray(picture).save(folder / f"frame_{number}{suffix}")
    return folder


def read(path, fps=10.0):
    return np.stack(list(picture_recording(path, fps).pictures()))


@pytest.mark.parametrize("pictures", [colours(), greys()], ids=["colour", "grey"])
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp"])
def test_a_folder(tmp_path, pictures, suffix):
    folder = save(tmp_path / "a", pictures, suffix)
    (folder / "notes.txt").write_text("no picture")
    (folder / "._frame_9.png").write_bytes(b"of a Mac")
    np.testing.assert_array_equal(read(folder), pictures)
    assert picture_recording(folder, 10).names[:3] == tuple(
        f"frame_{n}{suffix}" for n in (8, 9, 10)
    )


def test_jpeg(tmp_path):
    folder = save(tmp_path / "a", colours(), ".jpg")
    assert np.abs(read(folder).astype(int) - colours()).mean() < 2


def test_an_archive(tmp_path):
    folder = save(tmp_path / "a", colours())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"deep/{path.name}")
        archive.writestr("__MACOSX/deep/._frame_8.png", b"of a Mac")
    np.testing.assert_array_equal(read(tmp_path / "a.zip"), colours())


@pytest.mark.parametrize("pictures", [colours(), greys()], ids=["colour", "grey"])
def test_a_tiff_of_several_pages(tmp_path, pictures):
    first, *rest = (Image.fromarray(picture) for picture in pictures)
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pictures)


def test_sixteen_bits_are_spread_over_the_series(tmp_path):
    values = greys().astype(np.uint16) * 7 + 300
    folder = save(tmp_path / "a", values)
    expected = np.round((values - values.min()) / np.ptp(values) * 255)
    np.testing.assert_array_equal(read(folder), expected)


@pytest.mark.parametrize("shape", ["x y t", "x y 1 t"])
def test_nifti(tmp_path, shape):
    pictures = greys()
    volume = pictures.transpose(2, 1, 0)
    volume = volume[:, :, None] if shape == "x y 1 t" else volume
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "a.nii.gz"), pictures)


def test_a_phones_pictures_are_upright(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    tags = Image.Exif()
    tags[0x0112] = 6  # turn by 90 degrees, clockwise
    for number in range(2):
        Image.fromarray(colours()[number]).save(folder / f"{number}.png", exif=tags)
    np.testing.assert_array_equal(read(folder), np.rot90(colours()[:2], -1, axes=(1, 2)))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True), st.text(max_size=3))
def test_numbers_in_names_count(numbers, prefix):
    names = [f"{prefix}_{number}.png" for number in numbers]
    assert sorted(names, key=natural) == [f"{prefix}_{number}.png" for number in sorted(numbers)]


# --- what is no series -------------------------------------------------------------------------


def damage(path):
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda at: save(at / "a", []), "holds no file that ends in .png"),
        (lambda at: damage(save(at / "a", colours()) / "frame_9.png"), "frame_9.png cannot be"),
        (lambda at: Image.new("RGB", (9, 9)).save(save(at / "a", colours()) / "z.png"),
         "picture 6 is of another size or kind than the first"),
        (lambda at: Image.new("L", (64, 48)).save(save(at / "a", colours()) / "z.png"),
         "picture 6 is of another size or kind than the first"),
        (lambda at: save(save(at / "a", colours()) / "b", colours()), "lie in 2 folders"),
    ],
)  # fmt: skip
def test_what_is_no_series_is_said(tmp_path, make, said):
    make(tmp_path)
    with pytest.raises(VaclipError, match=said):
        read(tmp_path / "a")


def test_a_single_page_is_no_series(tmp_path):
    Image.fromarray(greys()[0]).save(tmp_path / "a.tif")
    with pytest.raises(VaclipError, match="is a single picture"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 7, 8), (5, 6, 1, 1)])
def test_a_volume_is_no_series(tmp_path, shape):
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(VaclipError, match="a clip is width x height x time"):
        read(tmp_path / "a.nii")


# --- from a table ------------------------------------------------------------------------------


def run(capsys, *words, status=0):
    with pytest.raises(SystemExit) as stopped:
        main(["data", "import", "table", *map(str, words)])
    out, err = capsys.readouterr()
    assert (stopped.value.code or 0) == status, err
    return " ".join((out + err).split())


@pytest.fixture
def table(tmp_path):
    save(tmp_path / "in" / "p1" / "walk.1", colours())
    first, *rest = (Image.fromarray(picture) for picture in greys())
    first.save(tmp_path / "in" / "p2.tiff", save_all=True, append_images=rest)
    rows = [
        {"video": "p1/walk.1", "patient_id": "p1", "label": "ill", "fps": "12,5"},
        {"video": "p2.tiff", "patient_id": "p2", "label": "well", "fps": ""},
    ]
    write_rows(tmp_path / "in" / "clips.csv", rows)
    return tmp_path / "in" / "clips.csv"


def test_clips_of_pictures_become_videos(table, tmp_path, capsys):
    study = tmp_path / "study"
    run(capsys, table, "--into", study, "--fps", 20)
    rows = read_rows(study / "clips.csv")
    assert [row["clip_id"] for row in rows] == ["p1/walk.1", "p2"]
    assert [row["video"] for row in rows] == ["videos/p1/walk.1.mp4", "videos/p2.mp4"]
    assert "fps" not in rows[0]
    facts = [inspect_video(study / row["video"]) for row in rows]
    assert [float(one.rate) for one in facts] == [12.5, 20]
    shown = [f.to_ndarray(format="rgb24") for f, _ in timed_frames(study / rows[0]["video"])]
    np.testing.assert_array_equal(shown, colours())
    called = json.loads((study / "pictures" / "p1" / "walk.1.mp4.json").read_text())
    assert called == [f"frame_{number}.png" for number in range(8, 13)]
    assert [p for p in check(study, workers=1).found if p.severity == "error"] == []
    before = {p: p.stat().st_mtime_ns for p in study.rglob("*")}
    run(capsys, table, "--into", study, "--fps", 20)
    assert {p: p.stat().st_mtime_ns for p in study.rglob("*")} == before


def test_a_rate_is_asked_for(table, tmp_path, capsys):
    said = run(capsys, table, "--into", tmp_path / "study", status=1)
    assert "'p2.tiff' is a series of pictures: say how many a second" in said


def test_an_id_that_the_table_gives_is_kept(table, tmp_path, capsys):
    rows = read_rows(table)
    write_rows(table, [row | {"clip_id": n} for row, n in zip(rows, ("p1/walk", "b"), strict=True)])
    run(capsys, table, "--into", tmp_path / "study", "--fps", 20)
    found = read_rows(tmp_path / "study" / "clips.csv")
    assert [row["clip_id"] for row in found] == ["p1/walk", "b"]
    assert [row["video"] for row in found] == ["videos/p1/walk.1.mp4", "videos/p2.mp4"]
