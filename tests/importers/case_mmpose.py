"""One file of a demo script, which counts from 1, one of the inferencer, from 0."""

from cases import HIPS, Case, Video

CASE = Case(
    kind="mmpose",
    sources=("predictions",),
    videos={"walk_01.mkv": Video(frames=10), "walk_02.mkv": Video(frames=6)},
    flags=("--clips", "{folder}/clips.csv"),
    then=HIPS,
    golden=("walk_01", "reader", 5),
    renamed=("walk_02", "walk_09"),
)
