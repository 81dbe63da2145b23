"""SLEAP projects, written as sleap/io/format/hdf5.py describes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FRAME = [("frame_id", "u8"), ("video", "u4"), ("frame_idx", "u8"), ("instance_id_start", "u8"),
         ("instance_id_end", "u8")]  # fmt: skip
INSTANCE = [("instance_id", "i8"), ("instance_type", "u1"), ("frame_id", "u8"), ("skeleton", "u4"),
            ("track", "i4"), ("from_predicted", "i8"), ("score", "f4"), ("point_id_start", "u8"),
            ("point_id_end", "u8"), ("tracking_score", "f4")]  # fmt: skip
POINT = [("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")]
METADATA = {
    "version": "2.0.0",
    "nodes": [{"name": name, "weight": 1.0} for name in ("nose", "left_hip", "right_hip")],
    # The order of the skeleton, not that of all nodes.
    "skeletons": [{"graph": {}, "links": [], "nodes": [{"id": 1}, {"id": 0}, {"id": 2}]}],
}  # fmt: skip


def write_slp(
    path: Path,
    rows: list[tuple[int, int, list[dict[str, Any]]]],
    videos: tuple[dict[str, Any], ...],
    tracks: tuple[str, ...] = (),
    metadata: dict[str, Any] = METADATA,
    format_id: float = 1.3,
) -> Path:
    """Writes a project.

    Args:
        path: The file.
        rows: (video, frame, people); each has ``points``, (x, y) or (x, y, score) of its nodes,
            and may have ``track`` and ``corrects`` (the number of a person).
        videos: The backends.
        tracks: Their names.
        metadata: The JSON.
        format_id: Of the format.
    """
    frames, people = [], []
    points: dict[bool, list[tuple[float, ...]]] = {True: [], False: []}
    for number, (video, frame, found) in enumerate(rows):
        frames.append((number, video, frame, len(people), len(people) + len(found)))
        for one in found:
            predicted = len(one["points"][0]) == 3
            start = len(points[predicted])
            points[predicted] += [(x, y, x == x, True, *more) for x, y, *more in one["points"]]
            track, corrects = one.get("track", -1), one.get("corrects", -1)
            stop = start + len(one["points"])
            people.append(
                (len(people), predicted, number, 0, track, corrects, 0.9, start, stop, 0.0)
            )
    with h5py.File(path, "w") as file:
        group = file.create_group("metadata")
        group.attrs["format_id"] = format_id
        group.attrs["json"] = np.bytes_(json.dumps(metadata))
        texts = [json.dumps({"backend": video}).encode() for video in videos]
        file.create_dataset("videos_json", data=texts, maxshape=(None,))
        texts = [json.dumps([0, track]).encode() for track in tracks]
        file.create_dataset("tracks_json", data=np.array(texts, "S50"), maxshape=(None,))
        for key, values, kind in (
            ("frames", frames, FRAME), ("instances", people, INSTANCE),
            ("points", points[False], POINT),
            ("pred_points", points[True], [*POINT, ("score", "f8")]),
        ):  # fmt: skip
            file.create_dataset(key, data=np.array(values, kind), maxshape=(None,))
    return path
