"""Whether an ablation was judged as planned, in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vaclip.errors import VaclipError
from vaclip.evaluation.plan import Plan, plan_changes, plan_content, plan_sentences, read_plans
from vaclip.evaluation.roles import Roles

ROLES = Roles("B0", "B3", "K_shuffled", None, "B1", ("K_uniform", "K_centre"), (("B4", "B3"),))
CONTENT = plan_content(ROLES, ["B0", "B3", "K_shuffled"], [0], range(5))
FIRST = Plan(CONTENT, "2026-11-27T17:50:00+00:00", 0)


def later(results: int, day: int = 28, **changes) -> Plan:
    return Plan(FIRST.content | changes, f"2026-11-{day}T09:00:00+00:00", results)


def test_the_content_names_the_contrasts_that_the_arms_allow():
    assert CONTENT == {
        "metric": "acc_macro",
        "margin": 0.05,
        "primary": [["B3", "B0"], ["B3", "K_shuffled"]],  # B1 is not among the arms
        "arms": ["B0", "B3", "K_shuffled"],
        "seeds": [0],
        "folds": [0, 1, 2, 3, 4],
        "roles": {
            "baseline": "B0", "method": "B3", "shuffled": "K_shuffled", "map_only": None,
            "bedside": "B1", "controls": ["K_centre", "K_uniform"], "pairs": [["B4", "B3"]],
            "withheld": None, "swapped": None, "taught": None, "untaught": None,
            "taught_shuffled": None, "prior": None, "permuted": None,
        },
    }  # fmt: skip


def test_the_order_in_which_things_are_named_is_no_matter():
    turned = replace(ROLES, controls=ROLES.controls[::-1])
    same = plan_content(turned, ["K_shuffled", "B3", "B0"], [0], [4, 3, 2, 1, 0])
    assert Plan(same, "later", 3).digest == FIRST.digest


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"arms": ["B0", "B3", "K_x"]}, ["arms + K_x", "arms - K_shuffled"]),
        ({"seeds": [0, 1]}, ["seeds 0 -> 0, 1"]),
        ({"folds": [2]}, ["folds 0, 1, 2, 3, 4 -> 2"]),
        ({"margin": 0.1}, ["margin 0.05 -> 0.1"]),
        ({"primary": [["B3", "B0"]]}, ["primary - B3 against K_shuffled"]),
        ({"roles": CONTENT["roles"] | {"map_only": "K_map_only", "controls": []}},
         ["role map_only none -> K_map_only", "role controls - K_centre, K_uniform"]),
        ({}, []),
    ],
)  # fmt: skip
def test_changes_are_told_one_by_one(changed, said):
    assert plan_changes(CONTENT, CONTENT | changed) == said


AS_PLANNED = f"As planned (plan {FIRST.digest[:8]} of 2026-11-27, before the first result)."


@pytest.mark.parametrize("plans", [None, ()])
def test_no_plan(plans):
    assert plan_sentences(plans, ROLES) == ("No plan was recorded.",)


def test_as_planned():
    assert plan_sentences([FIRST], ROLES) == (AS_PLANNED,)
    assert plan_sentences([FIRST], None) == (AS_PLANNED,)


def test_what_was_changed_before_any_result_was_planned():
    better = later(0, seeds=[0, 1])
    (said,) = plan_sentences([FIRST, better], ROLES)
    assert said == f"As planned (plan {better.digest[:8]} of 2026-11-28, before the first result)."


def test_each_change_after_a_result_is_told_against_the_plan_before_it():
    second, third = later(1, seeds=[0, 1]), later(7, day=29, seeds=[0, 1], margin=0.1)
    assert plan_sentences([FIRST, second, third], replace(ROLES, margin=0.1)) == (
        f"Planned (plan {FIRST.digest[:8]} of 2026-11-27, before the first result), and changed "
        "since:",
        f"Changed after 1 result (plan {second.digest[:8]} of 2026-11-28): seeds 0 -> 0, 1.",
        f"Changed after 7 results (plan {third.digest[:8]} of 2026-11-29): margin 0.05 -> 0.1.",
    )


def test_going_back_to_the_plan_does_not_make_it_as_planned():
    said = plan_sentences([FIRST, later(1, seeds=[0, 1]), later(2)], ROLES)
    assert said[0].endswith("and changed since:")
    assert said[2].endswith("seeds 0, 1 -> 0.")


def test_a_plan_after_the_first_result_is_none():
    late = later(6)
    assert plan_sentences([late, later(8, seeds=[0, 3])], ROLES) == (
        f"Not planned before the first result: plan {late.digest[:8]} of 2026-11-28 was written "
        "after 6 results.",
        f"Changed after 8 results ({later(8, seeds=[0, 3])}): seeds 0 -> 0, 3.",
    )


def test_a_report_with_other_roles_says_so():
    asked = Roles("B0", "K_shuffled")
    said = plan_sentences([FIRST], asked)
    assert said[0] == AS_PLANNED
    assert said[1].startswith("This report was asked for otherwise than planned: primary + ")
    assert "role method B3 -> K_shuffled" in said[1]


def test_plans_come_back_from_their_file():
    plans = (FIRST, later(3, seeds=[0, 1]))
    content = {"plans": [plan.to_json() for plan in plans]}
    assert read_plans(json.loads(json.dumps(content))) == plans


def damaged(change):
    entry = json.loads(json.dumps(FIRST.to_json()))
    change(entry)
    return {"plans": [entry]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (damaged(lambda entry: entry["plan"].update(margin=0.2)), "its hash is another"),
        (damaged(lambda entry: entry.pop("written")), "does not hold plans"),
        (damaged(lambda entry: entry.update(results="many")), "does not hold plans"),
        (damaged(lambda entry: entry.update(plan=3)), "does not hold plans"),
        ([], "does not hold plans"),
        ({"plans": 3}, "does not hold plans"),
    ],
)
def test_a_damaged_file_is_explained(content, message):
    with pytest.raises(VaclipError, match=message):
        read_plans(content)
