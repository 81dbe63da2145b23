"""Sessions and sites, from clips.csv to the prediction table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from composed import make_config
from conftest import read_rows, write_rows
from vaclip import keys
from vaclip.metrics.modules import INFORMATION, PROBS
from vaclip.runs.prepare import open_study, prepare_fold, prepare_study, split_plan
from vaclip.runs.results import fold_predictions


@pytest.fixture
def fold(tiny_study, tmp_path):
    """Settings, study, test segments; each patient has two sessions of two clips."""
    root = tiny_study(3, clips_per_patient=4)
    rows = [
        row | {"session": "ab"[int(row["clip_id"][-1]) // 2], "site": row["clip_id"][-3]}
        for row in read_rows(root / "clips.csv")
    ]
    write_rows(root / "clips.csv", rows)
    where = ("data=folder", f"data.root={root}", f"data.cache_dir={tmp_path / 'cache'}")
    config = make_config(tmp_path / "runs", *where, "split.folds=3")
    prepared = prepare_study(config.data, open_study(config.data), workers=1)
    plan = split_plan(config, prepared.study)
    return config, prepared.study, prepare_fold(config, prepared, plan.folds[0])["test"]


def test_clips_of_a_session_share_a_number(fold):
    _, study, segments = fold
    number = {}
    for segment in segments:
        clip = study.clips[segment[keys.CLIP_ROW]]
        assert number.setdefault(int(segment[keys.SESSION]), clip.visit) == clip.visit
    assert sorted(number.values()) == [
        (patient, session)
        for patient in sorted({item.cached.clip.patient_id for item in segments.items})
        for session in "ab"
    ]


def test_the_prediction_table_names_sessions_and_sites(fold):
    config, study, segments = fold
    datasets = {"test": segments}
    batches = [*segments]
    n = len(batches)
    table = {
        name: np.array([int(batch[name]) for batch in batches])
        for name in (keys.CLIP_ROW, keys.SEGMENT, keys.MAP_ID, keys.ATTN_VALID)
    }
    table[keys.ATTN_VALID] = table[keys.ATTN_VALID] > 0
    table |= {keys.VIDEO_EMBED: np.ones((n, 2)), keys.ATTN_EMBED: np.ones((n, 2))}
    table[PROBS] = np.full((n, 3), 1 / 3)
    table[INFORMATION] = np.full(n, np.nan)
    frame = fold_predictions({"test": table}, datasets, config, study, 0).frame
    for row in frame.itertuples():
        clip = next(clip for clip in study.clips if clip.clip_id == row.clip_id)
        assert (row.session, row.site) == (clip.session, clip.site) != ("", "")
    cases = fold_predictions({"test": table}, datasets, config, study, 0).cases(config.arm)
    assert (cases.patients, len(cases.label)) == (3, 6)


def test_a_split_by_site_tests_a_site(fold):
    config, study, _ = fold
    by_site = replace(config, split=replace(config.split, by="site", folds=3))
    plan = split_plan(by_site, study)
    site = {clip.patient_id: clip.site for clip in study.clips}
    assert [{site[p] for p in one["test"]} for one in plan.folds] == [{"0"}, {"1"}, {"2"}]
