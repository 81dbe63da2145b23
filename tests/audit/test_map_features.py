"""Leaks of drawn maps: closed forms, a planted leak that region marks do not show, and nulls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from composed import make_config
from conftest import read_rows, write_rows
from vaclip.audit.findings import ANNOTATIONS, MAPS, study_findings
from vaclip.audit.map_features import MAP, SAMPLES, map_features
from vaclip.audit.shortcuts import TOGETHER, one_hot, patient_scores
from vaclip.runs.prepare import open_study, prepare_study

SIDE = 16


def stored(folder, *pictures, name="map"):
    """Writes a map of one channel, as the cache has it."""
    path = folder / f"{name}.npy"
    np.save(path, np.stack(pictures)[None].astype(np.uint8))
    return path


def box(left, top, width=4, height=4, value=255):
    picture = np.zeros((SIDE, SIDE))
    picture[top : top + height, left : left + width] = value
    return picture


def test_numbers_of_a_box(tmp_path):
    path = stored(tmp_path, box(2, 8), box(2, 8), np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE)))
    first, nothing = map_features([path, None], [3, 0]).to_dict("records")
    assert first == {
        "map presence": 0.5,
        "map mass": pytest.approx(16 / 256),
        "map area": pytest.approx(16 / 256),
        "map spots": 1,
        "map centre across": pytest.approx((2 + 3 + 4 + 5) / 4 / SIDE),
        "map centre down": pytest.approx((8 + 9 + 10 + 11) / 4 / SIDE),
        "map entropy": pytest.approx(np.log(16)),
        "map annotations": 3,
    }
    assert (nothing["map presence"], nothing["map annotations"]) == (0, 0)
    assert np.isnan(nothing["map area"])


def test_spots_and_brightness(tmp_path):
    two = stored(tmp_path, box(0, 0, 2, 2, 100) + box(8, 8, 2, 2, 60), name="two")
    faint = stored(tmp_path, box(0, 0, 2, 2, 100) + box(8, 8, 2, 2, 40), name="faint")
    table = map_features([two, faint], [1, 1])
    assert table["map spots"].tolist() == [2, 1]
    assert table["map mass"].tolist() == pytest.approx([640 / 255 / 256, 560 / 255 / 256])


def test_no_clip_has_a_map():
    table = map_features([None, None], [0, 0])
    assert table.to_dict("list") == {"map annotations": [0, 0]}


def test_long_clips_are_looked_at_here_and_there(tmp_path):
    pictures = [box(0, 0)] * (4 * SAMPLES)
    pictures[1] = box(12, 12)  # between two samples that are looked at
    assert map_features([stored(tmp_path, *pictures)], [1])["map centre across"].tolist() == [
        pytest.approx(1.5 / SIDE)
    ]


def drawn_study(root, shift):
    """Replaces what a tiny study is annotated with by drawn boxes, moved by ``shift(label)``."""
    random = np.random.default_rng(0)
    rows = []
    for n, row in enumerate(read_rows(root / "clips.csv")):
        left, top = int(random.integers(4, 8)) + shift(row["label"]), int(random.integers(0, 12))
        np.save(root / f"map_{n}.npy", box(left, top, value=random.uniform(0.5, 1)))
        rows.append(
            {"clip_id": row["clip_id"], "annotator": "ann", "kind": "map", "value": f"map_{n}.npy"}
        )
    write_rows(root / "attention.csv", rows)


def findings_of(root, cache):
    where = ("data=folder", f"data.root={root}", f"data.cache_dir={cache}", "data.size=[32,32]")
    config = make_config(cache.parent / "runs", *where)
    prepared = prepare_study(config.data, open_study(config.data), workers=1)
    found, shortcuts = study_findings(config.data, prepared, 5)
    return [one for one in found if one.subject in (MAPS, ANNOTATIONS)], shortcuts


def test_a_leak_that_only_the_drawings_have_is_found(tiny_study, tmp_path):
    root = tiny_study(8)
    drawn_study(root, lambda label: {"steady": -4, "limping": 0, "shuffling": 4}[label])
    (found,), shortcuts = findings_of(root, tmp_path / "cache")
    scores = {score.feature: score for score in shortcuts.scores}
    # No two drawings are the same, so which annotation it is says nothing, and has no score.
    assert ANNOTATIONS not in scores
    assert scores["map centre across"].p_adjusted == 1 / 500
    assert scores["map centre across"].score > 0.6
    assert scores["map centre down"].p_adjusted > 0.05
    assert MAP + TOGETHER in scores
    assert (found.severity, found.subject) == ("note", MAPS)
    assert "map centre across" in found.what
    assert "map centre down" not in found.what


def test_drawings_that_say_nothing_are_no_finding(tiny_study, tmp_path):
    root = tiny_study(6)
    drawn_study(root, lambda label: 0)
    found, shortcuts = findings_of(root, tmp_path / "cache")
    assert found == []
    assert any(score.feature.startswith(MAP) for score in shortcuts.scores)


def test_chance_is_seldom_found(tmp_path):
    patients = [f"p{n}" for n in range(30)]
    labels = ["ill", "well"] * 15
    found = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        draws = random.integers(1, 12, (len(patients), 4))
        paths = [stored(tmp_path, box(*draw), name=f"{n}") for n, draw in enumerate(draws)]
        table: pd.DataFrame = map_features(paths, random.integers(1, 4, len(patients)).tolist())
        designs = {str(name): one_hot(table[name]) for name in table}
        scores = patient_scores(designs, patients, labels, permutations=99, seed=seed)
        found += any(s.p_adjusted <= 0.05 for s in scores if s.feature != TOGETHER)
    assert found <= 4  # of 20 at 5 % more have a chance of 0.3 %
