"""``clinicalclip``: the data set layout of the published ClinicalCLIP project.

Facts from that project's README, configs/config.yaml, project/cross_validation.py and
dataloader/ (whole_video_dataset.py, med_attn_map.py); for what wrote the files, from
prepare_gait_cycle_index/main.py and prepare_skeleton_dataset/main_yolov8.py of its predecessor
Skeleton_ASD_PyTorch. One JSON file is one clip, a whole video. Poses have one entry for each
decoded frame, from 0; theirs count in fractions of the picture, those of PYSKL itself in pixels.
The project finds names by parts ("a-1" is in "a-10"); here they are compared whole.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vaclip.data.video import picture_size
from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer, NewAnnotation, NewClip, NewPose
from vaclip.importers.poses.pyskl import Skeleton, read_skeletons
from vaclip.importers.reading import decode_text, parse_json, parse_table, source_files
from vaclip.importers.tables.table import renamed_labels
from vaclip.maps.source import COCO_17, Region

REGIONS = {
    "foot": ("left_ankle", "right_ankle"),
    "wrist": ("left_wrist", "right_wrist"),
    "shoulder": ("left_shoulder", "right_shoulder"),
    "lumbar_pelvis": ("left_hip", "right_hip"),
    "head": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
}
"""The joints that the project draws for what the doctors name."""
_TAIL = 3  # parts of a path that mean something on another machine: split/class/file
_PICKLES = (".pkl", ".pickle")
_VIDEOS = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mts", ".gif"
)  # fmt: skip
_SEPARATORS = re.compile("[,;\N{FULLWIDTH COMMA}\N{FULLWIDTH SEMICOLON}\N{IDEOGRAPHIC COMMA}]")
_IMAGE = re.compile(r"\.(png|jpe?g|bmp|gif)$", re.IGNORECASE)


class ClinicalClipImporter(Importer):
    """Reads clips, two doctors' regions and poses from one folder."""

    summary = "the folder of the published ClinicalCLIP project (json_mix, video, doctor_result)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument_group("what the layout does not say").add_argument
        add("--patient-regex", metavar="REGEX",
            help="how the patient is found in a JSON file's name: the group (?P<patient>...); "
            "needed")  # fmt: skip
        add("--row-regex", metavar="REGEX",
            help="where doctors name something larger than a clip: how that is found in a JSON "
            "file's name or video_name: the group (?P<row>...)")  # fmt: skip
        add("--pickle", type=Path, metavar="FILE",
            help="the poses (default: the one pickle in the folder)")  # fmt: skip
        add("--keypoint-unit", choices=("pixel", "fraction"), default="pixel",
            help="of the poses: pixels, or fractions of the picture (default: pixel)")  # fmt: skip
        add("--joints", metavar="NAME,...",
            help="the joints of the poses (default: the 17 of COCO)")  # fmt: skip

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        parts = [_read_folder(source, options) for source in sources]
        return Export(
            clips=tuple(clip for part in parts for clip in part.clips),
            annotations=tuple(annotation for part in parts for annotation in part.annotations),
            poses=tuple(pose for part in parts for pose in part.poses),
            regions={name: region for part in parts for name, region in part.regions.items()},
            keypoint_names=_joints(options) if any(part.poses for part in parts) else None,
            dropped=tuple(line for part in parts for line in part.dropped),
        )


def _read_folder(root: Path, options: argparse.Namespace) -> Export:
    if not (root / "json_mix").is_dir():
        raise VaclipError(
            f"'{root.name}' has no folder 'json_mix': name the (unpacked) folder that holds "
            "json_mix, video and doctor_result"
        )
    entries, dropped = _entries(root, options)
    names = _Names(entries, _regex(options.row_regex, "row", "--row-regex"))
    regions = _Regions(options)
    annotations, silent = _annotations(root, names, regions, options)
    poses, left_out = _poses(root, names, options)
    posed = {pose.video for pose in poses}
    unposed = [entry.clip.clip_id for entry in entries if entry.clip.clip_id not in posed]
    dropped += left_out + silent + _line("clip(s) without a pose", unposed)
    return Export(
        clips=tuple(entry.clip for entry in entries),
        annotations=tuple(annotations),
        poses=tuple(poses),
        regions=regions.used,
        dropped=tuple(dropped),
    )


# --- clips ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """A JSON file that has a video, and what the file calls it."""

    clip: NewClip
    video_name: str


def _entries(root: Path, options: argparse.Namespace) -> tuple[list[_Entry], list[str]]:
    patient = _regex(options.patient_regex, "patient", "--patient-regex")
    if patient is None:
        raise VaclipError(
            "say how the patient is found in the name of a JSON file, such as --patient-regex "
            "'^(?P<patient>[^-]+)-' for 20160120_ASD_lat__V1-0001.json. There is no default: one "
            "patient taken for two could be trained on and tested"
        )
    videos = _videos(options.videos or root / "video")
    renamed = renamed_labels(options)
    entries, lost, wrong = [], [], []
    for file in source_files(root / "json_mix", (".json",)):
        where = f"json_mix/{file.name}"
        info = parse_json(file.read(), where)
        path = PurePosixPath(file.name)
        # Spaces around cells of clips.csv are lost when they are read.
        label, clip_id = path.parent.name.strip(), path.stem.strip()
        if not isinstance(info, dict):
            raise VaclipError(f"{where}: expected an object with 'video_path' and 'video_name'")
        if (disease := _text(info, "disease", where, label)) != label:
            wrong.append(f"{where}: 'disease' is '{disease}', but the folder is '{label}'")
        found = patient.search(clip_id)
        patient_id = ((found and found["patient"]) or "").strip()
        if not patient_id:
            wrong.append(f"{where}: --patient-regex finds no patient in '{clip_id}'")
            continue
        tails = _tails(_text(info, "video_path", where))
        name = next((tail for tail in tails if tail in videos), None)
        if name is None:
            lost.append(clip_id)
            continue
        clip = NewClip(clip_id, videos[name], name, patient_id, renamed.get(label, label), where)
        entries.append(_Entry(clip, _text(info, "video_name", where, clip_id)))
    if wrong:
        raise VaclipError(f"{len(wrong)} JSON file(s) cannot be used:\n  " + "\n  ".join(wrong))
    idle = sorted(videos.keys() - {entry.clip.name for entry in entries})
    return entries, _line("JSON file(s) without a video", lost) + _line(
        "video(s) without a JSON file", idle
    )


def _videos(folder: Path) -> dict[str, Path]:
    """Returns the videos below a folder by their relative paths."""
    if not folder.is_dir():
        raise VaclipError(f"there is no folder of videos '{folder.name}'; name it with --videos")
    return {file.name: folder / file.name for file in source_files(folder, _VIDEOS)}


def _text(info: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = info.get(key, default)
    if not isinstance(value, str) or not value.strip():
        raise VaclipError(f"{where}: '{key}' is missing, or no text")
    return value.strip()


def _tails(name: str) -> list[str]:
    """Returns the ends of a path that are compared, the longest first."""
    parts = name.replace("\\", "/").split("/")
    return ["/".join(parts[-count:]) for count in range(min(_TAIL, len(parts)), 0, -1)]


def _regex(pattern: str | None, group: str, flag: str) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise VaclipError(f"{flag} {pattern}: is no regular expression: {error}") from error
    if group not in regex.groupindex:
        raise VaclipError(f"{flag} {pattern}: lacks the group (?P<{group}>...)")
    return regex


def _line(what: str, names: Sequence[str]) -> list[str]:
    return [f"{len(names)} {what}: {', '.join(names)}"] if names else []


class _Names:
    """Finds clips by the names that the other files use: whole, or a path's last parts."""

    def __init__(self, entries: Sequence[_Entry], row: re.Pattern[str] | None) -> None:
        self.clips = {entry.clip.clip_id: entry.clip for entry in entries}
        self._clips: dict[str, set[str]] = defaultdict(set)
        self._rows: dict[str, set[str]] = defaultdict(set)
        for entry in entries:
            clip_id, video = entry.clip.clip_id, PurePosixPath(entry.clip.name)
            for text in (clip_id, entry.video_name, video.stem, str(video.with_suffix(""))):
                self._clips[text].add(clip_id)
                self._clips[text + video.suffix].add(clip_id)
            for text in (clip_id, entry.video_name):
                if row is not None and (found := row.search(text)) and found["row"]:
                    self._rows[found["row"]].add(clip_id)

    def find(self, name: str) -> list[str]:
        """Returns the clips of the one video that is meant; none if there is not just one."""
        for tail in _tails(name):
            if clip_ids := self._clips.get(tail):
                return sorted(clip_ids) if len({self.clips[c].name for c in clip_ids}) == 1 else []
        return []

    def find_row(self, name: str) -> list[str]:
        """As `find`, and by what ``--row-regex`` finds."""
        return self.find(name) or sorted(self._rows.get(name, ()))


# --- annotations ---------------------------------------------------------------------------


class _Regions:
    """Which regions there are, which are used, and which are unknown."""

    def __init__(self, options: argparse.Namespace) -> None:
        joints = set(_joints(options))
        self._ours = {name: names for name, names in REGIONS.items() if joints.issuperset(names)}
        self._defined = {word.partition("=")[0] for word in options.region}
        self.used: dict[str, Region] = {}
        self.unknown: Counter[str] = Counter()

    def take(self, name: str) -> None:
        if name in self._ours and name not in self._defined:
            self.used[name] = Region(keypoints=self._ours[name])
        elif name not in self._defined:
            self.unknown[name] += 1


def _annotations(
    root: Path, names: _Names, regions: _Regions, options: argparse.Namespace
) -> tuple[list[NewAnnotation], list[str]]:
    annotations: list[NewAnnotation] = []
    silent: list[str] = []
    for file in source_files(root / "doctor_result", (".csv",)):
        where = f"doctor_result/{file.name}"
        table = parse_table(decode_text(file.read(), where, options.encoding), where)
        for column in ("video file name", "attention"):
            table.require(column)
        doctor = PurePosixPath(file.name).stem
        heard: set[str] = set()
        for number, row in table.rows:
            if not (name := row["video file name"]):
                raise VaclipError(f"{where}:{number}: the cell 'video file name' is empty")
            clip_ids = names.find_row(name)
            heard.update(clip_ids)
            for region in attention_values(row["attention"]):
                regions.take(region)
                annotations += [
                    NewAnnotation(video, doctor, region, f"{where}:{number}")
                    for video in clip_ids or [name]
                ]
        silent += _line(
            f"clip(s) without a row of {doctor}", [c for c in names.clips if c not in heard]
        )
    if regions.unknown:
        listed = "\n  ".join(f"'{n}' in {c} row(s)" for n, c in regions.unknown.most_common())
        raise VaclipError(
            f"{len(regions.unknown)} value(s) of 'attention' are no region:\n  {listed}\n"
            "Say which joints each means: --region NAME=left_hip,right_hip"
        )
    return annotations, silent


def attention_values(cell: str) -> list[str]:
    """Returns the regions that a cell names; the project writes ``['lumbar_pelvis.png']``.

    Examples:
        >>> attention_values("['foot.png', 'head.png']"), attention_values("foot; head")
        (['foot', 'head'], ['foot', 'head'])
    """
    cell = cell.strip()
    if cell.startswith("[") and cell.endswith("]"):
        cell = cell[1:-1]
    parts = [part.strip().strip("'\"").strip() for part in _SEPARATORS.split(cell)]
    return [_IMAGE.sub("", part) for part in dict.fromkeys(parts) if part]


# --- poses ---------------------------------------------------------------------------------------


def _joints(options: argparse.Namespace) -> tuple[str, ...]:
    if options.joints is None:
        return COCO_17
    names = tuple(name.strip() for name in options.joints.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise VaclipError(f"--joints {options.joints}: expected names, none empty and none twice")
    return names


def _poses(
    root: Path, names: _Names, options: argparse.Namespace
) -> tuple[list[NewPose], list[str]]:
    path = options.pickle or _only_pickle(root)
    if path is None:
        return [], [f"'{root.name}' holds no pickle of poses"]
    skeletons, left_out = read_skeletons(path, options.keypoint_unit, _joints(options))
    poses = []
    for one in skeletons:
        clips = names.find(one.video)
        if clips and (size := _picture_size(names.clips[clips[0]].video)) not in (None, one.size):
            left_out.append(f"{one.where}: 'img_shape' is {one.size}, but the video is {size}")
            continue
        poses += [NewPose(clip, one.keypoints, one.where) for clip in clips or [_file_name(one)]]
    return poses, left_out


def _only_pickle(root: Path) -> Path | None:
    inside = root.resolve()
    found = [
        path
        for path in (*root.glob("*"), *root.glob("*/*"))
        if path.suffix.lower() in _PICKLES and path.resolve().is_relative_to(inside)
    ]
    if len(found) > 1:
        listed = ", ".join(sorted(path.relative_to(root).as_posix() for path in found))
        raise VaclipError(f"there are several pickles ({listed}): choose one with --pickle")
    return found[0] if found else None


def _picture_size(video: Path) -> tuple[int, int] | None:
    """Returns (height, width) of the first picture; None where it cannot be decoded."""
    try:
        return picture_size(video)
    except VaclipError:  # `vaclip data check` says what is wrong with the video
        return None


def _file_name(skeleton: Skeleton) -> str:
    """Returns how a pose without a clip is named, without the folders of another machine."""
    return _tails(skeleton.video)[-1]
