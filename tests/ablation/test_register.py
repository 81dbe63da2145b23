"""The plan is written before the first result, and is added to, never overwritten."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from vaclip import keys
from vaclip.ablation.register import register_plan, study_plan, study_roles
from vaclip.config import RolesConfig, StudyConfig
from vaclip.errors import VaclipError
from vaclip.evaluation.plan import plan_sentences, read_plans
from vaclip.files import read_json

STUDY = StudyConfig(arms=["B0", "B3"], margin=0.1)


def plans_of(folder):
    return read_plans(read_json(folder / keys.STUDY_PLAN_FILE, "plan.json"))


def finish_jobs(folder, *names):
    for name in names:
        table = folder / "jobs" / name / "fold_0" / keys.PREDICTIONS_FILE
        table.parent.mkdir(parents=True)
        table.touch()


def test_the_settings_of_a_study_are_its_plan():
    content = study_plan(STUDY, folds=3)
    assert content["margin"] == 0.1
    assert content["primary"] == [["B3", "B0"]]
    assert (content["seeds"], content["folds"]) == ([0], [0, 1, 2])
    assert study_plan(StudyConfig(folds=[2]), folds=3)["folds"] == [2]
    named = study_roles(StudyConfig(roles=RolesConfig(method="B4"), margin=0.02))
    assert (named.method, named.margin) == ("B4", 0.02)


def test_a_plan_says_when_it_was_written_and_starting_again_changes_nothing(tmp_path, caplog):
    register_plan(tmp_path, study_plan(STUDY, 3))
    (plan,) = plans_of(tmp_path)
    assert plan.results == 0
    assert datetime.now(UTC) - datetime.fromisoformat(plan.written) < timedelta(minutes=5)
    before = (tmp_path / keys.STUDY_PLAN_FILE).read_bytes()
    finish_jobs(tmp_path, "B0-fold0-seed0")
    register_plan(tmp_path, study_plan(STUDY, 3))
    assert (tmp_path / keys.STUDY_PLAN_FILE).read_bytes() == before
    assert caplog.text == ""


def test_a_change_after_results_is_warned_of_and_added(tmp_path, caplog):
    register_plan(tmp_path, study_plan(STUDY, 3))
    first = plans_of(tmp_path)[0]
    finish_jobs(tmp_path, "B0-fold0-seed0", "B3-fold0-seed0")
    more = study_plan(StudyConfig(arms=["B0", "B3", "C1"], seeds=[0, 1], margin=0.1), 3)
    with caplog.at_level(logging.WARNING):
        register_plan(tmp_path, more)
    assert caplog.messages == [
        "the plan is changed after 2 results, and the report will say so: arms + C1; "
        "seeds 0 -> 0, 1"
    ]
    plans = plans_of(tmp_path)
    assert plans[0] == first
    assert (plans[1].content, plans[1].results) == (more, 2)
    assert "Changed after 2 results" in plan_sentences(plans, None)[1]


def test_a_change_before_any_result_needs_no_warning_and_is_kept(tmp_path, caplog):
    register_plan(tmp_path, study_plan(STUDY, 3))
    register_plan(tmp_path, study_plan(StudyConfig(arms=["B0", "B3"]), 3))
    assert [plan.content["margin"] for plan in plans_of(tmp_path)] == [0.1, 0.05]
    assert caplog.text == ""


def test_results_that_no_plan_went_before_are_said(tmp_path, caplog):
    finish_jobs(tmp_path, "B0-fold0-seed0")
    register_plan(tmp_path, study_plan(STUDY, 3))
    assert "no plan was written before the 1 result of this study" in caplog.text
    assert plan_sentences(plans_of(tmp_path), None)[0].startswith("Not planned before")


def test_a_damaged_plan_is_not_overwritten(tmp_path):
    (tmp_path / keys.STUDY_PLAN_FILE).write_text("[]")
    with pytest.raises(VaclipError, match=r"plan\.json: it does not hold plans"):
        register_plan(tmp_path, study_plan(STUDY, 3))
    assert (tmp_path / keys.STUDY_PLAN_FILE).read_text() == "[]"
