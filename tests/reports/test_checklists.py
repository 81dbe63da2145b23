"""The checklists name the papers' items, tell what a study holds, and invent nothing."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter

import pytest

from composed import make_study
from report_tables import LABELS, prediction_rows
from study_folder import judged, write_study
from vaclip import keys
from vaclip.evaluation.evaluate import evaluate
from vaclip.evaluation.plan import Plan, plan_content
from vaclip.evaluation.predictions import Predictions
from vaclip.files import write_json
from vaclip.reports.checklists import AUTHOR, Facts, checklist, checklists
from vaclip.reports.gather import read_folder, source_of, with_predictions
from vaclip.reports.typeset import MINUS
from vaclip.runs.folder import write_yaml

FAST = {"n_resamples": 5, "n_permutations": 9}
FACTS = {name for name in vars(Facts) if not name.startswith("_")} - {"told"}
OF_PREDICTIONS = {
    "tested",
    "classes",
    "output",
    "metrics",
    "uncertainty",
    "performance",
    "failures",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study that holds everything that there is to know."""
    folder = write_study(tmp_path_factory.mktemp("study"), arms=("B0", "B1", "B3", "K_shuffled"))
    write_yaml(folder / keys.CONFIG_FILE, dataclasses.asdict(make_study("study=quick")))
    for name, more in (
        (keys.DATA_CARD_FILE, {"blinding": {"blinded": False, "saw": ["age"], "when": "after"}}),
        (keys.ARMS_FILE, {}),
    ):
        content = json.loads((folder / name).read_text("utf-8")) | more
        if "roles" in content:
            content["roles"]["bedside"] = "B1"
        write_json(folder / name, content)
    roles = read_folder(folder).roles
    plan = Plan(plan_content(roles, ["B0", "B3"], [0, 1], [0, 1, 2]), "2026-11-27T17:50:00", 0)
    write_json(folder / keys.STUDY_PLAN_FILE, {"plans": [plan.to_json()]})
    return folder


@pytest.fixture(scope="module")
def study(folder):
    source = read_folder(folder)
    results = judged(source, **FAST)
    return with_predictions(source, results.predictions), results


@pytest.fixture(scope="module")
def bare():
    """Predictions of which nothing else is known."""
    source = source_of(Predictions.of(prediction_rows(LABELS)))
    return source, evaluate(source.everything, **FAST)


def items(name):
    (found,) = [each for each in checklists() if each["name"] == name]
    return found["items"]


def test_the_numbers_are_those_of_the_papers():
    tripod = [item for item, *_ in items("TRIPOD+AI")]
    assert len(tripod) == len(set(tripod)) == 52
    letters = {3: 3, 5: 2, 6: 3, 8: 3, 9: 3, 12: 7, 18: 6, 20: 3, 23: 2, 27: 3}
    assert tripod == [
        f"{main}{letter}"
        for main in range(1, 28)
        for letter in ("abcdefg"[: letters[main]] if main in letters else [""])
    ]
    assert [item for item, *_ in items("CLAIM")] == [str(n) for n in range(1, 45)]
    probast = [item for item, *_ in items("PROBAST+AI")]
    counts = {"Development": (3, 4, 4, 5), "Evaluation": (3, 4, 4, 7)}  # 16 and 18 questions
    assert probast == [
        f"{part} {domain}.{question}"
        for part, sizes in counts.items()
        for domain, size in enumerate(sizes, start=1)
        for question in range(1, size + 1)
    ]


def test_every_fact_that_an_item_names_is_there_and_every_fact_is_named():
    named = {name for each in checklists() for _, _, *names in each["items"] for name in names}
    assert named == FACTS


@pytest.mark.parametrize("name", sorted(FACTS))
def test_a_study_that_holds_everything_tells_every_fact(study, name):
    assert getattr(Facts(*study), name)()


@pytest.mark.parametrize("name", sorted(FACTS))
def test_predictions_alone_tell_only_what_they_hold(bare, name):
    assert bool(getattr(Facts(*bare), name)()) == (name in OF_PREDICTIONS)


def third_column(text: str) -> list[str]:
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [cells[2] for cells in rows if len(cells) == 3 and cells[0] not in ("Item", "---")]


def test_what_only_the_author_knows_stays_blank(study):
    told = third_column(checklist(*study))
    wanted = [names for each in checklists() for _, _, *names in each["items"]]
    assert len(told) == len(wanted) == 52 + 44 + 34
    assert [cell == AUTHOR for cell in told] == [not names for names in wanted]
    assert Counter(told)[AUTHOR] > 40


def test_no_number_is_there_that_the_study_does_not_hold(folder, study):
    """Of the files themselves, of the results as they are rounded, or a count of rows."""
    source, results = study
    files = (keys.DATA_CARD_FILE, keys.CONFIG_FILE, keys.ENVIRONMENT_FILE, keys.ARMS_FILE,
             keys.STUDY_PLAN_FILE, keys.GALLERY_FILE)  # fmt: skip
    held = " ".join((folder / name).read_text("utf-8") for name in files)
    numbers = [*results.frame.select_dtypes("number").to_numpy().ravel()]
    for contrast in results.families["primary"]:
        numbers += [contrast.difference, contrast.interval.low, contrast.interval.high]
    held += " ".join(f" {abs(value):.3f}" for value in numbers)
    held += " 95 3 4 8"  # the level; folds; patients and clips of a class
    known = set(re.findall(r"\d+(?:\.\d+)?", held))
    known |= {f"{float(number):.3f}" for number in known} | set(re.findall(r"\w+", held))
    tested = source.predictions.clips.drop_duplicates(keys.PRED_PATIENT)[keys.PRED_LABEL]
    assert set(tested.value_counts()) == {4}
    text = " ".join(third_column(checklist(*study))).replace(MINUS, " ")
    found = set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\d)", text))
    assert len(found) > 20
    assert found <= known, found - known


def test_facts_are_those_of_the_study(study):
    facts, (source, results) = Facts(*study), study
    assert facts.tested() == "Patients tested: normal 4, hip 4, knee 4"
    assert facts.flow() == "12 patients with 24 clips; 1 clip excluded before; 12 patients tested"
    assert facts.blinding().endswith(
        "no; they saw age; they annotated after the diagnosis was made"
    )
    assert "by patient: 3 of 5 folds tested, 2 seeds" in facts.partition()
    by_site = dataclasses.replace(source, config="split: {folds: 3, by: site}")
    assert "leaving one site out at a time: 3 of 3" in Facts(by_site, results).partition()
    assert facts.map_at_test() == "B1 is tested without maps"
    assert facts.plan().startswith(f"As planned ({source.plans[0]}, before the first result).")
    score = results.scores["patient"]["B3"].scores["acc_macro"]
    assert f"B3: balanced accuracy {score.mean:.3f} (" in facts.performance()
    assert "torch 2.13.0" in facts.software()


def test_a_simulated_study_says_so_and_another_does_not(folder, study, tmp_path):
    source, results = study
    assert "its patients are simulated" in Facts(source, results).data_source()
    own = source.config.replace("source: synthetic_gait", "source: folder")
    assert own != source.config
    other = Facts(dataclasses.replace(source, config=own), results)
    assert "simulated" not in other.data_source()


def test_what_nobody_recorded_is_not_told(study):
    source, results = study
    card = dataclasses.replace(source.data_card, blinding=type(source.data_card.blinding)())
    facts = Facts(dataclasses.replace(source, data_card=card), results)
    assert facts.blinding() is None
    assert facts.told("blinding") == AUTHOR


def test_a_backbone_of_ones_own_may_have_been_trained_before(study):
    source, results = study
    own = source.config.replace("clip_backbone: 3dcnn", "clip_backbone: mine:Net")
    assert own != source.config
    assert Facts(dataclasses.replace(source, config=own), results).initialisation() is None
