"""Ids and labels that differ in spelling alone."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conftest import read_rows, write_rows, write_tiny_study
from vaclip.audit.check import check
from vaclip.audit.describe import describe
from vaclip.audit.reencode import reencode_study
from vaclip.errors import VaclipError
from vaclip.study.load import load_study, read_study
from vaclip.study.patients import confused_patients
from vaclip.study.spelling import look_alikes, quoted, spelling_key

WORDS = st.from_regex(r"[A-Za-zäöüéñçא-ת]{1,6}", fullmatch=True)
NUMBERS = st.integers(0, 10**6).map(str)
UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\ufe0f"
BLANKS = " \u00a0\u202f\u2009\u3000\t"
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"


@given(st.text())
@example("I\u0307 \u0345\u00a8")
@example("00 01.0")
def test_a_key_is_its_own_key(name):
    assert spelling_key(spelling_key(name)) == spelling_key(name)


@given(WORDS, NUMBERS, st.data())
def test_every_spelling_of_an_id_has_one_key(word, number, data):
    name = f"{word}-{number}"
    zeros = "0" * data.draw(st.integers(0, 3))
    dash, blank, unseen = (data.draw(st.sampled_from(kind)) for kind in (DASHES, BLANKS, UNSEEN))
    other = data.draw(st.sampled_from([word, word.upper(), word.lower()]))
    other = unicodedata.normalize(data.draw(st.sampled_from(["NFC", "NFD", "NFKD"])), other)
    spelt = f"{blank}{other}{unseen}{dash}{zeros}{number}{blank}{unseen}"
    assert spelling_key(spelt) == spelling_key(name)
    assert spelling_key(f"{blank}{zeros}{number}.0") == spelling_key(number)
    assert spelling_key(f"{word}{blank}{zeros}{number}") == spelling_key(word + number)
    assert spelling_key(f"{word}{blank}{blank} b") == spelling_key(f"{word} b")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P1", "\u04201"), ("p1", "\u04401"), ("P1", "\u03a11"), ("HB2", "\u041d\u04122"),
        ("Xe", "\u0425\u0435"), ("\u00eb1", "\u04511"), ("K\u00f3", "\u039a\u03cc"),
        ("O'Brien", "O\u2019Brien"), ("O'Brien", "O\u00b4Brien"), ("O'Brien", "O`Brien"),
        ("P4", "P\u0664"), ("P 12", "P\uff11\uff12"), ("P04", "P\u0966\u096a"),
        ("Ilk", "\u0131lk"), ("\u0130z", "iz"), ("\u0130z", "\u0131z"),
    ],
)  # fmt: skip
def test_letters_and_digits_of_other_scripts_that_look_alike(one, other):
    assert spelling_key(one) == spelling_key(other)


@pytest.mark.parametrize("letters", ["\u0430-\u044f\u0451", "\u03b1-\u03c9", "a-z"])
def test_words_of_one_alphabet_stay_apart(letters):
    words = st.from_regex(f"[{letters}]{{1,4}}", fullmatch=True)

    @given(words, words)
    def stay_apart(one, other):
        same = one.casefold() == other.casefold()
        assert (spelling_key(one) == spelling_key(other)) == same

    stay_apart()


@given(WORDS, NUMBERS, NUMBERS)
def test_another_number_or_word_is_another_id(word, one, other):
    if one != other:
        assert spelling_key(f"{word}{one}") != spelling_key(f"{word}{other}")
        assert spelling_key(f"{one}-{other}") != spelling_key(f"{other}-{one}")
    assert spelling_key(f"{word}x{one}") != spelling_key(f"{word}{one}")


@pytest.mark.parametrize(
    ("one", "other"),
    [("1-2", "12"), ("1 23", "12 3"), ("1.05", "1.5"), ("10", "1"), ("1", "-1"), ("a", "ä"),
     ("1.0", "1.1"), ("HER2+", "HER2-"), ("0", "00.1"), ("ab c", "a bc")],
)  # fmt: skip
def test_what_differs_in_more_has_other_keys(one, other):
    assert spelling_key(one) != spelling_key(other)


def test_names_show_what_eyes_cannot_see():
    assert quoted("Müller 2") == "'Müller 2'"
    assert quoted("Mu\u0308ller 2") == r"'Mu\u0308ller 2'"
    assert quoted("Ab\u00a03") == r"'Ab\xa03'"
    assert quoted("P\u20111") == r"'P\u20111'"
    assert quoted("P1\u200b") == r"'P1\u200b'"
    assert quoted("\u04201") == r"'\u04201'"
    assert quoted("Иванов 1") == "'Иванов 1'"


def test_groups_are_of_different_names_in_their_order():
    assert look_alikes(["b", "P1", "b", "p1", "a", "p 01"]) == [["P1", "p1", "p 01"]]
    assert look_alikes(["a", "a", "b"]) == []


# --- a study -------------------------------------------------------------------------------------

PAIRS = (
    ("000", "0"), ("P1", "p1"), ("M\u00fcller2", "Mu\u0308ller2"), ("Ab 3", "Ab\u00a03"),
    ("004", "4"), ("P5", "p5"),
)  # fmt: skip
SHOWN = [
    "'000' (clips.csv:2) and '0' (clips.csv:3)",
    "'P1' (clips.csv:4) and 'p1' (clips.csv:5)",
    r"'Müller2' (clips.csv:6) and 'Mu\u0308ller2' (clips.csv:7)",
    r"'Ab 3' (clips.csv:8) and 'Ab\xa03' (clips.csv:9)",
    "'004' (clips.csv:10) and '4' (clips.csv:11)",
    "'P5' (clips.csv:12) and 'p5' (clips.csv:13)",
]


@pytest.fixture
def twice(tmp_path):
    """A study of 12 clips of 6 people, each under two ids."""
    root = write_tiny_study(tmp_path / "study", patients_per_class=4)
    ids = [name for pair in PAIRS for name in pair]
    rows = [
        {**row, "patient_id": name}
        for row, name in zip(read_rows(root / "clips.csv"), ids, strict=True)
    ]
    write_rows(root / "clips.csv", rows)
    return root


def problems(root, severity="error"):
    return [f"{p.where}: {p.what}" for p in read_study(root)[1] if p.severity == severity]


def test_one_person_under_two_ids_is_refused_and_named(twice):
    with pytest.raises(VaclipError, match=r"has 6 error\(s\)") as refused:
        load_study(twice)
    with pytest.raises(VaclipError) as described:
        describe(twice)
    checked = check(twice, workers=1)
    assert len(checked.errors) == 6
    for pair, error in zip(SHOWN, checked.errors, strict=True):
        assert error.what.startswith(f"{pair} differ in spelling alone: use one id for one person.")
        assert pair in str(refused.value)
        assert pair in str(described.value)


def test_different_people_are_named_in_patients_csv(twice):
    listed = [{"patient_id": name, "distinct": "yes", "age": 70} for pair in PAIRS for name in pair]
    write_rows(twice / "patients.csv", listed)
    assert len(load_study(twice).patients) == 12
    listed[1]["distinct"] = ""  # a table of patients says nothing by naming them
    write_rows(twice / "patients.csv", listed)
    assert [text.split(" differ")[0] for text in problems(twice)] == [
        "clips.csv:patient_id: " + SHOWN[0]
    ]
    listed[1]["distinct"] = "perhaps"
    write_rows(twice / "patients.csv", listed)
    assert problems(twice)[0] == "patients.csv:3:distinct: 'perhaps' is neither yes nor empty"
    write_rows(twice / "patients.csv", [{"patient_id": "000"}])
    assert problems(twice)[0].startswith("patients.csv:1: the header lacks distinct")


@pytest.mark.parametrize(
    "other", ["P_1", "P-01", "P1", "p 1", "\u0420\u20111", "P/1", "P.1", "#P1", '"P1', "'P-01"]
)
def test_patients_are_alike_whether_letter_and_number_are_joined_or_not(twice, other):
    assert confused_patients(twice, ["P-1", other]) == [["P-1", other]]
    assert confused_patients(twice, ["P-1", other[:-1] + "2", "-1", "1", "1-1", "11"]) == []
    assert look_alikes(["P-1", "P1"]) == []  # of labels the sign of a number may count


def test_excluded_clips_confuse_nobody(twice):
    clips = [row["clip_id"] for row in read_rows(twice / "clips.csv")]
    write_rows(twice / "excluded.csv", [{"clip_id": c, "reason": "twice"} for c in clips[1::2]])
    assert len(load_study(twice).patients) == 6


def test_a_copy_keeps_who_is_distinct(twice, tmp_path):
    listed = [{"patient_id": name, "distinct": "yes"} for pair in PAIRS for name in pair]
    write_rows(twice / "patients.csv", listed)
    reencode_study(twice, tmp_path / "copy")
    assert len(load_study(tmp_path / "copy").patients) == 12


def test_a_label_of_another_spelling_names_the_class(tmp_path):
    root = write_tiny_study(tmp_path / "study", patients_per_class=1)
    rows = read_rows(root / "clips.csv")
    rows[0]["label"] = "Steady\u200b"
    write_rows(root / "clips.csv", rows)
    assert problems(root) == [
        r"clips.csv:2:label: 'Steady\u200b' and 'steady' differ in spelling alone: "
        "use 'steady', the class of study.yaml"
    ]


def test_classes_that_differ_in_spelling_are_refused(tmp_path):
    root = write_tiny_study(tmp_path / "study", patients_per_class=1)
    text = (root / "study.yaml").read_text()
    (root / "study.yaml").write_text(text.replace("- shuffling\n", "- shuffling\n- Limping\n"))
    assert problems(root) == [
        "study.yaml:classes: 'limping' and 'Limping' differ in spelling alone: "
        "use 'limping' for both, here and in clips.csv"
    ]


def test_an_unknown_clip_shows_what_eyes_cannot_see(tmp_path):
    root = write_tiny_study(tmp_path / "study", patients_per_class=1)
    rows = read_rows(root / "attention.csv")
    rows[0]["clip_id"] = "st\u0435ady-0-0"
    write_rows(root / "attention.csv", rows)
    assert problems(root) == [
        r"attention.csv:2:clip_id: clips.csv has no clip 'st\u0435ady-0-0'. Did you mean "
        "'steady-0-0'?"
    ]


def test_sites_and_sessions_that_differ_in_spelling_are_a_warning(tmp_path):
    root = write_tiny_study(tmp_path / "study", patients_per_class=2)
    rows = read_rows(root / "clips.csv")
    for row, site, session in zip(rows, ("Ward A", "ward a", "B"), ("1", "01", "1"), strict=False):
        row |= {"site": site, "session": session}
    rows[1]["patient_id"] = rows[0]["patient_id"]
    write_rows(root / "clips.csv", [{"site": "B", "session": "", **row} for row in rows])
    assert [text for text in problems(root, "warning") if "spelling" in text] == [
        "clips.csv:site: 'Ward A' and 'ward a' differ in spelling alone: is it one site?",
        "clips.csv:session: '1' and '01' differ in spelling alone: is it one session of patient "
        f"'{rows[0]['patient_id']}'?",
    ]


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (["unknown", "P1", "P2"], ["'unknown' (1 clip) names nobody"]),
        (["N/A", "N/A", "P2"], ["'N/A' (2 clips) names nobody"]),
        (["P1", "01-Mar", "2.1.2024"], ["'01-Mar', '2.1.2024': a date among other ids"]),
        (["P1", "Mrz 21", "3. Dez"], ["'Mrz 21', '3. Dez': a date among other ids"]),
        (["2024-01-01", "2024-01-02", "2024-02-01"], []),
        (["march-1a", "12", "1.5"], []),
    ],
)
def test_ids_that_are_most_likely_none_are_a_warning(tmp_path, ids, told):
    root = write_tiny_study(tmp_path / "study", patients_per_class=1)
    rows = read_rows(root / "clips.csv")
    write_rows(
        root / "clips.csv",
        [{**row, "patient_id": name} for row, name in zip(rows, ids, strict=True)],
    )
    found = [text for text in problems(root, "warning") if "patient_id" in text]
    assert len(found) == len(told)
    for text, start in zip(found, told, strict=True):
        assert text.startswith(f"clips.csv:patient_id: {start}")


@pytest.mark.parametrize("column", ["clip_id", "patient_id", "label"])
@pytest.mark.parametrize(
    ("cell", "made"), [("#N/A", "an error"), ("1.2E+16", "a number of more than 15 digits")]
)
def test_what_excel_made_of_an_id_or_label_is_refused(tmp_path, column, cell, made):
    root = write_tiny_study(tmp_path / "study", patients_per_class=1)
    rows = read_rows(root / "clips.csv")
    rows[1][column] = cell
    write_rows(root / "clips.csv", rows)
    assert problems(root)[0] == (
        f"clips.csv:3:{column}: Excel made {made} of the cell ({cell}): type it again, as text"
    )


def test_annotators_that_differ_in_spelling_are_a_warning(tmp_path):
    root = write_tiny_study(tmp_path / "study", patients_per_class=1)
    rows = read_rows(root / "attention.csv")
    rows[-1]["annotator"] = "Ann"
    write_rows(root / "attention.csv", rows)
    assert problems(root, "warning") == [
        "attention.csv:annotator: 'Ann' and 'ann' differ in spelling alone: is it one annotator?"
    ]
