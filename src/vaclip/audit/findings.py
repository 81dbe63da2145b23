"""What will mislead a study, found in a prepared one: see `vaclip data describe`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaclip.audit import pitfalls
from vaclip.audit.coverage import sparse_maps
from vaclip.audit.duplicates import duplicates, frame_hashes, near_pairs, same_recording
from vaclip.audit.map_features import MAP, map_features
from vaclip.audit.pitfalls import ALPHA
from vaclip.audit.shortcuts import (
    PERMUTATIONS,
    TOGETHER,
    column_features,
    file_facts,
    one_hot,
    patient_scores,
)
from vaclip.config import DataConfig
from vaclip.console import progress_bar
from vaclip.data.arrays import map_array
from vaclip.data.cache import clip_cache, file_digest, map_identities
from vaclip.data.splits import patient_labels
from vaclip.errors import VaclipError
from vaclip.evaluation.data_card import Finding, Score, Shortcuts
from vaclip.runs.prepare import PreparedStudy, sample_settings
from vaclip.study.study import Study

SEVERITIES = ("error", "warning", "note")
FOLDS = 5
ANNOTATIONS = "annotations"
MAPS = "maps"


def study_findings(
    data: DataConfig,
    prepared: PreparedStudy,
    folds: int,
    under_map: Mapping[str, float] | None = None,
    *,
    by_site: bool = False,
) -> tuple[list[Finding], Shortcuts]:
    """Looks for what will mislead a study.

    Args:
        data: The settings that the study was prepared with.
        prepared: The study.
        folds: Of the split, and of the shortcut score.
        under_map: Share of the samples of annotated clips on which a map shows.
        by_site: Whether the split leaves one site out; the shortcut score then has `FOLDS`.

    Returns:
        The findings, the gravest first, and the scores of metadata, `ANNOTATIONS` and drawn maps.
    """
    study = prepared.study
    labels = patient_labels([(clip.patient_id, clip.label) for clip in study.clips])
    sites = patient_labels([(clip.patient_id, clip.site) for clip in study.clips])
    split = (folds, sites if by_site else None)
    by_annotator, by_region = defaultdict(list), defaultdict(list)
    for clip in study.clips:
        annotations = study.annotations.get(clip.clip_id, ())
        for annotator in {annotation.annotator for annotation in annotations}:
            by_annotator[annotator].append(clip.label)
        for region in {
            annotation.value for annotation in annotations if annotation.kind == "region"
        }:
            by_region[region].append((clip.patient_id, clip.label))
    annotated = {(c.patient_id, c.label) for c in study.clips if c.clip_id in study.annotations}
    shortcuts = _shortcuts(data, prepared, FOLDS if by_site else folds)
    found = [
        *pitfalls.no_split(labels, *split),
        *pitfalls.no_shuffle(labels, annotated, *split),
        *pitfalls.small_classes(labels),
        *pitfalls.unequal_classes(labels),
        *pitfalls.mixed_patients((c.patient_id, c.session, c.label) for c in study.clips),
        *pitfalls.sites((c.patient_id, c.site, c.label) for c in study.clips),
        *pitfalls.unannotated_classes(
            [(c.clip_id, c.label) for c in study.clips], study.annotations
        ),
        *sparse_maps(under_map or {}),
        *pitfalls.one_class_annotators(dict(sorted(by_annotator.items())), len(study.classes)),
        *pitfalls.one_class_annotations(dict(sorted(by_region.items())), labels),
        *shortcut_findings(shortcuts),
        *_duplicates(data, prepared),
    ]
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return found, shortcuts


def shortcut_findings(shortcuts: Shortcuts) -> list[Finding]:
    """Tells whether metadata, or annotations, predict the label better than chance."""
    if shortcuts.why_none:
        advice = "see what the split needs"
        what = f"the shortcut score cannot be computed: {shortcuts.why_none}"
        return [Finding("note", "metadata", what, advice)]
    told = [score for score in shortcuts.scores if score.p_adjusted <= ALPHA]
    told.sort(key=lambda score: -score.score)
    maps = [score for score in told if score.feature.startswith(MAP)]
    annotated = [score for score in told if score.feature == ANNOTATIONS]
    metadata = [score for score in told if score not in (*maps, *annotated)]
    chance = f"(chance {shortcuts.chance:.2f})"
    found = []
    if metadata:
        what = (
            "the class can be told without looking at a video: balanced accuracy, by patient, from "
            f"{_each(metadata)} {chance}"
        )
        advice = (
            "make all classes alike in it (one device, site and export; vaclip data reencode), "
            "or else show that the model does better than these numbers"
        )
        found.append(Finding("warning", "metadata", what, advice))
    advice = "a guided model may read this hint alone: compare with experiment=K_map_only"
    for score in annotated:
        what = (
            f"what is annotated tells the class with a balanced accuracy of {score.score:.2f} "
            f"by patient {chance}"
        )
        found.append(Finding("note", ANNOTATIONS, what, advice))
    if maps:
        what = (
            "where and how much is marked tells the class: balanced accuracy, by patient, from "
            f"{_each(maps)} {chance}"
        )
        found.append(Finding("note", MAPS, what, advice))
    return found


def _each(scores: Sequence[Score]) -> str:
    return "; ".join(f"{score.feature}: {score.score:.2f}" for score in scores)


def _shortcuts(data: DataConfig, prepared: PreparedStudy, folds: int) -> Shortcuts:
    study = prepared.study
    patients = [clip.patient_id for clip in study.clips]
    labels = [clip.label for clip in study.clips]
    facts = pd.DataFrame([file_facts(c.video, c.start_s, c.end_s) for c in study.clips])
    facts["clips of the patient"] = pd.Series(patients).map(pd.Series(patients).value_counts())
    columns, left_out = column_features([clip.extra for clip in study.clips], patients)
    table = facts.join(columns.add_prefix("column "))
    scores: list[Score] = []
    why_none = ""
    try:
        scores = patient_scores(
            {n: one_hot(table[n]) for n in table}, patients, labels, folds=folds
        )
        scores += patient_scores(
            {ANNOTATIONS: _annotations(data, study)}, patients, labels, folds=folds
        )
        scores += _map_scores(prepared, patients, labels, folds)
    except VaclipError as error:  # too few patients for the folds, which is a finding of its own
        why_none = str(error)
    chance = 1 / len(set(labels))
    return Shortcuts(tuple(scores), chance, PERMUTATIONS, tuple(left_out), why_none)


def _map_scores(
    prepared: PreparedStudy, patients: Sequence[str], labels: Sequence[str], folds: int
) -> list[Score]:
    said = prepared.study.annotations
    marks = [
        sum(one.annotator in prepared.annotators for one in said.get(clip.clip_id, ()))
        for clip in prepared.study.clips
    ]
    table = map_features([item.cached.attn for item in prepared.items], marks)
    designs = {str(name): one_hot(table[name]) for name in table}
    scores = patient_scores(designs, patients, labels, folds=folds)
    return [
        replace(one, feature=MAP + TOGETHER) if one.feature == TOGETHER else one for one in scores
    ]


def _annotations(data: DataConfig, study: Study) -> NDArray[np.float64]:
    """Which of the annotations that patients share each clip has, and whether it has none."""
    root = clip_cache(data.cache_dir)
    said = map_identities(study, sample_settings(data, study.annotators), root)
    rows = [
        (number, annotation, clip.patient_id)
        for number, clip in enumerate(study.clips)
        for annotation in {m for own in said.get(clip.clip_id, ()) for m in own[1:]} or {""}
    ]
    table = pd.DataFrame(rows, columns=["clip", "annotation", "patient"])
    shared = table.groupby("annotation")["patient"].transform("nunique") > 1
    design = pd.crosstab(table["clip"], table["annotation"].where(shared, "of one patient"))
    return design.clip(upper=1).to_numpy(float)


def _duplicates(data: DataConfig, prepared: PreparedStudy) -> list[Finding]:
    clips = [item.cached.clip for item in prepared.items]
    root = clip_cache(data.cache_dir)
    clip_ids, patients = [c.clip_id for c in clips], [c.patient_id for c in clips]
    labels = [c.label for c in clips]
    # Clips of one patient and class may look alike.
    groups = pd.factorize(pd.Series(zip(patients, labels, strict=True)))[0].tolist()
    files = [file_digest(clip.video, root) for clip in clips]
    same = same_recording(files, [(c.start_s, c.end_s) for c in clips], groups)
    hashes = []
    with progress_bar("Looking for duplicates") as progress:
        for number, item in enumerate(prepared.items, start=1):
            hashes.append(frame_hashes(map_array(item.cached.frames).numpy()))
            progress(number, len(clips))
        near = near_pairs(hashes, groups, progress)
    return duplicates(clip_ids, patients, labels, same, near)
