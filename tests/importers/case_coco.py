"""Pictures numbered from 1, the last two of a video without anybody and so not listed."""

from cases import HIPS, Case, Video

CASE = Case(
    kind="coco",
    sources=("annotations.json",),
    videos={"walk_01.mkv": Video(frames=20), "walk_02.mkv": Video(frames=12)},
    flags=("--clips", "{folder}/clips.csv", "--first-frame", "1"),
    then=HIPS,
    golden=("walk_01", "reader", 5),
    renamed=("walk_02", "walk_09"),
)
