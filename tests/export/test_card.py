"""The model card says what the run and the study left, and marks what only the author knows."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from vaclip import VaclipError, keys
from vaclip.evaluation.data_card import (
    AnnotatorCount,
    ClassCount,
    ClipSeconds,
    DataCard,
    Finding,
    JointAgreement,
)
from vaclip.evaluation.thresholds import validation_thresholds
from vaclip.export.card import card_text, judged
from vaclip.export.check import Difference
from vaclip.export.export import model_settings, write_papers
from vaclip.export.limits import limits
from vaclip.export.metadata import bundle_metadata
from vaclip.export.trained import open_fold
from vaclip.files import write_json
from vaclip.reports.typeset import number

DIFFERENCE = Difference(1e-6, 1e-6)


@pytest.fixture(scope="module")
def fold(trained):
    return open_fold(trained("P2").folder)


@pytest.fixture
def study(tmp_path, fold):
    """A folder as of `vaclip study`: the run's arm, and one that guesses better at random."""
    folder = tmp_path / "study"
    folder.mkdir()
    table = pd.read_parquet(fold.run / keys.PREDICTIONS_FILE)
    probs = [name for name in table if name.startswith(keys.PRED_PROB_PREFIX)]
    drawn = np.random.default_rng(0).dirichlet(np.ones(3), len(table))
    parts = [table, table.assign(**{keys.PRED_ARM: "B0"} | dict(zip(probs, drawn.T, strict=True)))]
    pd.concat(parts).to_parquet(folder / keys.PREDICTIONS_FILE, index=False)
    shutil.copy(fold.run / keys.CONFIG_FILE, folder)
    roles = {"baseline": "B0", "method": "P2", "controls": [], "pairs": [], "margin": 0.05}
    write_json(folder / keys.ARMS_FILE, {"roles": roles, "arms": [{"arm": "P2", "method": "x|y"}]})
    card = DataCard(
        name="a_study",
        classes=("steady", "limping", "shuffling"),
        patients=15,
        clips=15,
        per_class=(ClassCount("steady", 5, 5),),
        annotators=(AnnotatorCount("Dr Example", 15),),
        distinct_maps=3,
        clips_without_map=0,
        clip_seconds=ClipSeconds(2, 2, 2),
        excluded=(),
        agreement=(),
        joint_agreement=JointAgreement(0, float("nan")),
        content_hash="abc",
        findings=(
            Finding("warning", "duplicates", "2 clips look alike", "look", ("steady-1-0",)),
            Finding("note", "length", "all clips are short", "none"),
        ),
    )
    write_json(folder / keys.DATA_CARD_FILE, card.to_json())
    return folder


def card_of(fold, study=None):
    source, results = judged(fold, study)
    settings = model_settings(fold, "0")
    return card_text(fold, settings, DIFFERENCE, source, results), source, results


def test_a_run_by_itself_has_its_numbers_and_no_verdict(fold):
    text, _, results = card_of(fold)
    _, front, body = text.split("---\n", 2)
    front = yaml.safe_load(front)
    score = results.scores["patient"]["P2"].scores["acc_macro"].mean
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == round(score, 4)
    assert (front["license_name"], front["license"]) == ("TODO-by-author", "other")
    assert "They were not asked" in body
    assert f"| balanced accuracy | {number(score)} |" in body
    cuts = validation_thresholds(results.predictions, "P2")[0, 0]
    for name, cut in zip(("steady", "limping", "shuffling"), cuts, strict=True):
        assert f"| {name} | {number(cut)} |" in body
    assert str(DIFFERENCE) in body


def test_what_only_the_author_knows_is_marked(fold):
    text, *_ = card_of(fold)
    for what in ("For whom", "Ethics approval", "Regulatory", "Funding"):
        (line,) = (line for line in text.splitlines() if what in line)
        assert "**TODO-by-author**" in line


def test_a_study_gives_data_card_and_answers_without_names_of_people(fold, study):
    text, source, results = card_of(fold, study)
    for sentence in results.verdict.sentences:
        assert sentence.split(":")[0].replace("_", "\\_") in text
    assert "X\\|y." in text
    assert "2 clips look alike" in text
    assert "Of its study: 2 clips look alike." in text
    assert "Of its study: all clips are short." not in text
    ids = {*source.clips, *(clip for own in source.clips.values() for clip in own)}
    for name in ("Dr Example", str(fold.run), *ids):
        assert name not in text


def test_a_study_without_the_arm_is_told(fold, study):
    table = pd.read_parquet(study / keys.PREDICTIONS_FILE)
    others = table[table[keys.PRED_ARM] != "P2"]
    others.to_parquet(study / keys.PREDICTIONS_FILE, index=False)
    with pytest.raises(VaclipError, match="has nothing of P2, whose model is exported"):
        judged(fold, study)


def test_limits_say_what_the_settings_say(fold):
    settings = model_settings(fold, "0")
    said = "\n".join(limits(fold, settings, None))
    assert "generated videos" not in said
    assert "sees 8 pictures a second of 32 x 32 pixels" in said
    assert "clinician's map" not in said
    needy = settings | {"map": {"channels": 1, "size": [32, 32]}, "needs_map": True, "every": 2}
    said = "\n".join(limits(fold, needy, None))
    assert "sees 4 pictures a second" in said
    assert "It needs a clinician's map" in said


def test_metadata_names_what_the_programs_take_and_give(fold):
    _, results = judged(fold, None)
    found = bundle_metadata(fold, model_settings(fold, "0"), results)
    shapes = found["network_data_format"]
    assert shapes["inputs"]["video"]["spatial_shape"] == [8, 32, 32]
    assert shapes["inputs"].keys() == {"video"}
    assert shapes["outputs"].keys() == {"logits", "predicted_map"}
    assert found["eval_metrics"]["acc_macro"] == pytest.approx(
        results.scores["patient"]["P2"].scores["acc_macro"].mean
    )
    assert "monai_version" not in found


def test_both_are_written(fold, tmp_path):
    write_papers(fold, model_settings(fold, "0"), DIFFERENCE, tmp_path)
    assert (tmp_path / "MODEL_CARD.md").read_text("utf-8").startswith("---\nlicense: other\n")
    assert json.loads((tmp_path / "metadata.json").read_text())["task"] == "video classification"
