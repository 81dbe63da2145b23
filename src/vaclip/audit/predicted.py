"""A map that a model predicts, over its video: what ``vaclip predict --out`` draws."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaclip.audit.preview import overlay, panel_size
from vaclip.data.predicted_maps import map_over_samples
from vaclip.data.video import decode_clip
from vaclip.files import atomic_file
from vaclip.study.study import Clip


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
    height, width = (side + side % 2 for side in panel_size(clip))  # as the codec wants them
    size = (height, width)
    decoded = decode_clip(
        clip.video, fps=fps, size=size, start_s=clip.start_s, end_s=clip.end_s
    ).frames
    attn = map_over_samples(maps, len(decoded), frames, stride)
    with atomic_file(out) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=max(1, round(fps)), options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture, own in zip(decoded, attn, strict=True):
            smooth = Image.fromarray(own).resize((width, height), Image.Resampling.BILINEAR)
            drawn = overlay(picture, np.asarray(smooth))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn, format="rgb24")))
        container.mux(stream.encode())
