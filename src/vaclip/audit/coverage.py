"""How much of a clip carries a map."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from vaclip.errors import counted
from vaclip.evaluation.data_card import Finding

SPARSE = 0.5
"""Share of a clip under a map below which it is told."""


def sparse_maps(under_map: Mapping[str, float]) -> list[Finding]:
    """Tells of clips that carry a map on few of their pictures.

    Args:
        under_map: The share of its pictures or samples on which a map shows, of each annotated
            clip.
    """
    sparse = {clip_id: share for clip_id, share in under_map.items() if share < SPARSE}
    if not sparse:
        return []
    what = (
        f"in {len(sparse)} of {counted(len(under_map), 'annotated clip')} the annotations show on "
        f"{percent_range(sparse.values())} of the clip; elsewhere the map is empty, and guides "
        "nothing"
    )
    advice = (
        "if they were drawn on single frames that stand for more, import them again with "
        "--hold LABEL or --interpolate LABEL; or cut the clips (start_s, end_s)"
    )
    return [Finding("warning", "maps", what, advice, tuple(sparse))]


def percent_range(shares: Collection[float]) -> str:
    """Returns the least and the greatest share in percent.

    Examples:
        >>> percent_range([0.1, 0.25]), percent_range([0.1])
        ('10% to 25%', '10%')
    """
    ends = dict.fromkeys(f"{share:.0%}" for share in (min(shares), max(shares)))
    return " to ".join(ends)
