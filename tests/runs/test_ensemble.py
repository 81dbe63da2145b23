"""Several models that predict together, and diagnoses that are withheld."""

from __future__ import annotations

import dataclasses
import json
import math
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from test_predict import make_predictor

import vaclip as vc
from conftest import CLASSES, SMALL_RUN, write_tiny_study
from vaclip import VaclipError
from vaclip.commands.abstention import abstention_lines
from vaclip.commands.main import main
from vaclip.commands.predict import prediction_view
from vaclip.files import write_json
from vaclip.runs import ensemble
from vaclip.runs.abstain import Abstain, Threshold, told
from vaclip.runs.ensemble import load_ensemble
from vaclip.runs.predict import load_predictor, predict_videos
from vaclip.runs.said import Said, row_of
from vaclip.study.study import Clip

PROBS = [f"prob_{name}" for name in CLASSES]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """All three folds of a model that predicts its map."""
    home = tmp_path_factory.mktemp("home")
    study = write_tiny_study(home / "my_study")
    settings = [*SMALL_RUN, f"data.cache_dir={home / 'cache'}"]
    return vc.train(study, arm="P2", folds="all", overrides=settings, folder=home / "run")


@pytest.fixture(scope="module")
def videos(run):
    return sorted((run.folder.parent / "my_study/videos").glob("*"))[:3]


def checkpoints_of(run):
    return [run.checkpoint(fold) for fold in range(3)]


def test_models_are_averaged_and_how_far_they_agree_is_told(run, videos):
    paths = checkpoints_of(run)
    together = predict_videos(load_ensemble(paths), videos)
    alone = [predict_videos(load_predictor(path), videos) for path in paths]
    probs = np.stack([one.table[PROBS].to_numpy() for one in alone])
    np.testing.assert_allclose(together.table[PROBS], probs.mean(axis=0), rtol=1e-6)
    for row, found in enumerate(together.table.itertuples()):
        said = CLASSES.index(found.predicted)
        assert said == probs[:, row].mean(axis=0).argmax()
        own = [one.table["predicted"][row] == found.predicted for one in alone]
        assert found.agreement == pytest.approx(np.mean(own))
        assert found.spread == pytest.approx(np.std(probs[:, row, said], ddof=1))
        maps = np.mean([one.maps[row] for one in alone], axis=0)
        np.testing.assert_allclose(together.maps[row], maps, rtol=1e-5)
    assert not {"agreement", "spread", "answered"} & set(alone[0].table)


@pytest.mark.parametrize("score", ["confidence", "map_information"])
def test_the_threshold_is_chosen_on_the_validation_clips_of_the_run(run, score):
    frame = run.predictions.frame
    for fold, path in enumerate(checkpoints_of(run)):
        val = frame[(frame["fold"] == fold) & (frame["split"] == "val")]
        by_clip = val.groupby("clip_id")[[*PROBS, "map_information"]].mean()
        sure = by_clip[PROBS].max(axis=1) if score == "confidence" else by_clip["map_information"]
        (chosen,) = Abstain(score, coverage=0.6).thresholds([path])
        wanted = np.sort(sure)[::-1][int(np.ceil(0.6 * len(sure))) - 1]
        assert chosen.least == pytest.approx(wanted)
        assert chosen.coverage == pytest.approx((sure >= wanted).mean())


def test_the_command_takes_a_run_folder_and_withholds(run, videos, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["predict", "--checkpoint", str(run.folder), "--abstain-coverage", "0.5"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", str(out), *map(str, videos)])
    assert not ended.value.code
    said = capsys.readouterr()
    assert "answers at confidence of" in said.out + said.err
    table = pd.read_csv(out / "predictions.csv")
    chosen = json.loads((out / "abstention.json").read_text())
    assert len(chosen["thresholds"]) == 3
    votes = []
    for own in chosen["thresholds"]:
        found = predict_videos(load_predictor(own["checkpoint"]), videos).table
        votes.append(found[PROBS].max(axis=1) >= own["least"])
    answered = 2 * np.sum(votes, axis=0) >= 3
    assert table["answered"].tolist() == answered.tolist()
    assert table["predicted"].notna().tolist() == answered.tolist()
    assert table[PROBS].notna().all(axis=None)
    assert len(list(out.glob("maps/*.mp4"))) == 3


def test_the_terminal_shows_what_tells_the_videos_apart():
    paths = ["/data/ward/monday/a.mp4", "/data/ward/b.mp4"]
    console = Console(width=200, file=StringIO())
    console.print(prediction_view(pd.DataFrame({"clip_id": paths, "video": paths, "map": "none"})))
    said = console.file.getvalue()
    assert "/data" not in said
    assert "monday/a.mp4" in said.replace("\\", "/")


def test_a_run_without_validation_curves(run, tmp_path):
    with pytest.raises(VaclipError, match="has no threshold: those are chosen on the validation"):
        Abstain(coverage=0.5).thresholds([tmp_path / "fold_0/checkpoints/best.ckpt"])
    with pytest.raises(VaclipError, match="no run folder"):
        main_raises(["--checkpoint", str(run.folder.parent), "--abstain-coverage", "0.5"])
    with pytest.raises(VaclipError, match="--abstain-agreement is of several models"):
        main_raises(["--checkpoint", str(run.checkpoint(0)), "--abstain-agreement", "0.9"])


def main_raises(words):
    from vaclip.commands import main as module

    options = module._parser().parse_args(["predict", *words, str(Path(__file__).parent)])
    options.checkpoints = [path for given in options.checkpoint
                           for path in module._checkpoints(given)]  # fmt: skip
    return module.abstention_of(options)


CURVE = {"threshold": [0.9, 0.8, 0.6], "coverage": [0.25, 0.5, 1.0], "risk": [0.0, 0.2, 0.5]}


@pytest.fixture
def recorded(tmp_path):
    write_json(tmp_path / "fold_0/abstention.json", {"confidence": CURVE})
    return tmp_path / "fold_0/checkpoints/best.ckpt"


@pytest.mark.parametrize(
    ("wish", "row"),
    [({"coverage": 0.5}, 1), ({"coverage": 0.51}, 2), ({"risk": 0.2}, 1), ({"risk": 0.1}, 0)],
)
def test_a_wish_chooses_a_row_of_the_curve(recorded, wish, row):
    expected = Threshold(*(CURVE[name][row] for name in ("threshold", "coverage", "risk")))
    assert Abstain(**wish).thresholds([recorded]) == [expected]


def test_wishes_that_cannot_be_met(recorded, tmp_path):
    with pytest.raises(VaclipError, match=r"by entropy; it has confidence"):
        Abstain("entropy", coverage=0.5).thresholds([recorded])
    write_json(tmp_path / "fold_0/abstention.json", {"confidence": CURVE | {"risk": [1, 0.6, 0.5]}})
    with pytest.raises(VaclipError, match=r"no threshold keeps to a risk of 0.1"):
        Abstain(risk=0.1).thresholds([recorded])
    write_json(tmp_path / "fold_1/abstention.json", {"confidence": CURVE})
    both = [recorded, tmp_path / "fold_1/checkpoints/best.ckpt"]
    one, other = Abstain(risk=0.1).thresholds(both)
    assert (one.least, one.coverage, other.least) == (math.inf, 0, 0.9)
    lines = list(abstention_lines(json.loads(json.dumps(told(Abstain(risk=0.1), both)))))
    assert "answers nothing" in lines[0]
    assert "of 0.900 or more: 25% of its validation clips, 0% of these wrong" in lines[1]
    for wrong in ({}, {"coverage": 0.0}, {"coverage": 1.5}, {"risk": 0.1, "coverage": 0.5}):
        with pytest.raises(VaclipError):
            Abstain(**wrong)
    with pytest.raises(VaclipError, match="'luck' is no score"):
        Abstain("luck", coverage=0.5)
    assert Abstain(agreement=0.5).thresholds([recorded]) == []


@pytest.mark.parametrize(
    ("abstain", "least", "answered"),
    [
        (Abstain(coverage=0.5), (0.5, 0.5, 0.5), True),
        (Abstain(coverage=0.5), (0.55, 0.75, 0.5), True),  # two of three would answer
        (Abstain(coverage=0.5), (0.65, 0.75, 0.5), False),
        (Abstain(agreement=0.6), (), True),
        (Abstain(agreement=0.7), (), False),
        (Abstain(coverage=0.5, agreement=0.7), (0.5, 0.5, 0.5), False),
    ],
)
def test_half_of_the_models_have_to_answer(abstain, least, answered):
    """They give 0.6, 0.7 and 0.6 to their diagnoses; the third one's is another."""
    probs = ([0.6, 0.2, 0.2], [0.7, 0.2, 0.1], [0.2, 0.6, 0.2])
    said = [Said(np.array(own), 1, "none", None) for own in probs]
    thresholds = [Threshold(value, 0.5, 0.1) for value in least]
    row = row_of(Clip("c", Path("c.mp4"), "p", "a"), said, CLASSES, abstain, thresholds)
    assert row["answered"] is answered
    assert row["predicted"] == (CLASSES[0] if answered else "")
    assert row["agreement"] == pytest.approx(2 / 3)


def test_models_of_different_trainings_do_not_predict_together(monkeypatch):
    one = dataclasses.replace(make_predictor(), data={"frames": 8})
    others = {
        "classes": dataclasses.replace(one, classes=("x", "y", "z")),
        "settings of data": dataclasses.replace(one, data={"frames": 16}),
        "maps that may guide": dataclasses.replace(make_predictor(map_guided=True), data=one.data),
    }
    for what, other in others.items():
        members = {"one": one, "other": other}
        monkeypatch.setattr(ensemble, "load_predictor", lambda name, _, own=members: own[name])
        with pytest.raises(VaclipError, match=f"their {what} differ"):
            load_ensemble(["one", "other"])
