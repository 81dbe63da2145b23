"""SLEAP's projects (``.slp``): people whom a person labelled and whom a network predicted.

Facts from sleap/io/format/hdf5.py (SLEAP 1.4) and sleap-io's io/slp.py (0.5 to 0.9, formats 1.0 to
2.2). ``metadata`` has JSON with all ``nodes`` and, for each skeleton, which of them in which order;
``videos_json`` and ``tracks_json`` a JSON text each. A row of ``frames`` names its video, its
``frame_idx`` (from 0, as decoded) and a span of ``instances``; one of these its track (-1: none),
its type (0: labelled, 1: predicted), the prediction that it corrects (-1: none) and a span of
``points`` or ``pred_points``. Before format 1.1 labelled points count from a pixel's corner. Where
a project holds pictures itself, ``video`` is the number of their group, which names the source.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.poses.people import Person, PoseVideo, frame_number, join, joint_names
from vaclip.importers.reading import parse_json

_NEWEST = 3.0  # a format that is not known yet
_LABELLED = 0
_EMBEDDED = re.compile(r"video(\d{1,9})/video")
_ANALYSIS = "in SLEAP choose File > Export Analysis HDF5"


_FRAME = ("video", "frame_idx", "instance_id_start", "instance_id_end")
_INSTANCE = (
    "instance_type", "skeleton", "track", "from_predicted", "point_id_start", "point_id_end",
)  # fmt: skip
Arrays = Mapping[str, NDArray[Any]]
Whole = dict[str, NDArray[np.int64]]


def project_videos(arrays: Arrays, name: str, dropped: Counter[str]) -> list[PoseVideo]:
    """Returns the people of each video that has somebody.

    Args:
        arrays: From `vaclip.importers.poses.hdf5.hdf5_arrays`.
        name: What to call the file.
        dropped: What is left out is added to it.

    Raises:
        VaclipError: If the project is damaged, or has several skeletons or pictures for videos.
    """
    if not 0 <= arrays["format_id"] < _NEWEST:
        raise VaclipError(f"{name}: format {arrays['format_id']} is not known; {_ANALYSIS}")
    frames = {key: _whole(arrays, f"frames.{key}", name) for key in _FRAME}
    people = {key: _whole(arrays, f"instances.{key}", name) for key in _INSTANCE}
    names = _names(arrays, people["skeleton"], name)
    joints = _joints(arrays, people, len(names), name)
    tracks = [_track(text, name) for text in arrays["tracks_json"].tolist()]
    spans = _spans(frames, len(joints), name)
    if not ((people["track"] >= -1) & (people["track"] < len(tracks))).all():
        raise VaclipError(f"{name}: 'instances' have a track that 'tracks_json' has not")
    titles = _videos(arrays, name)
    videos: dict[int, PoseVideo] = {}
    for number, place, span in zip(
        frames["video"].tolist(), frames["frame_idx"].tolist(), spans, strict=True
    ):
        if number not in titles:
            raise VaclipError(f"{name}: 'frames' have a video that 'videos_json' has not")
        frame = frame_number(place, name)
        kept = _uncorrected(people, span)
        dropped["predictions that a person corrected"] += len(span) - len(kept)
        found = [one for one in kept if joints[one][:, 2].any()]
        if found and number not in videos:
            title = _title(titles[number], name)
            videos[number] = PoseVideo(title, names, f"{name}: {title}", open_ended=True)
        for one in found:
            track = int(people["track"][one])
            who = tracks[track] if track >= 0 else None
            videos[number].people[frame].append(Person(joints[one], who))
            videos[number].frames = max(videos[number].frames, frame + 1)
    if not videos:
        raise VaclipError(f"{name}: nobody is labelled or predicted in it")
    dropped["videos of projects without anybody"] += len(titles) - len(videos)
    return list(videos.values())


def _whole(arrays: Arrays, key: str, name: str) -> NDArray[np.int64]:
    values = arrays[key]
    if not (np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 1 << 53)).all():
        raise VaclipError(f"{name}: '{key}' must be whole numbers")
    return values.astype(np.int64)


def _names(arrays: Arrays, used: NDArray[np.int64], name: str) -> tuple[str, ...]:
    """Returns the nodes of the skeleton that everybody has, in its order."""
    content = parse_json(arrays["metadata"].tolist()[0], f"{name}: 'metadata'")
    match content:
        case {"nodes": [*nodes], "skeletons": [*skeletons]}:
            numbers = np.unique(used).tolist()
        case _:
            raise VaclipError(f"{name}: 'metadata' has no 'nodes' and 'skeletons'")
    if len(numbers) != 1 or not 0 <= numbers[0] < len(skeletons):
        raise VaclipError(
            f"{name}: people of {len(numbers)} skeletons, but a study has one set of joints; "
            f"{_ANALYSIS}, a file for each"
        )
    match skeletons[numbers[0]]:
        case {"nodes": [*own]}:
            ids = [node.get("id") if isinstance(node, dict) else None for node in own]
        case _:
            ids = [None]
    named = []
    for place in ids:
        if not isinstance(place, int) or not 0 <= place < len(nodes):
            raise VaclipError(f"{name}: the nodes of its skeleton are not numbered; {_ANALYSIS}")
        named.append(nodes[place].get("name") if isinstance(nodes[place], dict) else None)
    return joint_names(named, f"{name}: 'nodes'")


def _joints(arrays: Arrays, people: Whole, nodes: int, name: str) -> NDArray[np.float32]:
    """Returns (N, nodes, 3) of everybody: x, y, confidence."""
    labelled = people["instance_type"] == _LABELLED
    joints = np.zeros((len(labelled), nodes, 3), np.float32)
    shift = 0.5 if arrays["format_id"] < 1.1 else 0.0
    for kind, whose in (("points", labelled), ("pred_points", ~labelled)):
        x, y = (arrays[f"{kind}.{axis}"] for axis in "xy")
        start, stop = people["point_id_start"][whose], people["point_id_end"][whose]
        if not ((start >= 0) & (stop - start == nodes) & (stop <= len(x))).all():
            raise VaclipError(f"{name}: 'instances' do not fit '{kind}' and {nodes} nodes")
        if kind == "points":
            x, y, scores = x - shift, y - shift, np.where(arrays["points.visible"] > 0, 1.0, 0.0)
        else:
            scores = arrays["pred_points.score"]
        at = start[:, None] + np.arange(nodes)
        joints[whose] = join(np.stack([x[at], y[at]], axis=-1), scores[at], f"{name}: '{kind}'")
    return joints


def _spans(frames: Whole, people: int, name: str) -> list[range]:
    """Returns which instances each frame has."""
    start, stop = frames["instance_id_start"], frames["instance_id_end"]
    good = (start >= 0) & (start <= stop) & (stop <= people)
    if not good.all() or int((stop - start).sum()) > people:
        raise VaclipError(f"{name}: 'frames' do not fit 'instances'")
    return [range(one, other) for one, other in zip(start.tolist(), stop.tolist(), strict=True)]


def _uncorrected(people: Whole, span: range) -> list[int]:
    """Returns who is in a frame without the predictions that somebody labelled anew, as SLEAP."""
    kinds = people["instance_type"]
    labelled = [one for one in span if kinds[one] == _LABELLED]
    corrected = {int(people["from_predicted"][one]) for one in labelled}
    tracks = {int(people["track"][one]) for one in labelled} - {-1}
    return labelled + [
        one
        for one in span
        if kinds[one] != _LABELLED
        and one not in corrected
        and int(people["track"][one]) not in tracks
    ]


def _track(text: bytes, name: str) -> str:
    match parse_json(text, f"{name}: 'tracks_json'"):
        case [_, str(track), *_] if track:
            return track
    raise VaclipError(f"{name}: a track in 'tracks_json' has no name")


def _videos(arrays: Arrays, name: str) -> dict[int, Any]:
    """Returns what is said of each video, by the number that 'frames' call it."""
    videos: dict[int, Any] = {}
    for place, text in enumerate(arrays["videos_json"].tolist()):
        content = parse_json(text, f"{name}: 'videos_json'")
        backend = content.get("backend") if isinstance(content, dict) else None
        if not isinstance(backend, dict):
            raise VaclipError(f"{name}: a video in 'videos_json' has no 'backend'")
        held = _EMBEDDED.fullmatch(str(backend.get("dataset")))
        source = arrays.get(f"source.video{held[1]}") if held else None
        if source is not None:
            content = parse_json(source.tolist()[0], f"{name}: 'source_video'")
        videos[int(held[1]) if held else place] = content
    return videos


def _title(content: Any, name: str) -> str:
    """Returns the file of a video; only that of one which has somebody must be known."""
    match content:
        case {"backend": {"filenames": _}}:
            raise VaclipError(
                f"{name}: a video of it is a list of pictures, whose order is SLEAP's; {_ANALYSIS}"
            )
        case {"backend": {"filename": str(title)}} | {"filename": str(title)} if title not in (
            "",
            ".",
        ):
            return title
    raise VaclipError(f"{name}: does not say which video its pictures are of; {_ANALYSIS}")
