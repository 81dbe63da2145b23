"""The figure beside the verdict: which arms stand in which panel, and its answer."""

from __future__ import annotations

import dataclasses

import matplotlib as mpl
import pytest

from study_folder import judged, write_study
from vaclip.reports.drawing import draw_figures
from vaclip.reports.gather import read_folder
from vaclip.reports.verdict_figure import VERDICT_FIGURES

FAST = {"n_resamples": 20, "n_permutations": 49}
TAUGHT = ("B0", "B3", "K_map_only", "K_shuffled", "P1", "P2", "P_shuffled", "P_prior")


def panels(folder, arms, **roles):
    """By title: what each row says."""
    study = read_folder(write_study(folder, arms=arms, variants=False))
    study = dataclasses.replace(study, roles=dataclasses.replace(study.roles, **roles))
    results = judged(study, **FAST)
    canvas = VERDICT_FIGURES["verdict"][0](study, results)
    if canvas is None:
        return results, None
    rows = [[label.get_text() for label in ax.get_yticklabels()] for ax in canvas.axes]
    return results, dict(zip([ax.get_title(loc="left") or ax.get_title() for ax in canvas.axes],
                             rows, strict=True))  # fmt: skip


def test_each_question_has_its_arms_and_its_answer(tmp_path):
    results, found = panels(tmp_path, TAUGHT)
    answers = [question.answer.value for question in results.verdict.questions]
    titles = ("At the bedside", "With a clinician's map at hand", "Whose knowledge it is")
    assert list(found) == [f"{t}: {a}" for t, a in zip(titles, answers, strict=True)]
    arms = [[row.rpartition(" (")[2].rstrip(")") for row in rows] for rows in found.values()]
    assert arms == [
        ["P2", "P1", "P_shuffled", "P_prior", "B0"],
        ["B3", "B0", "B0+K_map_only", "K_map_only"],
        ["B3", "K_shuffled"],
    ]
    assert found[f"{titles[0]}: {answers[0]}"][0] == "taught by clinicians where to look (P2)"


def test_without_taught_arms_the_aligned_one_is_asked_about(tmp_path):
    _, found = panels(tmp_path, ("B0", "B1", "B3"), bedside="B1")
    bedside, at_hand = found.values()
    assert bedside == ["trained with maps, used without (B1)", "video only (B0)"]
    assert at_hand == ["video under the patient's map (B3)", "video only (B0)"]


@pytest.mark.parametrize("arms", [("B0",), ("K_uniform",)])
def test_one_arm_decides_nothing(tmp_path, arms):
    assert panels(tmp_path, arms)[1] is None


def test_it_is_drawn_before_the_others(tmp_path):
    study = read_folder(write_study(tmp_path / "s", arms=TAUGHT, variants=False))
    with mpl.rc_context({"font.size": 20}):
        drawn = draw_figures(study, judged(study, **FAST), tmp_path / "f", VERDICT_FIGURES)
    assert "<svg" in drawn["verdict"].svg


def test_its_text_for_those_who_do_not_see_it_has_answers_and_values(tmp_path):
    study = read_folder(write_study(tmp_path / "s", arms=TAUGHT, variants=False))
    results = judged(study, **FAST)
    figures = draw_figures(study, results, tmp_path / "f", VERDICT_FIGURES)
    answers = [question.answer.value for question in results.verdict.questions]
    value = results.scores["patient"]["P2"].scores["acc_macro"].mean
    (figure,) = figures.values()
    assert f"at the bedside: {answers[0]}" in figure.alt
    for svg in (figure.svg, figure.narrow):
        assert f"P2: {value:.3f} (" in svg.partition("<title")[0]


def test_on_a_phone_the_words_stand_over_the_rows(tmp_path):
    study = read_folder(write_study(tmp_path / "s", arms=TAUGHT, variants=False))
    canvas = VERDICT_FIGURES["verdict"][0](study, judged(study, **FAST), narrow=True)
    bedside = canvas.axes[0]
    words = {text.get_text(): text.get_position()[1] for text in bedside.texts}
    assert -1 < words["taught by clinicians where to look (P2)"] < 0
    assert 0 < words["taught by nobody (P1)"] < 1
    assert not any(label.get_text() for label in bedside.get_yticklabels())
