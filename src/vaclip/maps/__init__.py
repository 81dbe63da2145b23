"""Attention maps: one module a kind, by name in `vaclip.maps.source`."""

from vaclip.maps.controls import CONTROLS, SHUFFLED, draw_control
from vaclip.maps.noise import NOISE, NOISE_NEUTRAL, MapNoise

__all__ = [
    "CONTROLS",
    "NOISE",
    "NOISE_NEUTRAL",
    "SHUFFLED",
    "MapNoise",
    "draw_control",
]
