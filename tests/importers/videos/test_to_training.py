"""Cines of every transfer syntax, and folders of pictures, from the archive to a prediction."""

from __future__ import annotations

import dicom_files as made
import numpy as np
import pandas as pd
import pytest
from drawings.test_import_cvat import document
from drawings.test_import_cvat_images import PICTURES_TASK, image
from drawings.test_import_cvat_images import box as box_row
from PIL import Image
from pydicom import uid

from conftest import read_rows, write_rows
from vaclip.audit.inspect import inspect_video
from vaclip.commands.main import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*words):
    try:
        main([str(word) for word in words])
    except SystemExit as stopped:
        if stopped.code:
            raise


def contrasts():
    """Pictures of two classes, which are told by how bright they are."""
    return made.colours(20) // 3, 255 - made.colours(20) // 3


def native(syntax):
    return lambda path, p, **tags: made.native(path, p, syntax, **tags)


def by_pydicom(syntax):
    return lambda path, p, **tags: made.by_pydicom(path, p, syntax, **tags)


def jpeg(syntax, codec, **options):
    return lambda path, p, **tags: made.by_ffmpeg(
        path, p, syntax, codec, "yuvj444p", options, PhotometricInterpretation="YBR_FULL", **tags
    )


def video(syntax, codec, container):
    return lambda path, p, **tags: made.video(
        path, made.stream(codec, container, p), p, syntax, **tags
    )


def jpeg_of_12_bits(path, pictures, **tags):
    whole = {"WindowCenter": 2048, "WindowWidth": 4096}
    made.jpeg_of_12_bits(path, pictures[:, ::8, ::8, 0].astype(int) * 16, **whole, **tags)


MAKERS = {
    "implicit": native(uid.ImplicitVRLittleEndian),
    "explicit": native(uid.ExplicitVRLittleEndian),
    "big": native(uid.ExplicitVRBigEndian),
    "deflated": native(uid.DeflatedExplicitVRLittleEndian),
    "rle": by_pydicom(uid.RLELossless),
    "jpeg": jpeg(uid.JPEGBaseline8Bit, "mjpeg", qmin="1", qmax="1"),
    "jpeg_12_bits": jpeg_of_12_bits,
    "jpeg_lossless": jpeg(uid.JPEGLosslessSV1, "ljpeg", pred="left"),
    "jpeg_ls": lambda path, p, **tags: made.by_ffmpeg(
        path, p, uid.JPEGLSLossless, "jpegls", "rgb24", PlanarConfiguration=0, **tags
    ),
    "jpeg_2000": by_pydicom(uid.JPEG2000Lossless),
    "htj2k": lambda path, p, **tags: made.htj2k(path, len(p), **tags),
    "mpeg_2": video(uid.MPEG2MPML, "mpeg2video", "mpegts"),
    "h264": video(uid.MPEG4HP41, "libx264", "mp4"),
    "h265": video(uid.HEVCMP51, "libx265", "mp4"),
}
FRAME_MS = {name: 40 + 10 * number for number, name in enumerate(MAKERS)}


def write_archive(folder):
    """Of each transfer syntax two cines of two patients."""
    for label, pictures in zip(("dark", "bright"), contrasts(), strict=True):
        for name, make in MAKERS.items():
            make(folder / label / f"{name}.dcm", pictures, PatientID=f"{label} {name}",
                 FrameTime=str(FRAME_MS[name]))  # fmt: skip


def test_from_an_archive_to_a_prediction(tmp_path, monkeypatch):
    monkeypatch.setenv("VACLIP_CACHE", str(tmp_path / "cache"))
    archive, study = tmp_path / "archive", tmp_path / "study"
    write_archive(archive)
    flags = ("--label-from-folder", "--patient-ids")
    run("data", "import", "dicom", archive, "--into", study, *flags)
    clips = read_rows(study / "clips.csv")
    assert len(clips) == len({row["patient_id"] for row in clips}) == 2 * len(MAKERS)
    regions = [{"clip_id": r["clip_id"], "annotator": "reader", "region": "middle"} for r in clips]
    write_rows(tmp_path / "regions.csv", regions)
    box = ("--region", "middle=0.25,0.25,0.75,0.75")
    run("data", "import", "regions", tmp_path / "regions.csv", "--into", study, *box)
    run("data", "check", study)
    for row in clips:
        facts = inspect_video(study / row["video"])
        frame_s = FRAME_MS[row["patient_id"].split()[1]] / 1000
        np.testing.assert_allclose(facts.times_s, np.arange(20) * frame_s, atol=1e-4)
    train_and_predict(study, tmp_path)


def test_from_pictures_and_a_cvat_task_of_them_to_a_prediction(tmp_path, monkeypatch):
    monkeypatch.setenv("VACLIP_CACHE", str(tmp_path / "cache"))
    rows, images = [], ""
    for label, pictures in zip(("dark", "bright"), contrasts(), strict=True):
        for number in range(8):
            folder = tmp_path / "in" / f"{label}{number}"
            folder.mkdir(parents=True)
            for n, picture in enumerate(pictures, start=1):
                Image.fromarray(picture).save(folder / f"{n}.png")
            rows.append({"video": folder.name, "patient_id": folder.name, "label": label})
            images += image(f"{folder.name}/3.png", box_row(10)) + image(f"{folder.name}/20.png")
    write_rows(tmp_path / "in" / "clips.csv", rows)
    (tmp_path / "annotations.xml").write_text(document(PICTURES_TASK, images))
    study = tmp_path / "study"
    clips = ("--clips", tmp_path / "in" / "clips.csv", "--fps", 20)
    xml = tmp_path / "annotations.xml"
    run("data", "import", "cvat", xml, "--into", study, *clips, "--hold", "foot")
    run("data", "check", study)
    facts = [inspect_video(study / row["video"]) for row in read_rows(study / "clips.csv")]
    assert {(one.frames, float(one.rate)) for one in facts} == {(20, 20.0)}
    train_and_predict(study, tmp_path)


def train_and_predict(study, tmp_path):
    run("data", "describe", study)
    run("data", "preview", study, "--out", tmp_path / "preview.png")
    small = ["data=folder", f"data.root={study}", "data.frames=4", "data.stride=4",
             "data.size=[32,32]", "trainer.max_epochs=8", "model.backbone_width=4",
             "trainer.accelerator=cpu", f"run_dir={tmp_path / 'run'}", "optim.lr=0.01"]  # fmt: skip
    run("train", "experiment=P2", *small)
    (checkpoint,) = (tmp_path / "run").rglob("best.ckpt")
    videos = sorted((study / "videos").iterdir())
    run("predict", "--checkpoint", checkpoint, *videos, "--out", tmp_path / "predicted")
    table = pd.read_csv(tmp_path / "predicted" / "predictions.csv")
    assert len(table) == len(videos) == len(read_rows(study / "clips.csv"))
