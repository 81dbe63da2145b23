"""What is known of a clip that is marked: how long and large it is, and where its regions are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vaclip.annotate.marks import Scene
from vaclip.data.video import decode_clip
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
    source, about = map_source("region"), study.annotated(clip)
    named = study.regions if regions else {}
    shown = {n: r for n, r in named.items() if source.problem(n, about) is None}
    joints = {}
    if clip.keypoints and any(region.keypoints for region in shown.values()):
        keypoints = load_keypoints(clip.keypoints)
        decoded.grid(_SIZE).check_length(len(keypoints), clip.keypoints.name)
        if keypoints.shape[1] != len(study.keypoint_names):
            raise VaclipError(
                f"{clip.keypoints.name} has {keypoints.shape[1]} joints, but the study has "
                f"{len(study.keypoint_names)} joint names; list them as 'keypoint_names' in "
                "study.yaml"
            )
        found = keypoints[decoded.frame_index]
        places = np.where(found[..., 2:] > 0, found[..., :2] / (width, height), np.nan)
        for name, region in shown.items():
            own = [study.keypoint_names.index(joint) for joint in region.keypoints]
            if own:
                joints[name] = times, places[:, own]
    seconds = len(times) * decoded.sample_s
    return Scene(clip.start_s, seconds, decoded.source_size, shown, joints)


def outlines(scene: Scene) -> list[dict[str, Any]]:
    """Returns the regions in the study's order, as the page draws them."""
    found: list[dict[str, Any]] = []
    for name, region in scene.regions.items():
        if region.box is not None:
            found.append({"name": name, "box": list(region.box)})
        else:
            times, places = scene.joints[name]
            seen = [moment[np.isfinite(moment[:, 0])].round(3).tolist() for moment in places]
            found.append({"name": name, "times": times.round(2).tolist(), "joints": seen})
    return found
