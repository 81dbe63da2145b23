"""Exports become a plan for a study: what is new, what contradicts, what belongs to no clip."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError, counted
from vaclip.files import content_digest
from vaclip.importers.base import Export, NewAnnotation, NewClip, NewPose
from vaclip.importers.names import VideoNames
from vaclip.importers.plan import (
    PICTURES,
    Plan,
    Rules,
    read_rows,
    study_head,
    video_in_study,
)
from vaclip.importers.video_sizes import count_and_size
from vaclip.maps.gaze import Gaze, gaze_json
from vaclip.maps.shapes import shapes_json
from vaclip.maps.source import COCO_17, Region
from vaclip.study.patients import PATIENTS, confused_patients, odd_patients
from vaclip.study.spelling import look_alikes, spelt_alike
from vaclip.study.study import ANNOTATION_COLUMNS
from vaclip.study.study_yaml import read_region
from vaclip.study.suggestions import Suggestions
from vaclip.study.tables import Row

ANNOTATIONS, KEYPOINTS = "annotations", "keypoints"
_TIMES = ("start_s", "end_s")
_SHOWN = 50


def plan_import(root: Path, exports: Sequence[Export], rules: Rules) -> Plan:
    """Plans what exports add to a study; nothing is written.

    Args:
        root: The study folder; it need not exist.
        exports: What was read, in the order in which it counts.
        rules: What to do where something does not fit.

    Raises:
        VaclipError: If the study cannot be read, or the exports contradict it or themselves; all
            contradictions of a kind are listed.
    """
    clips, annotations = (read_rows(root, name) for name in ("clips.csv", "attention.csv"))
    plan = Plan(root, study_head(root), clips, annotations)
    for export in exports:
        plan.dropped += export.dropped
        plan.notes += export.notes
        _add_clips(plan, export.clips, rules)
        names = VideoNames([(row["clip_id"], row["video"]) for row in plan.clips])
        if any(names.find(pose.video, of_video=True) for pose in export.poses):
            _add_joints(plan, export)
        _add_regions(plan, {**export.regions, **rules.regions}, rules)
        _add_poses(plan, export, names, rules)
        _add_annotations(plan, export.annotations, names, rules)
    patients = [row["patient_id"] for row in plan.clips]
    plan.notes += [
        f"patients {spelt_alike(group)}: training refuses this until they have one id, "
        f"or {PATIENTS} lists each with distinct=yes"
        for group in confused_patients(root, patients)
    ]
    plan.notes += [f"patients: {what}" for what in odd_patients(Counter(patients))]
    if plan.unmatched and not rules.skip_unmatched:
        raise VaclipError(
            _listed(f"{len(plan.unmatched)} item(s) belong to no clip", plan.unmatched)
            + "\nNames are compared exactly. Mend them, or leave these out with --skip-unmatched"
        )
    return plan


# --- clips ---------------------------------------------------------------------------------------


def _add_clips(plan: Plan, clips: Sequence[NewClip], rules: Rules) -> None:
    rows = {row["clip_id"]: row for row in plan.clips}
    annotated = {row["clip_id"] for row in plan.annotations} | {
        row["clip_id"] for row in plan.clips if row.get("keypoints")
    }
    wrong: list[str] = []
    for clip in clips:
        new = _clip_row(plan, clip, wrong)
        old = rows.get(clip.clip_id)
        what = f"{clip.where}: clip '{clip.clip_id}'"
        if old is None:
            plan.clips.append(new)
            plan.counts["clips"] += 1
            rows[clip.clip_id] = new
        elif not _differs(old, new):
            plan.counts["clips that were there already"] += 1
        elif clip.clip_id in plan.imported:
            wrong.append(f"{what} comes twice, and differs")
        elif not rules.replace:
            wrong.append(f"{what} is there already, and differs")
        elif old["video"] != new["video"] and clip.clip_id in annotated:
            wrong.append(
                f"{what} has annotations or keypoints of its old video: delete these rows first"
            )
        else:
            old.update(new)
            plan.counts["clips replaced"] += 1
        plan.imported.add(clip.clip_id)
    _check_case(plan, wrong)
    if wrong:
        raise VaclipError(
            _listed(f"{len(wrong)} clip(s) cannot be added", wrong)
            + "\nGive other ids or file names; --replace takes the new row of a clip"
        )
    _add_classes(plan, rules)


def _differs(old: Row, new: Row) -> bool:
    """Whether a row changes; a time without a value is the video's begin or end."""

    def value(row: Row, key: str) -> str | float:
        text = row.get(key, "")
        return float(text or {"start_s": 0, "end_s": "inf"}[key]) if key in _TIMES else text

    try:
        return any(value(old, key) != value(new, key) for key in new)
    except ValueError:  # the study's own time is none
        return True


def _check_case(plan: Plan, wrong: list[str]) -> None:
    """Tells of videos that some disks take for one file."""
    seen: dict[str, str] = {}
    for video in dict.fromkeys(row["video"] for row in plan.clips):
        other = seen.setdefault(video.casefold(), video)
        if other != video:
            wrong.append(f"'{other}' and '{video}' differ by upper and lower case alone")


def _clip_row(plan: Plan, clip: NewClip, wrong: list[str]) -> Row:
    row = {
        "clip_id": clip.clip_id,
        "video": _video(plan, clip, wrong),
        "patient_id": clip.patient_id,
        "label": clip.label,
    }
    for name in _TIMES:
        value = getattr(clip, name)
        row[name] = "" if value is None else f"{value:.10g}"
    return row | {key: value for key, value in clip.extra.items() if key not in row}


def _video(plan: Plan, clip: NewClip, wrong: list[str]) -> str:
    """Returns the path of a clip's video in the study, and plans to copy or make it there."""
    name = video_in_study(plan.root, clip)
    target = plan.root / name
    if clip.recording is not None:  # its name says what it is of
        if not target.is_file():
            plan.counts["videos"] += name not in plan.recordings
            plan.recordings[name] = clip.recording
            if clip.recording.names:
                called = json.dumps(clip.recording.names, ensure_ascii=False)
                plan.files[f"{PICTURES}/{clip.name}.json"] = called.encode()
        return name
    if target.exists() and target.samefile(clip.video):
        return name
    other = plan.videos.get(name, target)
    if other != clip.video and other.is_file() and not _same_content(other, clip.video):
        wrong.append(f"{clip.where}: another video is named '{clip.name}'")
    elif not target.is_file():
        plan.counts["videos"] += name not in plan.videos
        plan.videos[name] = clip.video
    return name


def _same_content(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    return content_digest(one) == content_digest(other)


def _add_classes(plan: Plan, rules: Rules) -> None:
    present = sorted({row["label"] for row in plan.clips})
    known = [str(name) for name in plan.head.get("classes", [])]
    wrong = [
        f"{spelt_alike(group)}: --rename-label {shlex.quote(f'{group[1]}={group[0]}')}"
        for group in look_alikes([*known, *(rules.classes or ()), *present])
        if not set(group).issubset(known)
    ]
    if wrong:
        raise VaclipError(_listed("one label is spelt in several ways", wrong))
    if rules.classes is not None:
        if known and list(rules.classes) != known:
            raise VaclipError(f"--classes differs from the study's: {', '.join(known)}")
        if not all(rules.classes) or len(set(rules.classes)) < len(rules.classes):
            raise VaclipError("--classes names a class twice, or has an empty name")
        if unknown := [name for name in present if name not in rules.classes]:
            raise VaclipError(f"--classes lacks {', '.join(unknown)}; use --rename-label or add it")
        present = list(rules.classes)
    new = [name for name in present if name not in known]
    if new:
        plan.head["classes"] = [*plan.head.get("classes", []), *new]
        plan.counts[f"classes ({', '.join(new)})"] += len(new)


# --- regions and joints --------------------------------------------------------------------------


def _add_regions(plan: Plan, regions: dict[str, Region], rules: Rules) -> None:
    wanted: dict[str, dict[str, Any]] = {
        name: {"box": list(region.box)} if region.box else {"keypoints": list(region.keypoints)}
        for name, region in regions.items()
    }
    known = plan.head.get("regions") or {}
    joints = tuple(map(str, plan.head.get("keypoint_names", COCO_17)))
    for name, content in wanted.items():
        try:
            read_region(content, joints)
        except VaclipError as error:
            raise VaclipError(f"region '{name}': {error}") from error
        if name in known and known[name] != content and not rules.replace:
            raise VaclipError(
                f"region '{name}' is defined already, and otherwise; --replace redefines it"
            )
        plan.counts["regions"] += known.get(name) != content
    if wanted:
        plan.head["regions"] = {**known, **wanted}


def _add_joints(plan: Plan, export: Export) -> None:
    names = list(export.keypoint_names or COCO_17)
    if any(row.get("keypoints") for row in plan.clips):
        if (old := plan.head.get("keypoint_names", list(COCO_17))) != names:
            raise VaclipError(
                f"the study's clips have {len(old)} joints ({', '.join(map(str, old))}), these "
                f"have {len(names)} ({', '.join(names)}): one study has one set of joints"
            )
    elif plan.head.get("keypoint_names", list(COCO_17)) != names:
        plan.head["keypoint_names"] = names


def _add_poses(plan: Plan, export: Export, names: VideoNames, rules: Rules) -> None:
    rows = {row["clip_id"]: row for row in plan.clips}
    contents: dict[str, str] = {}
    wrong: list[str] = []
    for pose in export.poses:
        clip_ids = names.clips(pose.video, pose.where, plan.unmatched, of_video=True)
        if not clip_ids:
            continue
        video = rows[clip_ids[0]]["video"]
        content = _npz(_whole_video(plan, pose, video))
        stem = PurePosixPath(video).stem
        path = f"{KEYPOINTS}/{_slug(stem)}_{_short_hash(content)}.npz"
        for clip_id in clip_ids:
            old = rows[clip_id].get("keypoints", "")
            if contents.setdefault(clip_id, path) != path:
                wrong.append(
                    f"{pose.where}: the clip '{clip_id}' has keypoints in these files twice"
                )
            elif old and old != path and not rules.replace:
                wrong.append(f"{pose.where}: the clip '{clip_id}' has other keypoints already")
            plan.counts["clips with keypoints"] += old != path
            rows[clip_id]["keypoints"] = path
        plan.files[path] = content
    if wrong:
        raise VaclipError(
            _listed(f"{len(wrong)} pose(s) cannot be added", wrong)
            + "\n--replace takes the new keypoints of a clip"
        )


def _whole_video(plan: Plan, pose: NewPose, video: str) -> NDArray[np.float32]:
    """Returns keypoints for every frame, after a look at the video where that is needed."""
    if pose.size is None and not pose.open_ended:
        return pose.keypoints
    path, made = plan.videos.get(video, plan.root / video), plan.recordings.get(video)
    frames, size = count_and_size(path, made)
    if pose.size not in (None, size):
        raise VaclipError(
            f"{pose.where}: the pictures are {pose.size[1]} x {pose.size[0]}, but the video is "
            f"{size[1]} x {size[0]}: cut them from the same file, without scaling"
        )
    missing = max(0, frames - len(pose.keypoints)) if pose.open_ended else 0
    return np.pad(pose.keypoints, ((0, missing), (0, 0), (0, 0)))


def _npz(keypoints: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, keypoints=keypoints[..., :2], scores=keypoints[..., 2])
    return buffer.getvalue()


# --- annotations ---------------------------------------------------------------------------


def _add_annotations(
    plan: Plan, annotations: Sequence[NewAnnotation], names: VideoNames, rules: Rules
) -> None:
    videos = {row["clip_id"]: row["video"] for row in plan.clips}
    new: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    where: dict[tuple[str, str, str], str] = {}
    regions: dict[str, list[str]] = defaultdict(list)
    for annotation in annotations:
        if not annotation.annotator.strip():
            raise VaclipError(f"{annotation.where}: nobody is named; say --annotator NAME")
        drawn = not isinstance(annotation.content, str)
        clip_ids = names.clips(annotation.video, annotation.where, plan.unmatched, of_video=drawn)
        if not clip_ids:
            continue
        kind, value = _value(plan, annotation, videos[clip_ids[0]])
        if kind == "region":
            value = rules.renamed_regions.get(value, value)
            regions[value].append(annotation.where)
        for clip_id in clip_ids:
            said = new[clip_id, annotation.annotator.strip(), kind]
            where.setdefault((clip_id, annotation.annotator.strip(), kind), annotation.where)
            if value not in said:
                said.append(value)
    _check_regions(plan, regions)
    old: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in plan.annotations:
        old[row["clip_id"], row["annotator"], row["kind"]].append(row["value"])
    changed = {key for key in new if old[key] and not set(new[key]) <= set(old[key])}
    if changed and not (rules.replace or rules.add):
        lines = [f"{where[key]}: clip '{key[0]}', {key[1]}, {key[2]}" for key in sorted(changed)]
        raise VaclipError(
            _listed(f"{len(lines)} clip(s) have other annotations of that annotator already", lines)
            + "\n--replace takes the new annotations in their place, --add lets both count"
        )
    if rules.replace:
        plan.annotations = [
            row
            for row in plan.annotations
            if row["value"]
            in new.get((row["clip_id"], row["annotator"], row["kind"]), (row["value"],))
        ]
    for key, values in new.items():
        for value in values:
            if value not in old[key]:
                plan.annotations.append(dict(zip(ANNOTATION_COLUMNS, (*key, value), strict=True)))
                plan.counts[f"annotations of kind {key[2]}"] += 1


def _value(plan: Plan, annotation: NewAnnotation, video: str) -> tuple[str, str]:
    """Returns kind and value of a row, and plans the file that the value names."""
    if isinstance(annotation.content, str):
        return annotation.kind, annotation.content
    if isinstance(annotation.content, Gaze):
        if not len(annotation.content.fixations):
            raise VaclipError(f"{annotation.where}: there is no gaze at the video")
        kind, content = "gaze", gaze_json(annotation.content)
    else:
        kind, content = "shapes", shapes_json(annotation.content)
    data = (json.dumps(content, ensure_ascii=False) + "\n").encode()
    stem = PurePosixPath(video).stem
    path = f"{ANNOTATIONS}/{_slug(stem)}_{_slug(annotation.annotator)}_{_short_hash(data)}.json"
    plan.files[path] = data
    return kind, path


def _check_regions(plan: Plan, named: dict[str, list[str]]) -> None:
    """Refuses regions that the study does not have; ``named``: where each is named."""
    known = plan.head.get("regions") or {}
    unknown = {name: places for name, places in sorted(named.items()) if name not in known}
    if unknown:
        near = Suggestions(known)
        lines = [
            f"'{name}' ({counted(len(places), 'annotation')}, first {places[0]}).{near.hint(name)}"
            for name, places in unknown.items()
        ]
        defined = " ".join(f"--region {shlex.quote(name)}=JOINT,..." for name in unknown)
        raise VaclipError(
            _listed(f"{counted(len(lines), 'region')} that study.yaml does not have", lines)
            + f"\nDefine them with {defined} (or X0,Y0,X1,Y1 for a box), or use other names with "
            "--rename-region OLD=NEW"
        )


def _listed(what: str, lines: Sequence[str]) -> str:
    more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{what}:\n  " + "\n  ".join(lines[:_SHOWN]) + more


def _slug(text: str) -> str:
    """Returns a name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("._")[:60] or "x"


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:10]
