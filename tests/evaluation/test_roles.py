from __future__ import annotations

import pytest

from vaclip.evaluation.roles import FAMILIES, Roles

ROLES = Roles.from_json(
    {
        "baseline": "B0",
        "method": "B3",
        "shuffled": "K_shuffled",
        "map_only": None,
        "controls": ["K_shuffled", "K_uniform"],
        "pairs": [["B3", "B1"], ["B3", "C1"]],
    }
)


def test_the_margin_comes_with_the_roles():
    assert ROLES.margin == 0.05
    assert Roles.from_json({"baseline": "B0", "method": "B3", "margin": 0.1}).margin == 0.1


def test_families_of_the_arms_that_are_there():
    assert ROLES.families(["B0", "B3", "K_shuffled", "K_uniform", "C1"]) == {
        "primary": [("B3", "B0"), ("B3", "K_shuffled")],
        "fusion": [],
        "bedside": [],
        "baseline": [("K_shuffled", "B0"), ("K_uniform", "B0"), ("C1", "B0")],
        "named": [("B3", "C1")],
        "controls": [("B3", "K_uniform")],
    }
    assert ROLES.families(["B1"]) == {name: [] for name in FAMILIES}


def test_a_primary_contrast_stands_in_no_other_family():
    roles = Roles("B0", "B3", "K_shuffled", "K_map_only", "B1", ("K_shuffled",), (("B3", "B0"),))
    found = roles.families(["B0", "B1", "B3", "K_shuffled", "K_map_only", "B0+K_map_only"])
    assert found["primary"] == [("B1", "B0"), ("B3", "B0"), ("B3", "K_shuffled")]
    pairs = [pair for family in found.values() for pair in family]
    assert len(pairs) == len(set(pairs))
    assert found["fusion"] == [("B3", "B0+K_map_only")]
    assert found["controls"] == [("B3", "K_map_only")]


BEDSIDE = Roles.from_json(
    {
        "baseline": "B0", "method": "B3", "shuffled": "K_shuffled", "bedside": "B1",
        "taught": "P2", "untaught": "P1", "taught_shuffled": "P_shuffled", "prior": "P_prior",
    }
)  # fmt: skip


def test_a_taught_arm_answers_for_the_bedside_in_place_of_the_aligned_one():
    found = BEDSIDE.families(["B0", "B1", "B3", "P1", "P2", "P_shuffled", "P_prior"])
    assert found["primary"] == [("P2", "P1"), ("B3", "B0")]
    assert found["bedside"] == [("P2", "P_shuffled"), ("P2", "P_prior")]
    others = ["B1", "P1", "P2", "P_shuffled", "P_prior"]
    assert found["baseline"] == [(arm, "B0") for arm in others]


@pytest.mark.parametrize("missing", ["P1", "P2"])
def test_without_both_arms_the_aligned_one_answers(missing):
    arms = [arm for arm in ("B0", "B1", "B3", "P1", "P2") if arm != missing]
    assert BEDSIDE.families(arms)["primary"] == [("B1", "B0"), ("B3", "B0")]


def test_variants_stand_in_no_family():
    variants = ("B3@train_fraction=0.5", "B0@train_fraction=0.5", "B3@annotators=md1>md2")
    assert ROLES.families(["B0", "B3", *variants]) == ROLES.families(["B0", "B3"])


@pytest.mark.parametrize(
    ("roles", "controls"),
    [
        (Roles("a", "b"), ()),
        (Roles("a", "b", "s", "m"), ("s", "m", "a+m")),
        (Roles("a", "b", "s", None, None, ("u", "s")), ("s", "u")),
    ],
)
def test_a_control_with_a_role_of_its_own_is_a_control_once(roles, controls):
    assert roles.all_controls == controls


def test_the_arm_of_permuted_labels_is_a_control_but_no_contrast():
    roles = Roles("B0", "B3", shuffled="K_shuffled", permuted="K_permuted")
    assert roles.is_control("K_permuted")
    assert roles.is_control("K_shuffled")
    assert not roles.is_control("B3")
    assert "K_permuted" not in roles.all_controls
