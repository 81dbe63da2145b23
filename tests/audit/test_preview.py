from __future__ import annotations

import math
import warnings
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from annotation_files import write_shapes
from conftest import write_video
from vaclip import fonts
from vaclip.audit import preview
from vaclip.audit.preview import draw_preview, middle_moment, spread_over_classes
from vaclip.errors import VaclipError
from vaclip.maps.overlay import overlay
from vaclip.maps.shapes import Key, Shapes, Track
from vaclip.study.study import Clip, Study


def study_of(*rows):
    clips = tuple(Clip(f"c{n}", Path("v"), p, label) for n, (p, label) in enumerate(rows))
    return Study(Path(), "s", ("a", "b", "c"), {}, (), clips, {})


def ids(clips):
    return [clip.clip_id for clip in clips]


def test_classes_take_turns():
    study = study_of(*[(f"a{n}", "a") for n in range(4)], ("b0", "b"), ("b1", "b"), ("c0", "c"))
    chosen = spread_over_classes(study, 6)
    assert [clip.label for clip in chosen] == ["a", "b", "c", "a", "b", "a"]
    assert ids(chosen[:3]) == ["c0", "c4", "c6"]


def test_patients_that_were_not_shown_come_first():
    study = study_of(("x", "a"), ("x", "a"), ("y", "a"), ("z", "b"), ("z", "b"), ("w", "b"))
    assert ids(spread_over_classes(study, 4)) == ["c0", "c3", "c2", "c5"]
    assert sorted(ids(spread_over_classes(study, 99))) == [f"c{n}" for n in range(6)]


@pytest.mark.parametrize("count", [-1, 0, 1])
def test_at_least_one_clip_is_shown(count):
    assert len(spread_over_classes(study_of(("x", "a"), ("y", "b")), count)) == 1


def test_class_without_clips():
    chosen = spread_over_classes(study_of(("x", "c"), ("y", "a"), ("z", "c")), 3)
    assert Counter(clip.label for clip in chosen) == {"c": 2, "a": 1}


@pytest.mark.parametrize("clips", [1, 3])
def test_draws_a_png(tiny_study, tmp_path, clips):
    out = tmp_path / "new folder/preview.png"
    draw_preview(tiny_study(patients_per_class=2), out, clips=clips)
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        width, height = picture.size
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert width == pytest.approx(242 * clips, abs=2)  # a column is 2.2 inches of 110 dots
    assert height == pytest.approx(110 * (2 * 2.4 + 0.3), abs=2)  # two annotators
    # Where maps lie over the pictures they are redder than green; the noise is grey.
    assert ((pixels[..., 0] - pixels[..., 1]) > 40).mean() > 0.01
    assert not list(out.parent.glob(".tmp-*"))


def test_study_that_nobody_annotated(tiny_study, tmp_path):
    root = tiny_study(patients_per_class=1)
    (root / "attention.csv").unlink()
    draw_preview(root, tmp_path / "p.png", clips=2)
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size[1] == pytest.approx(110 * 2.7, abs=2)


def test_other_suffix_is_refused(tiny_study, tmp_path):
    with pytest.raises(VaclipError, match=r"--out is .*p\.jpg; give a name that ends in \.png"):
        draw_preview(tiny_study(patients_per_class=1), tmp_path / "p.jpg")


def test_broken_video_is_named_and_leaves_no_file(tiny_study, tmp_path):
    root = tiny_study(patients_per_class=1)
    (root / "videos/steady-0-0.mkv").write_text("no video")
    with pytest.raises(VaclipError, match=r"steady-0-0\.mkv: cannot be decoded"):
        draw_preview(root, tmp_path / "p.png")
    assert not (tmp_path / "p.png").exists()


def test_draws_a_video(tiny_study, tmp_path):
    """Clips of 2 s at 10 pictures a second, beside each other the panels of two annotators."""
    out = tmp_path / "p.mp4"
    draw_preview(tiny_study(patients_per_class=1), out, clip_ids=["steady-0-0", "limping-0-0"])
    with av.open(str(out)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 2 * 20
    assert pictures[0].shape == (16 + 224, 2 * 224, 3)
    # bob annotated the trunk of the first clip, a box from 0.25 to 0.75 and from 0.25 to 0.625.
    panel = pictures[10][16:, 224:].astype(int)
    redness = panel[..., 0] - panel[..., 1]
    assert np.median(redness[63:133, 63:161]) > 40
    assert abs(np.median(redness[:40])) < 15
    assert not list(tmp_path.glob(".tmp-*"))


def test_chosen_clips_are_drawn_and_unknown_ones_named(tiny_study, tmp_path):
    root = tiny_study(patients_per_class=2)
    draw_preview(root, tmp_path / "p.png", clip_ids=["limping-1-0"])
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size[0] == pytest.approx(242, abs=2)
    with pytest.raises(VaclipError, match="the study has no clip limping"):
        draw_preview(root, tmp_path / "q.png", clip_ids=["limping"])


def test_an_overlay_is_the_picture_where_the_map_is_0_and_redder_where_it_is_1():
    picture = np.full((1, 2, 3), 100, np.uint8)
    attn = np.array([[0.0, 1.0]], np.float32)
    # By the formula: 0.55 * 100 + 0.45 * (255, 38, 0).
    assert overlay(picture, attn).tolist() == [[[100, 100, 100], [170, 72, 55]]]


def renamed(root, clip_id, name):
    """Gives a clip another id."""
    for table in ("clips.csv", "attention.csv"):
        text = (root / table).read_text()
        (root / table).write_text(text.replace(f"{clip_id},", f"{name},"))
    return name


@pytest.mark.parametrize("suffix", ["png", "mp4"])
def test_names_in_any_script_are_drawn_or_it_is_said(tiny_study, tmp_path, suffix, caplog):
    """A font of this machine has the Arabic name; none has the last; neither is mathematics."""
    root = tiny_study(patients_per_class=1)
    names = ("عرج", r"a$\frac$ {b}", "\U0010fffd")
    found = []
    for name, clip_id in zip(names, ("steady-0-0", "limping-0-0", "shuffling-0-0"), strict=True):
        draw_preview(root, tmp_path / f"p.{suffix}", clip_ids=[renamed(root, clip_id, name)])
        found.append([record.getMessage()[:16] for record in caplog.records])
        caplog.clear()
    assert found == [[], [], ["no font here has"]]


def test_titles_of_a_video_are_in_a_font_that_has_them(tiny_study, tmp_path, monkeypatch):
    root = tiny_study(patients_per_class=1)
    name = renamed(root, "steady-0-0", "عرج")
    titles = []
    for usual in (("STIXGeneral", "DejaVu Sans"), ("STIXGeneral",)):  # which lacks Arabic
        monkeypatch.setattr(fonts, "USUAL", usual)
        draw_preview(root, tmp_path / "p.mp4", clip_ids=[name])
        with av.open(str(tmp_path / "p.mp4")) as container:
            titles.append(next(container.decode(video=0)).to_ndarray(format="rgb24")[:16, :40])
    with warnings.catch_warnings(action="ignore"):
        boxes = preview._title("\ufffe\ufffe\ufffe")[:, :40].astype(int)
    for title in titles:
        assert (title > 128).any()
        assert np.abs(title - boxes).mean() > 5


@pytest.fixture
def single_frames(tmp_path):
    """A clip of 164 grey pictures, 25 a second, with boxes on frames 37 and 52."""
    root = tmp_path / "study"
    write_video(root / "v.mkv", np.full((164, 24, 32, 3), 90, np.uint8), fps=25)
    keys = [(Key(n, ((4, 4), (28, 20))), Key(n + 1, outside=True)) for n in (37, 52)]
    shapes = Shapes((24, 32), tuple(Track("lv", "box", own) for own in keys), frames=164)
    write_shapes(root / "s.json", shapes)
    (root / "study.yaml").write_text("name: s\nclasses: [ill, well]\n")
    (root / "clips.csv").write_text(
        "clip_id,video,patient_id,label\nc,v.mkv,p,ill\nd,v.mkv,q,well\n"
    )
    (root / "attention.csv").write_text(
        "clip_id,annotator,kind,value\nc,ann,shapes,s.json\nd,ann,shapes,s.json\n"
    )
    return root


def redder(pixels):
    return pixels[..., 0].astype(int) - pixels[..., 1] > 40


def test_a_sheet_shows_frames_that_are_annotated(single_frames, tmp_path):
    draw_preview(single_frames, tmp_path / "p.png", clips=1)
    with Image.open(tmp_path / "p.png") as picture:
        assert redder(np.asarray(picture.convert("RGB"))).mean() > 0.1


def test_a_video_shows_frames_that_are_annotated(single_frames, tmp_path):
    draw_preview(single_frames, tmp_path / "p.mp4", clips=1)
    with av.open(str(tmp_path / "p.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    red = [number for number, picture in enumerate(pictures) if redder(picture).mean() > 0.1]
    # Looked at 30 times a second, three of them to a picture.
    assert red == [math.ceil(frame / 25 * 30) // 3 for frame in (37, 52)]
    assert len(pictures) == 66  # 6.56 s at 10 pictures a second


def test_the_moment_nearest_to_the_middle_that_most_annotators_marked():
    shown = np.zeros((2, 9), bool)
    assert middle_moment(shown) == 4
    shown[0, [1, 7]] = True
    assert middle_moment(shown) in (1, 7)
    shown[1, 7] = True
    assert middle_moment(shown) == 7
    assert middle_moment(np.ones((2, 9), bool)) == 4
