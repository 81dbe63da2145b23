"""What drawn maps look like, in numbers: none of them may tell the class by itself.

Letters: N clips, C channels, S samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from vaclip.data.arrays import ArrayFile, map_array

MAP = "map "
"""What the names of these features begin with."""
SAMPLES = 16
"""Most samples of a clip that are looked at."""


def map_features(paths: Sequence[ArrayFile | None], marks: Sequence[int]) -> pd.DataFrame:
    """Describes the drawn map of each clip.

    Args:
        paths: (N,) the drawn map, (C, S, H, W) uint8; None where nobody annotated the clip.
        marks: (N,) how many annotations it is drawn from.

    Returns:
        N rows of numbers, means over the samples on which the map shows; NaN where it never does.
    """
    rows = [{} if path is None else _described(map_array(path).numpy()) for path in paths]
    table = pd.DataFrame(rows, index=range(len(rows))).assign(annotations=list(marks))
    if "presence" in table:
        table["presence"] = table["presence"].fillna(0.0)
    return table.add_prefix(MAP)


def _described(attn: NDArray[np.uint8]) -> dict[str, float]:
    samples = np.linspace(0, attn.shape[1] - 1, min(attn.shape[1], SAMPLES)).round()
    pictures = attn[:, samples.astype(np.int64)].mean(axis=0) / 255
    shown = [_picture(picture) for picture in pictures if picture.any()]
    means = {name: float(np.mean([one[name] for one in shown])) for name in (shown or [{}])[0]}
    return {"presence": len(shown) / len(pictures), **means}


def _picture(picture: NDArray[np.float64]) -> dict[str, float]:
    """Area and spots are of what is at least half as strong as the strongest place."""
    height, width = picture.shape
    share = picture / picture.sum()
    strong = picture >= picture.max() / 2
    return {
        "mass": float(picture.mean()),
        "area": float(strong.mean()),
        "spots": float(ndimage.label(strong)[1]),
        "centre across": float(share.sum(axis=0) @ np.arange(width)) / width,
        "centre down": float(share.sum(axis=1) @ np.arange(height)) / height,
        "entropy": float(-(share[share > 0] * np.log(share[share > 0])).sum()),
    }
