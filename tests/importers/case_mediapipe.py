"""A table with a landmark a row, in which a frame has nobody, and JSON of JavaScript's results."""

from cases import HIPS, Case, Video

CASE = Case(
    kind="mediapipe",
    sources=("landmarks",),
    videos={"walk_01.mkv": Video(frames=20), "walk_02.mkv": Video(frames=6)},
    flags=("--clips", "{folder}/clips.csv"),
    then=HIPS,
    golden=("walk_01", "reader", 5),
    renamed=("walk_02", "walk_09"),
)
