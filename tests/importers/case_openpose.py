"""A bystander comes first in one frame, one frame has nobody, one file is missing."""

from cases import HIPS, Case, Video

CASE = Case(
    kind="openpose",
    sources=("output",),
    videos={"walk_01.mkv": Video(frames=10), "walk_02.mkv": Video(frames=6)},
    flags=("--clips", "{folder}/clips.csv"),
    then=HIPS,
    golden=("walk_01", "reader", 5),
    renamed=("walk_02", "walk_09"),
)
