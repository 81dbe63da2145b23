"""Which arms a study may have, and what its report says of each."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from composed import make_config, make_study
from vaclip import VaclipError
from vaclip.ablation.arms import arm_switches, check_arms, describe_arm
from vaclip.compose import arm_names

LOSS = {
    **dict.fromkeys(("B0", "B2", "K_map_only", "P1", "P_prior"), "CE"),
    **dict.fromkeys(("P0", "P2", "P_shuffled"), "CE + 1 map"),
    "P3": "CE + 1 map + 1 distill",
    "B4": "CE + 1 CLIP + 0.1 token",
}
REFERENCE = make_config(Path("runs"))


def arm(name: str, *overrides: str):
    return make_config(Path("runs"), f"experiment={name}", *overrides)


@pytest.mark.parametrize("name", arm_names())
def test_every_arm_is_described(name):
    entry = describe_arm(arm(name), REFERENCE)
    assert entry["arm"] == name
    assert entry["loss"] == LOSS.get(name, "CE + 1 CLIP")
    for field in ("method", "question", "notes"):
        assert entry[field]
        assert "\n" not in entry[field]
        assert "  " not in entry[field]


def test_an_arm_that_says_nothing_of_itself():
    entry = describe_arm(REFERENCE, REFERENCE)
    assert (entry["method"], entry["notes"], entry["switches"]) == ("", "", {})


def test_switches_are_where_an_arm_differs_from_the_reference():
    assert arm_switches(arm("B0"), REFERENCE) == {
        "model.map_guided": False,
        "loss.clip_weight": 0.0,
    }
    assert arm_switches(arm("K_shuffled", "seed=3", "split.fold=2"), REFERENCE) == {
        "data.control": "shuffled"
    }
    assert arm_switches(arm("B3"), REFERENCE) == {}


# --- arms and roles that there are ---------------------------------------------------------------


def check(*overrides: str, more=()):
    check_arms(make_study(*overrides).study, [*arm_names(), *more])


def test_the_presets_name_arms_that_there_are_and_have_a_verdict(caplog):
    for preset in ("default", "quick", "smoke"):
        check(f"study={preset}")
    assert not caplog.records


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study.arms=[B0,K_shufled]", "no arm 'K_shufled'. Did you mean 'K_shuffled'?"),
        ("study.roles.method=B33", "study.roles.method names 'B33'"),
        ("study.roles.controls=[K_shufled]", "Did you mean 'K_shuffled'?"),
        ("study.roles.pairs=[[B3,MINE]]", "study.roles.pairs names 'MINE'"),
        ("study.roles.baseline=B3", "study.roles.baseline and study.roles.method are both B3"),
    ],
)
def test_an_arm_that_there_is_not(override, message):
    with pytest.raises(VaclipError) as caught:
        check(override)
    assert message in str(caught.value)


def test_a_study_without_its_baseline_runs_and_says_what_it_cannot_tell(caplog):
    with caplog.at_level(logging.WARNING):
        check("study.arms=[B3]")
    (record,) = caplog.records
    assert "study.roles.baseline is B0" in record.getMessage()
    assert "no verdict" in record.getMessage()


def test_roles_of_ones_own(caplog):
    own = ["study.roles.baseline=resnet", "study.roles.method=resnet_gaze"]
    own += ["study.roles.shuffled=null", "study.roles.map_only=null", "study.roles.pairs=[]"]
    check("study.arms=[resnet,resnet_gaze]", *own, more=("resnet", "resnet_gaze"))
    assert not caplog.records
