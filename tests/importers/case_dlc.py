"""One file of two individuals and a lamp, filtered; one of a single animal; one in HDF5."""

from pathlib import Path

import numpy as np
from cases import HIPS, Case, Video
from dlc_files import SCORER, columns_of, write_table


def prepare(folder: Path) -> None:
    """Writes what ``analyze_videos`` writes without ``save_as_csv``."""
    values = [[x, 26, 0.9, x + 3, 30, 0.9, x - 3, 30, 0.9] for x in (6, 23, 40, 58)]
    columns = columns_of(["nose", "left_hip", "right_hip"])
    write_table(folder / "videos" / f"walk_03{SCORER}.h5", columns, np.array(values))


CASE = Case(
    kind="dlc",
    sources=("videos",),
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
