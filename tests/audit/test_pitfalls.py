"""Pitfalls: each is found where it is, not found where it is not, and told in closed form."""

from __future__ import annotations

import math

import pytest

from vaclip.audit.pitfalls import (
    mixed_patients,
    no_shuffle,
    no_split,
    one_class_annotations,
    one_class_annotators,
    site_sizes,
    sites,
    small_classes,
    unannotated_classes,
    unequal_classes,
)


def people(**counts):
    """Labels of patients with two clips each: ``people(ill=3)`` has ill-0 to ill-2."""
    return {f"{name}-{n}": [name, name] for name, many in counts.items() for n in range(many)}


def test_a_class_with_fewer_patients_than_folds_cannot_be_split():
    (found,) = no_split(people(well=9, ill=4), 5)
    assert (found.severity, found.subject) == ("error", "split")
    assert "class 'ill' has only 4 patient(s)" in found.what
    assert "at most 4 folds" in found.what
    assert no_split(people(well=9, ill=4), 4) == []


def test_parts_in_which_one_patient_has_most_maps_cannot_be_shuffled():
    labels = people(well=3, ill=3)  # three folds: every part has one patient of each class
    everyone = {(patient, of[0]) for patient, of in labels.items()}
    assert no_shuffle(labels, set(), 3) == []
    (found,) = no_shuffle(labels, everyone, 3)  # of each class there is one patient in a part
    assert found.what.startswith("in 9 of 9 parts of the split one patient has all maps of a class")
    assert "K_shuffled_within_class will fail" in found.what
    found, _ = no_shuffle(labels, everyone - {("ill-0", "ill")}, 3)
    # The part of that patient is train, val and test once each.
    assert found.what.startswith("in 3 of 9 parts of the split one patient has all maps of the")
    assert "K_shuffled will fail" in found.what
    assert no_shuffle(labels, everyone, 4) == []  # no such split
    labels = people(well=6, ill=6)
    assert no_shuffle(labels, {(patient, of[0]) for patient, of in labels.items()}, 3) == []


def test_a_small_class_tells_wilsons_interval():
    found = small_classes(people(well=10, ill=5))
    assert [one.subject for one in found] == ["class ill"]
    # Wilson's formula for 4 of 5, by hand.
    p, n, z = 4 / 5, 5, 1.959963984540054
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert "if 4 of 5 were recognised" in found[0].what
    assert f"{middle - half:.2f} to {middle + half:.2f}, {2 * half:.2f} wide" in found[0].what


def test_one_patient_is_not_called_patients():
    (found,) = small_classes({"a": ["ill"]})
    assert found.what.startswith("1 patient: if 1 of 1")


def test_imbalance_is_of_patients_and_not_of_clips():
    assert unequal_classes(people(well=30, ill=10)) == []
    (found,) = unequal_classes(people(well=31, ill=10))
    assert "'well' has 31 patients, 'ill' 10" in found.what
    assert "right for 76%" in found.what
    assert unequal_classes({"a": ["ill"] * 50, "b": ["well"]}) == []


def test_patients_of_several_classes_are_named_beside_the_text():
    labels = {"zoe": ["ill", "well"], "amy": ["well", "ill", "ill"], "tom": ["ill", "ill"]}
    (found,) = mixed_patients((name, "", label) for name, own in labels.items() for label in own)
    assert found.patients == ("amy", "zoe")
    assert "2 patients" in found.what
    assert "scored by itself" in found.what
    assert not any(name in found.what + found.advice for name in labels)
    assert mixed_patients([("tom", "", "ill"), ("tom", "", "ill")]) == []


def test_sessions_tell_classes_of_a_patient_apart():
    clips = [("zoe", "1", "ill"), ("zoe", "1", "ill"), ("zoe", "2", "well")]
    (apart,) = mixed_patients([*clips, ("tom", "", "ill")])
    assert (apart.severity, apart.patients) == ("note", ("zoe",))
    assert "a session is a case" in apart.advice
    mixed, other = mixed_patients([*clips, ("amy", "1", "ill"), ("amy", "1", "well")])
    assert (mixed.severity, mixed.patients, other.patients) == ("warning", ("amy",), ("zoe",))
    assert "1 patient with clips of several classes in one session" in mixed.what


def test_a_class_without_a_map():
    clips = [("1", "well"), ("2", "well"), ("3", "ill"), ("4", "ill")]
    (found,) = unannotated_classes(clips, {"1": (), "2": ()})
    assert (found.severity, found.subject) == ("warning", "class ill")
    assert "none of its 2 clips" in found.what
    assert unannotated_classes(clips, ["1", "3"]) == []
    (nothing,) = unannotated_classes(clips, [])
    assert (nothing.severity, nothing.what) == ("note", "no clip has a map")


def test_an_annotator_of_one_class():
    annotations = {"eva": ["ill"] * 3, "bob": ["ill", "well"]}
    (found,) = one_class_annotators(annotations, 2)
    assert found.subject == "annotator eva"
    assert "'ill' only (3)" in found.what
    assert one_class_annotators(annotations, 1) == []  # there is nothing else to annotate


@pytest.mark.parametrize(
    ("patients", "told"),
    # Of 10 ill and 10 well, k patients are all ill by chance with C(10, k) / C(20, k).
    [(1, False), (3, False), (4, True)],  # 0.5, 0.105, 0.043
)
def test_a_annotation_of_one_class_is_told_where_chance_seldom_does_that(patients, told):
    uses = [(f"ill-{n}", "ill") for n in range(patients) for _ in range(2)]
    found = one_class_annotations({"hip": uses}, people(ill=10, well=10))
    assert bool(found) == told
    if told:
        assert found[0].subject == "annotation hip"
        assert "'ill' only (8 clips of 4 patients)" in found[0].what


def test_a_annotation_of_two_classes_gives_nothing_away():
    uses = [(f"ill-{n}", "ill") for n in range(10)] + [("well-0", "well")]
    assert one_class_annotations({"hip": uses}, people(ill=10, well=10)) == []


def test_a_site_of_one_class_is_told_where_it_is_no_chance():
    south = [(f"s{n}", "south", ("ill", "well")[n % 2]) for n in range(10)]
    clips = [*south, *((f"n{n}", "north", "ill") for n in range(7))]
    # 12 of 17 patients are ill: seven drawn at random all are with a chance of 4.1 %, six of 5.8 %.
    (found,) = sites(clips)
    assert (found.severity, found.subject) == ("warning", "site north")
    assert "7 patients, all of class 'ill'" in found.what
    assert sites(clips[:-1]) == []
    said = site_sizes((patient, site) for patient, site, _ in clips)
    assert said == ["2 sites: north (7 patients), south (10 patients)"]


def test_patients_of_several_sites_and_clips_of_none():
    clips = [
        ("a", "north", "ill"),
        ("a", "south", "ill"),
        ("b", "", "well"),
        ("c", "north", "well"),
    ]
    several, without = sites(clips)
    assert (several.severity, several.patients) == ("warning", ("a",))
    assert (without.severity, without.what) == ("note", "1 clip without a site")
    assert sites([("a", "", "ill"), ("b", "", "well")]) == []
    assert site_sizes([("a", ""), ("b", "")]) == []


def test_a_split_by_site_is_judged_as_such():
    labels = {f"{site}{k}{n}": [name] for site in "efg" for k, name in enumerate(("ill", "well"))
              for n in range(3)}  # fmt: skip
    at = {patient: [patient[0]] for patient in labels}
    assert no_split(labels, 3, at) == []
    (found,) = no_split(labels, 5, at)
    assert "use split.folds=3" in found.what
    annotated = {(patient, name) for patient, (name,) in labels.items()}
    assert no_shuffle(labels, annotated, 3, at) == []
    one_each = {("e00", "ill"), ("f00", "ill"), ("g00", "ill")}
    assert all("of 9 parts" in found.what for found in no_shuffle(labels, one_each, 3, at))
    assert no_shuffle(labels, one_each, 3, at)
