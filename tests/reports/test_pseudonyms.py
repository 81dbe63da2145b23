from __future__ import annotations

from vaclip.reports.pseudonyms import pseudonyms

CLIPS = {f"anna_{n:02d}": (f"anna_{n:02d}-a", f"anna_{n:02d}-b") for n in range(30)}


def test_pseudonyms_are_stable_distinct_and_do_not_follow_the_ids():
    names, again = pseudonyms(CLIPS, seed=1), pseudonyms(CLIPS, seed=1)
    assert names == again
    given = [names.patient(patient) for patient in CLIPS]
    assert sorted(given) == [f"P{n:02d}" for n in range(1, 31)]
    assert given != sorted(given)


def test_a_clip_is_named_after_its_patient():
    names = pseudonyms(CLIPS, seed=1)
    for patient, clips in CLIPS.items():
        assert [names.clip(c) for c in clips] == [f"{names.patient(patient)}-c{n}" for n in (1, 2)]


def test_many_patients_get_wider_numbers():
    names = pseudonyms({f"p{n}": () for n in range(120)}, seed=1)
    assert {len(name) for name in names.patients.values()} == {4}


def test_what_is_not_known_is_not_shown():
    names = pseudonyms(CLIPS, ["lost"], seed=1)
    assert names.clip("lost") == "X01"
    assert "eve" not in names.clip("eve-a") + names.patient("eve")


def test_real_ids_are_shown_when_asked_for():
    names = pseudonyms(CLIPS, real=True, seed=1)
    assert names.patient("anna_03") == "anna_03"
    assert names.clip("eve") == "eve"
    assert names.message("video/anna_03.mp4 is empty", "x") == "video/anna_03.mp4 is empty"


def test_a_message_loses_ids_quotes_and_file_names_alone():
    names = pseudonyms({**CLIPS, "3": ("3-a",)}, ["lost"], seed=1)
    text = "anna_03 (clip lost): 3 frames of 'Jane Doe', clips/jane.mp4 and jane.avi are empty"
    assert names.message(text, "lost") == "… (clip …): 3 frames of …, … and … are empty"
