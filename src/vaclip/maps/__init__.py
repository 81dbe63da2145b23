"""Attention maps: one module a kind. Importing the package registers them all."""

from vaclip.maps import arrays, regions

__all__ = ["arrays", "regions"]
