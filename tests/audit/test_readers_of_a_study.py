"""Annotators of `vaclip annotate` in the data card, against values worked out by hand."""

from __future__ import annotations

import json
import math

import pytest

from conftest import read_rows, write_rows, write_tiny_study
from vaclip.audit.readers import readers
from vaclip.data.cache import SampleSettings
from vaclip.errors import VaclipError
from vaclip.study.annotation_log import LOG_COLUMNS
from vaclip.study.load import load_study

SETTINGS = SampleSettings(10.0, (16, 16), ())


@pytest.fixture
def root(tmp_path):
    return write_tiny_study(tmp_path / "study", 2)


def logged(root, *rows):
    """Writes a log from (annotator, clip, showing, regions, seconds, diagnosis)."""
    columns = dict.fromkeys(LOG_COLUMNS, "")
    write_rows(root / "annotation_log.csv", [
        {**columns, "annotator": who, "number": n, "clip_id": clip, "showing": time,
         "annotations": json.dumps([["region", name] for name in regions]), "seconds": seconds,
         "diagnosis": said, "confidence": 4 if said else ""}
        for n, (who, clip, time, regions, seconds, said) in enumerate(rows)
    ])  # fmt: skip
    return [*readers(load_study(root), SETTINGS, root.parent / "cache")]


def test_a_study_without_a_log_has_no_readers(root):
    assert [*readers(load_study(root), SETTINGS, root.parent / "cache")] == []


def test_time_accuracy_and_agreement_with_themself(root):
    anna, ben = logged(
        root,
        ("anna", "steady-0-0", 1, ["trunk"], 10, "steady"),
        ("anna", "limping-0-0", 1, ["trunk"], 20, "steady"),
        ("anna", "shuffling-0-0", 1, ["ground"], 60, "shuffling"),
        ("anna", "steady-0-0", 2, ["trunk"], 1, "limping"),
        ("anna", "limping-0-0", 2, ["ground"], 1, "limping"),
        ("ben", "steady-1-0", 1, [], 5, ""),
    )
    assert (anna.annotator, anna.clips, anna.seconds) == ("anna", 3, 20)
    # The first time counts: right of steady and shuffling, wrong of limping.
    assert (anna.patients, anna.accuracy) == (3, pytest.approx(2 / 3))
    assert math.isnan(anna.low)  # one patient a class says nothing of others
    again = anna.again
    assert (again.clips, again.exact) == (2, 0.5)
    # The same box once, and once two that do not touch (of 256 pixels 48 and 64).
    apart = -((48 * 64) ** 0.5) / ((256 - 48) * (256 - 64)) ** 0.5
    assert again.cc_mean == pytest.approx((1 + apart) / 2, abs=1e-4)
    assert again.sim_mean == pytest.approx(0.5)
    # Of different patients, on all three clips: trunk and trunk, and four times trunk and ground.
    assert again.cc_chance == pytest.approx((2 + 4 * apart) / 6, abs=1e-4)
    assert again.sim_chance == pytest.approx(1 / 3)
    assert (ben.clips, ben.again.clips, ben.patients) == (1, 0, 0)
    assert math.isnan(ben.accuracy)


def test_clips_that_the_study_leaves_out_do_not_count(root):
    clip = read_rows(root / "clips.csv")[0]["clip_id"]
    write_rows(root / "excluded.csv", [{"clip_id": clip, "reason": "dark"}])
    assert logged(root, ("anna", clip, 1, ["trunk"], 10, "steady")) == []


def test_a_region_that_is_gone_is_told(root):
    with pytest.raises(VaclipError, match="nowhere"):
        logged(
            root,
            ("anna", "steady-0-0", 1, ["nowhere"], 1, ""),
            ("anna", "steady-0-0", 2, ["trunk"], 1, ""),
        )
