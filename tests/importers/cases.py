"""A small export of each kind: the files lie in ``fixtures/KIND``, what they need stands here.

A kind adds ``case_KIND.py`` with a `CASE`. The contract (`test_importers.py`) and the fuzzer
(`fuzz.py`) read them all.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from conftest import write_video

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures"


@dataclass(frozen=True)
class Video:
    """A video that an export is about: a bright square moves over a dim gradient.

    Attributes:
        frames: How many.
        size: (height, width).
        fps: Constant.
    """

    frames: int = 20
    size: tuple[int, int] = (48, 64)
    fps: int = 10


@dataclass(frozen=True)
class Case:
    """An export and how it is imported.

    Attributes:
        kind: The kind.
        sources: What is named on the command line, relative to the fixture folder.
        videos: The videos to write, by path relative to the fixture folder.
        flags: Further words of the command. ``{folder}`` is the folder that the fixture was
            copied to.
        golden: (clip id, annotator, sample) of the overlay that `golden.png` in the fixture
            folder shows, at 10 samples a second; None for a kind that gives no map by itself.
        prepare: Makes files that cannot be kept as text (pickles, HDF5), in the copied folder.
        then: A further command that is run after the import. ``{folder}`` is as in ``flags``,
            ``{study}`` the study: poses alone give no map, annotations of regions do.
        renamed: A text in the export and another one: after the change a video is unmatched.
    """

    kind: str
    sources: tuple[str, ...]
    videos: dict[str, Video]
    flags: tuple[str, ...] = ()
    golden: tuple[str, str, int] | None = None
    prepare: Callable[[Path], None] | None = None
    then: tuple[str, ...] = ()
    renamed: tuple[str, str] = ("", "")
    classes: tuple[str, ...] = field(default=("ill", "well"))

    def copy_to(self, folder: Path, own: Callable[[str], str] = str) -> Path:
        """Copies the fixture and writes its videos; returns the folder.

        Args:
            folder: Where to; it must not exist.
            own: Changes the names of files and what they hold, for several exports of a kind.
        """
        for path in (FIXTURES / self.kind).rglob("*"):
            if path.is_file():
                copy = folder / own(path.relative_to(FIXTURES / self.kind).as_posix())
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(own(path.read_bytes().decode("latin-1")).encode("latin-1"))
        for name, video in self.videos.items():
            write_video(folder / own(name), moving_square(video), fps=video.fps)
        if self.prepare:
            self.prepare(folder)
        return folder

    def words(self, folder: Path, study: Path) -> list[str]:
        """Returns the command line behind ``vaclip``."""
        flags = [flag.format(folder=folder) for flag in self.flags]
        sources = [str(folder / source) for source in self.sources]
        return ["data", "import", self.kind, *sources, "--into", str(study), *flags]

    def commands(self, folder: Path, study: Path) -> list[list[str]]:
        """Returns the command line, and the one to run after it, if there is one."""
        then = [word.format(folder=folder, study=study) for word in self.then]
        return [self.words(folder, study)] + [then] * bool(then)


HIPS = (
    "data", "import", "regions", "{folder}/regions.csv", "--into", "{study}",
    "--region", "body=left_hip,right_hip",
)  # fmt: skip
"""What follows the import of poses, so that they give a map."""


def moving_square(video: Video) -> np.ndarray:
    """Returns (T, H, W, 3): a white square that goes from left to right."""
    height, width = video.size
    rows, columns = np.mgrid[:height, :width]
    picture = (40 + 40 * rows / height + 20 * columns / width).astype(np.uint8)
    pictures = np.repeat(picture[None, :, :, None], 3, axis=3).repeat(video.frames, axis=0)
    side = height // 4
    for number, one in enumerate(pictures):
        left = round(number * (width - side) / max(1, video.frames - 1))
        one[height // 2 : height // 2 + side, left : left + side] = 230
    return pictures


def all_cases() -> dict[str, Case]:
    """Returns every case by kind."""
    modules = sorted(path.stem for path in HERE.glob("case_*.py"))
    cases = [importlib.import_module(name).CASE for name in modules]
    return {case.kind: case for case in cases}
