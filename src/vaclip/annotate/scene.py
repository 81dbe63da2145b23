"""What is known of a clip that is marked: how long and large it is, and where its regions are."""

from __future__ import annotations

from typing import Any, Final

from vaclip.annotate.marks import Scene
from vaclip.data.video import decode_clip
from vaclip.maps.keypoints import load_keypoints
from vaclip.maps.source import map_source
from vaclip.study.study import Clip, Study

_FPS: Final = 10.0  # joints a second: what moves faster is blurred anyway
_SIZE: Final = (16, 16)


def read_scene(study: Study, clip: Clip) -> Scene:
    """Looks at a clip.

    Raises:
        VaclipError: If it, or its keypoints, cannot be read.
    """
    decoded = decode_clip(clip.video, fps=_FPS, size=_SIZE, start_s=clip.start_s, end_s=clip.end_s)
    times = decoded.time_s - clip.start_s
    height, width = decoded.source_size
    source, about = map_source("region"), study.annotated(clip)
    regions = {n: r for n, r in study.regions.items() if source.problem(n, about) is None}
    joints = {}
    if clip.keypoints and any(region.keypoints for region in regions.values()):
        keypoints = load_keypoints(clip.keypoints)
        decoded.grid(_SIZE).check_length(len(keypoints), clip.keypoints.name)
        places = keypoints[decoded.frame_index, :, :2] / (width, height)
        for name, region in regions.items():
            own = [study.keypoint_names.index(joint) for joint in region.keypoints]
            if own:
                joints[name] = times, places[:, own]
    seconds = len(times) * decoded.sample_s
    return Scene(clip.start_s, seconds, decoded.source_size, regions, joints)


def outlines(scene: Scene) -> list[dict[str, Any]]:
    """Returns the regions in the study's order, as the page draws them."""
    found: list[dict[str, Any]] = []
    for name, region in scene.regions.items():
        if region.box is not None:
            found.append({"name": name, "box": list(region.box)})
        else:
            times, places = scene.joints[name]
            where = {"times": times.round(2).tolist(), "joints": places.round(3).tolist()}
            found.append({"name": name, **where})
    return found
