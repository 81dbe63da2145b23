"""What a run reports: the prediction table, a majority guess beside it, means over folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vaclip import keys
from vaclip.config import Config
from vaclip.data.dataset import SegmentDataset
from vaclip.data.items import columns_of
from vaclip.evaluation.embeddings import Embeddings
from vaclip.evaluation.predictions import Predictions
from vaclip.features import EncoderInfo
from vaclip.files import write_json
from vaclip.metrics.functional import classification_metrics
from vaclip.metrics.modules import INFORMATION, PROBS, alignment_similarity
from vaclip.metrics.split import case_of_clip
from vaclip.runs.folder import fold_folder
from vaclip.study.clip_table import clip_column
from vaclip.study.study import Study


def majority_guess(datasets: dict[str, SegmentDataset]) -> dict[str, float]:
    """Scores a constant guess of the commonest class of the training clips.

    Returns:
        ``test/clip/...`` and ``test/patient/...`` as the model's own metrics are named.
    """
    labels = columns_of(datasets["train"].items).label
    test = columns_of(datasets["test"].items)
    clips, sessions = test.label, test.session
    classes = max(labels.max(), clips.max()) + 1
    guess = np.bincount(labels, minlength=classes) == np.max(np.bincount(labels))
    probs = np.zeros(classes)
    probs[np.flatnonzero(guess)[0]] = 1.0
    patients = clips[np.unique(case_of_clip(sessions, clips), return_index=True)[1]]
    scores = {}
    for unit, truth in (("clip", clips), ("patient", patients)):
        values = classification_metrics(np.tile(probs, (len(truth), 1)), truth)
        del values["log_loss"]  # of a certain guess it is infinite
        scores |= {f"test/{unit}/{name}": value for name, value in values.items()}
    return scores


def fold_predictions(
    tables: dict[str, dict[str, Any]],
    datasets: dict[str, SegmentDataset],
    config: Config,
    study: Study,
    fold: int,
    encoder: EncoderInfo | None = None,
) -> Predictions:
    """Returns what a model said of one or more splits, with the embeddings of the test split.

    Args:
        tables: What `SplitPredictions` computed, by split.
        datasets: What it was computed on, by split.
        config: The settings of the run.
        study: The study.
        fold: Which was left out of training.
        encoder: Whose tokens the model read.
    """
    aligned = config.loss.clip_weight > 0
    frame = pd.concat(
        [
            _frame(table, datasets[split], config, study, fold, split, aligned)
            for split, table in tables.items()
        ]
    )
    frame.attrs = {keys.PRED_WEIGHTS: {config.arm: encoder.told}} if encoder else {}
    test = tables["test"]
    embeddings = Embeddings(test[keys.VIDEO_EMBED], test[keys.ATTN_EMBED])
    kept = aligned and keys.split_variant(config.arm)[1] is None  # points of axes have no retrieval
    return Predictions.of(
        frame, embeddings={(config.arm, fold, config.seed): embeddings} if kept else {}
    )


def _frame(
    table: dict[str, Any],
    dataset: SegmentDataset,
    config: Config,
    study: Study,
    fold: int,
    split: str,
    aligned: bool,
) -> pd.DataFrame:
    facts = columns_of(dataset.items)
    of_map = dict(zip(facts.row.tolist(), facts.map_label.tolist(), strict=True))
    donors = [of_map[row] for row in table[keys.CLIP_ROW].tolist()]

    def told(name: str) -> list[str]:
        of_clip = clip_column(study.clips, name)
        return [of_clip[row] for row in table[keys.CLIP_ROW].tolist()]

    columns = {
        keys.PRED_STUDY: study.name,
        keys.PRED_ARM: config.arm,
        keys.PRED_FOLD: fold,
        keys.PRED_SEED: config.seed,
        keys.PRED_SPLIT: split,
        keys.PRED_PATIENT: told("patient_id"),
        keys.PRED_CLIP: told("clip_id"),
        keys.PRED_SEGMENT: table[keys.SEGMENT],
        keys.PRED_LABEL: told("label"),
        keys.PRED_SIM: alignment_similarity(table, aligned=aligned),
        keys.PRED_MAP_ID: table[keys.MAP_ID],
        keys.PRED_MAP_LABEL: ["" if k < 0 else study.classes[k] for k in donors],
    }
    for index, name in enumerate(study.classes):
        columns[f"{keys.PRED_PROB_PREFIX}{name}"] = table[PROBS][:, index]
    columns[keys.PRED_SESSION] = told("session")
    columns[keys.PRED_SITE] = told("site")
    columns[keys.PRED_MAP_INFORMATION] = table[INFORMATION]
    return pd.DataFrame(columns)


def write_summary(folder: Path, metrics: dict[int, dict[str, Any]]) -> None:
    """Joins the folds' predictions and metrics in the run folder."""
    Predictions.concat(Predictions.load(fold_folder(folder, fold)) for fold in metrics).save(folder)
    write_json(
        folder / keys.METRICS_FILE,
        {"summary": fold_summary(metrics), "folds": {str(k): v for k, v in metrics.items()}},
    )


def fold_summary(metrics: dict[int, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation (n - 1) over folds of every test metric.

    A fold whose value is undefined is left out and shows in ``folds``; one fold has no
    deviation (NaN).
    """
    tests = pd.DataFrame([fold["test"] for fold in metrics.values()], dtype=float)
    return {
        name: {
            "mean": float(tests[name].mean()),
            "std": float(tests[name].std(ddof=1)),
            "folds": int(tests[name].notna().sum()),
        }
        for name in map(str, tests)
    }
