from __future__ import annotations

import csv
import dataclasses
import io
import math

import numpy as np
import pytest
from PIL import Image

from study_folder import CLASSES, judged, write_study
from vaclip.evaluation.clinical import NOTHING, RISKS
from vaclip.reports.abstention import abstention_table
from vaclip.reports.clinical import CLINICAL_FIGURES, clinical_tables
from vaclip.reports.drawing import draw_figures
from vaclip.reports.gather import read_folder
from vaclip.reports.tables import metrics_csv
from vaclip.reports.typeset import NONE, interval_text, markdown, number

FAST = {"n_resamples": 20, "n_permutations": 49}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = write_study(tmp_path_factory.mktemp("s"), arms=("K_shuffled", "B3", "B0"),
                         variants=False)  # fmt: skip
    study = read_folder(folder)
    return study, judged(study, prevalences=(0.1,), **FAST)


@pytest.fixture(scope="module")
def tables(found):
    return clinical_tables(found[1])


def test_baseline_and_method_come_first_and_others_stand_apart(found, tables):
    assert found[1].shown == ("B0", "B3")
    for name in ("operating_points", "predictive_values", "recalibration"):
        arms = [row[:2] for row in tables[name].rows]
        assert arms == [(arm, label) for arm in ("B0", "B3") for label in CLASSES]
        assert {row[0] for row in tables[f"{name}_others"].rows} == {"K_shuffled"}
    assert [row[0] for row in tables["cuts"].rows] == ["B0", "B3", "K_shuffled"]


def test_every_table_is_whole_and_says_neither_nan_nor_an_id(tables):
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows), table.name
    text = markdown(list(tables.values()))
    assert "nan" not in text
    assert "anna" not in text


def shown(one, *, sign=False):
    return f"{number(one.value, sign=sign)}\n{interval_text(one.interval, sign=sign)}"


def test_cells_are_what_evaluation_found(found, tables):
    use = found[1].clinical["B3"]
    assert tables["cuts"].rows[1][2:] == (shown(use.balanced), "6 of 6")
    hip = use.classes["hip"]
    row = next(row for row in tables["operating_points"].rows if row[:2] == ("B3", "hip"))
    assert row[3] == shown(hip.greatest.specificity)
    assert row[4] == shown(hip.validated.sensitivity)
    low, high = hip.thresholds
    assert row[6:] == (f"{low:.2f} to {high:.2f}", "6 of 6")
    row = next(row for row in tables["recalibration"].rows if row[:2] == ("B3", "hip"))
    assert row[2] == shown(hip.intercept, sign=True)
    table = tables["predictive_values"]
    assert table.columns[2:] == ("Share here", "PPV", "NPV", "PPV at 0.1", "NPV at 0.1")
    row = next(row for row in table.rows if row[:2] == ("B3", "hip"))
    assert row[2] == "0.33"
    assert row[6] == shown(hip.predictive[1].negative)
    assert "assume that sensitivity and specificity carry over" in table.caption


def test_net_benefit_stands_beside_treating_all(found, tables):
    rows = [row for row in tables["net_benefit"].rows if row[1] == "knee"]
    assert [row[0] for row in rows] == ["B0", "B3", "B3 over B0", "treat all"]
    use = found[1].clinical["B3"].classes["knee"]
    assert rows[1][2:] == tuple(shown(at, sign=True) for at in use.benefit.at)
    assert rows[2][2:] == tuple(shown(at, sign=True) for at in found[1].benefit_gains["knee"])
    everybody = [1 / 3 - 2 / 3 * risk / (1 - risk) for risk in RISKS]
    assert rows[3][2:] == tuple(number(value, sign=True) for value in everybody)


def test_the_undefined_is_a_dash(found):
    results = found[1]
    use = results.clinical["B3"]
    hip = dataclasses.replace(use.classes["hip"], slope=NOTHING, thresholds=(math.nan, math.nan))
    changed = dataclasses.replace(use, classes=use.classes | {"hip": hip})
    bare = dataclasses.replace(results, clinical=results.clinical | {"B3": changed})
    tables = clinical_tables(bare)
    row = next(row for row in tables["recalibration"].rows if row[:2] == ("B3", "hip"))
    assert row[-1] == NONE
    row = next(row for row in tables["operating_points"].rows if row[:2] == ("B3", "hip"))
    assert row[6] == NONE


def test_metrics_csv_has_both_intervals(found):
    rows = list(csv.DictReader(io.StringIO(metrics_csv(found[1]))))
    one = found[1].clinical["B3"].classes["hip"].greatest.sensitivity
    (row,) = (r for r in rows if r["arm"] == "B3" and r["metric"] == "sensitivity of hip")
    values = [float(row[name]) for name in ("mean", "low", "high", "trained_low", "trained_high")]
    assert values == pytest.approx(
        [one.value, one.interval.low, one.interval.high, one.trained.low, one.trained.high],
        rel=1e-5,
    )
    assert len(rows) == len({(row["arm"], row["unit"], row["metric"]) for row in rows})


def test_the_figures_are_drawn(found, tmp_path):
    drawn = draw_figures(*found, tmp_path, CLINICAL_FIGURES)
    assert set(drawn) == {"clinical_calibration", "decision", "risk_coverage"}
    for name in drawn:
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 0


def test_one_arm_has_its_section(tmp_path):
    study = read_folder(write_study(tmp_path / "s", arms=("B3",), variants=False, seeds=1))
    results = judged(study, **FAST)
    tables = clinical_tables(results)
    assert {row[0] for row in tables["net_benefit"].rows} == {"B3", "treat all"}
    assert "operating_points_others" not in tables
    assert set(draw_figures(study, results, tmp_path / "f", CLINICAL_FIGURES)) == {
        "clinical_calibration", "decision", "risk_coverage",
    }  # fmt: skip


def test_abstention_is_of_baseline_method_and_the_taught_arm(tmp_path):
    folder = write_study(tmp_path / "s", arms=("P2", "K_shuffled", "B3", "B0"), variants=False)
    results = judged(read_folder(folder), **FAST)
    rows = abstention_table(results).rows
    assert [row[0] for row in rows[::3]] == ["B0", "B3", "P2"]
    scores = results.clinical["P2"].abstention.scores
    assert list(scores) == ["confidence", "entropy", "agreement"]
    plain, _, agreement = rows[6:]
    own = scores["agreement"]
    assert agreement[3:6] == (shown(own.aurc), shown(own.gain, sign=True), own.verdict)
    assert agreement[6:] == (NONE, NONE)
    assert plain[4:6] == (NONE, NONE)
    assert plain[6:] == (f"{scores['confidence'].coverage:.2f}",
                         shown(scores["confidence"].answered))  # fmt: skip
    assert plain[2] == shown(results.clinical["P2"].abstention.risk)
    named = set(metrics_csv(results).splitlines()[1:])
    assert any("aurc by agreement less confidence" in line for line in named)
