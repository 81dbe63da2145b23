"""Reads a study folder: every problem at once, or loaded for use."""

from __future__ import annotations

import dataclasses
import logging
import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vaclip.errors import VaclipError, counted, did_you_mean
from vaclip.files import FolderFiles
from vaclip.keys import NOT_RECORDED, Blinding
from vaclip.maps.source import COCO_17, Annotation, MapSource, Region, map_source
from vaclip.study.patients import PATIENTS, confused_patients, odd_patients
from vaclip.study.spelling import (
    look_alikes,
    quoted,
    spelling_key,
    spelt_alike,
)
from vaclip.study.study import (
    ANNOTATION_COLUMNS,
    CLIP_COLUMNS,
    EXCLUSION_COLUMNS,
    EXCLUSIONS,
    NAMED_COLUMNS,
    REQUIRED_CLIP_COLUMNS,
    Clip,
    Exclusion,
    Problem,
    Study,
)
from vaclip.study.study_yaml import misspelt_keys, read_blinding, read_head, read_region
from vaclip.study.suggestions import Suggestions
from vaclip.study.tables import Row, nearly_named, read_table, spoilt

_SHOWN = 20
_LOG = logging.getLogger(__name__)


def load_study(root: str | Path, *, quiet: bool = False) -> Study:
    """Loads a study folder; its videos are looked for, but not decoded.

    Args:
        root: The study folder.
        quiet: Whether warnings go unmentioned.

    Raises:
        VaclipError: If it has an error; the message lists the first ones.

    Examples:
        >>> load_study("nowhere")
        Traceback (most recent call last):
        vaclip.errors.VaclipError: the study in nowhere has 1 error(s):
        ...
    """
    study, problems = read_study(root)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors or study is None:
        listed = "\n".join(f"  {error.where}: {error.what}" for error in errors[:_SHOWN])
        more = f"\n  and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise VaclipError(
            f"the study in {root} has {len(errors)} error(s):\n{listed}{more}\n"
            f"`vaclip data check {shlex.quote(str(root))}` lists all of them."
        )
    if problems and not quiet:
        _LOG.warning(
            "%s about the study; `vaclip data check` shows more", counted(len(problems), "warning")
        )
    return study


def read_study(root: str | Path, *, whole: bool = False) -> tuple[Study | None, list[Problem]]:
    """Reads a study as far as possible.

    Videos are looked for, but not decoded. Of a clip that excluded.csv names nothing is checked.

    Args:
        root: The study folder.
        whole: Whether to read as if there were no excluded.csv.

    Returns:
        The study (None where study.yaml or clips.csv give nothing to stand on) and
        everything that is wrong with it.
    """
    reader = _Reader(Path(root), whole)
    return reader.read(), reader.problems


class _Reader:
    """Collects problems while it reads."""

    def __init__(self, root: Path, whole: bool) -> None:
        self.root, self.whole = root, whole
        self.problems: list[Problem] = []
        self.files = FolderFiles(root)
        self.excluded: dict[str, Exclusion] = {}
        self.left_out: set[str] = set()  # what clips.csv has of them

    def error(self, where: str, what: str, clip_id: str | None = None) -> None:
        self.problems.append(Problem("error", where, what, clip_id))

    def warn(self, where: str, what: str) -> None:
        self.problems.append(Problem("warning", where, what))

    def read(self) -> Study | None:
        try:
            head = read_head(self.root)
        except VaclipError as error:
            self.error("study.yaml", str(error))
            return None
        for key, meant in misspelt_keys(head).items():
            self.error(f"study.yaml:{key}", f"there is no such key. Did you mean '{meant}'?")
        classes = self._classes(head.get("classes"))
        names = self._keypoint_names(head.get("keypoint_names", list(COCO_17)))
        regions = self._regions(head.get("regions") or {}, names)
        blinding = self._blinding(head.get("annotation"))
        self._read_exclusions()
        clips = self._clips(classes)
        for clip_id in sorted(self.excluded.keys() - self.left_out):
            self.warn(EXCLUSIONS, f"clips.csv has no clip {quoted(clip_id)}, which is excluded")
        if not classes or not clips:
            return None
        name = str(head.get("name") or self.root.resolve().name)
        excluded = tuple(row for row in self.excluded.values() if row.clip_id in self.left_out)
        study = Study(self.root, name, classes, regions, names, tuple(clips), {}, excluded)
        annotations = self._annotations(study)
        study = dataclasses.replace(study, annotations=annotations, blinding=blinding)
        self._check_patients(study)
        self._warn_of_clips(study)
        return study

    def _classes(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) < 2:
            self.error("study.yaml:classes", "list at least two class names, in label order")
            return ()
        if any(isinstance(item, bool) for item in value):
            what = "YAML reads yes, no, on and off as true and false: put the names in quotes"
            self.error("study.yaml:classes", what)
        elif any(not isinstance(item, str | int | float) or item == "" for item in value):
            what = "a name is empty, null or none at all: put the names in quotes"
            self.error("study.yaml:classes", what)
        classes = tuple(str(item).strip() for item in value)  # as cells are
        if len(set(classes)) < len(classes):
            self.error("study.yaml:classes", f"a class is listed twice: {', '.join(classes)}")
        for group in look_alikes(classes):
            what = f"{spelt_alike(group)}: use {quoted(group[0])} for both, here and in clips.csv"
            self.error("study.yaml:classes", what)
        return classes

    def _keypoint_names(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or len({str(name) for name in value}) < len(value):
            self.error("study.yaml:keypoint_names", "expected a list of joints, none twice")
            return ()
        return tuple(str(name) for name in value)

    def _regions(self, value: Any, names: tuple[str, ...]) -> dict[str, Region]:
        regions: dict[str, Region] = {}
        if not isinstance(value, dict):
            self.error("study.yaml:regions", "expected NAME: {keypoints: [...]} or {box: [...]}")
            return regions
        for name, content in value.items():
            where = f"study.yaml:regions.{name}"
            try:
                regions[str(name)] = read_region(content, names)
            except VaclipError as error:
                self.error(where, str(error))
        for group in look_alikes(map(str, value)):
            self.warn("study.yaml:regions", f"{spelt_alike(group)}: is it one region?")
        return regions

    def _blinding(self, value: Any) -> Blinding:
        try:
            return read_blinding(value)
        except VaclipError as error:
            self.error("study.yaml:annotation", str(error))
            return NOT_RECORDED

    def _rows(self, name: str, required: tuple[str, ...]) -> Iterator[tuple[str, Row]]:
        """Yields (``file:line``, cells) of each row that is complete and not excluded."""
        table = read_table(self.root / name, required, self.error)
        if name == "clips.csv":
            self._check_columns(table.header)
        for where, row in table.rows:
            clip_id = row["clip_id"] if name != EXCLUSIONS else None
            if clip_id in self.excluded:
                if name == "clips.csv":
                    self.left_out.add(clip_id)
                continue
            empty = [column for column in required if not row[column]]
            for column in empty:
                self.error(f"{where}:{column}", "the cell is empty", clip_id or None)
            if not empty:
                yield where, row

    def _check_columns(self, header: list[str]) -> None:
        """Tells of further columns of clips.csv whose name is nearly one that means something."""
        for column, name, alone in nearly_named(header, NAMED_COLUMNS):
            if alone:
                self.error(f"clips.csv:1:{column}", f"{quoted(column)} must be '{name}'")
            else:
                what = f"the column is kept, and means nothing; '{name}' would"
                self.warn(f"clips.csv:1:{column}", what)

    def _read_exclusions(self) -> None:
        if (self.root / EXCLUSIONS).exists() and not self.whole:
            for _, row in self._rows(EXCLUSIONS, EXCLUSION_COLUMNS):
                self.excluded[row["clip_id"]] = Exclusion(row["clip_id"], row["reason"])

    def _clips(self, classes: tuple[str, ...]) -> list[Clip]:
        clips: dict[str, Clip] = {}
        for where, row in self._rows("clips.csv", REQUIRED_CLIP_COLUMNS):
            clip_id, label = row["clip_id"], row["label"]
            if clip_id in clips:
                first = clips[clip_id].where
                self.error(f"{where}:clip_id", f"'{clip_id}' is there already, in {first}")
                continue
            for column in ("clip_id", "patient_id", "label"):
                if made := spoilt(row[column]):
                    what = f"Excel made {made} of the cell ({row[column]}): type it again, as text"
                    self.error(f"{where}:{column}", what, clip_id)
            if classes and label not in classes:
                self.error(f"{where}:label", _unknown_label(label, classes), clip_id)
            start_s = self._seconds(where, row, "start_s")
            end_s = self._seconds(where, row, "end_s")
            if end_s is not None and end_s <= (start_s or 0.0):
                what = f"{end_s:g} s is not after the start of the clip"
                self.error(f"{where}:end_s", what, clip_id)
            clips[clip_id] = Clip(
                clip_id=clip_id,
                video=self._file(where, "video", row),
                patient_id=row["patient_id"],
                label=label,
                start_s=start_s or 0.0,
                end_s=end_s,
                keypoints=self._file(where, "keypoints", row) if row.get("keypoints") else None,
                where=where,
                extra={k: v for k, v in row.items() if k not in CLIP_COLUMNS},
            )
        if not clips and not self.problems:
            what = (
                "every clip is excluded, by excluded.csv" if self.left_out else "no clip is listed"
            )
            self.error("clips.csv", what)
        return list(clips.values())

    def _seconds(self, where: str, row: Row, column: str) -> float | None:
        text = row.get(column, "")
        if not text:
            return None
        try:
            value = float(text.replace("_", "?"))  # which Python would leave out of a number
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            what = f"'{text}' is not a time in seconds from 0"
            what += ": write the decimals after a point" if "," in text else ""
            self.error(f"{where}:{column}", what, row["clip_id"])
            return None
        return value

    def _file(self, where: str, column: str, row: Row) -> Path:
        name = row[column]
        try:
            path, there = self.files.find(name)
        except VaclipError as error:
            self.error(f"{where}:{column}", str(error), row["clip_id"])
            return self.root  # no file, whatever the name is: it may be too long to look for
        if not there:
            what = f"there is no file '{name}' in the study folder"
            what += ": write / between folders, not \\" if "\\" in name else ""
            self.error(f"{where}:{column}", what, row["clip_id"])
        return path

    def _annotations(self, study: Study) -> dict[str, tuple[Annotation, ...]]:
        if not (self.root / "attention.csv").exists():
            self.warn("attention.csv", "there is none: only models without maps can be trained")
            return {}
        clips = {clip.clip_id: clip for clip in study.clips}
        near = Suggestions(clips)
        annotations: dict[str, list[Annotation]] = defaultdict(list)
        seen: dict[tuple[str, ...], str] = {}
        for where, row in self._rows("attention.csv", ANNOTATION_COLUMNS):
            cells = tuple(row[column] for column in ANNOTATION_COLUMNS)
            if cells in seen:
                self.error(where, f"the row stands already in {seen[cells]}")
                continue
            seen[cells] = where
            clip_id, annotator, kind, value = cells
            if clip_id not in clips:
                what = f"clips.csv has no clip {quoted(clip_id)}.{near.hint(clip_id)}"
                self.error(f"{where}:clip_id", what)
            elif not (source := self._map_source(kind, where, clip_id)):
                continue
            elif what := source.problem(value, study.annotated(clips[clip_id], self.files)):
                self.error(f"{where}:value", what, clip_id)
            else:
                annotations[clip_id].append(Annotation(annotator, kind, value))
        return {clip_id: tuple(rows) for clip_id, rows in annotations.items()}

    def _map_source(self, kind: str, where: str, clip_id: str) -> MapSource | None:
        try:
            return map_source(kind)
        except VaclipError as error:
            self.error(f"{where}:kind", str(error), clip_id)
            return None

    def _check_patients(self, study: Study) -> None:
        """Finds what may be one person under two ids, who would be in training and test."""
        places: dict[str, str] = {}
        for clip in study.clips:
            places.setdefault(clip.patient_id, clip.where)
        for group in confused_patients(self.root, places, self.error):
            self.error(
                "clips.csv:patient_id",
                f"{spelt_alike(group, places)}: use one id for one person. If they are different "
                f"people, list each in {PATIENTS} (columns patient_id, distinct) with distinct=yes",
            )

    def _warn_of_clips(self, study: Study) -> None:
        for what in odd_patients(Counter(clip.patient_id for clip in study.clips)):
            self.warn("clips.csv:patient_id", what)
        labels: dict[tuple[str, str], set[str]] = defaultdict(set)
        for clip in study.clips:
            labels[clip.visit].add(clip.label)
        for (patient, session), found in sorted(labels.items()):
            if len(found) > 1:
                when = f" in session '{session}'" if session else ""
                what = f"patient '{patient}' has clips of {len(found)} classes{when}"
                self.warn("clips.csv", f"{what}: {', '.join(sorted(found))}")
        for name in study.classes:
            if not any(clip.label == name for clip in study.clips):
                self.warn("clips.csv", f"no clip has the label '{name}'")
        for group in look_alikes(study.annotators):
            self.warn("attention.csv:annotator", f"{spelt_alike(group)}: is it one annotator?")
        for group in look_alikes(clip.site for clip in study.clips if clip.site):
            self.warn("clips.csv:site", f"{spelt_alike(group)}: is it one site?")
        sessions = defaultdict(list)
        for patient, session in labels:
            sessions[patient].append(session)
        for patient, own in sessions.items():
            for group in look_alikes(filter(None, own)):
                what = f"{spelt_alike(group)}: is it one session of patient {quoted(patient)}?"
                self.warn("clips.csv:session", what)
        unannotated = [
            clip.clip_id for clip in study.clips if clip.clip_id not in study.annotations
        ]
        if unannotated and study.annotations:
            what = f"{len(unannotated)} clip(s) are annotated by nobody: {_some(unannotated)}"
            self.warn("attention.csv", what)


def _unknown_label(label: str, classes: tuple[str, ...]) -> str:
    """Says what is wrong with a label that is no class."""
    for name in classes:
        if spelling_key(name) == spelling_key(label):
            return f"{spelt_alike((label, name))}: use {quoted(name)}, the class of study.yaml"
    hint = did_you_mean(label, classes)
    return f"unknown label '{label}' (classes of study.yaml: {', '.join(classes)}).{hint}"


def _some(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
