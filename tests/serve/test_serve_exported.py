"""What `vaclip export` writes and `vaclip serve` reads are one thing: a run, exported and asked."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from serving import served
from vaclip import keys
from vaclip.evaluation.predictions import Predictions
from vaclip.export.export import export_run


def test_the_server_says_what_the_test_table_says(trained, tmp_path):
    run = trained("P2")
    found = export_run(run.folder, tmp_path / "exported")
    table = Predictions.load(run.folder / "fold_0")
    stated = table.test.groupby(keys.PRED_CLIP)[table.probs].mean()
    clips = {clip.clip_id: clip for clip in trained.study.clips}
    with served(found.folder) as server:
        for clip_id, probs in stated.iterrows():
            status, _, said = server.ask("/predict?map=true", clips[clip_id].video.read_bytes())
            assert status == 200
            assert [*said["probabilities"]] == [*trained.study.classes]
            assert [*said["probabilities"].values()] == pytest.approx([*probs], abs=1e-5)
            assert said["map"]
