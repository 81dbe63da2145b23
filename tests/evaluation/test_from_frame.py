"""Anybody's predictions, read by `Predictions.from_frame`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from report_tables import CLASSES, prediction_rows
from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.evaluation.embeddings import Embeddings
from vaclip.evaluation.predictions import Predictions

PROBS = {"ill": "p1", "well": "p0"}


def frame(patients=12, arms=("resnet", "resnet_gaze")):
    """One row a patient and arm, with no more than patient, label, arm and probabilities."""
    random = np.random.default_rng(0)
    rows = [
        {"pid": 100 + number, "dx": ("ill", "well")[number % 2], "model": arm, "p1": p}
        for arm in arms
        for number, p in enumerate(random.uniform(0, 1, patients))
    ]
    return pd.DataFrame(rows).assign(p0=lambda table: 1 - table.p1)


def read(table, **more):
    named = {"patient": "pid", "label": "dx", "arm": "model", "probs": PROBS}
    return Predictions.from_frame(table, **named | more)


def test_patient_label_arm_and_probabilities_are_enough():
    table = frame()
    mine = read(table)
    assert mine.jobs == {"resnet": {(0, 0)}, "resnet_gaze": {(0, 0)}}
    own = table[table.model == "resnet"]
    expected = balanced_accuracy_score(own.dx, np.where(own.p1 > 0.5, "ill", "well"))
    assert mine.score("resnet", n_resamples=2).scores["acc_macro"].mean == pytest.approx(expected)
    contrast = mine.compare("resnet_gaze", "resnet", n_resamples=2, n_permutations=99)
    assert contrast.patients == 12


def test_every_optional_column_is_read():
    table = prediction_rows([0, 1, 2, 0], segments=2)
    table["session"] = table.clip_id.str[-1].replace("1", "")
    table["site"] = np.where(table.patient_id == "p001", "north", "south")
    names = {keys.PRED_FOLD: "cv", keys.PRED_SEED: "run", keys.PRED_SPLIT: "part",
             keys.PRED_CLIP: "video", keys.PRED_SEGMENT: "window", keys.PRED_SIM: "cosine",
             keys.PRED_PATIENT: "pid", keys.PRED_LABEL: "dx", keys.PRED_ARM: "model",
             keys.PRED_SESSION: "visit", keys.PRED_SITE: "centre"}  # fmt: skip
    theirs = table.replace({"session": {"": None}}).rename(columns=names)
    mine = Predictions.from_frame(
        theirs.drop(columns=[keys.PRED_STUDY, keys.PRED_MAP_ID]),
        patient="pid", label="dx", arm="model", fold="cv", seed="run", split="part", clip="video",
        segment="window", similarity="cosine", session="visit", site="centre",
        probs={name: f"prob_{name}" for name in CLASSES},
    )  # fmt: skip
    one, other = Predictions.of(table), mine
    pd.testing.assert_frame_equal(other.clips, one.clips)
    assert other.sizes == one.sizes


def test_columns_in_vaclips_own_names_need_not_be_named():
    table = frame().assign(fold=lambda rows: rows.pid % 3)
    assert read(table).jobs["resnet"] == {(0, 0), (1, 0), (2, 0)}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t, {"patient": "pidd"}, r"no column 'pidd'. Did you mean 'pid'\?"),
        (lambda t: t.assign(dx=None), {}, "column 'dx', row 0: the cell is empty"),
        (lambda t: t.assign(dx="odd"), {}, "labels .'odd'. have no column"),
        (lambda t: t.assign(p1="high"), {}, "column 'p1': expected numbers"),
        (lambda t: t.assign(p1=0.9), {}, "probabilities of .* rows are none"),
        (lambda t: t.assign(cv=0.5), {"fold": "cv"}, "column 'cv': expected whole numbers"),
        (lambda t: pd.concat([t, t]), {}, "24 segments are predicted twice"),
        (lambda t: t, {"probs": {"ill": "p1"}}, "1 columns prob_CLASS"),
        (lambda t: t.iloc[:0], {}, "nothing to judge"),
    ],
)
def test_what_is_wrong_is_named(change, options, message):
    with pytest.raises(VaclipError, match=message):
        read(change(frame()), **options)


def test_a_frame_is_shown_short_and_in_a_notebook():
    mine = read(frame(), study="<ward>")
    assert repr(mine) == ("Predictions('<ward>': 2 arms, 2 classes, 12 patients, 1 seed, 1 fold)")
    assert "&lt;ward&gt;" in mine._repr_html_()


@given(st.permutations(range(24)))
def test_the_order_of_rows_says_nothing(order):
    table = frame()
    pd.testing.assert_frame_equal(read(table.iloc[order]).clips, read(table).clips)


def test_what_was_saved_is_read_again(tmp_path):
    table = prediction_rows([0, 1, 2], arms=["B3"], seeds=1, folds=1)
    rows = len(table[table.split == "test"])
    random = np.random.default_rng(0)
    given = Embeddings(*random.normal(size=(2, rows, 4)).astype(np.float32))
    Predictions.of(table, embeddings={("B3", 0, 0): given}).save(tmp_path)
    again = Predictions.load(str(tmp_path))
    pd.testing.assert_frame_equal(again.frame, Predictions.of(table).frame)
    for side in ("video", "attn"):
        np.testing.assert_array_equal(
            getattr(again.embeddings["B3", 0, 0], side), getattr(given, side)
        )


def test_embeddings_of_another_table_are_refused():
    table = prediction_rows([0, 1, 2], arms=["B3"], seeds=1, folds=1)
    few = Embeddings(np.ones((1, 4)), np.ones((1, 4)))
    with pytest.raises(VaclipError, match="1 embeddings for 12 segments"):
        Predictions.of(table, embeddings={("B3", 0, 0): few}).model_clips("B3", 0, 0)


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(VaclipError, match="no predictions of arm 'B3' in fold 7 with seed 0"):
        Predictions.of(prediction_rows([0, 1, 2])).model_clips("B3", 7, 0)


def test_a_clips_similarity_is_that_of_its_mean_embeddings():
    table = prediction_rows([0, 1, 2], arms=["B3"], seeds=1, folds=1, clips=1, segments=2)
    test = table[table.split == "test"]
    random = np.random.default_rng(0)
    video, attn = random.normal(size=(2, len(test), 4))
    clips = Predictions.of(table, embeddings={("B3", 0, 0): Embeddings(video, attn)}).clips
    for number, clip in enumerate(sorted(set(test.clip_id))):
        rows = np.flatnonzero(test.clip_id == clip)
        one, other = video[rows].mean(axis=0), attn[rows].mean(axis=0)
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert clips.align_sim[number] == pytest.approx(cosine)
    alone = Predictions.of(table).clips.align_sim
    assert alone.to_list() == pytest.approx(test.groupby("clip_id").align_sim.mean().to_list())
