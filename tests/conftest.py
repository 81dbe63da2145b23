"""Helpers of all tests: tiny videos written on the spot, and a tiny valid study folder."""

from __future__ import annotations

import csv
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import yaml
from hypothesis import settings
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

import vaclip as vc
from slurm_cluster import Slurm, missing_programs, running_cluster
from vaclip.runs.finished import Run
from vaclip.study.study import Study

# Two busy cores make the first example of a property slow, which says nothing of the code.
settings.register_profile("vaclip", deadline=None)
settings.load_profile("vaclip")

_PIXEL_FORMATS = {"ffv1": "bgr0", "gif": "rgb8"}


def grey_pictures(levels: Iterable[int], height: int = 16, width: int = 16) -> np.ndarray:
    """Returns (T, H, W, 3) uint8 whose grey level tells which frame it is."""
    levels = np.asarray(list(levels), np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (len(levels), height, width, 3)).copy()


def write_video(
    path: Path,
    pictures: np.ndarray,
    *,
    fps: int = 10,
    times_s: Sequence[float] | None = None,
    codec: str = "ffv1",
    container_options: dict[str, str] | None = None,
) -> Path:
    """Writes (T, H, W, 3) uint8 pictures as a video; the suffix chooses the container.

    Args:
        path: The file; its folder is made.
        pictures: RGB. ``ffv1`` keeps every value exactly, ``gif`` 0 and 255 to 3 levels.
        fps: Constant rate.
        times_s: Display time of each frame in whole milliseconds, instead of ``fps``.
        codec: ``ffv1`` (.mkv, .avi), ``libx264`` (.mp4) or ``gif``.
        container_options: Such as ``{"movflags": "faststart"}``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"crf": "4", "x264-params": "mbtree=0:bframes=0"} if codec == "libx264" else {}
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = _PIXEL_FORMATS.get(codec, "yuv420p")
        base = Fraction(1, fps) if times_s is None else Fraction(1, 1000)
        stream.codec_context.time_base = base
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number if times_s is None else round(times_s[number] * 1000)
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turned_by_a_quarter(path: Path) -> Path:
    """Sets the rotation of an .mp4, as a phone does: the matrix in its track header."""
    content = path.read_bytes()
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    header = content.index(b"tkhd")
    matrix = content.index(upright, header)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:matrix] + turned + content[matrix + len(turned) :])
    return path


def write_audio(path: Path) -> Path:
    """Writes a file that holds sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    """Writes a CSV file with the columns of the first row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


CLASSES = ("steady", "limping", "shuffling")
FRAMES, SIDE, FPS = 20, 32, 10


SMALL_RUN = (
    "debug=smoke", "trainer.max_epochs=1", "trainer.accelerator=cpu", "split.folds=3",
    "data.frames=8", "data.size=[32,32]",
)  # fmt: skip
"""Settings of a run of seconds on the tiny study."""


def write_tiny_study(root: Path, patients_per_class: int = 5, clips_per_patient: int = 1) -> Path:
    """Writes a valid study: a square whose colour and path tell the class, on noise.

    Annotator ``ann`` annotates every clip with the class's region of joints, ``bob`` every second
    one with a box. Clips are 20 frames of 32 x 32 at 10 a second.
    """
    (root / "videos").mkdir(parents=True)
    (root / "keypoints").mkdir()
    head = {
        "name": "tiny",
        "classes": list(CLASSES),
        "regions": {
            "hips": {"keypoints": ["left_hip", "right_hip"]},
            "knees": {"keypoints": ["left_knee", "right_knee"]},
            "head": {"keypoints": ["nose"]},
            "trunk": {"box": [0.25, 0.25, 0.75, 0.625]},
            "ground": {"box": [0, 0.75, 1, 1]},
        },
    }
    (root / "study.yaml").write_text(yaml.safe_dump(head, sort_keys=False))
    clips, annotations = [], []
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        for patient in range(patients_per_class):
            for take in range(clips_per_patient):
                clip_id = f"{name}-{patient}-{take}"
                write_video(root / f"videos/{clip_id}.mkv", _walk(label, random), fps=FPS)
                joints = random.uniform(4, SIDE - 4, (17, 2)) + np.zeros((FRAMES, 1, 1))
                scores = random.uniform(0.6, 1, (FRAMES, 17))
                np.savez(root / f"keypoints/{clip_id}.npz", keypoints=joints, scores=scores)
                clips.append(
                    {
                        "clip_id": clip_id,
                        "video": f"videos/{clip_id}.mkv",
                        "patient_id": f"{name}-{patient}",
                        "label": name,
                        "keypoints": f"keypoints/{clip_id}.npz",
                        "frames": FRAMES,
                    }
                )
                annotations.append(_annotation(clip_id, "ann", ("hips", "knees", "head")[label]))
                if patient % 2 == 0:
                    annotations.append(
                        _annotation(clip_id, "bob", ("trunk", "ground", "trunk")[label])
                    )
    write_rows(root / "clips.csv", clips)
    write_rows(root / "attention.csv", annotations)
    return root


def _annotation(clip_id: str, annotator: str, value: str) -> dict[str, object]:
    return {"clip_id": clip_id, "annotator": annotator, "kind": "region", "value": value}


def _walk(label: int, random: np.random.Generator) -> np.ndarray:
    pictures = random.integers(60, 90, (FRAMES, SIDE, SIDE, 3), np.uint8)
    for number, picture in enumerate(pictures):
        top, left = (8, number) if label < 2 else (number, 8)
        picture[top : top + 10, left : left + 10, label] = 230
    return pictures


@pytest.fixture
def tiny_study(tmp_path: Path) -> Callable[..., Path]:
    """Returns ``make(patients_per_class=5, clips_per_patient=1) -> Path`` of a valid study."""
    made = 0

    def make(patients_per_class: int = 5, clips_per_patient: int = 1) -> Path:
        nonlocal made
        made += 1
        return write_tiny_study(tmp_path / f"study_{made}", patients_per_class, clips_per_patient)

    return make


class LiveBytes(TorchDispatchMode):
    """Measures the most memory that tensors made within it had at a time.

    Attributes:
        peak: In bytes; a storage that several tensors share counts once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        ours = [x for x in (*args, *(kwargs or {}).values()) if isinstance(x, torch.Tensor)]
        given = {x.untyped_storage().data_ptr() for x in ours}
        made = result if isinstance(result, (tuple, list)) else [result]
        for tensor in made:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in given:  # no view, nothing in place
                    self._storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._storages = {
            key: entry for key, entry in self._storages.items() if not entry[0].expired()
        }
        self.peak = max(self.peak, sum(size for _, size in self._storages.values()))
        return result


@pytest.fixture
def live_bytes() -> type[LiveBytes]:
    """Returns the context manager `LiveBytes`."""
    return LiveBytes


class TinyRuns:
    """Trained runs on the tiny study, each made once a session; tests leave them as they are.

    Attributes:
        root: Of the study.
        cache: Of its clips.
    """

    def __init__(self, home: Path) -> None:
        self.root, self.cache = write_tiny_study(home / "my_study"), home / "cache"
        self._home, self._made = home, dict[tuple[str, ...], Run]()

    @cached_property
    def study(self) -> Study:
        return vc.load_study(self.root)

    def __call__(self, arm: str, *overrides: str) -> Run:
        """Returns the run of an arm, with `SMALL_RUN` and further settings."""
        key = (arm, *overrides)
        if key not in self._made:
            settings = [*SMALL_RUN, f"data.cache_dir={self.cache}", *overrides]
            folder = self._home / f"run_{len(self._made)}"
            self._made[key] = vc.train(self.study, arm=arm, overrides=settings, folder=folder)
        return self._made[key]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    """Returns ``trained(arm, *overrides)``, see `TinyRuns`."""
    return TinyRuns(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A Slurm of two nodes; tests that ask for it are skipped where it is not installed."""
    if missing := missing_programs():
        pytest.skip(
            f"Slurm is not installed: {', '.join(missing)} (Debian: slurmctld slurmd munge)"
        )
    with running_cluster() as started:
        yield started
