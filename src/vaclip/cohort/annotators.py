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
PLACES = {
    "head": (0.45, 0.16, 0.65, 0.34),
    "shoulder": (0.42, 0.22, 0.57, 0.37),
    "arm_hand": (0.40, 0.37, 0.66, 0.58),
    "lumbar_pelvis": (0.38, 0.45, 0.54, 0.60),
    "knee": (0.38, 0.64, 0.58, 0.76),
    "foot": (0.28, 0.78, 0.60, 0.92),
}
"""Where `REGIONS` mostly are, as shares of the picture (x0, y0, x1, y1): maps that do not move with
the patient, and so tell nothing of the gait."""
ANNOTATORS = ("rater1", "rater2")


def study_regions(cohort: GaitCohort) -> dict[str, dict[str, object]]:
    """Returns the ``regions`` of ``study.yaml``: joints, or places that know nothing of them."""
    if cohort.truth == "null":
        return {name: {"box": list(box)} for name, box in PLACES.items()}
    return {name: {"keypoints": joints} for name, joints in REGIONS.items()}


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
