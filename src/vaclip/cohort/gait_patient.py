"""What is drawn at random for a generated patient: body, way of walking, look."""

from __future__ import annotations

import numpy as np

from vaclip.cohort.gait_figure import RGB, Body, Look, Motion, rgb

LOOK_VARIETY = 0.3
"""How far a patient's colours lie from the usual ones, 0 to 1.

It sets how well a network can tell patients by their look instead of finding the sign: at 1 the
default video-only model stayed at chance on held-out patients, at 0 nothing is left to leak.
"""


def normal(rng: np.random.Generator, mean: float, deviation: float) -> float:
    """A normal number, no further than two deviations from its mean."""
    return mean + deviation * float(np.clip(rng.standard_normal(), -2, 2))


def _pair(rng: np.random.Generator, low: float, high: float) -> tuple[float, float]:
    left, right = rng.uniform(low, high, 2)
    return float(left), float(right)


def _colour(rng: np.random.Generator, low: int = 20, high: int = 235) -> RGB:
    r, g, b = rng.integers(low, high, 3)
    return int(r), int(g), int(b)


def _toward(usual: RGB, drawn: RGB | np.ndarray) -> RGB:
    """Returns a colour between the usual one and a patient's own, by `LOOK_VARIETY`."""
    return rgb(np.array(usual) + LOOK_VARIETY * (np.array(drawn) - np.array(usual)))


def draw_patient(rng: np.random.Generator) -> tuple[Body, Motion, Look]:
    """Draws what stays the same in all clips of a patient, without a sign."""
    parts = ("thigh", "shank", "trunk", "neck", "upper_arm", "forearm", "foot", "head")
    body = Body(
        **{name: normal(rng, 1.0, 0.05) * getattr(Body, name) for name in parts},
        girth=normal(rng, 1.05, 0.13),
        height=rng.uniform(0.68, 0.8),
        x=rng.uniform(0.42, 0.5),
        floor=rng.uniform(0.89, 0.94),
    )
    motion = Motion(
        cadence=normal(rng, 0.88, 0.1),
        step=normal(rng, 1.0, 0.25),
        step_unevenness=normal(rng, 0.0, 0.06),
        timing_unevenness=normal(rng, 0.0, 0.012),
        lean=normal(rng, 5.0, 6.0),
        head=normal(rng, 6.0, 14.0),
        nod=rng.uniform(0.0, 3.0),
        arm_swing=_pair(rng, 4.0, 34.0),
        knee=normal(rng, 7.0, 3.0),
        knee_bounce=rng.uniform(0.0, 10.0),
        shrug=rng.uniform(0.0, 0.03),
        gesture=_pair(rng, 0.0, 70.0),
    )
    wall = np.array(_colour(rng, 110, 225))
    furniture = []
    for x0, y0 in rng.uniform((-0.1, 0.1), (0.9, 0.7), (4, 2)).tolist():
        width, height = rng.uniform(0.08, 0.3, 2).tolist()
        box = (x0, y0, x0 + width, min(y0 + height, 0.86))
        furniture.append((box, _toward(Look.wall[1], _colour(rng, 70, 210))))
    look = Look(
        skin=_toward(Look.skin, rng.uniform(0.35, 1.0) * np.array([236, 188, 156])),
        hair=_toward(Look.hair, _colour(rng, 20, 110)),
        shirt=_toward(Look.shirt, _colour(rng)),
        trousers=_toward(Look.trousers, _colour(rng, 20, 150)),
        shoes=_toward(Look.shoes, _colour(rng)),
        wall=(
            _toward(Look.wall[0], wall),
            _toward(Look.wall[1], wall * rng.uniform(0.6, 0.95)),
        ),
        ground=_toward(Look.ground, _colour(rng, 80, 170)),
        furniture=tuple(furniture),
    )
    return body, motion, look
