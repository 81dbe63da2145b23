"""A corrupt clip never stops a training run halfway: it is found before, or left out."""

from __future__ import annotations

import json

import pytest

from composed import make_config
from vaclip import VaclipError
from vaclip.audit.data_card import data_card
from vaclip.commands.main import main
from vaclip.runs.prepare import open_study, prepare_study, report_maps
from vaclip.runs.run import run
from vaclip.study.load import load_study


@pytest.fixture
def root(tiny_study):
    """18 patients; the video of one is no video, that of another is cut off."""
    root = tiny_study(6)
    (root / "videos/steady-0-0.mkv").write_text("no video")
    half = root / "videos/limping-1-0.mkv"
    half.write_bytes(half.read_bytes()[:300])
    return root


def test_training_is_refused_before_it_begins_and_goes_on_after_quarantine(
    root, tmp_path, capsys, caplog
):
    overrides = ("data=folder", f"data.root={root}", f"data.cache_dir={tmp_path / 'cache'}")
    config = make_config(tmp_path / "runs", *overrides)
    with pytest.raises(VaclipError) as refused:
        run(config)
    said = str(refused.value)
    assert said.startswith("2 clip(s) of tiny cannot be used")
    assert "clip 'steady-0-0'" in said
    assert "clip 'limping-1-0'" in said
    assert f"`vaclip data check {root} --quarantine`" in said
    assert not list((tmp_path / "runs").rglob("*.ckpt"))

    with pytest.raises(SystemExit) as stopped:
        main(["data", "check", str(root), "--quarantine"])
    assert stopped.value.code == 0
    assert "2 clip(s) are excluded from now on" in capsys.readouterr().out
    assert len(load_study(root).clips) == 16

    finished = run(make_config(tmp_path / "runs", *overrides)).folder
    assert list(finished.rglob("best.ckpt"))
    about = json.loads((finished / "study.json").read_text())
    assert about["clips"] == 16
    prepared = prepare_study(config.data, open_study(config.data), workers=1)
    excluded = data_card(config.data, prepared, workers=1).excluded
    assert {row.clip_id for row in excluded} == {"steady-0-0", "limping-1-0"}
    assert all("steady-0-0" not in row.reason for row in excluded)
    with caplog.at_level("INFO", logger="vaclip"):
        report_maps(prepared)
    assert "16 clips (2 excluded)" in caplog.text
