"""An analysis HDF5 of two tracks, a CSV, both shorter than the video; a project of people."""

from pathlib import Path

import h5py
import numpy as np
from cases import HIPS, Case, Video
from slp_files import write_slp


def prepare(folder: Path) -> None:
    """Writes what SLEAP writes by "Export Analysis HDF5": see write_tracking_h5.py."""
    tracks = np.full((2, 2, 3, 18), np.nan)  # tracks, xy, nodes, frames
    for frame in range(18):
        x = round(frame * 52 / 19) + 6
        if frame != 9:
            tracks[1, :, :, frame] = (x + 3, x, x - 3), (30, 26, 30)
    tracks[0, :, 1, 14:] = [[60], [5]]
    with h5py.File(folder / "exports" / "gait.v003.000_walk_01.analysis.h5", "w") as file:
        file["track_names"] = np.array([b"track_0", b"track_1"])
        file["node_names"] = np.array([b"left_hip", b"nose", b"right_hip"])
        file["video_path"] = "C:\\gait\\videos\\walk_01.mkv"
        scores = np.where(np.isnan(tracks[:, 0]), np.nan, 0.9)
        for name, values in (
            ("tracks", tracks), ("track_occupancy", ~np.isnan(scores).all(1).T),
            ("point_scores", scores), ("instance_scores", scores[:, 0]),
            ("tracking_scores", scores[:, 0]),
        ):  # fmt: skip
            file.create_dataset(name, data=values, compression="gzip", compression_opts=9)
    rows = [
        (0, frame, [{"points": [(x + 3, 30, 0.9), (x, 26, 0.8), (x - 3, 30, 0.9)], "track": 0}])
        for frame, x in ((0, 6), (1, 23), (3, 58))
    ]
    by_hand = {"points": [(43, 30), (40, 26), (37, 30)], "track": 0}
    rows.insert(2, (0, 2, [{"points": [(9, 9, 0.9)] * 3}, by_hand | {"corrects": 2}]))
    video = {"type": "MediaVideo", "filename": "C:/gait/videos/walk_03.mkv"}
    write_slp(folder / "exports" / "gait.slp", rows, (video,), ("track_0",))


CASE = Case(
    kind="sleap",
    sources=("exports",),
    videos={
        "walk_01.mkv": Video(frames=20),
        "walk_02.mkv": Video(frames=12),
        "walk_03.mkv": Video(frames=4),
    },
    flags=("--clips", "{folder}/clips.csv"),
    then=HIPS,
    golden=("walk_01", "reader", 5),
    prepare=prepare,
    renamed=("walk_02", "walk_09"),
)
