from __future__ import annotations

import pandas as pd
import pytest

from report_tables import prediction_rows
from study_folder import read_json, write_study
from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.files import write_json
from vaclip.reports.gather import read_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"))


def test_arms_stand_in_study_order_and_points_apart(folder):
    study = read_folder(folder)
    assert study.scored == ["B0", "B3", "C3_linear", "K_shuffled"]
    assert set(study.predictions.jobs) == set(study.scored)
    assert "B3@train_fraction=0.25" in study.everything.jobs


def test_switches_are_written_as_settings(folder):
    study = read_folder(folder)
    assert study.arms[0].switches == "model.map_guided=false\nmodel.map_guided_type=spatiotemporal"


def test_a_training_run_has_predictions_alone(tmp_path):
    prediction_rows([0, 1, 2], arms=["mine"]).to_parquet(tmp_path / keys.PREDICTIONS_FILE)
    study = read_folder(tmp_path)
    assert study.scored == ["mine"]
    assert (study.jobs, study.roles, study.data_card, study.gallery) == (None,) * 4


def test_clips_are_listed_by_patient(tmp_path):
    prediction_rows([0, 1, 2], clips=2).to_parquet(tmp_path / keys.PREDICTIONS_FILE)
    assert read_folder(tmp_path).clips["p001"] == ("p001c0", "p001c1")


def test_a_folder_without_predictions_says_what_to_give(tmp_path):
    with pytest.raises(VaclipError, match="give the folder that `vaclip study`"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (keys.PREDICTIONS_FILE, "no", "cannot be read as Parquet"),
        (keys.ARMS_FILE, "[", "cannot be read as JSON"),
        (keys.JOBS_FILE, "arm,fold\n", r"columns \['seed', 'state', 'reason'\] are missing"),
        (keys.JOBS_FILE, "", "cannot be read as CSV"),
        (keys.CONFIG_FILE, b"\xff", "is not UTF-8"),
        (keys.STUDY_PLAN_FILE, "{}", r"plan\.json: it does not hold plans"),
        (keys.DATA_CARD_FILE, "{}", r"fields \['name', 'classes', .* are missing"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, message):
    prediction_rows([0, 1, 2]).to_parquet(tmp_path / keys.PREDICTIONS_FILE)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(VaclipError, match=message) as error:
        read_folder(tmp_path)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("per_class", "patients"),
        ("agreement", "kappa"),
        ("clip_seconds", "max"),
        ("findings", "what"),
    ],
)
def test_a_part_of_the_data_card_that_lacks_a_field_is_named(folder, tmp_path, part, field):
    prediction_rows([0, 1, 2]).to_parquet(tmp_path / keys.PREDICTIONS_FILE)
    card = read_json(folder / keys.DATA_CARD_FILE)
    del (card[part][0] if isinstance(card[part], list) else card[part])[field]
    write_json(tmp_path / keys.DATA_CARD_FILE, card)
    with pytest.raises(VaclipError, match=rf"data_card.json: {part}: fields \['{field}'\]"):
        read_folder(tmp_path)


def test_points_without_an_arm_are_an_error(tmp_path):
    table = prediction_rows([0, 1, 2], arms=["B3@train_fraction=0.5"])
    table.to_parquet(tmp_path / keys.PREDICTIONS_FILE)
    with pytest.raises(VaclipError, match="no arm itself"):
        read_folder(tmp_path)


def test_numeric_ids_are_read_as_text(tmp_path):
    table = prediction_rows([0, 1, 2])
    numbers = pd.factorize(table[keys.PRED_PATIENT])[0]
    table.assign(patient_id=numbers).to_parquet(tmp_path / keys.PREDICTIONS_FILE)
    assert list(read_folder(tmp_path).clips) == ["0", "1", "2"]
