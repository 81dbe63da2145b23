"""Attention maps: one module a kind. Importing the package registers them all."""

from vaclip.maps import arrays, regions
from vaclip.maps.controls import CONTROLS, draw_control

__all__ = ["CONTROLS", "arrays", "draw_control", "regions"]
