"""The data card: what a study is made of, and how far its annotators agree."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from vaclip.audit.agreement import PairAgreement, annotator_agreement, joint_agreement
from vaclip.audit.findings import study_findings
from vaclip.config import DataConfig
from vaclip.console import progress_bar
from vaclip.data.cache import clip_cache
from vaclip.runs.prepare import PreparedStudy, describe_study, sample_settings


def data_card(
    data: DataConfig, prepared: PreparedStudy, *, folds: int = 5, workers: int = -1
) -> dict[str, Any]:
    """Describes a study, and what will mislead it.

    Counts of annotators and their agreement are of everyone who annotated it; ``distinct_maps``,
    ``clips_without_map`` and ``content_hash`` are of the maps that the settings make.

    Args:
        data: The settings that the study was prepared with.
        prepared: The study.
        folds: Of its split.
        workers: Processes that draw maps; -1 for one a core.

    Returns:
        The content of `keys.DATA_CARD_FILE`. Clip lengths are in seconds, to one sample;
        standard deviations are with n - 1; an undefined value is NaN, which `write_json`
        writes as null.

    Raises:
        VaclipError: If a map of an annotator whom the settings leave out cannot be drawn.
    """
    study, items = prepared.study, prepared.items
    settings = sample_settings(data, study.annotators)
    root = clip_cache(data.cache_dir)
    with progress_bar("Comparing annotators") as progress:
        pairs = annotator_agreement(study, settings, root, progress=progress)
    joint_clips, fleiss = joint_agreement(study, settings, root)
    seconds = np.array([item.cached.samples for item in items]) / data.fps
    clips = pd.DataFrame([(clip.label, clip.patient_id) for clip in study.clips])
    said = [
        {annotation.annotator for annotation in annotations}
        for annotations in study.annotations.values()
    ]
    about = describe_study(prepared)
    return {
        "name": study.name,
        "classes": about["classes"],
        "patients": about["patients"],
        "clips": about["clips"],
        "per_class": [
            {"class": name, "patients": own.nunique(), "clips": len(own)}
            for name in study.classes
            for own in [clips.loc[clips[0] == name, 1]]
        ],
        "annotators": [
            {"annotator": name, "clips": sum(name in who for who in said)}
            for name in study.annotators
        ],
        "distinct_maps": len({item.map_id for item in items} - {-1}),
        "clips_without_map": sum(item.cached.attn is None for item in items),
        "clip_seconds": {
            "min": float(seconds.min()),
            "median": float(np.median(seconds)),
            "max": float(seconds.max()),
        },
        "excluded": [asdict(row) for row in study.excluded],
        "agreement": [_row(pair) for pair in pairs],
        "joint_agreement": {"clips": joint_clips, "fleiss_kappa": fleiss},
        "content_hash": about["content_hash"],
        **study_findings(data, prepared, folds),
    }


def _row(pair: PairAgreement) -> dict[str, Any]:
    cc, sim = pd.Series(pair.cc), pd.Series(pair.sim)  # whose means leave undefined clips out
    return {
        "first": pair.first,
        "second": pair.second,
        "clips": len(pair.clip_ids),
        "exact": pair.exact,
        "kappa": pair.kappa,
        "cc_mean": float(cc.mean()),
        "cc_sd": float(cc.std()),
        "sim_mean": float(sim.mean()),
        "sim_sd": float(sim.std()),
    }
