from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from vaclip.cohort.annotators import PLACES as BOXES
from vaclip.cohort.annotators import REGIONS, annotate, study_regions
from vaclip.cohort.gait_figure import KEYPOINTS
from vaclip.cohort.synthetic_gait import SIGN_REGION, GaitCohort, patient_labels, simulate_clip

PLACES = list(SIGN_REGION.values())


@pytest.mark.parametrize("truth", ["locates", "leaks", "null"])
@pytest.mark.parametrize("agreement", [0.0, 0.46, 0.5, 1.0])
def test_agreement_is_exact(truth, agreement):
    pairs = annotate(GaitCohort(agreement=agreement, truth=truth), PLACES * 630)
    assert sum(a == b for a, b in pairs) == round(agreement * 1890)


@pytest.mark.parametrize("truth", ["locates", "leaks"])
def test_annotators_name_the_place(truth):
    places = PLACES * 1000
    pairs = annotate(GaitCohort(truth=truth), places)
    assert all(place in pair for place, pair in zip(places, pairs, strict=True))
    split = [(place, pair) for place, pair in zip(places, pairs, strict=True) if pair[0] != pair[1]]
    assert np.mean([pair[0] == sign for sign, pair in split]) == pytest.approx(0.5, abs=0.05)
    others = Counter(r for sign, pair in split if sign == "head" for r in pair if r != sign)
    expected = sum(others.values()) / 5
    assert len(others) == 5
    assert sum((n - expected) ** 2 / expected for n in others.values()) < 20  # p = 0.0005


def test_everybody_names_the_common_place():
    assert annotate(GaitCohort(truth="common"), PLACES) == [(place, place) for place in PLACES]


def chi_square(places: list[str], regions: list[str]) -> float:
    table = np.array([[Counter(zip(places, regions, strict=True))[p, r] for r in REGIONS]
                      for p in PLACES])  # fmt: skip
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("seed", range(3))
def test_null_annotators_know_nothing_of_the_place(seed):
    places = PLACES * 1000
    cohort = GaitCohort(truth="null", seed=seed)
    pairs = annotate(cohort, places)
    limit = 31.4  # 10 degrees of freedom, p = 0.0005
    for rater in (0, 1):
        regions = [pair[rater] for pair in pairs]
        assert chi_square(places, regions) < limit
        assert max(Counter(regions).values()) < 1.25 * min(Counter(regions).values())
        known = [pair[rater] for pair in annotate(replace(cohort, truth="leaks"), places)]
        assert chi_square(places, known) > 10 * limit


def test_places_that_do_not_move_are_where_the_regions_mostly_are():
    cohort = GaitCohort(patients=12, truth="null")
    clips = [simulate_clip(cohort, i, 0, name) for i, name in enumerate(patient_labels(cohort))]
    points = np.concatenate([clip.keypoints for clip in clips]) / cohort.size
    assert study_regions(cohort).keys() == REGIONS.keys()
    for name, joints in REGIONS.items():
        x0, y0, x1, y1 = BOXES[name]
        x, y = points[:, [KEYPOINTS.index(joint) for joint in joints]].reshape(-1, 2).T
        assert ((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)).mean() > 0.7
