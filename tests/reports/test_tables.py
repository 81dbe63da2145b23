from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import pytest

from study_folder import judged, write_study
from vaclip.evaluation.compare import HEADLINE, Score
from vaclip.evaluation.data_card import Reader
from vaclip.evaluation.inference import UNDEFINED, Interval
from vaclip.evaluation.learning import Needed, Projection
from vaclip.evaluation.scores import METRICS
from vaclip.reports import outlook, tables
from vaclip.reports.gather import read_folder
from vaclip.reports.typeset import NONE, Table, interval_text, markdown, number

ARMS = ("B0", "B3", "C3_linear", "K_shuffled")


def made(folder, **kwargs):
    study = read_folder(write_study(folder, **kwargs))
    return study, judged(study, n_resamples=20, n_permutations=49)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return made(tmp_path_factory.mktemp("study"), arms=ARMS)


def everything(study, results) -> list[Table]:
    several = [
        tables.experiment_table(study, results), *tables.metric_tables(study, results),
        tables.calibration_table(study, results), *tables.contrast_tables(study, results).values(),
        tables.control_table(study, results), tables.confusion_table(study, results),
        *tables.retrieval_tables(study, results), tables.alignment_table(study, results),
        tables.curve_table(study, results), *tables.annotator_tables(study, results),
        *outlook.outlook_tables(results),
    ]  # fmt: skip
    return [table for table in several if table]


def column(table: Table, name: str) -> dict[str, str]:
    place = table.columns.index(name)
    return {row[0]: row[place] for row in table.rows}


def test_the_experiment_table_has_the_form_that_is_asked_for(found):
    table = tables.experiment_table(*found)
    assert table.columns == ("ID", "Method", "Key switches", "Loss", "Metrics", "Notes")
    assert tuple(row[0] for row in table.rows) == ARMS
    score = found[1].scores["patient"]["B3"].scores[HEADLINE]
    lines = column(table, "Metrics")["B3"].splitlines()
    assert lines[0] == f"{number(score.mean)} ± {number(score.sd)}"
    assert lines[1] == interval_text(score.interval)
    assert lines[-1] == "12 / 2 / 3"


def test_every_table_is_whole_and_says_neither_nan_nor_an_id(found):
    for table in everything(*found):
        assert all(len(row) == len(table.columns) for row in table.rows), table.name
    text = markdown(everything(*found))
    assert "nan" not in text
    assert "anna" not in text


def test_one_model_under_two_names_has_no_test(found):
    named = tables.contrast_tables(*found)["named"]
    row = next(row for row in named.rows if row[0].endswith("C3_linear"))
    assert row[1] == "0.000\nsame predictions"
    assert set(row[2:-1]) == {NONE}


def test_contrasts_show_the_numbers_of_the_family(found):
    rows = tables.contrast_tables(*found)["primary"]
    contrast = next(c for c in found[1].families["primary"] if c.second == "B0")
    row = next(row for row in rows.rows if row[0].startswith("B3"))
    assert row[1] == number(contrast.difference, sign=True)
    assert row[2] == interval_text(contrast.interval, sign=True)
    assert row[7] == "12 / 2 / 3"


def test_both_estimands_of_a_contrast_are_named(found):
    for table in tables.contrast_tables(*found).values():
        assert table.columns[2:6:3] == ("The training procedure", "These trained models")
        assert "the training procedure would reach on a cohort of this size" in table.caption
        assert "these trained models would reach on new patients" in table.caption
    contrast = replace(found[1].families["primary"][0], trained=Interval(0.125, 0.375))
    results = replace(found[1], families={"primary": [contrast]})
    (row,) = tables.contrast_tables(found[0], results)["primary"].rows
    assert row[2] == interval_text(contrast.interval, sign=True)
    assert row[5] == "+0.125 to +0.375"


def test_a_control_table_has_the_follow_the_map_rate(tmp_path, found):
    assert "Follow-the-map rate" not in column(tables.control_table(*found), "Question")
    study, results = made(tmp_path, arms=("B0", "B3", "K_swapped"), variants=False)
    table = tables.control_table(study, results)
    row = dict(zip(table.columns, table.rows[-1], strict=True))
    own = results.following
    assert row["Control"] == "Follow-the-map rate"
    assert "K_swapped, 48 clips of 12 patients" in row["Question"]
    assert row["Balanced accuracy"] == NONE
    assert row["B3 minus control"].splitlines() == [
        number(own.difference, sign=True),
        interval_text(own.interval, sign=True),
        f"rate {number(own.rate)}, base rate {number(own.base)}",
    ]


def test_what_more_patients_would_give_has_an_interval_or_a_reason(found):
    contrast = found[1].families["primary"][0]
    held = Projection(412.0, Interval(60.0, 5891.0))
    none = Projection(math.nan, UNDEFINED, "no learning curve of B3")
    open_ones = [Needed(contrast, 12, held, held), Needed(contrast, 12, held, none)]
    extrapolated, needed = outlook.outlook_tables(replace(found[1], needed=open_ones))
    assert [row[0] for row in extrapolated.rows] == ["B0", "B3"]
    for row in extrapolated.rows:
        assert all((cell == NONE or " to " in cell) for cell in row[1:-1])
        assert (NONE in row[1:-1]) == (row[-1] != NONE)
    ends = "410\n60 to 5,900"
    assert [row[2:] for row in needed.rows] == [
        ("12", ends, ends, NONE),
        ("12", ends, NONE, "no learning curve of B3"),
    ]
    assert outlook.needed_table(found[1]) is None  # nothing is undecided


def test_what_the_bedside_rests_on_has_a_table(tmp_path):
    arms = ("B0", "B3", "P1", "P2", "P_shuffled", "P_prior")
    table = tables.contrast_tables(*made(tmp_path, arms=arms, variants=False))["bedside"]
    assert table.caption.startswith("P2 against its controls, which the verdict asks for too: ")
    assert [row[0].split()[-1] for row in table.rows] == ["P_shuffled", "P_prior"]


def test_an_arm_without_alignment_is_left_out_of_retrieval(found):
    for table in tables.retrieval_tables(*found):
        assert {row[0] for row in table.rows} == set(ARMS) - {"B0"}


def test_confusion_counts_every_patient_once_a_seed(found):
    rows = tables.confusion_table(*found).rows
    counts = [int(cell) for row in rows if row[0] == "B3" for cell in row[2:]]
    assert sum(counts) == 12 * 2


def test_a_hole_is_told_and_its_arm_has_fewer_models(tmp_path):
    study, results = made(tmp_path, arms=("B0", "B3"), variants=False, skip=(("B3", 1, 0),))
    metrics = tables.metric_tables(study, results)[0]
    assert column(metrics, "Patients / seeds / folds")["B3"] == "12 / 2 / 3\n5 of 6 models"
    primary = tables.contrast_tables(study, results)["primary"]
    assert primary.rows[0][-1].endswith("5 of 6 pairs")


def test_an_arm_without_any_prediction_stays_in_the_table(tmp_path):
    skip = tuple(("B3", fold, seed) for fold in range(3) for seed in range(2))
    study, results = made(tmp_path, arms=("B0", "B3"), variants=False, skip=skip)
    table = tables.experiment_table(study, results)
    assert column(table, "Metrics")["B3"] == NONE
    assert "see the holes" in column(table, "Notes")["B3"]


def test_one_seed_has_no_spread(tmp_path):
    study, results = made(tmp_path, arms=("B3",), variants=False, seeds=1)
    assert not any(
        "±" in cell for row in tables.metric_tables(study, results)[0].rows for cell in row
    )


def test_metrics_csv_holds_every_score_and_leaves_the_undefined_empty(found):
    study, results = found
    rows = list(csv.DictReader(io.StringIO(tables.metrics_csv(results))))
    assert {row["metric"] for row in rows if row["arm"] == "B3"} >= set(METRICS)
    assert {row["arm"] for row in rows} == set(study.everything.jobs)
    for unit, arms in results.scores.items():
        for arm, scored in arms.items():
            (row,) = (r for r in rows if (r["arm"], r["unit"], r["metric"]) == (arm, unit, "brier"))
            assert float(row["mean"]) == pytest.approx(scored.scores["brier"].mean, rel=1e-5)
    ece = [row for row in rows if row["metric"] == "ece"]
    assert {row["low"] for row in ece} == {""}
    assert not any(value == "nan" for row in rows for value in row.values())
    assert all(math.isfinite(float(row["mean"])) for row in ece)


def test_a_single_model_shows_its_own_interval_named_so():
    score = Score({0: 0.7}, 0.7, math.nan, UNDEFINED, Interval(0.6, 0.8), UNDEFINED)
    assert tables.score_text(score) == f"0.700\n{NONE}\n(this model: 0.600 to 0.800)"
    whole = replace(score, interval=Interval(0.5, 0.9))
    assert tables.score_text(whole) == "0.700\n0.500 to 0.900"
    assert tables.score_text(replace(score, trained=UNDEFINED)) == "0.700"


def test_what_the_annotators_said_stands_below_the_arms(found):
    study, results = found
    (pair,) = study.data_card.agreement
    reader = Reader("anna", 60, 41.6, pair, 30, 0.75, 0.6, 0.86)
    unasked = replace(reader, annotator="ben", patients=0)
    card = replace(study.data_card, readers=(reader, unasked))
    patient, clip = tables.metric_tables(replace(study, data_card=card), results)
    row = patient.rows[-1]
    assert row[:2] == ("anna said", "0.750\n0.600 to 0.860")
    assert set(row[2:-1]) == {NONE}
    assert row[-1] == "30"
    assert [one[0] for one in patient.rows[:-1]] == [one[0] for one in clip.rows]
    assert "annotators" not in tables.metric_tables(study, results)[0].caption
