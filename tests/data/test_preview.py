from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaclip.data.preview import draw_preview, spread_over_classes
from vaclip.data.study import Clip, Study
from vaclip.errors import VaclipError


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


def test_study_that_nobody_marked(tiny_study, tmp_path):
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
