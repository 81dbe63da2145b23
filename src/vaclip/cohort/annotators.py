"""The simulated annotators of a generated cohort: which region each names in each clip."""

from __future__ import annotations

from collections.abc import Sequence

from vaclip.cohort.synthetic_gait import ANNOTATION, GaitCohort, generator

REGIONS = {
    "head": ["nose", "left_eye", "right_eye", "left_ear", "right_ear"],
    "shoulder": ["left_shoulder", "right_shoulder"],
    "arm_hand": ["left_elbow", "right_elbow", "left_wrist", "right_wrist"],
    "lumbar_pelvis": ["left_hip", "right_hip"],
    "knee": ["left_knee", "right_knee"],
    "foot": ["left_ankle", "right_ankle"],
}
ANNOTATORS = ("rater1", "rater2")


def annotate(cohort: GaitCohort, places: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the regions that the two annotators name.

    Args:
        cohort: says how often they agree, and whether they know the place.
        places: for each clip, the region in which the class shows.

    Returns:
        One pair of region names for each clip; equal on exactly
        ``round(agreement * len(places))`` of them.
    """
    if cohort.truth == "common":
        return [(place, place) for place in places]
    rng = generator(cohort, ANNOTATION)
    agreed = rng.permutation(len(places)) < round(cohort.agreement * len(places))
    pairs = []
    for known, agree in zip(places, agreed, strict=True):
        first, second = (str(region) for region in rng.permutation(list(REGIONS))[:2])
        swap = rng.random() < 0.5
        if cohort.truth != "null":
            first, second = known, (first if first != known else second)
        if agree:
            second = first
        pairs.append((second, first) if swap else (first, second))
    return pairs
