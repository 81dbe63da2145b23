"""The data card: what a study is made of, and how far its annotators agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip.audit.agreement import agreement_of, annotator_agreement, joint_agreement
from vaclip.audit.findings import FOLDS, study_findings
from vaclip.audit.readers import readers
from vaclip.config import DataConfig
from vaclip.console import progress_bar
from vaclip.data.arrays import map_array
from vaclip.data.cache import clip_cache
from vaclip.evaluation.data_card import (
    AnnotatorCount,
    ClassCount,
    ClipSeconds,
    DataCard,
    ExcludedClip,
    JointAgreement,
)
from vaclip.runs.prepare import PreparedStudy, describe_study, sample_settings


def data_card(
    data: DataConfig,
    prepared: PreparedStudy,
    *,
    folds: int = FOLDS,
    by_site: bool = False,
    workers: int = -1,
) -> DataCard:
    """Describes a study, and what will mislead it.

    Args:
        data: The settings that the study was prepared with.
        prepared: The study.
        folds: Of its split.
        by_site: Whether its split leaves one site out at a time.
        workers: Processes that draw maps; -1 for one a core.

    Raises:
        VaclipError: If a map of an annotator whom the settings leave out cannot be drawn.
    """
    study, items = prepared.study, prepared.items
    settings = sample_settings(data, study.annotators)
    root = clip_cache(data.cache_dir)
    with progress_bar("Comparing annotators") as progress:
        pairs = annotator_agreement(study, settings, root, progress=progress)
    joint = JointAgreement(*joint_agreement(study, settings, root))
    seconds = np.array([item.cached.samples for item in items]) / data.fps
    clips = pd.DataFrame([(clip.label, clip.patient_id) for clip in study.clips])
    said = [
        {annotation.annotator for annotation in annotations}
        for annotations in study.annotations.values()
    ]
    shown = _shown(prepared)
    under_map = {clip_id: float(own.mean()) for clip_id, own in shown.items()}
    findings, shortcuts = study_findings(data, prepared, folds, under_map, by_site=by_site)
    return DataCard(
        name=study.name,
        classes=study.classes,
        patients=len(study.patients),
        clips=len(items),
        per_class=tuple(
            ClassCount(name, own.nunique(), len(own))
            for name in study.classes
            for own in [clips.loc[clips[0] == name, 1]]
        ),
        annotators=tuple(
            AnnotatorCount(name, sum(name in who for who in said)) for name in study.annotators
        ),
        distinct_maps=len({item.map_id for item in items} - {-1}),
        clips_without_map=sum(item.cached.attn is None for item in items),
        clip_seconds=ClipSeconds(
            float(seconds.min()), float(np.median(seconds)), float(seconds.max())
        ),
        excluded=tuple(ExcludedClip(row.clip_id, row.reason) for row in study.excluded),
        agreement=tuple(map(agreement_of, pairs)),
        joint_agreement=joint,
        content_hash=describe_study(prepared)["content_hash"],
        findings=tuple(findings),
        shortcuts=shortcuts,
        samples_under_map=float(np.concatenate(list(shown.values())).mean()) if shown else np.nan,
        blinding=study.blinding,
        readers=tuple(readers(study, settings, root)),
    )


def _shown(prepared: PreparedStudy) -> dict[str, NDArray[np.bool_]]:
    """Returns (S,) whether a map shows at each sample, of each clip that has one."""
    return {
        item.cached.clip.clip_id: map_array(item.cached.attn).numpy().any(axis=(0, 2, 3))
        for item in prepared.items
        if item.cached.attn is not None
    }
