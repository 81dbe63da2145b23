"""Every rule of the verdict, and its words."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from vaclip.evaluation.answers import Answer
from vaclip.evaluation.closure import Closure
from vaclip.evaluation.compare import Contrast, Score
from vaclip.evaluation.follow import Following
from vaclip.evaluation.inference import UNDEFINED, Interval, ResampledT, StandardError, holm
from vaclip.evaluation.learning import Needed, Projection
from vaclip.evaluation.roles import Roles
from vaclip.evaluation.thresholds import AtThresholds
from vaclip.evaluation.verdict import Evidence, verdict, with_needed
from vaclip.keys import NOT_RECORDED, Blinding

ROLES = Roles("B0", "B3", "K_shuffled", "K_map_only", "B1")
TAUGHT = replace(ROLES, taught="P2", untaught="P1", taught_shuffled="P_shuffled", prior="P_prior")
FUSION = "B0+K_map_only"
BETTER, WORSE, UNCLEAR, EQUAL = (0.2, 0.001), (-0.2, 0.001), (0.05, 0.3), (0.01, 0.6)
NARROW = 0.01  # a standard error with which 0.01 is no difference
NOTHING = (math.nan, math.nan)


def contrast(first, second, difference, p, *, jobs=15, error=0.04, metric="acc_macro"):
    value = 0.7
    return Contrast(
        first=first,
        second=second,
        metric=metric,
        jobs=jobs,
        jobs_of_either=15,
        patients=60,
        value_first=value,
        value_second=value - difference,
        difference=difference,
        error=StandardError(error, 40.0),
        interval=Interval(difference - 0.08, difference + 0.08),
        trained=Interval(difference - 0.06, difference + 0.06),
        percentile=Interval(difference - 0.06, difference + 0.06),
        p_patients=p,
        p=p,
        p_holm=math.nan,
        resampled_t=ResampledT(1.0, 14, 0.3),
    )


def score(mean, half=0.1):
    interval = Interval(mean - half, mean + half)
    return Score({0: mean}, mean, math.nan, interval, interval, interval)


def judged(
    *,
    chance=1 / 3,
    map_alone=None,
    auroc=None,
    same_maps=math.nan,
    blinding=NOT_RECORDED,
    cut=None,
    closure=None,
    permuted=None,
    roles=ROLES,
    **found,
):
    """From bedside, gain, whose, fusion, ... = (difference, p) or (difference, p, error)."""
    pairs = {
        "taught": (roles.taught, roles.untaught),
        "shuffled": (roles.taught, roles.taught_shuffled),
        "prior": (roles.taught, roles.prior),
        "usual": (roles.taught, roles.baseline),
        "bedside": (roles.bedside, roles.baseline),
        "gain": (roles.method, roles.baseline),
        "whose": (roles.method, roles.shuffled),
        "fusion": (roles.method, roles.fusion),
    }
    made = {}
    for name, (difference, p, *error) in found.items():
        more = {"error": error[0]} if error else {}
        made[pairs[name]] = contrast(*pairs[name], difference, p, **more)
    primary = [
        pairs[name] for name in ("taught", "bedside", "gain", "whose") if pairs[name] in made
    ]
    for pair, p in zip(primary, holm([made[pair].p for pair in primary]), strict=True):
        made[pair] = replace(made[pair], p_holm=p)
    evidence = Evidence(
        chance, map_alone, auroc, same_maps, blinding, cut, closure=closure, permuted=permuted
    )
    return verdict(made, roles, evidence)


def answers(found):
    return {question.name: question.answer for question in found.questions}


@pytest.mark.parametrize(
    ("bedside", "answer"),
    [
        (BETTER, Answer.YES),
        (WORSE, Answer.NO),
        ((*EQUAL, NARROW), Answer.NO),
        (EQUAL, Answer.UNDECIDED),  # small, but nobody can tell
        (UNCLEAR, Answer.UNDECIDED),
        ((-0.2, 0.2), Answer.UNDECIDED),  # a negative is never asserted from a p that is large
        (NOTHING, Answer.NOT_ASKED),
    ],
)
def test_bedside(bedside, answer):
    assert answers(judged(bedside=bedside))["bedside"] is answer


def test_bedside_says_what_it_was_answered_from():
    said = str(judged(bedside=BETTER).questions[0])
    assert said.startswith("At the bedside, where nobody has drawn a map: ")
    assert "Yes. B1 is better than B0" in said
    assert "trained with maps and tested without; its attention is not taught" in said


SURE = {"shuffled": BETTER, "prior": BETTER, "usual": BETTER}


@pytest.mark.parametrize(
    ("taught", "changed", "answer", "why"),
    [
        (BETTER, {}, Answer.YES, "P2 is better than P1"),
        (BETTER, {}, Answer.YES, "It is also better than P_shuffled: P2 0.700, P_shuffled 0.500"),
        (BETTER, {}, Answer.YES, "and not worse than B0"),
        (BETTER, {"usual": (*EQUAL, NARROW)}, Answer.YES, "and not worse than B0"),
        (WORSE, {}, Answer.NO, "P2 is worse than P1"),
        ((*EQUAL, NARROW), {}, Answer.NO, "differ by less than 0.05"),
        (UNCLEAR, {}, Answer.UNDECIDED, "a difference is not excluded"),
        (NOTHING, {}, Answer.NOT_ASKED, "It needs P2 and P1"),
        (BETTER, {"shuffled": (*EQUAL, NARROW)}, Answer.NO, "another patient's maps teach as much"),
        (BETTER, {"shuffled": WORSE}, Answer.NO, "another patient's maps teach as much"),
        (BETTER, {"shuffled": UNCLEAR}, Answer.UNDECIDED, "not excluded that another patient's"),
        (BETTER, {"shuffled": (-0.2, 0.2)}, Answer.UNDECIDED, "not excluded that another"),
        (BETTER, {"shuffled": None}, Answer.UNDECIDED, "not compared with a control by which"),
        (BETTER, {"prior": (*EQUAL, NARROW)}, Answer.NO, "where everybody looks is as good"),
        (BETTER, {"prior": UNCLEAR}, Answer.UNDECIDED, "where everybody looks is as good"),
        (BETTER, {"prior": None}, Answer.UNDECIDED, "not compared with a control by which"),
        (BETTER, {"usual": WORSE}, Answer.NO, "it is worse than B0"),
        (BETTER, {"usual": (0.0, 1.0)}, Answer.UNDECIDED, "it may be worse than B0"),
        (BETTER, {"usual": None}, Answer.UNDECIDED, "not compared with the baseline"),
        # One certain no outweighs what is open.
        (BETTER, {"shuffled": UNCLEAR, "prior": WORSE}, Answer.NO, "where everybody looks"),
    ],
)
def test_bedside_of_a_taught_arm(taught, changed, answer, why):
    found = {name: value for name, value in (SURE | changed).items() if value}
    question = judged(roles=TAUGHT, taught=taught, bedside=BETTER, **found).questions[0]
    assert question.name == "bedside"
    assert question.answer is answer
    assert why in question.sentences[0]


def test_each_contrast_of_the_bedside_has_one_p_and_those_of_controls_are_their_own():
    found = judged(roles=TAUGHT, taught=(0.2, 0.01), gain=(0.2, 0.02), **SURE).questions[0]
    why = found.sentences[0]
    assert why.count("p = ") + why.count("p < ") == 4
    assert "corrected p = 0.020" in why
    assert why.count("corrected") == 1


def test_without_a_taught_arm_in_the_table_the_aligned_one_answers():
    found = judged(roles=TAUGHT, bedside=BETTER)
    assert "B1 is better than B0" in str(found.questions[0])


def test_the_taught_arm_says_how_much_of_the_gain_it_has():
    closed = Closure("P2", "B0", "B3", 0.62, Interval(0.31, 0.95))
    question = judged(roles=TAUGHT, taught=BETTER, closure=closed, **SURE).questions[0]
    assert question.sentences[1] == "P2 is given no map at test: it looks where it has learned to."
    assert question.sentences[2] == (
        "Of the way from B0 to B3, which is shown the map, P2 goes 0.62 "
        "(95% interval 0.31 to 0.95)."
    )


@pytest.mark.parametrize(
    ("gain", "fusion", "answer", "why"),
    [
        (BETTER, BETTER, Answer.YES, "also better than the late fusion of B0 and K_map_only"),
        (BETTER, None, Answer.UNDECIDED, "without an arm that sees the map alone"),
        (BETTER, UNCLEAR, Answer.UNDECIDED, "not shown to be better than the late fusion"),
        (BETTER, (-0.01, 0.9), Answer.UNDECIDED, "not shown to be better than the late fusion"),
        (BETTER, WORSE, Answer.NO, "the diagnosis that the map holds"),
        (BETTER, (*EQUAL, NARROW), Answer.NO, "the diagnosis that the map holds"),
        (WORSE, BETTER, Answer.NO, "B3 is worse than B0"),
        ((*EQUAL, NARROW), BETTER, Answer.NO, "differ by less than 0.05"),
        (UNCLEAR, BETTER, Answer.UNDECIDED, "a difference is not excluded"),
        (NOTHING, BETTER, Answer.NOT_ASKED, "It needs B3 and B0"),
    ],
)
def test_map_at_hand(gain, fusion, answer, why):
    more = {"fusion": fusion} if fusion else {}
    question = judged(gain=gain, **more).questions[1]
    assert question.answer is answer
    assert why in question.sentences[0]


@pytest.mark.parametrize(
    ("auroc", "answer"),
    [((0.0, 1.0, 0.0), Answer.UNDECIDED), ((*EQUAL, NARROW), Answer.UNDECIDED),
     ((0.15, 0.001), Answer.YES), ((0.03, 0.4), Answer.YES)],
)  # fmt: skip
def test_a_gain_that_leaves_the_ranking_as_it_is_is_a_shift_of_the_cut(auroc, answer):
    difference, p, *error = auroc
    more = {"error": error[0]} if error else {}
    ranked = contrast("B3", "B0", difference, p, metric="auroc_macro", **more)
    question = judged(gain=BETTER, fusion=BETTER, auroc=ranked).questions[1]
    assert question.answer is answer
    assert ("shift of the cut" in question.sentences[0]) == (answer is Answer.UNDECIDED)


@pytest.mark.parametrize(
    ("alone", "said"),
    [(score(0.9), True), (score(0.35), False), (score(0.45, half=0.2), False), (None, False)],
)
def test_the_map_tells_the_diagnosis_only_above_chance(alone, said):
    sentences = judged(gain=UNCLEAR, map_alone=alone).questions[1].sentences
    assert any("map alone tells the diagnosis" in sentence for sentence in sentences) == said


@pytest.mark.parametrize(
    ("permuted", "said"),
    [(score(0.9), True), (score(0.35), False), (score(0.45, half=0.2), False), (None, False)],
)
def test_what_learns_from_permuted_labels_is_told_of_only_above_chance(permuted, said):
    roles = replace(ROLES, permuted="K_permuted")
    caveats = judged(gain=UNCLEAR, permuted=permuted, roles=roles).caveats
    assert any("Look for a leak: K_permuted" in sentence for sentence in caveats) == said


@pytest.mark.parametrize(
    ("whose", "same_maps", "answer"),
    [
        (BETTER, 0.1, Answer.YES),
        (BETTER, math.nan, Answer.YES),
        (WORSE, 0.1, Answer.NO),
        ((*EQUAL, NARROW), 0.1, Answer.NO),
        ((*EQUAL, NARROW), 0.8, Answer.UNDECIDED),  # the control was no control
        (UNCLEAR, 0.1, Answer.UNDECIDED),
        ((-0.2, 0.2), 0.1, Answer.UNDECIDED),
        (NOTHING, 0.1, Answer.NOT_ASKED),
    ],
)
def test_whose_map(whose, same_maps, answer):
    question = judged(whose=whose, same_maps=same_maps).questions[2]
    assert question.answer is answer
    assert any("very same annotation" in s for s in question.sentences) == (same_maps == 0.8)


@pytest.mark.parametrize(
    ("margin", "answer"),
    [(0.02, Answer.UNDECIDED), (0.05, Answer.NO), (0.1, Answer.NO)],
)
def test_equal_is_what_the_margin_of_the_plan_says(margin, answer):
    """With a standard error of 0.01 the 90 % interval of 0.01 ends below 0.03."""
    roles = replace(ROLES, margin=margin)
    close = (*EQUAL, NARROW)
    found = judged(bedside=close, gain=close, whose=close, same_maps=0.1, roles=roles)
    assert set(answers(found).values()) == {answer}
    said = any(f"differ by less than {margin:g}: " in sentence for sentence in found.sentences)
    assert said == (answer is Answer.NO)
    ranked = contrast("B3", "B0", 0.01, 0.6, metric="auroc_macro", error=NARROW)
    gained = judged(gain=BETTER, fusion=BETTER, auroc=ranked, roles=roles).questions[1]
    assert ("shift of the cut" in gained.sentences[0]) == (answer is Answer.NO)


@pytest.mark.parametrize(("low", "said"), [(0.05, True), (0.0, False), (-0.1, False)])
def test_that_a_method_follows_the_map_is_said_above_its_base_rate(low, said):
    interval = Interval(low, 0.4)
    follows = Following(90, 40, 0.42, 0.2, 0.22, interval, interval)
    made = {("B3", "B0"): replace(contrast("B3", "B0", 0.2, 0.001), p_holm=0.001)}
    sentences = verdict(made, ROLES, Evidence(1 / 3, following=follows)).questions[1].sentences
    expected = (
        "B3 follows the map: shown the map of a patient of another class, it gives that class in "
        "42% of 90 clips, with the own map in 20%, difference +0.220, 95% interval +0.050 to "
        "+0.400."
    )
    assert (expected in sentences) == said
    assert any("follows" in sentence for sentence in sentences) == said


def test_controls_stand_beside_their_question_without_a_p():
    controls = ("K_shuffled", "K_shuffled_within_class", "K_uniform", "K_map_only", "K_withheld")
    roles = replace(ROLES, controls=controls, withheld="K_withheld", swapped="K_swapped")
    pairs = [("B1", "B0"), ("B3", "B0"), *(("B3", name) for name in (*controls, "K_swapped"))]
    made = {pair: replace(contrast(*pair, 0.1, 0.04), p_holm=0.09) for pair in pairs}
    bedside, at_hand, whose = verdict(made, roles, Evidence(1 / 3)).questions
    beside = "Beside it, B3 less a control, with the 95% interval: "
    assert not any(sentence.startswith(beside) for sentence in bedside.sentences)
    assert at_hand.sentences[-1] == f"{beside}K_withheld +0.100 (+0.020 to +0.180)."
    assert whose.sentences[-1] == (
        f"{beside}K_shuffled_within_class +0.100 (+0.020 to +0.180); "
        "K_uniform +0.100 (+0.020 to +0.180)."
    )


@pytest.mark.parametrize("extrapolated", [True, False])
def test_an_undecided_question_says_how_many_patients_would_settle_it(extrapolated):
    found = judged(gain=UNCLEAR, whose=BETTER)
    held = Projection(412.0, Interval(60.0, 5891.0))
    ahead = Projection(311.0, Interval(60.0, 4000.0)) if extrapolated else Projection(
        math.nan, UNDEFINED, "fewer than 3 sizes"
    )  # fmt: skip
    needed = [Needed(question.contrast, 60, held, ahead) for question in found.questions[1:]]
    _, at_hand, whose = with_needed(found, needed).questions
    expected = (
        "With the 60 patients that there are it is undecided: about 410 (95% interval 60 to 5,900) "
        "would settle it if the difference stays as it is"
    )
    if extrapolated:
        expected += ", 310 (95% interval 60 to 4,000) if it goes on as the learning curves do"
    assert at_hand.sentences[-1] == f"{expected}."
    assert whose == found.questions[2]  # answered
    assert with_needed(found, []) == found


def test_primary_contrasts_share_their_alpha():
    """0.03 would do alone; of three the smallest must be below 0.05 / 3."""
    one = judged(gain=(0.2, 0.03), fusion=BETTER)
    assert answers(one)["map_at_hand"] is Answer.YES
    three = judged(gain=(0.2, 0.03), fusion=BETTER, bedside=(0.2, 0.03), whose=(0.2, 0.03))
    assert set(answers(three).values()) == {Answer.UNDECIDED}


def test_a_question_has_one_effect_one_interval_and_one_p():
    first = judged(gain=(0.2, 0.004), whose=(0.2, 0.02), fusion=BETTER).questions[1].sentences[0]
    own = first.split("It is also")[0]
    assert "B3 0.700, B0 0.500, difference +0.200, 95% interval +0.120 to +0.280" in own
    assert "corrected p = 0.008" in own
    assert own.count("p = ") == 1


def test_a_tiny_p_is_not_written_as_zero():
    assert "corrected p < 0.001" in str(judged(gain=(0.2, 1e-5), fusion=BETTER).questions[1])


def test_arms_that_predict_the_very_same_are_equal():
    same = replace(contrast("B3", "K_shuffled", 0.0, 1.0, error=0.0), identical=True, p_holm=1.0)
    found = verdict({("B3", "K_shuffled"): same}, ROLES, Evidence(1 / 3))
    assert found.questions[2].answer is Answer.NO


@pytest.mark.parametrize(
    ("blinding", "said"),
    [
        (Blinding(False), "The annotators knew the diagnosis: their maps may hold it."),
        (Blinding(False, ("CT reports", "age"), "after"),
         "The annotators knew the diagnosis: their maps may hold it. They saw CT reports, age. "
         "They annotated after the diagnosis was made."),
        (NOT_RECORDED, "Nobody recorded whether the annotators were blinded to the diagnosis: "
         "their maps may hold it."),
        (Blinding(None, when="before"), "Nobody recorded whether the annotators were blinded to "
         "the diagnosis: their maps may hold it. They annotated before the diagnosis was made."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("asked", [{"gain": BETTER}, {"bedside": UNCLEAR}, {"whose": WORSE}])
def test_the_first_line_is_of_annotators_who_knew_or_may_have_known(blinding, said, asked):
    assert judged(blinding=blinding, **asked).sentences[0] == said


def test_of_blinded_annotators_or_where_nothing_rests_on_maps_there_is_no_such_line():
    blinded = judged(blinding=Blinding(True, ("history",), "before"), gain=BETTER)
    assert blinded.annotators == ""
    assert blinded.sentences[0].startswith("At the bedside")
    assert judged(blinding=Blinding(False), gain=NOTHING).annotators == ""
    assert verdict({}, None, Evidence(1 / 3)).annotators == ""


def test_holes_are_said():
    hole = replace(contrast("B3", "B0", 0.2, 0.001, jobs=12), p_holm=0.001)
    found = verdict({("B3", "B0"): hole}, ROLES, Evidence(1 / 3))
    assert found.caveats == (
        "B3 against B0 rests on the 12 of 15 pairs of fold and seed that both arms have.",
    )
    assert found.sentences[-1] == found.caveats[0]


def test_arms_of_other_names_are_named_by_their_roles():
    roles = Roles("resnet", "resnet_gaze")
    made = replace(contrast("resnet_gaze", "resnet", 0.2, 0.001), p_holm=0.001)
    found = verdict({("resnet_gaze", "resnet"): made}, roles, Evidence(0.5))
    assert answers(found) == {
        "bedside": Answer.NOT_ASKED,
        "map_at_hand": Answer.UNDECIDED,
        "whose_map": Answer.NOT_ASKED,
    }
    words = " ".join(found.sentences)
    assert "resnet_gaze is better than resnet: " in words
    assert "B3" not in words
    assert "K_" not in words


def test_without_roles_there_is_no_verdict():
    found = verdict({("B3", "B0"): contrast("B3", "B0", 0.2, 0.001)}, None, Evidence(1 / 3))
    assert found.questions == ()
    assert "nothing says which arm" in found.sentences[0]


@pytest.mark.parametrize(
    ("difference", "p", "lost", "p_lost", "answer"),
    [
        (0.01, 0.7, 0.19, 0.003, Answer.UNDECIDED),
        (-0.10, 0.01, 0.30, 0.001, Answer.UNDECIDED),
        (0.10, 0.03, 0.10, 0.003, Answer.YES),  # it shrinks, but there is one
        (0.05, 0.3, 0.15, 0.08, Answer.YES),  # that it shrinks is not shown
        (0.01, 0.7, -0.19, 0.003, Answer.YES),
        (0.01, 0.7, math.nan, math.nan, Answer.YES),
    ],
)
def test_a_gain_that_thresholds_from_validation_take_away_is_a_shift_of_the_cut(
    difference, p, lost, p_lost, answer
):
    interval = Interval(difference - 0.1, difference + 0.1)
    cut = AtThresholds(0.7, 0.7 - difference, difference, interval, p, lost, p_lost)
    question = judged(gain=BETTER, fusion=BETTER, cut=cut).questions[1]
    assert question.answer is answer
    assert ("shift of the cut" in question.sentences[0]) == (answer is Answer.UNDECIDED)
    if answer is Answer.UNDECIDED:
        assert question.sentences[0].endswith(
            "But it is gone where each model's thresholds are chosen on its validation patients: "
            f"B3 0.700, B0 {0.7 - difference:.3f}, difference {difference:+.3f}, 95% interval "
            f"{difference - 0.1:+.3f} to {difference + 0.1:+.3f}."
        )
