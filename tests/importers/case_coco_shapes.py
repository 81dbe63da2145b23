"""Polygons, masks of both codes, and a box, each on one frame; pictures numbered from 1."""

from cases import Case, Video

CASE = Case(
    kind="coco_shapes",
    sources=("annotations.json",),
    videos={"walk_01.mkv": Video(frames=20), "walk_02.mkv": Video(frames=12)},
    flags=("--clips", "{folder}/clips.csv", "--first-frame", "1", "--annotator", "reader"),
    golden=("walk_01", "reader", 5),
    renamed=("walk_02", "walk_09"),
)
