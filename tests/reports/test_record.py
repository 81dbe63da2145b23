from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pandas as pd
import pytest

from study_folder import write_study
from vaclip.evaluation.data_card import DataCard, JointAgreement, Reader
from vaclip.reports import record
from vaclip.reports.gather import read_folder
from vaclip.reports.pseudonyms import pseudonyms
from vaclip.reports.typeset import NONE


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    skip = tuple(("B3", fold, seed) for fold in range(3) for seed in range(2))
    return read_folder(write_study(folder, reason="anna_03's video is empty", skip=skip[:5]))


def test_classes_add_up(study):
    rows = record.class_table(study.data_card).rows
    assert rows[-1] == ("All", "12", "24")
    assert sum(int(row[1]) for row in rows[:-1]) == 12


def test_holes_are_listed_by_fold_and_seed_and_tell_why_only_on_request(study):
    (row,) = record.holes_table(study, reasons=False).rows
    assert row == ("B3", "failed", "5", "0/0, 1/0, 2/0, 0/1, 1/1", "see jobs.csv")
    (row,) = record.holes_table(study, reasons=True).rows
    assert row[-1] == "anna_03's video is empty"


def test_a_long_list_of_holes_is_cut(study):
    many = study.jobs.assign(state="missing", reason=None, arm="B0").iloc[:20]
    cut = type(study)(**{**vars(study), "jobs": many})
    (row,) = record.holes_table(cut, reasons=False).rows
    assert row[3].endswith("and 8 more")
    assert row[4] == NONE


def test_no_holes_no_table(study):
    whole = type(study)(**{**vars(study), "jobs": study.jobs[study.jobs.state == "done"]})
    assert record.holes_table(whole, reasons=True) is None


def test_what_was_chosen_is_counted_by_arm():
    trials = pd.DataFrame(
        [("B0", f, n, lr, None, 64, n == best) for f, best in enumerate((1, 0, 1))
         for n, lr in enumerate((1e-3, 3e-4))]
        + [("B3", 0, n, 1e-3, 16, None, n == 0) for n in range(2)],
        columns=["arm", "fold", "trial", "optim.lr", "model.backbone_width", "features.width",
                 "chosen"],
    )  # fmt: skip
    assert record.tuning_note(trials, "B0") == (
        "Chosen on validation, from 2 trials a model: optim.lr 0.0003 (2), 0.001 (1); "
        "features.width 64 (3)."
    )
    assert record.tuning_note(trials, "B3").endswith("model.backbone_width 16 (1).")
    assert record.tuning_note(trials, "B1") == record.tuning_note(None, "B0") == ""


def test_an_excluded_clip_is_named_as_asked(study):
    lost = [clip.clip_id for clip in study.data_card.excluded]
    hidden = record.excluded_table(study.data_card, pseudonyms(study.clips, lost, seed=0))
    assert hidden.rows == (("X01", "…'s video is empty"),)
    shown = record.excluded_table(study.data_card, pseudonyms(study.clips, lost, seed=0, real=True))
    assert shown.rows == (("anna_00-lost", "anna_03's video is empty"),)


def test_a_finding_names_patients_and_clips_as_asked(study):
    (row,) = record.findings_table(study.data_card, pseudonyms(study.clips, seed=0)).rows
    assert row[:4] == ("duplicates", "warning", "2 patients have one file", "look at it")
    assert re.fullmatch(r"P\d\d, P\d\d, unnamed clip", row[4])
    (row,) = record.findings_table(study.data_card, pseudonyms(study.clips, seed=0, real=True)).rows
    assert row[4] == "anna_00, anna_01, anna_00-lost"


def test_a_finding_about_nobody_has_a_dash_and_no_finding_no_table(study):
    (found,) = study.data_card.findings
    names = pseudonyms(study.clips, seed=0)
    nobody = replace(found, clips=(), patients=())
    (row,) = record.findings_table(replace(study.data_card, findings=(nobody,)), names).rows
    assert row[4] == NONE
    assert record.findings_table(replace(study.data_card, findings=()), names) is None


def test_all_annotators_have_a_row_where_there_are_three(study):
    card = replace(study.data_card, joint_agreement=JointAgreement(7, 0.25))
    assert record.agreement_table(card).rows[1:] == (
        ("All of them", "7", NONE, "0.250", NONE, NONE, NONE, NONE),
    )


def test_undefined_agreement_is_a_dash(study):
    (row,) = record.agreement_table(study.data_card).rows
    assert row == (
        "md1 and md2", "20", "0.800", NONE, "0.710 ± 0.120", NONE, "0.550 ± 0.100", NONE
    )  # fmt: skip


def test_agreement_stands_beside_its_chance_level(study):
    (pair,) = study.data_card.agreement
    known = replace(pair, kappa=0.5, cc_chance=0.68, sim_chance=0.5)
    table = record.agreement_table(replace(study.data_card, agreement=(known,)))
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert (row["Kappa"], row["CC by chance"], row["SIM by chance"]) == ("0.500", "0.680", "0.500")


def test_facts_name_the_length_of_clips(study):
    facts = dict(record.card_facts(study.data_card))
    assert facts["Length of a clip"] == "2.0 to 6.0 s, median 3.5 s"
    assert facts["Clips excluded"] == "1"
    assert facts["Annotators blinded to the diagnosis"] == "unknown"


def test_what_the_annotators_said_stands_with_its_interval(study):
    (pair,) = study.data_card.agreement
    again = replace(pair, clips=6, kappa=0.5, cc_mean=0.8, cc_sd=0.1, cc_chance=0.4, sim_chance=0.3)
    reader = Reader("anna", 60, 41.6, again, 30, 0.75, 0.6, 0.86)
    card = replace(study.data_card, readers=(reader,))
    (row,) = record.reader_table(card).rows
    assert row[:6] == ("anna", "60", "42", "6", "0.800 ± 0.100", "0.400")
    assert row[-2:] == ("30", "0.750 (0.600 to 0.860)")
    unasked = replace(reader, patients=0, accuracy=math.nan, low=math.nan, high=math.nan)
    (row,) = record.reader_table(replace(card, readers=(unasked,))).rows
    assert row[-1] == NONE
    assert record.reader_table(study.data_card) is None
    assert DataCard.from_json(json.loads(json.dumps(card.to_json()))).readers == (reader,)
