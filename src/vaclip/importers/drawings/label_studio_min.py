"""JSON-MIN of Label Studio: each annotation becomes the task that it is of.

Facts from the exporter (converter.py): it has one object an annotation: the task's data,
``annotator``, and under the name of each tool a list of the results' values, without type, page or
the turn of a picture. Types are known by the keys of a value. Shapes on one of several pages are
refused. That a picture was turned cannot be seen: shapes of pictures are counted, to tell it.
"""

from __future__ import annotations

from typing import Any

from vaclip.errors import VaclipError
from vaclip.importers.drawings.label_studio_stills import STILLS

SIZE = ("original_height", "original_width")
"""Of the picture, in a result, or here in its value."""
_OF_STILLS = (  # keys of a value that tell its type, the surest first
    ("brush", {"rle"}), ("polygon", {"points"}), ("ellipse", {"radiusX"}),
    ("rectangle", {"x", "height"}), ("keypoint", {"x"}),
)  # fmt: skip


def whole_task(record: dict[str, Any], field: str, where: str) -> tuple[dict[str, Any], int]:
    """Returns an annotation of JSON-MIN as the task that it is of, and how many shapes of stills.

    Raises:
        VaclipError: If these are on one of several pages.
    """
    results, stills = [], 0
    for name, values in record.items():
        for value in values if isinstance(values, list) else ():
            if not isinstance(value, dict):
                continue
            kind = _kind_of(value)
            stills += kind in STILLS
            kind = f"{kind}labels" if f"{kind}labels" in value else kind or f"'{name}'"
            size = {side: value[side] for side in SIZE if side in value}
            results.append({"type": kind, "value": value, **size})
    pages = record.get(field)
    if stills and isinstance(pages, list) and len(pages) > 1:
        raise VaclipError(
            f"{where}: '{field}' has {len(pages)} pages, and this is JSON-MIN, which does not say "
            "on which of them a shape is; export in the format JSON"
        )
    annotation = {
        "id": record.get("annotation_id"),
        "completed_by": record.get("annotator"),
        "result": results,
    }
    return {"data": record, "annotations": [annotation]}, stills


def _kind_of(value: dict[str, Any]) -> str | None:
    """Returns the type of a value of JSON-MIN; None for one of no shape."""
    if "timelinelabels" in value:
        return "timeline"
    if _is_moving_box(value):
        return "videorectangle"
    return next((kind for kind, keys in _OF_STILLS if keys <= value.keys()), None)


def _is_moving_box(value: dict[str, Any]) -> bool:
    keys = value.get("sequence")
    return isinstance(keys, list) and all(isinstance(key, dict) and "width" in key for key in keys)
