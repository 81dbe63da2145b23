"""From exports of ten patients to a report, by the commands that a person types.

DICOM of every transfer syntax and folders of pictures: ``videos/test_to_training.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pandas as pd
import pytest
from cases import all_cases

from vaclip import keys
from vaclip.commands.imports import run_import

COPIES = 5  # of each fixture, which has one patient of each of two classes
NAMES = {  # what tells the patients and videos of a fixture apart: each copy has its own
    "clinicalclip": "20200101_ill_lat__V1|20200203_well_lat_",
    "cvat": "walk_01|walk_02|p01|p02",
    "gaze": "walk_01|walk_02|p01|p02",
}
CASES = all_cases()
SMALL = ["study=smoke", "study.arms=[B3]", "study.folds=[0]", "study.noise_arms=[]",
         "trainer.accelerator=cpu"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", NAMES)
def test_an_export_becomes_a_report(kind, tmp_path):
    def vaclip(*words):
        done = subprocess.run(
            [sys.executable, "-m", "vaclip", *words], cwd=tmp_path, text=True,
            env={**os.environ, "VACLIP_CACHE": str(tmp_path / "cache")},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    study = tmp_path / "study"
    exports = [
        CASES[kind].copy_to(
            tmp_path / f"export_{number}",
            lambda text, number=number: re.sub(NAMES[kind], rf"\g<0>c{number}", text),
        )
        for number in range(COPIES)
    ]
    for export in exports[:-1]:  # the last one is enough to see that the command works
        run_import(CASES[kind].words(export, study)[2:])
    vaclip(*CASES[kind].words(exports[-1], study))
    clips = pd.read_csv(study / "clips.csv")
    assert clips.groupby("label")["patient_id"].nunique().to_dict() == {"ill": 5, "well": 5}

    vaclip("data", "check", "study")
    assert "Report: " in vaclip("study", *SMALL, "data=folder", "data.root=study")
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "report/report.html").is_file()
    predictions = pd.read_parquet(run / keys.PREDICTIONS_FILE)
    tested = predictions[predictions["split"] == "test"]
    assert tested["patient_id"].nunique() == 2  # one fifth
    assert tested["map_id"].ge(0).all()
