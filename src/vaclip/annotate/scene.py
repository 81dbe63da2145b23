"""What is known of a clip that is marked: how long and large it is, and where its regions are."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vaclip.annotate.marks import Scene
from vaclip.data.video import DecodedClip, decode_clip
from vaclip.errors import VaclipError
from vaclip.maps.keypoints import load_keypoints
from vaclip.maps.source import map_source
from vaclip.study.study import Clip, Study

_FPS: Final = 10.0  # joints a second: what moves faster is blurred anyway
_SIZE: Final = (16, 16)


def read_scene(study: Study, clip: Clip, *, regions: bool = True) -> Scene:
    """Looks at a clip.

    Args:
        study: The study.
        clip: The clip.
        regions: Whether its regions are looked for; else its keypoints are not opened.

    Raises:
        VaclipError: If it, or its keypoints, cannot be read.
    """
    decoded = decode_clip(clip.video, fps=_FPS, size=_SIZE, start_s=clip.start_s, end_s=clip.end_s)
    times = decoded.time_s - clip.start_s
    height, width = decoded.source_size
    seconds = len(times) * decoded.sample_s
    source, about = map_source("region"), study.annotated(clip)
    named = study.regions if regions else {}
    shown = {n: r for n, r in named.items() if source.problem(n, about) is None}
    outlines = []
    keypoints = (
        _keypoints(study, clip, decoded) if any(r.keypoints for r in shown.values()) else None
    )
    for name, region in shown.items():
        if keypoints is None or not region.keypoints:
            outlines.append({"name": name, "box": list(region.box or ())})
            continue
        own = keypoints[:, [study.keypoint_names.index(joint) for joint in region.keypoints]]
        found = [(at[at[:, 2] > 0, :2] / (width, height)).round(3).tolist() for at in own]
        outlines.append({"name": name, "times": times.round(2).tolist(), "joints": found})
    return Scene(clip.start_s, seconds, decoded.source_size, tuple(shown), tuple(outlines))


def _keypoints(study: Study, clip: Clip, decoded: DecodedClip) -> NDArray[np.float32]:
    """Returns (S, J, 3): x and y in pixels and confidence, at each sample."""
    assert clip.keypoints is not None  # else a region of joints has a problem
    keypoints = load_keypoints(clip.keypoints)
    decoded.grid(_SIZE).check_length(len(keypoints), clip.keypoints.name)
    if keypoints.shape[1] != len(study.keypoint_names):
        raise VaclipError(
            f"{clip.keypoints.name} has {keypoints.shape[1]} joints, but the study has "
            f"{len(study.keypoint_names)} joint names; list them as 'keypoint_names' in study.yaml"
        )
    return keypoints[decoded.frame_index]
