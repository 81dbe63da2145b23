"""Further exports, in the forms that tools write and that were once read wrongly.

Each file lies in ``forms/KIND``, its right answer is in ``test_forms.py``; the fuzzer damages it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cases import HERE, Video, moving_square
from PIL import Image

from conftest import write_rows, write_video
from vaclip.commands.imports import import_parser
from vaclip.importers import IMPORTERS
from vaclip.importers.base import Export

FORMS = HERE / "forms"


@dataclass(frozen=True)
class Form:
    """An export of one file, or of a folder.

    Attributes:
        file: Relative to `FORMS`.
        videos: What it is about, by name; without a suffix a folder of pictures, 00.png and so on.
        flags: Further words of the command.
    """

    file: str
    videos: dict[str, Video]
    flags: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return Path(self.file).parts[0]

    def copy_to(self, folder: Path) -> Path:
        """Copies the export, and writes videos and ``clips.csv``; returns the copy."""
        rows = []
        for number, (name, video) in enumerate(self.videos.items()):
            if Path(name).suffix:
                codec = "libx264" if name.endswith(".mp4") else "ffv1"
                write_video(folder / name, moving_square(video), fps=video.fps, codec=codec)
            else:
                _write_pictures(folder / name, moving_square(video))
            rows.append({"video": name, "patient_id": f"p{number}", "label": "ab"[number % 2]})
        write_rows(folder / "clips.csv", rows)
        copy = folder / Path(self.file).name
        if (FORMS / self.file).is_dir():
            return shutil.copytree(FORMS / self.file, copy)
        copy.write_bytes((FORMS / self.file).read_bytes())
        return copy

    def words(self, copy: Path, study: Path, *more: str) -> list[str]:
        """Returns the command line behind ``vaclip data import``."""
        clips = copy.parent / "clips.csv"
        words = [self.kind, str(copy), "--into", str(study), "--clips", str(clips)]
        return [*words, *self.flags, *more]

    def read(self, copy: Path, *more: str) -> Export:
        """Reads a copy."""
        options = import_parser().parse_args(self.words(copy, copy.parent / "study", *more))
        return IMPORTERS.build(self.kind).read(options.sources, options)


def _write_pictures(folder: Path, pictures: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:02}.png")


_CINE = Video(frames=164, size=(240, 320), fps=25)
_TASK = {"walk_01.mp4": Video(frames=130, size=(240, 320), fps=30)}
_WALK = {"walk.mp4": Video(frames=100, size=(360, 640), fps=10)}
_GAZE = {"size": (480, 640), "frames": 8}
SINGLE_FRAMES = Form("cvat/single_frames.xml", {"lus_0.mp4": _CINE, "lus_1.mp4": _CINE})
TWO_FRAMES = Form("cvat/two_frames.xml", SINGLE_FRAMES.videos)
NESTED_SKELETON = Form("cvat/nested_skeleton.xml", {"walk.mp4": Video(size=(240, 320))})
ALL_SHAPES = Form(
    "cvat/all_shapes.xml",
    {
        "walk 01.mp4": Video(frames=20, size=(240, 320)),
        "walk_02.avi": Video(frames=30, size=(240, 320)),
    },
)
BACKUP = Form(
    "cvat/backup",
    {"walk_01.mkv": Video(frames=20), "walk_02.mkv": Video(frames=30)},
    ("--annotator", "eve", "--skeleton", "body"),
)
BACKUP_PICTURES = Form(
    "cvat/backup_pictures",
    {"walk": Video(frames=12)},
    ("--annotator", "eve", "--skeleton", "body", "--fps", "10"),
)
INTERPOLATED_KEYS = Form("label_studio/interpolated_keys.json", _TASK)
SEVERAL_PAGES = Form("label_studio/several_pages.json", _TASK)
JSON_MIN = Form("label_studio/json_min.json", _TASK)
HYPERTEXT = Form("label_studio/hypertext.json", _TASK)
VECTORS_AND_SPANS = Form(
    "label_studio/vectors_and_spans.json",
    _TASK,
    ("--region", "upper=0,0,1,0.5", "--span", "Stance=upper"),
)
NO_KEYPOINTS = Form("coco/no_keypoints.json", _TASK)
MOUSE_CLICK = Form("gaze/mouse_click.tsv", _WALK)
NO_MEDIA_NAME = Form("gaze/no_media_name.tsv", _WALK, ("--video", "walk.mp4", "--start", "1000"))
START_EVENT = Form(
    "gaze/start_event.asc",
    _WALK,
    ("--video", "walk.mp4", "--video-rect", "screen", "--start-event", "video_onset"),
)
NAME_WITH_BLANK = Form("gaze/name_with_blank.asc", {"walk 01.mp4": Video(**_GAZE)})
RESIZED_VIDEO = Form("gaze/resized_video.asc", {"walk_02.mp4": Video(**_GAZE)})
HEAD_REFERENCED = Form("gaze/head_referenced.asc", RESIZED_VIDEO.videos)
TOBII_STUDIO = Form("gaze/tobii_studio.tsv", _WALK)
MAPPED = Form(
    "gaze/mapped.tsv", _WALK, ("--time-unit", "us", "--start-event", "walk IntervalStart")
)
_SCREEN = ("--video-rect", "screen", "--screen", "1920x1080", "--annotator", "reader")
GAZEPOINT_FIXATIONS = Form("gaze/gazepoint_fixations.csv", _WALK, (*_SCREEN, "--start", "0"))
GAZEPOINT_SAMPLES = Form("gaze/gazepoint_samples.csv", _WALK, (*_SCREEN, "--start", "first"))
SMI_EVENTS = Form("gaze/smi_events.txt", _WALK, _SCREEN)
SMI_SAMPLES = Form("gaze/smi_samples.txt", _WALK, (*_SCREEN, "--start", "first"))
IMOTIONS = Form("gaze/imotions.csv", _WALK, (*_SCREEN, "--start", "first", "--eye", "left"))
REFLACX = Form(
    "gaze/reflacx_fixations.csv",
    _WALK,
    ("--time-unit", "s", "--position-unit", "video", "--video", "walk.mp4", "--annotator", "r"),
)
EYEGAZE = Form("gaze/eyegaze_fixations.csv", _WALK, ("--start", "10", "--annotator", "r"))
_AREAS = [
    word for name in ("left - knee", "knee", "hip") for word in ("--region", f"{name}=0,0,1,1")
]
AOI_HITS = Form("gaze/aoi_hits.tsv", _WALK, ("--aoi", *_AREAS))
AOI_FIXATIONS = Form(
    "gaze/aoi_fixations.csv",
    _WALK,
    ("--aoi", "--video", "walk.mp4", "--annotator", "eve", *_AREAS),
)
REFUSED = (SEVERAL_PAGES, NO_KEYPOINTS, HEAD_REFERENCED)
READ = tuple(f for f in vars().values() if isinstance(f, Form) and f not in REFUSED)
