"""The generated cohorts: walking patients whose right verdict is known, of four kinds.

Two simulated annotators name the body region to look at. What their regions tell is the truth of
the cohort (`TRUTHS`), and so what an honest study of it must find.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from vaclip.cohort import gait_figure as gait
from vaclip.cohort.gait_patient import draw_patient, normal
from vaclip.cohort.marks import JOINTS, MARKS, Mark, draw_marks
from vaclip.errors import VaclipError

TRUTHS = ("locates", "leaks", "common", "null")
"""What the regions that the annotators name tell.

``locates``: the place, not the diagnosis. Every patient bears three coloured marks at three of five
places; the class is the colour of the one with a pale ring, and its place, drawn independently of
the class, is what the annotators name. ``common``: the same, but the ring is at the same place in
all patients, and all annotators name it. ``leaks``: the diagnosis. Each class is a sign of the
gait at a place of its own, which the annotators name. ``null``: nothing. The signs of ``leaks``,
and annotators who point at random places of the picture, which do not move with the patient (a map
that follows the joints tells of the gait, wherever it points).
"""
SIGN_REGION = {"trunk_lean": "lumbar_pelvis", "head_drop": "head", "short_steps": "foot"}
_COMMON_PLACE = "lumbar_pelvis"
_PATIENT, _CLIP, _LABELS, ANNOTATION, _MARKS = range(5)  # independent random streams


def check_number(name: str, value: object, least: float, most: float) -> None:
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
        truth: one of `TRUTHS`.
        sign_strength: size of the signs of the gait, opacity of marks (at most 1); 0 is no sign.
        agreement: share of clips on which both annotators name exactly the same region; they
            always do where the truth is ``common``.
        ring: opacity of the ring around the mark that decides.
        seed: of everything.
        seconds: length of a clip.
        fps: frames a second.
        size: width and height of the videos in pixels.
    """

    patients: int = 60
    clips_per_patient: int = 4
    truth: str = "locates"
    sign_strength: float = 1.0
    agreement: float = 0.46
    ring: float = 0.6
    seed: int = 0
    seconds: float = 4.0
    fps: int = 25
    size: int = 128

    def __post_init__(self) -> None:
        limits = {  # name: least, most
            "patients": (len(MARKS), 100_000),
            "clips_per_patient": (1, 1000),
            "sign_strength": (0.0, 10.0),
            "agreement": (0.0, 1.0),
            "ring": (0.0, 1.0),
            "seed": (0, 2**32 - 1),
            "seconds": (0.0, 3600.0),
            "fps": (1, 240),
            "size": (32, 1024),
        }
        for name, (least, most) in limits.items():
            check_number(name, getattr(self, name), least, most)
        if self.truth not in TRUTHS:
            wrong = f"truth must be one of {', '.join(TRUTHS)}, not {self.truth!r}."
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

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(MARKS if self.marked else SIGN_REGION)

    @property
    def marked(self) -> bool:
        """Whether the classes show as coloured marks, and not in the gait."""
        return self.truth in ("locates", "common")


@dataclass(frozen=True)
class GaitClip:
    """One simulated clip, before it is drawn.

    Attributes:
        body: the patient's proportions and place in the picture.
        motion: the way of walking, with the sign.
        look: the colours.
        pose: the true figure, of a camera at rest.
        marks: what is painted on the body.
        shake: (T, 2) camera shifts in oversampled pixels.
        keypoints: (T, 17, 2) float32, as a pose estimator would see them.
        scores: (T, 17) float32 in [0, 1].
    """

    body: gait.Body
    motion: gait.Motion
    look: gait.Look
    pose: gait.Pose
    marks: tuple[Mark, ...]
    shake: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray


def generator(cohort: GaitCohort, stream: int, *path: int) -> np.random.Generator:
    """Returns the numbers of a stream, which no other stream's depend on."""
    return np.random.default_rng([cohort.seed, stream, *path])


def patient_labels(cohort: GaitCohort) -> list[str]:
    """Returns one class for each patient; class sizes differ by one at most."""
    order = generator(cohort, _LABELS).permutation(cohort.patients)
    return [cohort.classes[i % len(cohort.classes)] for i in order]


def patient_marks(cohort: GaitCohort, patient: int, label: str) -> tuple[Mark, ...]:
    """Returns what is painted on a patient, the same in all clips; the ring is on the class's."""
    if not cohort.marked:
        return ()
    rng = generator(cohort, _MARKS, patient)
    place = str(rng.choice(list(JOINTS)))
    if cohort.truth == "common":
        place = _COMMON_PLACE
    return draw_marks(rng, label, place, min(cohort.sign_strength, 1.0), cohort.ring)


def sign_place(cohort: GaitCohort, patient: int, label: str) -> str:
    """Returns the region in which a patient's class shows."""
    if not cohort.marked:
        return SIGN_REGION[label]
    marks = patient_marks(cohort, patient, label)
    return next(mark.place for mark in marks if mark.colour == MARKS[label])


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
    body, motion, look = draw_patient(generator(cohort, _PATIENT, patient))
    rng = generator(cohort, _CLIP, patient, clip)
    body, motion, light = _vary(rng, body, motion, cohort.seconds)
    if not cohort.marked:
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
        marks=patient_marks(cohort, patient, label),
        shake=shake,
        keypoints=seen.astype(np.float32),
        scores=np.clip(scores, 0, 1).astype(np.float32),
    )


def draw_clip(clip: GaitClip, size: int) -> Iterator[np.ndarray]:
    """Yields the frames of a clip, each (size, size, 3) uint8."""
    background = gait.draw_background(clip.look, clip.body, size)
    for i, (dx, dy) in enumerate(clip.shake.tolist()):
        frame = gait.draw_frame(
            background, clip.look, clip.body, clip.pose, i, (dx, dy), clip.marks
        )
        yield np.asarray(frame)
