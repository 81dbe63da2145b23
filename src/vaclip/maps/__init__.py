"""Attention maps: one module a kind. Importing the package registers them all."""

from vaclip.maps import arrays, gaze, regions, shapes
from vaclip.maps.controls import CONTROLS, draw_control
from vaclip.maps.noise import NOISE, NOISE_NEUTRAL, MapNoise

__all__ = [
    "CONTROLS",
    "NOISE",
    "NOISE_NEUTRAL",
    "MapNoise",
    "arrays",
    "draw_control",
    "gaze",
    "regions",
    "shapes",
]
