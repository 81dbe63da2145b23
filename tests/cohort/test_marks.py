from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from vaclip.cohort.gait_figure import KEYPOINTS
from vaclip.cohort.marks import JOINTS, MARKS, Mark, paint_mark
from vaclip.cohort.synthetic_gait import (
    GaitCohort,
    draw_clip,
    patient_labels,
    patient_marks,
    sign_place,
    simulate_clip,
)

MANY = GaitCohort(patients=3000)


def test_every_patient_bears_each_mark_once_at_places_of_its_own():
    for patient, label in enumerate(patient_labels(MANY)[:200]):
        marks = patient_marks(MANY, patient, label)
        assert sorted(mark.colour for mark in marks) == sorted(MARKS.values())
        assert len({mark.place for mark in marks}) == 3
        (ringed,) = (mark for mark in marks if mark.ring)
        assert ringed.colour == MARKS[label]
        assert ringed.place == sign_place(MANY, patient, label)


def independent(pairs: list[tuple[object, object]]) -> bool:
    """Whether two things go together no more than by chance (chi-square, p above 0.0005)."""
    counts = Counter(pairs)
    rows, columns = (sorted({pair[side] for pair in pairs}, key=str) for side in (0, 1))
    table = np.array([[counts[row, column] for column in columns] for row in rows], dtype=float)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    freedom = (len(rows) - 1) * (len(columns) - 1)
    limit = {2: 15.2, 4: 20.0, 8: 27.9}[freedom]
    return bool(((table - expected) ** 2 / expected).sum() < limit)


def test_the_place_tells_nothing_of_the_class():
    labels = patient_labels(MANY)
    places = [sign_place(MANY, patient, label) for patient, label in enumerate(labels)]
    assert set(places) == set(JOINTS)
    assert independent(list(zip(places, labels, strict=True)))


@pytest.mark.parametrize("place", JOINTS)
def test_what_is_at_a_place_tells_nothing_without_the_ring(place):
    labels = patient_labels(MANY)
    found = []
    for patient, label in enumerate(labels):
        marks = patient_marks(MANY, patient, label)
        decoys = [mark.colour for mark in marks if mark.place == place and not mark.ring]
        found += [(colour, MARKS[label]) for colour in decoys]
    # the own colour never stands there, the two others alike
    counts = Counter(found)
    assert all(colour != own for colour, own in counts)
    expected = len(found) / 6
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < 22.1  # 5 degrees


def test_the_order_of_painting_tells_nothing_of_the_class():
    labels = patient_labels(MANY)
    first = [patient_marks(MANY, patient, label)[0].colour for patient, label in enumerate(labels)]
    assert independent(list(zip(first, labels, strict=True)))


def test_all_patients_of_the_common_cohort_show_it_at_one_place():
    cohort = GaitCohort(truth="common")
    labels = patient_labels(cohort)
    assert len({sign_place(cohort, patient, label) for patient, label in enumerate(labels)}) == 1


def test_the_class_changes_the_colours_and_not_where_marks_are():
    marks = [patient_marks(MANY, 7, label) for label in MARKS]
    assert len({tuple(sorted(mark.place for mark in own)) for own in marks}) == 1


@pytest.mark.parametrize(("opacity", "shown"), [(0.0, (0, 0, 0)), (1.0, (225, 40, 40))])
def test_a_disc_is_painted_with_its_opacity(opacity, shown):
    image = Image.new("RGB", (64, 64))
    paint_mark(image, Mark("knee", MARKS["red_mark"], opacity), np.array([30.0, 20.0]), 100.0)
    assert image.getpixel((30, 20)) == shown
    assert image.getpixel((37, 20)) == (0, 0, 0)


def test_the_ring_lies_apart_from_the_disc():
    image = Image.new("RGB", (64, 64))
    paint_mark(image, Mark("knee", (200, 0, 0), 1.0, 0.5), np.array([30.0, 30.0]), 100.0)
    along = [image.getpixel((30 + r, 30)) for r in range(12)]
    assert along[0] == (200, 0, 0)
    assert along[5] == (0, 0, 0)
    assert along[7] == (128, 125, 113)
    assert along[10] == (0, 0, 0)


def test_the_picture_shows_the_marks_where_the_joints_are():
    cohort = GaitCohort(seconds=0.4, fps=5, size=256)
    for patient, label in enumerate(patient_labels(cohort)[:6]):
        clip = simulate_clip(cohort, patient, 0, label)
        frame = next(draw_clip(clip, cohort.size)).astype(int)
        last = clip.marks[-1]  # no other covers it
        at = [clip.pose.keypoints[0, KEYPOINTS.index(joint)] for joint in JOINTS[last.place]]
        x, y = np.mean(at, axis=0) + clip.shake[0] / 2
        assert np.abs(frame[round(y), round(x)] - last.colour).max() < 12
