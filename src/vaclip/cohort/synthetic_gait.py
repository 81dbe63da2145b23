"""The default cohort: synthetic walking patients, each with one of three signs in the gait.

Two simulated annotators name the body region to look at. In the informative cohort their regions
carry the sign's place; in the null cohort they are random, so that guidance cannot help.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import av
import joblib
import numpy as np
import yaml

from vaclip.cohort import gait_figure as gait
from vaclip.cohort.gait_patient import draw_patient, normal
from vaclip.errors import VaclipError
from vaclip.files import atomic_folder, cache_root, json_digest

GENERATOR_VERSION = 2
"""Raise it whenever the files of a cohort change: cached cohorts are then written anew."""

CLASSES = ("trunk_lean", "head_drop", "short_steps")
SIGN_REGION = {"trunk_lean": "lumbar_pelvis", "head_drop": "head", "short_steps": "foot"}
REGIONS = {
    "head": ["nose", "left_eye", "right_eye", "left_ear", "right_ear"],
    "shoulder": ["left_shoulder", "right_shoulder"],
    "arm_hand": ["left_elbow", "right_elbow", "left_wrist", "right_wrist"],
    "lumbar_pelvis": ["left_hip", "right_hip"],
    "knee": ["left_knee", "right_knee"],
    "foot": ["left_ankle", "right_ankle"],
}
ANNOTATORS = ("rater1", "rater2")

Progress = Callable[[int, int], None]
Job = tuple[int, int, str]  # patient, clip, label
_PATIENT, _CLIP, _LABELS, _ANNOTATION = range(4)  # independent random streams


def _check(name: str, value: object, least: float, most: float) -> None:
    """Raises a VaclipError unless value is within limits, and whole if the limits are."""
    numeric = (int,) if isinstance(least, int) else (int, float)
    ok = isinstance(value, numeric) and not isinstance(value, bool) and least <= value <= most
    if not ok:
        kind = "a whole number" if isinstance(least, int) else "a number"
        raise VaclipError(
            f"Synthetic cohort: {name} must be {kind} from {least} to {most}, not {value!r}."
        )


@dataclass(frozen=True)
class GaitCohort:
    """What a synthetic cohort is made of; equal parameters give identical files.

    Attributes:
        patients: number of patients, classes as balanced as can be.
        clips_per_patient: clips of each patient.
        sign_strength: size of the signs; 0 is no sign at all.
        agreement: share of clips on which both annotators name exactly the same region.
        informative: whether the annotators know the sign; False is the null cohort.
        seed: of everything.
        seconds: length of a clip.
        fps: frames a second.
        size: width and height of the videos in pixels.
    """

    patients: int = 60
    clips_per_patient: int = 4
    sign_strength: float = 1.0
    agreement: float = 0.46
    informative: bool = True
    seed: int = 0
    seconds: float = 4.0
    fps: int = 25
    size: int = 128

    def __post_init__(self) -> None:
        limits = {  # name: least, most
            "patients": (len(CLASSES), 100_000),
            "clips_per_patient": (1, 1000),
            "sign_strength": (0.0, 10.0),
            "agreement": (0.0, 1.0),
            "seed": (0, 2**32 - 1),
            "seconds": (0.0, 3600.0),
            "fps": (1, 240),
            "size": (32, 1024),
        }
        for name, (least, most) in limits.items():
            _check(name, getattr(self, name), least, most)
        if not isinstance(self.informative, bool):
            wrong = f"informative must be true or false, not {self.informative!r}."
            raise VaclipError(f"Synthetic cohort: {wrong}")
        if self.size % 2:
            raise VaclipError(f"Synthetic cohort: size must be even, not {self.size}.")
        if self.frames < 1:
            wrong = f"{self.seconds} seconds at {self.fps} frames a second hold no frame."
            raise VaclipError(f"Synthetic cohort: {wrong} Raise seconds or fps.")

    @property
    def frames(self) -> int:
        """Frames in a clip."""
        return round(self.seconds * self.fps)


@dataclass(frozen=True)
class GaitClip:
    """One simulated clip, before it is drawn.

    Attributes:
        body: the patient's proportions and place in the picture.
        motion: the way of walking, with the sign.
        look: the colours.
        pose: the true figure, of a camera at rest.
        shake: (T, 2) camera shifts in oversampled pixels.
        keypoints: (T, 17, 2) float32, as a pose estimator would see them.
        scores: (T, 17) float32 in [0, 1].
    """

    body: gait.Body
    motion: gait.Motion
    look: gait.Look
    pose: gait.Pose
    shake: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray


def _generator(cohort: GaitCohort, stream: int, *path: int) -> np.random.Generator:
    return np.random.default_rng([cohort.seed, stream, *path])


def patient_labels(cohort: GaitCohort) -> list[str]:
    """Returns one class for each patient; class sizes differ by one at most."""
    order = _generator(cohort, _LABELS).permutation(cohort.patients)
    return [CLASSES[i % len(CLASSES)] for i in order]


def annotate(cohort: GaitCohort, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the regions that the two annotators name.

    Args:
        cohort: says how often they agree, and whether they know the sign.
        labels: one class for each clip.

    Returns:
        One pair of region names for each clip; equal on exactly
        ``round(agreement * len(labels))`` of them.
    """
    rng = _generator(cohort, _ANNOTATION)
    agreed = rng.permutation(len(labels)) < round(cohort.agreement * len(labels))
    pairs = []
    for label, agree in zip(labels, agreed, strict=True):
        first, second = (str(region) for region in rng.permutation(list(REGIONS))[:2])
        swap = rng.random() < 0.5
        if cohort.informative:
            known = SIGN_REGION[label]
            first, second = known, (first if first != known else second)
        if agree:
            second = first
        pairs.append((second, first) if swap else (first, second))
    return pairs


def _vary(
    rng: np.random.Generator, body: gait.Body, motion: gait.Motion, seconds: float
) -> tuple[gait.Body, gait.Motion, float]:
    """Returns what one clip of a patient is like, and how bright it is."""
    pace = normal(rng, 1.0, 0.04)
    x, floor = body.x + rng.uniform(-0.02, 0.02), body.floor + rng.uniform(-0.01, 0.01)
    motion = replace(
        motion,
        cadence=motion.cadence * pace,
        phase=rng.random(),
        step=motion.step * pace * normal(rng, 1.0, 0.04),
        lean=motion.lean + normal(rng, 0.0, 1.5),
        head=motion.head + normal(rng, 0.0, 3.5),
        arm_swing=tuple(rng.uniform(0.6, 1.4, 2) * motion.arm_swing),
        knee=motion.knee + normal(rng, 0.0, 0.5),
        knee_bounce=motion.knee_bounce * rng.uniform(0.3, 1.5),
        shrug=motion.shrug * rng.uniform(0.0, 1.5),
        gesture=tuple(rng.integers(0, 2, 2) * motion.gesture),
        gesture_time=rng.uniform(0.0, seconds),
    )
    return replace(body, x=x, floor=floor), motion, normal(rng, 1.0, 0.05)


def add_sign(motion: gait.Motion, label: str, strength: float) -> gait.Motion:
    """Returns a way of walking with the sign of a class; with strength 0, the same way."""
    if label == "trunk_lean":
        return replace(motion, lean=motion.lean + 12 * strength)
    if label == "head_drop":
        return replace(motion, head=motion.head + 30 * strength, nod=motion.nod + 5 * strength)
    side = 1 if motion.step_unevenness >= 0 else -1
    return replace(
        motion,
        step=motion.step * 0.44**strength,  # cuts the distance of the ankles by 45 %
        cadence=motion.cadence * 1.25**strength,
        step_unevenness=motion.step_unevenness + side * min(0.25 * strength, 1.0),
        timing_unevenness=motion.timing_unevenness + side * min(0.06 * strength, 0.2),
    )


def simulate_clip(cohort: GaitCohort, patient: int, clip: int, label: str) -> GaitClip:
    """Simulates one clip without drawing it; it depends on the arguments alone.

    Args:
        cohort: the parameters.
        patient: index of the patient, from 0.
        clip: index of the clip within the patient, from 0.
        label: the patient's class.
    """
    body, motion, look = draw_patient(_generator(cohort, _PATIENT, patient))
    rng = _generator(cohort, _CLIP, patient, clip)
    body, motion, light = _vary(rng, body, motion, cohort.seconds)
    motion = add_sign(motion, label, cohort.sign_strength)
    pose = gait.pose_figure(body, motion, np.arange(cohort.frames) / cohort.fps, cohort.size)

    walk = rng.normal(0, 0.35, (cohort.frames, 2)).cumsum(axis=0)
    shake = np.clip(np.round(walk * cohort.size / 256), -gait.MARGIN, gait.MARGIN).astype(int)
    far = np.array([name.startswith("left") for name in gait.KEYPOINTS])
    noise = rng.standard_normal(pose.keypoints.shape) * np.where(far, 0.9, 0.45)[:, None]
    seen = pose.keypoints + shake[:, None] / gait.OVERSAMPLING + noise * cohort.size / 128
    scores = np.where(far, 0.62, 0.9) + rng.standard_normal(seen.shape[:2]) * 0.05
    return GaitClip(
        body=body,
        motion=motion,
        look=look.lit(light),
        pose=pose,
        shake=shake,
        keypoints=seen.astype(np.float32),
        scores=np.clip(scores, 0, 1).astype(np.float32),
    )


def draw_clip(clip: GaitClip, size: int) -> Iterator[np.ndarray]:
    """Yields the frames of a clip, each (size, size, 3) uint8."""
    background = gait.draw_background(clip.look, clip.body, size)
    for i, (dx, dy) in enumerate(clip.shake.tolist()):
        yield np.asarray(gait.draw_frame(background, clip.look, clip.body, clip.pose, i, (dx, dy)))


def clip_id(patient: int, clip: int) -> str:
    """Returns the name of a clip, such as ``P007_c2``; names count from 1."""
    return f"P{patient + 1:03d}_c{clip + 1}"


def _write_video(path: Path, frames: Iterable[np.ndarray], fps: int, size: int) -> None:
    # With mb-tree, x264 reads memory that nobody wrote: the bytes then differ between runs.
    options = {"crf": "20", "g": "25", "preset": "veryfast", "threads": "1"}
    options["x264-params"] = "mbtree=0:bframes=0"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _write_clip(cohort: GaitCohort, folder: Path, job: Job) -> None:
    clip = simulate_clip(cohort, *job)
    name = clip_id(*job[:2])
    frames = draw_clip(clip, cohort.size)
    _write_video(folder / "videos" / f"{name}.mp4", frames, cohort.fps, cohort.size)
    np.savez(folder / "keypoints" / f"{name}.npz", keypoints=clip.keypoints, scores=clip.scores)


def _write_tables(cohort: GaitCohort, folder: Path, jobs: Sequence[Job]) -> None:
    names = [clip_id(patient, clip) for patient, clip, _ in jobs]
    clips = [
        (name, f"videos/{name}.mp4", name.split("_")[0], label, f"keypoints/{name}.npz")
        for name, (_, _, label) in zip(names, jobs, strict=True)
    ]
    pairs = annotate(cohort, [label for _, _, label in jobs])
    annotations = [
        (name, annotator, "region", region)
        for name, pair in zip(names, pairs, strict=True)
        for annotator, region in zip(ANNOTATORS, pair, strict=True)
    ]
    tables = {
        "clips.csv": (("clip_id", "video", "patient_id", "label", "keypoints"), clips),
        "attention.csv": (("clip_id", "annotator", "kind", "value"), annotations),
    }
    for file, (header, rows) in tables.items():
        with (folder / file).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    study = {
        "name": "synthetic_gait",
        "description": "Synthetic walking patients with one of three signs, side view.",
        "classes": list(CLASSES),
        "regions": {name: {"keypoints": points} for name, points in REGIONS.items()},
    }
    text = yaml.safe_dump(study, sort_keys=False)
    (folder / "study.yaml").write_text(text, encoding="utf-8", newline="\n")


def _write_clips(
    write: Callable[[Job], None], jobs: Sequence[Job], progress: Progress | None, workers: int
) -> None:
    pool = joblib.Parallel(n_jobs=workers, return_as="generator")
    for count, _ in enumerate(pool(joblib.delayed(write)(job) for job in jobs), start=1):
        if progress:
            progress(count, len(jobs))


def _write(
    cohort: GaitCohort, folder: Path, progress: Progress | None, workers: int | None
) -> None:
    """Writes beside the folder, then renames; whoever is first with a folder wins."""
    workers = (os.cpu_count() or 1) if workers is None else workers
    _check("workers", workers, 1, 1024)
    labels = patient_labels(cohort)
    clips = range(cohort.clips_per_patient)
    jobs = [(patient, clip, label) for patient, label in enumerate(labels) for clip in clips]
    with atomic_folder(folder) as draft:
        for part in ("videos", "keypoints"):
            (draft / part).mkdir()
        _write_tables(cohort, draft, jobs)
        write = partial(_write_clip, cohort, draft)
        _write_clips(write, jobs, progress, min(workers, len(jobs)))


def write_cohort(
    cohort: GaitCohort,
    folder: Path,
    progress: Progress | None = None,
    workers: int | None = None,
) -> None:
    """Writes a cohort as a study folder: complete, or not at all.

    Args:
        cohort: the parameters.
        folder: where to write; it must not exist yet, or be empty.
        progress: called with the number of clips written and of all clips.
        workers: number of processes, by default one for each core; the files do not depend on it.

    Raises:
        VaclipError: where the folder holds something already.
    """
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VaclipError(f"Synthetic cohort: {folder} is not empty; name a new folder.")
    _write(cohort, folder, progress, workers)


def cohort_folder(
    cohort: GaitCohort,
    root: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Path:
    """Returns the folder of a cohort in the cache, and writes it if it is not there.

    Args:
        cohort: the parameters.
        root: the cache; by default as `vaclip.files.cache_root` says.
        progress: as for ``write_cohort``.
        workers: as for ``write_cohort``.
    """
    values = {name: float(value) for name, value in asdict(cohort).items()}
    digest = json_digest([GENERATOR_VERSION, values])[:16]
    folder = (root or cache_root()).resolve() / "synthetic_gait" / digest
    if not (folder / "study.yaml").is_file():
        _write(cohort, folder, progress, workers)
    return folder
