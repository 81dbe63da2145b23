"""How annotators worked on the page of `vaclip annotate`, from the study's annotation_log.csv."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vaclip.audit.agreement import agreement_of, annotator_agreement
from vaclip.data.cache import SampleSettings
from vaclip.errors import VaclipError
from vaclip.evaluation.data_card import Agreement, Reader
from vaclip.evaluation.readers import Diagnosed, reader_score
from vaclip.maps.source import Annotation, map_source
from vaclip.study.annotation_log import ANNOTATION_LOG, Reading, read_annotation_log
from vaclip.study.study import Study


def readers(study: Study, settings: SampleSettings, root: Path) -> Iterator[Reader]:
    """Yields the readers of a study, by name; readings of clips that it leaves out do not count.

    Args:
        study: The study.
        settings: How clips and maps are sampled.
        root: The cache folder.

    Raises:
        VaclipError: If annotation_log.csv was changed, or a map cannot be drawn.
    """
    clips = {clip.clip_id for clip in study.clips}
    read = [one for one in read_annotation_log(study.root) if one.clip_id in clips]
    for name in sorted({one.annotator for one in read}):
        own = [one for one in read if one.annotator == name]
        first = [one for one in own if one.showing == 1]
        patients, accuracy, low, high = _accuracy(study, first)
        yield Reader(
            annotator=name,
            clips=len({one.clip_id for one in own}),
            seconds=float(np.median([one.seconds for one in first])) if first else math.nan,
            again=_with_themself(study, own, settings, root),
            patients=patients,
            accuracy=accuracy,
            low=low,
            high=high,
        )


def _with_themself(
    study: Study, own: Sequence[Reading], settings: SampleSettings, root: Path
) -> Agreement:
    """Compares the two showings of a clip, as if two had annotated it.

    The chance level is that of all clips: few are shown twice.
    """
    names = own[0].annotator, f"{own[0].annotator} again"
    both = replace(settings, annotators=names)
    twice = replace(study, annotations=_annotations(study, own, names))
    (pair,) = annotator_agreement(twice, both, root)
    first = [one for one in own if one.showing == 1]
    copied = [*first, *(replace(one, showing=2) for one in first)]
    (every,) = annotator_agreement(
        replace(study, annotations=_annotations(study, copied, names)), both, root
    )
    return agreement_of(replace(pair, cc_chance=every.cc_chance, sim_chance=every.sim_chance))


def _annotations(
    study: Study, readings: Sequence[Reading], names: tuple[str, str]
) -> dict[str, tuple[Annotation, ...]]:
    """Returns by clip what was left, by one name the first time and by another the second."""
    clips = {clip.clip_id: clip for clip in study.clips}
    found: dict[str, tuple[Annotation, ...]] = {}
    for one in readings:
        about = study.annotated(clips[one.clip_id])
        for row in one.annotations:
            if problem := map_source(row.kind).problem(row.value, about):
                who = f"{one.annotator}, clip '{one.clip_id}'"
                raise VaclipError(f"{ANNOTATION_LOG}: {who}: {problem}")
        left = tuple(replace(row, annotator=names[one.showing - 1]) for row in one.annotations)
        if left:  # of a clip with nothing to mark there is no map
            found[one.clip_id] = (*found.get(one.clip_id, ()), *left)
    return found


def _accuracy(study: Study, first: Sequence[Reading]) -> tuple[int, float, float, float]:
    """Patients, balanced accuracy, and its interval."""
    clips = {clip.clip_id: clip for clip in study.clips}
    said = [
        Diagnosed(
            one.clip_id, clip.patient_id, clip.session, clip.label, one.diagnosis, one.confidence
        )
        for one in first
        if one.diagnosis in study.classes
        for clip in [clips[one.clip_id]]
    ]
    if not said:
        return 0, math.nan, math.nan, math.nan
    score = reader_score(said, study.classes)
    return score.patients, score.value, score.interval.low, score.interval.high
