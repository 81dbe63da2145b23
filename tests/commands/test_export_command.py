"""``vaclip export`` finds the run that is meant, or says what is missing."""

from __future__ import annotations

import argparse

import pytest

from vaclip import VaclipError, keys
from vaclip.commands import export
from vaclip.commands.main import main


def options(folder, to, **more):
    given = {"arm": None, "fold": None, "seed": 0, "data": None} | more
    return argparse.Namespace(folder=folder, to=to, **given)


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "study"
    (folder / "jobs" / "P2-fold1-seed2").mkdir(parents=True)
    for name in (keys.CONFIG_FILE, keys.JOBS_FILE):
        (folder / name).touch()
    return folder


def test_a_model_of_a_study_is_found_by_arm_fold_and_seed(study, tmp_path):
    found = export._look_for(options(study, tmp_path / "x", arm="P2", fold=1, seed=2))
    assert found == (study / "jobs" / "P2-fold1-seed2", study)
    job = found[0]
    (job / keys.CONFIG_FILE).touch()
    assert export._look_for(options(job, tmp_path / "x")) == (job, None)


def test_a_model_that_there_is_not_is_told(study, tmp_path):
    for more, said in (
        ({}, "is a study of many arms; name one with --arm"),
        ({"arm": "P2"}, "no job jobs/P2-fold0-seed0: no model was trained for arm P2, fold 0"),
        ({"arm": "../x", "fold": 1}, "no job jobs/"),
    ):
        with pytest.raises(VaclipError, match=said):
            export._look_for(options(study, tmp_path / "x", **more))
    run = tmp_path / "run"
    run.mkdir()
    (run / keys.CONFIG_FILE).touch()
    with pytest.raises(VaclipError, match="--arm is for the folder of a study"):
        export._look_for(options(run, tmp_path / "x", arm="P2"))


def test_packages_that_are_missing_are_named(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "vaclip.commands.extras.find_spec", lambda name: None if name == "onnx" else name
    )
    words = ["export", str(study), "--arm", "P2", "--fold", "1", "--seed", "2"]
    with pytest.raises(SystemExit):
        main([*words, "--to", str(tmp_path / "x")])
    assert "needs more packages (onnx): pip install 'vaclip[export]'" in capsys.readouterr().err
