from __future__ import annotations

import math
from dataclasses import replace

import pytest

from vaclip.evaluation.compare import Contrast
from vaclip.evaluation.inference import Interval, ResampledT, StandardError, detectable_difference
from vaclip.evaluation.roles import Roles
from vaclip.evaluation.verdict import Finding, MapAlone, verdict

ROLES = Roles("B0", "B3", "K_shuffled", "K_map_only")


def contrast(second, difference, p, *, jobs=15, error=0.04):
    value = 0.7
    return Contrast(
        first="B3",
        second=second,
        metric="acc_macro",
        jobs=jobs,
        jobs_of_either=15,
        patients=60,
        value_first=value,
        value_second=value - difference,
        difference=difference,
        error=StandardError(error, 40.0),
        interval=Interval(difference - 0.08, difference + 0.08),
        percentile=Interval(difference - 0.08, difference + 0.08),
        p_patients=p,
        p_models=p,
        p=p,
        p_holm=math.nan,
        resampled_t=ResampledT(1.0, 14, 0.3),
        detectable=0.12,
    )


def judged(**contrasts):
    """From baseline, shuffled, map_only = (difference, p)."""
    names = {"baseline": "B0", "shuffled": "K_shuffled", "map_only": "K_map_only"}
    made = [contrast(names[key], *value) for key, value in contrasts.items()]
    return verdict({("B3", c.second): c for c in made}, ROLES)


@pytest.mark.parametrize(
    ("contrasts", "finding"),
    [
        ({}, Finding.NO_VERDICT),
        ({"shuffled": (0.2, 0.001)}, Finding.NO_VERDICT),
        ({"baseline": (math.nan, math.nan), "shuffled": (0.2, 0.001)}, Finding.NO_VERDICT),
        ({"baseline": (-0.2, 0.001), "shuffled": (0.2, 0.001)}, Finding.HARMS),
        ({"baseline": (-0.2, 0.2), "shuffled": (0.2, 0.001)}, Finding.NO_HELP_SHOWN),
        ({"baseline": (0.05, 0.3), "shuffled": (0.2, 0.001)}, Finding.NO_HELP_SHOWN),
        ({"baseline": (0.05, 0.3)}, Finding.NO_HELP_SHOWN),
        ({"baseline": (0.2, 0.001)}, Finding.SOURCE_UNKNOWN),
        ({"baseline": (0.2, 0.001), "shuffled": (math.nan, math.nan)}, Finding.SOURCE_UNKNOWN),
        ({"baseline": (0.2, 0.001), "shuffled": (0.2, 0.04)}, Finding.HELPS),
        ({"baseline": (0.2, 0.001), "shuffled": (0.05, 0.3)}, Finding.NOT_FROM_KNOWLEDGE),
        ({"baseline": (0.2, 0.001), "shuffled": (-0.2, 0.001)}, Finding.NOT_FROM_KNOWLEDGE),
        # Holm over the two: the smaller p must be below 0.025.
        ({"baseline": (0.2, 0.03), "shuffled": (0.2, 0.04)}, Finding.NO_HELP_SHOWN),
        ({"baseline": (0.2, 0.04), "shuffled": (0.2, 0.02)}, Finding.HELPS),
        ({"baseline": (0.2, 0.03), "shuffled": (0.05, 0.6)}, Finding.NO_HELP_SHOWN),
        ({"baseline": (0.2, 0.03)}, Finding.SOURCE_UNKNOWN),
        # The map-only contrast is in no family with them.
        (
            {"baseline": (0.2, 0.024), "shuffled": (0.2, 0.024), "map_only": (0.0, 1.0)},
            Finding.HELPS,
        ),
    ],
)
def test_rules_of_the_finding(contrasts, finding):
    assert judged(**contrasts).finding is finding


HELPS = {"baseline": (0.2, 0.001), "shuffled": (0.2, 0.001)}
NOT_SHOWN = {"baseline": (0.01, 0.8), "shuffled": (0.2, 0.001)}


@pytest.mark.parametrize(
    ("map_only", "map_alone", "words"),
    [
        (None, MapAlone.UNKNOWN, "unknown how much the map alone says"),
        ((math.nan, math.nan), MapAlone.UNKNOWN, "unknown"),
        ((0.0, 1.0), MapAlone.TELLS, "The map alone tells the diagnosis"),
        ((-0.1, 0.01), MapAlone.TELLS, "may be the map being shown"),
        ((0.1, 0.05), MapAlone.NOT_TOLD_APART, "may be the map being shown"),
        ((0.1, 0.04), MapAlone.DOES_NOT_EXPLAIN, "does not explain"),
    ],
)
def test_rules_of_the_map_alone(map_only, map_alone, words):
    found = judged(**HELPS, **({"map_only": map_only} if map_only else {}))
    assert found.map_alone is map_alone
    assert words in found.sentences[-1]
    assert found.finding is Finding.HELPS


def test_no_lead_is_explained_where_there_is_none():
    found = judged(**NOT_SHOWN, map_only=(-0.1, 0.5))
    assert found.map_alone is MapAlone.TELLS
    assert "lead" not in " ".join(found.sentences)


def test_words_of_help():
    found = judged(**HELPS)
    assert found.sentences[0] == (
        "Guidance helps on this data: B3 0.700, B0 0.500, difference +0.200, 95% interval "
        "+0.120 to +0.280, corrected p = 0.002."
    )
    assert "another patient's map does less" in found.sentences[1]
    assert [c.second for c in found.family] == ["B0", "K_shuffled"]
    assert [c.p_holm for c in found.family] == [0.002, 0.002]


def test_a_tiny_p_is_not_written_as_zero():
    assert "p < 0.001" in judged(baseline=(0.2, 0.0001)).sentences[0]


def test_what_is_not_found_comes_with_what_could_have_been():
    both = judged(**NOT_SHOWN).sentences[1]
    assert f"{detectable_difference(StandardError(0.04, 40.0), 0.025):.3f} or more" in both
    alone = judged(baseline=(0.01, 0.8)).sentences[1]
    assert f"{detectable_difference(StandardError(0.04, 40.0), 0.05):.3f} or more" in alone
    not_known = judged(baseline=(0.2, 0.001), shuffled=(0.05, 0.3)).sentences
    assert "does not come from the clinicians' knowledge, as far as" in not_known[0]
    assert "cannot be excluded" in not_known[1]


def test_an_undefined_detectable_difference_is_said():
    same = {("B3", "B0"): contrast("B0", 0.0, 1.0, error=0.0)}
    assert "cannot be estimated" in verdict(same, ROLES).sentences[1]


def test_holes_are_said():
    made = [contrast("B0", 0.2, 0.001, jobs=12), contrast("K_shuffled", 0.2, 0.001)]
    found = verdict({("B3", c.second): c for c in made}, ROLES)
    assert found.sentences[-1] == (
        "B3 against B0 rests on the 12 of 15 pairs of fold and seed that both arms have."
    )


def test_other_contrasts_are_not_read():
    found = verdict({("B3", "B1"): contrast("B1", 0.2, 0.001)}, ROLES)
    assert found.finding is Finding.NO_VERDICT
    assert found.family == ()


def test_the_map_alone_is_judged_and_told_by_its_own_p():
    others = {("B3", "B0"): contrast("B0", 0.2, 0.001)}
    alone = replace(contrast("K_map_only", 0.1, 0.03), p_holm=0.2)  # of another family
    found = verdict(others | {("B3", "K_map_only"): alone}, ROLES)
    assert found.map_alone is MapAlone.DOES_NOT_EXPLAIN
    (said,) = [sentence for sentence in found.sentences if "map alone" in sentence]
    assert "p = 0.030" in said
    assert "corrected" not in said


def test_arms_of_other_names_are_named_by_their_roles():
    roles = Roles("resnet", "resnet_gaze")
    made = replace(contrast("resnet", 0.2, 0.001), first="resnet_gaze")
    found = verdict({("resnet_gaze", "resnet"): made}, roles)
    assert found.finding is Finding.SOURCE_UNKNOWN
    assert found.sentences[0].startswith("resnet_gaze is better than resnet: ")
    assert not any("B3" in sentence or "K_" in sentence for sentence in found.sentences)


def test_without_roles_there_is_no_verdict():
    found = verdict({("B3", "B0"): contrast("B0", 0.2, 0.001)}, None)
    assert found.finding is Finding.NO_VERDICT
    assert "nothing says which arm" in found.sentences[0]
