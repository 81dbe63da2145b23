"""Whose videos they are stays out of the logs."""

from __future__ import annotations

import logging
from pathlib import Path

from composed import make_config
from vaclip.runs.run import run


def test_patients_clips_and_paths_stay_out_of_the_logs(tiny_study, tmp_path, caplog):
    root = tiny_study().rename(tmp_path / "ward seven")
    for name in ("clips.csv", "attention.csv"):
        text = (root / name).read_text()
        # "steady-0" is a patient, "steady-0-0" a clip of theirs, which names its video too.
        (root / name).write_text(text.replace("steady-0", "janedoe").replace(",ann,", ",drsmith,"))
    for file in root.glob("*/steady-0*"):
        file.rename(file.with_name(file.name.replace("steady-0", "janedoe")))
    (root / "attention.csv").write_text("\n".join((root / "attention.csv").read_text().split()[:9]))
    with caplog.at_level(logging.INFO):
        result = run(make_config(tmp_path / "runs", "data=folder", f"data.root={root}"))
    logged = caplog.text + "".join(
        path.read_bytes().decode("latin-1") for path in (result.folder / "fold_0/logs").rglob("*.*")
        if path.is_file()
    )  # fmt: skip
    assert "about the study" in logged  # of clips that nobody annotated
    assert "train/loss" in logged
    for secret in ("janedoe", "drsmith", "ward seven", str(Path(tmp_path).name), "limping-1"):
        assert secret not in logged, secret
