"""Annotations of other tools: one module a kind. Importing the package registers them all."""

from vaclip.importers import marks, table
from vaclip.importers.base import IMPORTERS

__all__ = ["IMPORTERS", "marks", "table"]
