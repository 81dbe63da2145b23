"""A side-view walking figure: joint angles to keypoints to pictures.

Points are complex numbers while they are computed (x to the right, y **down**, as in a picture,
in units of the body's height): ``exp(1j * a)`` then turns a vector clockwise, which for somebody
who faces right means forward. The right side of the body is the one near the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image, ImageDraw

from vaclip.cohort.marks import JOINTS, Mark, paint_mark

_PARTS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
KEYPOINTS = ("nose", *(f"{side}_{part}" for part in _PARTS for side in ("left", "right")))
"""The 17 COCO keypoints, in their usual order."""

OVERSAMPLING = 2  # pictures are drawn this many times larger, then reduced
MARGIN = 8  # drawn pixels around a background, for a camera that shakes

RGB = tuple[int, int, int]
_UP, _DOWN = -1j, 1j
_ANKLE_HEIGHT = 0.042
_FAR_SHIFT = 0.006 - 0.012j  # where the body's far side appears, relative to the near side
_HEAD_POINTS = {  # in head radii, from the centre of an upright head that faces right
    "nose": 1.12 + 0.2j,
    "left_eye": 0.86 - 0.22j,
    "right_eye": 0.7 - 0.2j,
    "left_ear": -0.02 + 0.08j,
    "right_ear": -0.15 + 0.1j,
}
_CYCLE = (0.0, 0.08, 0.38, 0.5, 0.62, 0.75, 0.87, 1.0)  # from heel strike to heel strike
_FOOT_PITCH = (18.0, 0.0, -2.0, -24.0, -58.0, -34.0, 4.0, 18.0)  # degrees, toes up is positive


@dataclass(frozen=True)
class Body:
    """Proportions, in units of the body's height, and the place in the picture.

    Attributes:
        height: body height as a share of the picture's height.
        x: where the hips are, as a share of the picture's width.
        floor: where the floor is, as a share of the picture's height.
        girth: thickness of everything, 1 is average.
    """

    thigh: float = 0.245
    shank: float = 0.24
    trunk: float = 0.3
    neck: float = 0.115
    head: float = 0.068
    upper_arm: float = 0.17
    forearm: float = 0.16
    foot: float = 0.145
    girth: float = 1.0
    height: float = 0.76
    x: float = 0.47
    floor: float = 0.92


@dataclass(frozen=True)
class Motion:
    """How somebody walks. Angles are degrees, forward is positive; pairs are (left, right).

    Attributes:
        cadence: strides (two steps) a second.
        phase: where in the stride the clip begins, in [0, 1).
        step: swing of the legs, and so the length of the steps; 1 is average.
        step_unevenness: how much longer the right step is than the left, as a share.
        timing_unevenness: how far the left step comes too late, as a share of the stride.
        lean: pitch of the trunk around the hips.
        head: pitch of the head around the neck, relative to the trunk.
        nod: amplitude of a slow nodding.
        arm_swing: amplitude of each arm's swing.
        knee: extra flexion of both knees.
        knee_bounce: amplitude of a flexion of both knees twice a stride.
        shrug: height of a slow shrug of the shoulders, in body heights.
        gesture: how far each forearm is lifted, for about a second.
        gesture_time: when, in seconds.
    """

    cadence: float = 0.9
    phase: float = 0.0
    step: float = 1.0
    step_unevenness: float = 0.0
    timing_unevenness: float = 0.0
    lean: float = 4.0
    head: float = 4.0
    nod: float = 1.0
    arm_swing: tuple[float, float] = (20.0, 20.0)
    knee: float = 4.0
    knee_bounce: float = 0.0
    shrug: float = 0.0
    gesture: tuple[float, float] = (0.0, 0.0)
    gesture_time: float = 1.0


def rgb(values: np.ndarray) -> RGB:
    """Rounds to a colour of three whole numbers in [0, 255]."""
    r, g, b = (int(v) for v in np.clip(np.round(values), 0, 255))
    return r, g, b


def _shade(colour: RGB, factor: float) -> RGB:
    return rgb(np.array(colour) * factor)


@dataclass(frozen=True)
class Look:
    """Colours, and static rectangles (x0, y0, x1, y1) in shares of the picture."""

    skin: RGB = (224, 172, 140)
    hair: RGB = (60, 40, 30)
    shirt: RGB = (70, 110, 180)
    trousers: RGB = (50, 50, 70)
    shoes: RGB = (30, 30, 30)
    wall: tuple[RGB, RGB] = ((200, 205, 210), (170, 175, 185))
    ground: RGB = (130, 120, 110)
    furniture: tuple[tuple[tuple[float, ...], RGB], ...] = ()

    def lit(self, light: float) -> Look:
        """Returns the same look in another light; 1 changes nothing."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)[:5]} | {"ground": self.ground}
        return Look(
            **{name: _shade(colour, light) for name, colour in plain.items()},
            wall=(_shade(self.wall[0], light), _shade(self.wall[1], light)),
            furniture=tuple((box, _shade(colour, light)) for box, colour in self.furniture),
        )


@dataclass(frozen=True)
class Pose:
    """A moving figure in pixels.

    Attributes:
        keypoints: (T, 17, 2), x and y, in the order of ``KEYPOINTS``.
        feet: (T, 2, 2, 2): left and right, heel and toe, x and y.
        head: (T, 2): centre of the head.
        head_pitch: (T,) absolute pitch of the head, in radians, forward is positive.
        unit: the body's height in pixels.
    """

    keypoints: np.ndarray
    feet: np.ndarray
    head: np.ndarray
    head_pitch: np.ndarray
    unit: float


def _bump(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """A bell of height 1 on the circle [0, 1)."""
    distance = (x - centre + 0.5) % 1.0 - 0.5
    return np.exp(-0.5 * (distance / width) ** 2)


def _leg(body: Body, motion: Motion, phase: np.ndarray, step: float) -> tuple[np.ndarray, ...]:
    """Returns knee, ankle, heel and toe relative to the hip, for one leg."""
    wave = np.cos(2 * np.pi * phase)
    swing = 58 * _bump(phase, 0.72, 0.095) * np.sqrt(step)
    loading = 12 * _bump(phase, 0.14, 0.07) * step
    bounce = motion.knee_bounce * (1 - np.cos(4 * np.pi * phase)) / 2
    knee_flexion = np.maximum(motion.knee + swing + loading + bounce, 0.0)
    thigh_angle = np.deg2rad(4 + 0.5 * (motion.knee + bounce) + 20 * step * wave)
    shank_angle = thigh_angle - np.deg2rad(knee_flexion)
    knee = body.thigh * _DOWN * np.exp(-1j * thigh_angle)
    ankle = knee + body.shank * _DOWN * np.exp(-1j * shank_angle)
    pitch = np.deg2rad(np.interp(phase % 1.0, _CYCLE, _FOOT_PITCH) * min(step, 1.2))
    sole = np.exp(-1j * pitch)
    heel = ankle + sole * (-0.22 * body.foot + _ANKLE_HEIGHT * 1j)
    toe = ankle + sole * (0.78 * body.foot + _ANKLE_HEIGHT * 1j)
    return knee, ankle, heel, toe


def _arm(body: Body, swing: np.ndarray, lift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns elbow and wrist relative to the shoulder, for angles in degrees."""
    upper = np.deg2rad(swing + 0.25 * lift)
    lower = upper + np.deg2rad(16 + 0.5 * np.maximum(swing, 0) + lift)
    elbow = body.upper_arm * _DOWN * np.exp(-1j * upper)
    return elbow, elbow + body.forearm * _DOWN * np.exp(-1j * lower)


def pose_figure(body: Body, motion: Motion, times: np.ndarray, size: int) -> Pose:
    """Poses a figure at some times.

    Args:
        body: the proportions and the place in the picture.
        motion: the way of walking.
        times: (T,) seconds.
        size: width and height of the picture in pixels.

    Returns:
        The figure in pixels; at every time the lowest part of its shoes touches the floor.
    """
    phase = motion.phase + motion.cadence * times  # of the right leg
    slow = np.sin(2 * np.pi * (0.35 * times + motion.phase))
    lean = np.deg2rad(motion.lean + 1.2 * np.cos(4 * np.pi * phase))
    head_pitch = lean + np.deg2rad(motion.head + motion.nod * slow)
    neck = body.trunk * _UP * np.exp(1j * lean)
    head = neck + body.neck * _UP * np.exp(1j * head_pitch)
    gesture = np.exp(-(((times - motion.gesture_time) / 0.5) ** 2))

    points = {n: head + body.head * np.exp(1j * head_pitch) * p for n, p in _HEAD_POINTS.items()}
    feet = []
    for i, side in enumerate(("left", "right")):
        far = _FAR_SHIFT if side == "left" else 0j
        sign = -1 if side == "left" else 1
        own = phase if side == "right" else phase + 0.5 - motion.timing_unevenness
        step = motion.step * (1 + sign * motion.step_unevenness / 2)
        turn = np.cos(2 * np.pi * own)
        hip = far + 0.012 * turn
        knee, ankle, heel, toe = (hip + part for part in _leg(body, motion, own, step))
        shoulder = far + neck - 0.018 * turn + motion.shrug * _UP * (1 + slow) / 2
        elbow, wrist = (
            shoulder + part
            for part in _arm(body, -motion.arm_swing[i] * turn, motion.gesture[i] * gesture)
        )
        joints = (shoulder, elbow, wrist, hip, knee, ankle)
        points |= {f"{side}_{n}": joint for n, joint in zip(_PARTS[2:], joints, strict=True)}
        feet.append((heel - far, toe - far))

    soles = np.moveaxis(np.array(feet), -1, 0)  # (T, side, heel or toe)
    lowest = soles.imag.max(axis=(1, 2))
    soles[:, 0] += _FAR_SHIFT
    unit = body.height * size
    origin = size * (body.x + 1j * body.floor) - 1j * unit * lowest  # of the hips

    def to_pixels(z: np.ndarray) -> np.ndarray:
        z = origin.reshape(-1, *[1] * (z.ndim - 1)) + unit * z
        return np.stack([z.real, z.imag], axis=-1)

    keypoints = to_pixels(np.stack([points[name] for name in KEYPOINTS], axis=1))
    return Pose(keypoints, to_pixels(soles), to_pixels(head), head_pitch, unit)


def draw_background(look: Look, body: Body, size: int) -> Image.Image:
    """Draws a room with a treadmill, oversampled and with ``MARGIN`` pixels around it."""
    side = size * OVERSAMPLING
    full = side + 2 * MARGIN
    ramp = np.linspace(0, 1, full)[:, None, None]
    top, bottom = (np.array(colour, dtype=float) for colour in look.wall)
    rows = np.broadcast_to((1 - ramp) * top + ramp * bottom, (full, full, 3))
    image = Image.fromarray(rows.round().astype(np.uint8))
    draw = ImageDraw.Draw(image)

    def place(share: float) -> int:
        return round(MARGIN + share * side)

    for box, colour in look.furniture:
        draw.rectangle([place(share) for share in box], fill=colour)
    draw.rectangle((0, place(body.floor - 0.05), full, full), fill=look.ground)
    belt = (place(0.1), place(body.floor - 0.015), place(0.9), place(body.floor + 0.03))
    draw.rectangle(belt, fill=_shade(look.ground, 0.55))
    return image


class _Pen:
    """Draws thick rounded strokes, in output pixels, onto an oversampled image."""

    def __init__(self, image: Image.Image, shift: tuple[int, int]) -> None:
        self._draw = ImageDraw.Draw(image)
        self._shift = np.array(shift)

    def dot(self, point: np.ndarray, radius: float, colour: RGB) -> None:
        x, y = point * OVERSAMPLING + self._shift
        r = radius * OVERSAMPLING
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def stroke(self, points: list[np.ndarray], width: float, colour: RGB) -> None:
        line = [tuple(p * OVERSAMPLING + self._shift) for p in points]
        self._draw.line(line, fill=colour, width=max(1, round(width * OVERSAMPLING)))
        for point in points:
            self.dot(point, width / 2, colour)


def _draw_head(pen: _Pen, look: Look, pose: Pose, frame: int, radius: float) -> None:
    head, nose, eye = pose.head[frame], *pose.keypoints[frame, [0, 2]]
    turned = np.exp(1j * pose.head_pitch[frame]) * (0.22 + 0.2j) * radius
    forward = np.array([turned.real, turned.imag])
    pen.dot(head - forward, radius, look.hair)
    pen.dot(head + 0.6 * forward, 0.88 * radius, look.skin)
    pen.stroke([head, nose], 0.3 * radius, look.skin)
    pen.dot(eye, 0.13 * radius, _shade(look.hair, 0.6))


def draw_frame(
    background: Image.Image,
    look: Look,
    body: Body,
    pose: Pose,
    frame: int,
    shake: tuple[int, int] = (0, 0),
    marks: Sequence[Mark] = (),
) -> Image.Image:
    """Draws one frame.

    Args:
        background: from ``draw_background``.
        look: the colours.
        body: the proportions.
        pose: the moving figure.
        frame: which frame of ``pose``.
        shake: shift of the whole picture in oversampled pixels, at most ``MARGIN`` each way.
        marks: what is painted on the body, in this order.

    Returns:
        An RGB picture of the size that the background was made for.
    """
    dx, dy = shake
    width, height = background.size
    box = (MARGIN - dx, MARGIN - dy, width - MARGIN - dx, height - MARGIN - dy)
    image = background.crop(box)
    pen = _Pen(image, shake)
    at = dict(zip(KEYPOINTS, pose.keypoints[frame], strict=True))
    thick = pose.unit * body.girth

    def limbs(side: str, leg: bool) -> None:
        shade = 0.72 if side == "left" else 1.0
        if leg:
            heel, toe = pose.feet[frame, int(side == "right")]
            hip, knee, ankle = (at[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
            lift = np.array([0, 0.014 * pose.unit])  # so that the sole, not its middle, touches
            shoe = [heel - lift, ankle, toe - lift, heel - lift]
            pen.stroke(shoe, 0.028 * pose.unit, _shade(look.shoes, shade))
            pen.stroke([hip, knee], 0.088 * thick, _shade(look.trousers, shade))
            pen.stroke([knee, ankle], 0.06 * thick, _shade(look.trousers, shade))
        else:
            shoulder, elbow, wrist = (at[f"{side}_{n}"] for n in ("shoulder", "elbow", "wrist"))
            pen.stroke([elbow, wrist], 0.036 * thick, _shade(look.skin, shade))
            pen.dot(wrist, 0.026 * pose.unit, _shade(look.skin, shade))
            pen.stroke([shoulder, elbow], 0.052 * thick, _shade(look.shirt, shade * 0.86))

    limbs("left", leg=False)
    limbs("left", leg=True)
    limbs("right", leg=True)
    hips = (at["left_hip"] + at["right_hip"]) / 2
    neck = (at["left_shoulder"] + at["right_shoulder"]) / 2
    pen.stroke([neck, pose.head[frame]], 0.055 * thick, look.skin)
    pen.stroke([hips, hips + 0.93 * (neck - hips)], 0.125 * thick, look.shirt)
    _draw_head(pen, look, pose, frame, body.head * pose.unit)
    limbs("right", leg=False)
    for mark in marks:
        centre = np.mean([at[joint] for joint in JOINTS[mark.place]], axis=0)
        paint_mark(image, mark, centre * OVERSAMPLING + shake, pose.unit * OVERSAMPLING)
    return image.reduce(OVERSAMPLING)
