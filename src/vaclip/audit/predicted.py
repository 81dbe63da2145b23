"""Maps of a model over its video: what ``vaclip predict --out`` and ``vaclip explain`` draw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import av
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from vaclip.audit.preview import panel_size
from vaclip.data.predicted_maps import map_over_samples
from vaclip.data.video import decode_clip
from vaclip.files import atomic_file
from vaclip.maps.overlay import overlay
from vaclip.study.study import Clip

_MOMENTS: Final = 4


def draw_predicted(
    clip: Clip, maps: NDArray[np.float32], out: Path, *, frames: int, stride: int, fps: float
) -> None:
    """Draws the predicted maps of a clip over its video, red where the model looks.

    Args:
        clip: The clip.
        maps: (N, T', H', W'), a segment each.
        out: The MP4 to write.
        frames: Length of a segment in samples.
        stride: Distance between the starts of segments in samples.
        fps: Samples a second.

    Raises:
        VaclipError: If the clip cannot be read.
    """
    decoded = _pictures(clip, fps)
    attn = map_over_samples(maps, len(decoded), frames, stride)
    height, width = decoded.shape[1:3]
    with atomic_file(out) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=max(1, round(fps)), options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture, own in zip(decoded, attn, strict=True):
            drawn = _overlaid(picture, own)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn, format="rgb24")))
        container.mux(stream.encode())


def draw_looks(
    clip: Clip,
    maps: Mapping[str, NDArray[np.float32]],
    out: Path,
    *,
    frames: int,
    stride: int,
    fps: float,
) -> None:
    """Draws several maps of a clip over a few of its pictures, a row a map.

    Args:
        clip: The clip.
        maps: By name as in `draw_predicted`.
        out: The PNG to write.
        frames: Length of a segment in samples.
        stride: Distance between the starts of segments in samples.
        fps: Samples a second.

    Raises:
        VaclipError: If the clip cannot be read.
    """
    decoded = _pictures(clip, fps)
    picked = np.linspace(0, len(decoded) - 1, _MOMENTS).round().astype(np.int64)
    figure = Figure(figsize=(2.0 * _MOMENTS + 1, 2.0 * len(maps)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(maps), _MOMENTS, squeeze=False)
    for row, (name, own) in zip(axes, maps.items(), strict=True):
        attn = map_over_samples(own, len(decoded), frames, stride)
        for cell, moment in zip(row, picked, strict=True):
            cell.imshow(_overlaid(decoded[moment], attn[moment]))
            cell.set_xticks([])
            cell.set_yticks([])
        row[0].set_ylabel(name, fontsize=8)
    with atomic_file(out) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _pictures(clip: Clip, fps: float) -> NDArray[np.uint8]:
    """Decodes a clip, (S, H, W, 3), as large as a preview, with even sides, as the codec wants."""
    height, width = (side + side % 2 for side in panel_size(clip))
    return decode_clip(
        clip.video, fps=fps, size=(height, width), start_s=clip.start_s, end_s=clip.end_s
    ).frames


def _overlaid(picture: NDArray[np.uint8], own: NDArray[np.float32]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    smooth = Image.fromarray(own).resize((width, height), Image.Resampling.BILINEAR)
    return overlay(picture, np.asarray(smooth))
