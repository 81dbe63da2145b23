"""The data card as JSON, there and back."""

from __future__ import annotations

import json
import math

import pytest

from vaclip.errors import VaclipError
from vaclip.evaluation.data_card import (
    Agreement,
    AnnotatorCount,
    ClassCount,
    ClipSeconds,
    DataCard,
    ExcludedClip,
    Finding,
    JointAgreement,
    Score,
    Shortcuts,
)
from vaclip.files import write_json
from vaclip.keys import Blinding

CARD = DataCard(
    name="tiny",
    classes=("well", "ill"),
    patients=5,
    clips=9,
    per_class=(ClassCount("well", 2, 4), ClassCount("ill", 3, 5)),
    annotators=(AnnotatorCount("ann", 9),),
    distinct_maps=3,
    clips_without_map=1,
    clip_seconds=ClipSeconds(1.0, 2.0, 4.5),
    excluded=(ExcludedClip("c7", "too dark"),),
    agreement=(Agreement("ann", "bob", 4, 0.5, 0.25, 0.7, 0.1, 0.6, 0.2),),
    joint_agreement=JointAgreement(4, 0.3),
    content_hash="5f2c",
    findings=(Finding("note", "site", "one site", "say so", ("c1",), ("p1", "p2")),),
    shortcuts=Shortcuts((Score("codec", 0.6, 0.1, 0.2),), 0.5, 499, ("date",), ""),
    samples_under_map=0.25,
    blinding=Blinding(False, ("history",), "after"),
)


def content():
    return json.loads(json.dumps(CARD.to_json()))


def test_a_card_comes_back_from_its_file(tmp_path):
    write_json(tmp_path / "card.json", CARD.to_json())
    assert DataCard.from_json(json.loads((tmp_path / "card.json").read_text())) == CARD


def test_the_names_in_the_file():
    assert content()["per_class"][0] == {"class": "well", "patients": 2, "clips": 4}
    assert list(content()) == [
        "name", "classes", "patients", "clips", "per_class", "annotators", "distinct_maps",
        "clips_without_map", "clip_seconds", "excluded", "agreement", "joint_agreement",
        "content_hash", "findings", "shortcuts", "samples_under_map", "blinding",
        "readers",
    ]  # fmt: skip


def test_null_is_an_undefined_number():
    told = content()
    told["agreement"][0]["kappa"] = told["joint_agreement"]["fleiss_kappa"] = None
    card = DataCard.from_json(told)
    assert math.isnan(card.agreement[0].kappa)
    assert math.isnan(card.joint_agreement.fleiss_kappa)
    assert card.agreement[0].exact == 0.5


def test_what_a_later_version_adds_is_passed_over_and_shortcuts_may_be_absent():
    told = content() | {"weather": "fine"}
    del told["shortcuts"]
    assert DataCard.from_json(told).shortcuts.scores == ()
    del told["samples_under_map"]
    assert math.isnan(DataCard.from_json(told).samples_under_map)
    del told["blinding"]
    assert DataCard.from_json(told).blinding == Blinding(None, (), "unknown")


@pytest.mark.parametrize(
    ("blinding", "said"),
    [
        (Blinding(), "unknown"),
        (Blinding(True), "yes"),
        (Blinding(True, ("history", "age"), "before"),
         "yes; they saw history, age; they annotated before the diagnosis was made"),
        (Blinding(False, when="after"), "no; they annotated after the diagnosis was made"),
    ],
)  # fmt: skip
def test_what_annotators_knew_in_words(blinding, said):
    assert str(blinding) == said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.pop("clips"), r"^fields \['clips'\] are missing"),
        (lambda card: card["per_class"][1].pop("class"), r"^per_class: fields \['class'\] are"),
        (lambda card: card["shortcuts"]["scores"][0].pop("p"), r"^shortcuts\.scores: fields \['p'"),
        (lambda card: card.update(findings={}), r"^findings: expected a list"),
        (lambda card: card.update(clip_seconds=[1, 2]), r"^clip_seconds: expected an object"),
    ],
)
def test_what_is_missing_is_named(change, message):
    told = content()
    change(told)
    with pytest.raises(VaclipError, match=message):
        DataCard.from_json(told)


def test_a_card_that_is_no_object_is_refused():
    with pytest.raises(VaclipError, match=r"^expected an object"):
        DataCard.from_json([])


def test_it_says_in_a_line_what_it_is_of():
    assert repr(CARD) == "<DataCard of tiny: 5 patients, 9 clips, 2 classes, 1 finding(s)>"
